//! System calls that fail under a gateway that runs: strace puts the errors of a box that has nothing left into its way.
//!
//! ```text
//! the test -- clients --> tidegate serve <-- its shard: strace -e inject=CALL:error=ERRNO:when=WHICH
//! ```
//!
//! Whatever fails: it is counted, what it concerns is closed, everybody else notices nothing, and nothing is left behind.

mod dialling;
mod gateway;
mod injection;

use gateway::{Gateway, Listener, Publisher};

const DRIVERS: [&str; 2] = ["epoll", "uring"];

/// Runs `test` on a gateway of that driver, with one bystander who must get every message before, meanwhile and after;
/// in the end everybody goes and takes everything along.
fn with_bystander(driver: &str, test: impl FnOnce(&mut Gateway, &mut Bystander)) {
    let _box = crate::shared();
    let mut gateway = Gateway::start(driver);
    let before = gateway.descriptors();
    let mut bystander = Bystander { listener: gateway.listen("bystander"), publisher: gateway.publisher(), count: 0 };
    bystander.notices_nothing();
    test(&mut gateway, &mut bystander);
    bystander.notices_nothing();
    drop(bystander);
    gateway.await_metric("connections_open", 1, "only the connection that asks for the metrics is left");
    gateway.await_descriptors(before);
}

struct Bystander {
    listener: Listener,
    publisher: Publisher,
    count: u32,
}

impl Bystander {
    fn notices_nothing(&mut self) {
        self.count += 1;
        let payload = format!("message {}", self.count);
        self.publisher.publish("bystander", &payload);
        self.listener.expect(&payload);
    }
}

#[test]
fn an_accept_without_resources_is_counted_and_made_up_for() {
    for driver in DRIVERS {
        for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"] {
            with_bystander(driver, |gateway, bystander| {
                gateway.inject("accept4", error, "1..3");
                let mut late = gateway.begin_to_listen("late");
                gateway.await_at_least("accept_failures_total", 1);
                bystander.notices_nothing();
                late.expect("200 OK");
                bystander.publisher.publish("late", "welcome");
                late.expect("welcome");
            });
        }
    }
}

#[test]
fn an_accept_that_fails_for_one_connection_fails_no_other() {
    for driver in DRIVERS {
        for error in ["ECONNABORTED", "EPROTO", "EPERM"] {
            with_bystander(driver, |gateway, bystander| {
                gateway.inject("accept4", error, "1..3");
                let mut other = gateway.begin_to_listen("other");
                other.expect("200 OK");
                bystander.notices_nothing();
                assert_eq!(gateway.metric("accept_failures_total"), 0, "{error} is not a shortage");
            });
        }
    }
}

#[test]
fn a_receive_without_memory_ends_its_own_connection_alone() {
    for driver in DRIVERS {
        for error in ["ENOMEM", "ENOBUFS"] {
            with_bystander(driver, |gateway, bystander| {
                let mut victim = gateway.listen("victim");
                gateway.inject("recvfrom", error, "1");
                victim.say("anything");
                victim.expect_end();
                bystander.notices_nothing();
                assert_eq!(gateway.metric("closed_total:peer_reset"), 1, "{driver} {error}");
            });
        }
    }
}

#[test]
fn an_interrupted_receive_is_tried_again() {
    for driver in DRIVERS {
        with_bystander(driver, |gateway, bystander| {
            gateway.inject("recvfrom", "EINTR", "1..3");
            bystander.notices_nothing();
        });
    }
}

#[test]
fn a_send_without_memory_ends_its_own_connection_alone() {
    // One message is one slice and a send; two of a turn are two slices.
    for (call, payloads, error) in [
        ("sendto", &["lost"][..], "ENOBUFS"),
        ("sendto", &["lost"], "ENOMEM"),
        ("sendmsg", &["lost", "as well"], "ENOBUFS"),
        ("sendmsg", &["lost", "as well"], "ENOMEM"),
    ] {
        with_bystander("epoll", |gateway, bystander| {
            let mut victim = gateway.listen("victim");
            gateway.inject(call, error, "1");
            bystander.publisher.publish_all("victim", payloads);
            victim.expect_end();
            bystander.notices_nothing();
            assert_eq!(gateway.metric("closed_total:write_failed"), 1, "{call} {error}");
        });
    }
}

#[test]
fn an_interrupted_send_is_tried_again() {
    with_bystander("epoll", |gateway, bystander| {
        gateway.inject("sendto", "EINTR", "1..3");
        bystander.notices_nothing();
    });
}

#[test]
fn a_connection_that_epoll_cannot_watch_is_ended() {
    for error in ["ENOMEM", "ENOSPC"] {
        with_bystander("epoll", |gateway, bystander| {
            gateway.inject("epoll_ctl", error, "1");
            let mut victim = gateway.begin_to_listen("victim");
            victim.expect_end();
            bystander.notices_nothing();
            let mut next = gateway.listen("next");
            bystander.publisher.publish("next", "welcome");
            next.expect("welcome");
            assert_eq!(gateway.metric("closed_total:peer_reset"), 1, "{error}");
        });
    }
}

#[test]
fn a_ring_without_memory_loses_nothing() {
    for error in ["EAGAIN", "EBUSY", "ENOMEM", "EINTR"] {
        with_bystander("uring", |gateway, bystander| {
            gateway.inject("io_uring_enter", error, "1..20");
            bystander.notices_nothing();
            let mut next = gateway.listen("next");
            bystander.publisher.publish("next", "welcome");
            next.expect("welcome");
        });
    }
}

#[test]
fn an_interrupted_wait_waits_on() {
    with_bystander("epoll", |gateway, bystander| {
        gateway.inject("epoll_wait", "EINTR", "1..20");
        bystander.notices_nothing();
    });
}
