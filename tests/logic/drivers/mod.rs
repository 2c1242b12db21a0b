//! The same behaviour on every driver.

mod behaviour;
mod dialling;
mod elsewhere;
mod ending;
mod kernel;
mod shortage;
mod simulated;
mod stage;
mod storm;

/// Runs each behaviour in the world named, as a test of its own.
macro_rules! behaviours {
    ($driver:ident, $world:ty) => {
        mod $driver {
            use crate::drivers::behaviour;
            use crate::drivers::stage::World;

            behaviours!(@each $world;
                a_storm_of_everything_keeps_the_contract
                echoes
                a_receive_asked_before_the_bytes_come_waits_for_them
                a_large_batch_comes_back_whole_and_once_from_a_slow_reader
                an_empty_batch_comes_back
                not_asking_for_bytes_stops_the_peer_and_loses_nothing
                reading_again_starts_the_peer_again
                a_quiet_connection_is_read_between_those_that_always_have_more
                the_end_of_the_stream_follows_the_last_bytes
                the_end_that_came_before_anybody_asked_is_kept
                a_reset_ends_an_outstanding_receive_with_an_error
                a_reset_ends_an_outstanding_send_with_an_error
                close_revokes_a_receive_and_returns_the_batch_first
                close_without_a_turn_between_works
                an_aborted_connection_is_broken_for_its_peer
                an_abort_in_the_middle_of_a_batch_returns_it_and_is_no_end_of_the_stream
                a_dial_can_be_aborted
                bytes_of_an_earlier_tenant_never_reach_the_next
                shutdown_follows_what_is_being_sent
                shutdown_of_an_idle_connection_is_seen_by_the_peer
                wake_ups_merge_and_none_is_lost
                wait_ends_at_the_deadline_and_not_before
                a_completion_ends_a_wait_without_a_deadline
                many_connections_talk_at_once
                a_paused_listener_accepts_nothing_until_it_is_resumed
                whoever_comes_after_the_end_of_listening_is_refused
                what_the_peer_has_taken_grows_when_it_takes_and_only_then
                the_facts_of_tcp_count_the_bytes_of_both_ways
                a_unix_socket_has_no_facts_of_tcp
                a_batch_that_the_driver_has_is_weighed_as_it_is_now
                a_dropped_socket_is_closed
                a_driver_dropped_in_the_middle_ends_its_connections
                a_key_that_is_not_attached_is_a_bug_of_the_caller
                a_dialled_connection_echoes_like_an_accepted_one
                a_refused_dial_ends_in_connected_and_can_be_closed
                a_connection_that_failed_may_only_be_closed
                a_connection_in_progress_may_only_be_closed
                close_revokes_a_dial_and_its_key_can_be_used_again
                a_dial_that_is_closed_ends_in_the_kernel_too
                a_late_answer_is_awaited_while_others_are_served
                bytes_that_come_with_the_answer_are_received
                many_dials_and_accepts_at_once
                a_source_address_is_what_the_server_sees
                a_unix_socket_is_dialled_like_another
                a_reset_of_a_dialled_connection_is_told_like_any
                a_driver_dropped_while_it_dials_leaves_nothing
            );
        }
    };
    (@each $world:ty; $($behaviour:ident)*) => {
        $(
            #[test]
            fn $behaviour() {
                match <$world as World>::missing() {
                    Some(why) => eprintln!("skipped: {why}"),
                    None => behaviour::$behaviour(<$world as World>::new()),
                }
            }
        )*
    };
}

behaviours!(epoll, crate::drivers::kernel::KernelWorld<crate::drivers::kernel::Epoll>);
behaviours!(uring, crate::drivers::kernel::KernelWorld<crate::drivers::kernel::Uring>);
behaviours!(tight_uring, crate::drivers::kernel::KernelWorld<crate::drivers::kernel::TightUring>);
behaviours!(sim, crate::drivers::simulated::SimWorld<crate::drivers::simulated::Calm>);
behaviours!(rough_sim, crate::drivers::simulated::SimWorld<crate::drivers::simulated::Rough>);
