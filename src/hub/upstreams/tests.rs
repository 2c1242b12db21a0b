//! Outcomes of requests whose servers fail, are full, are taken out or have no address: an example of each. `model` has the rest.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Pick, Tried, Upstreams};
use crate::base::{Key, Tick, mix};
use crate::proto::upstream::{Affinity, ServerId, UpstreamId, UpstreamRule};

pub(super) const APP: UpstreamId = UpstreamId(0);
pub(super) const WAIT: Duration = Duration::from_millis(1_000);
pub(super) const EJECT: Duration = Duration::from_secs(10);
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(4);
pub(super) const IDLE_MAX: usize = 3;

pub(super) fn rule(servers: u8) -> UpstreamRule {
    let server = |rule: UpstreamRule, number: u8| {
        let address = SocketAddr::from(([10, 0, 0, number], 80));
        rule.with(&address.to_string(), address)
    };
    let rule = UpstreamRule {
        queue_wait: WAIT,
        eject: EJECT,
        keep_alive: KEEP_ALIVE,
        idle_max: IDLE_MAX,
        ..UpstreamRule::new("app")
    };
    (0..servers).fold(rule, server)
}

pub(super) fn at(server: u8) -> ServerId {
    ServerId { upstream: APP, server }
}

pub(super) fn key(slot: u32) -> Key {
    Key { slot, generation: 1 }
}

/// The bounds of the gateway, of which each shard has its part.
#[test]
fn shards_divide_what_a_server_takes_and_what_may_wait() {
    let rule = UpstreamRule { in_flight_max: Some(5), queue_max: 3, ..rule(1) };
    for (shards, in_flight, waiting) in [(1, 5, 3), (2, 2, 1), (64, 1, 1)] {
        let mut upstreams = Upstreams::new(std::slice::from_ref(&rule), shards);
        let mut ask = || upstreams.pick(APP, Affinity::default(), Tried::default(), 7, Tick::ZERO);
        let taken = (0..9).filter(|_| matches!(ask(), Pick::Server(_))).count();
        let mut wait = |slot| upstreams.wait(APP, key(slot), Affinity::default(), Tried::default(), Tick::ZERO).is_ok();
        let queued = (0..9).filter(|slot| wait(*slot)).count();
        assert_eq!((taken, queued), (in_flight, waiting), "{shards} shards");
    }
}

#[test]
fn a_server_that_fails_is_left_out_for_longer_each_time_and_returns_slowly() {
    let mut upstreams = Upstreams::new(&[UpstreamRule { fails_max: 2, ..rule(2) }], 1);
    let mut now = Tick::from_millis(5);
    let given = |upstreams: &mut Upstreams, now: Tick| {
        let mut counts = [0; 2];
        for number in 0..4_000 {
            let pick = upstreams.pick(APP, Affinity::default(), Tried::default(), mix(number), now);
            let Pick::Server(picked) = pick else { panic!("{pick:?}") };
            counts[usize::from(picked.server.server)] += 1;
            upstreams.done(picked.server);
        }
        counts
    };
    assert_eq!(upstreams.failed(at(0), now), None);
    for seconds in [10, 20, 40, 80, 160, 300, 300] {
        assert_eq!(upstreams.failed(at(0), now), Some(Duration::from_secs(seconds)));
        assert_eq!(upstreams.failed(at(0), now), None, "those that were on their way change nothing");
        assert_eq!(given(&mut upstreams, now), [0, 4_000]);
        now = now + Duration::from_secs(seconds);
    }
    let begin = given(&mut upstreams, now)[0];
    let middle = given(&mut upstreams, now + Duration::from_secs(5))[0];
    let end = given(&mut upstreams, now + Duration::from_secs(10))[0];
    assert!((100..300).contains(&begin), "{begin}");
    assert!((900..1_100).contains(&middle) && (1_900..2_100).contains(&end), "{middle} {end}");
    upstreams.answered(at(0), now);
    assert_eq!(upstreams.failed(at(0), now), None, "all is forgotten");
}

#[test]
fn where_all_servers_are_out_they_are_tried_in_spite_of_it() {
    let mut upstreams = Upstreams::new(&[UpstreamRule { fails_max: 1, ..rule(2) }], 1);
    let now = Tick::from_millis(5);
    let ask = |upstreams: &mut Upstreams, tried| upstreams.pick(APP, Affinity::default(), tried, 3, now);
    for server in [0, 1] {
        assert!(upstreams.failed(at(server), now).is_some());
    }
    let Pick::Server(picked) = ask(&mut upstreams, Tried::default()) else { panic!("one is tried") };
    assert_eq!(upstreams.desperate(APP), 1);
    let tried = Tried::default().with(picked.server);
    let Pick::Server(other) = ask(&mut upstreams, tried) else { panic!("the other is tried") };
    assert_ne!(other.server, picked.server);
    assert_eq!(ask(&mut upstreams, tried.with(other.server)), Pick::Exhausted);
    upstreams.answered(other.server, now);
    assert!(!upstreams.standing(other.server, now).is_out, "an answer brings it back");
}

#[test]
fn those_that_wait_are_not_overtaken() {
    let mut upstreams = Upstreams::new(&[UpstreamRule { in_flight_max: Some(1), ..rule(1) }], 1);
    let ask = |upstreams: &mut Upstreams| upstreams.pick(APP, Affinity::default(), Tried::default(), 3, Tick::ZERO);
    let Pick::Server(picked) = ask(&mut upstreams) else { panic!("it is free") };
    assert_eq!(ask(&mut upstreams), Pick::Full);
    upstreams.wait(APP, key(1), Affinity::default(), Tried::default(), Tick::ZERO).unwrap();
    upstreams.done(picked.server);
    assert_eq!(ask(&mut upstreams), Pick::Full, "the place is the other one's");
    assert_eq!(upstreams.next_waiter(3, Tick::ZERO).map(|(key, _)| key), Some(key(1)));
}

#[test]
fn a_websocket_counts_in_the_choice_and_takes_no_place_of_a_request() {
    let mut upstreams = Upstreams::new(&[UpstreamRule { in_flight_max: Some(1), ..rule(2) }], 1);
    let ask = |upstreams: &mut Upstreams| upstreams.pick(APP, Affinity::default(), Tried::default(), 3, Tick::ZERO);
    let Pick::Server(first) = ask(&mut upstreams) else { panic!("both are free") };
    upstreams.switched(first.server);
    let Pick::Server(second) = ask(&mut upstreams) else { panic!("both have room") };
    assert_ne!(second.server, first.server, "the one with fewer");
    assert!(matches!(ask(&mut upstreams), Pick::Server(picked) if picked.server == first.server), "it has room");
    upstreams.tunnel_ended(first.server);
    assert_eq!(upstreams.standing(first.server, Tick::ZERO).tunnels, 0);
}

#[test]
fn a_full_server_does_not_keep_requests_from_others() {
    let mut upstreams = Upstreams::new(&[UpstreamRule { in_flight_max: Some(1), queue_max: 1, ..rule(2) }], 1);
    let mark = |server: u8| Affinity { mark: Some(rule(2).servers[usize::from(server)].mark), hash: None };
    let ask = |upstreams: &mut Upstreams, affinity| upstreams.pick(APP, affinity, Tried::default(), 3, Tick::ZERO);
    assert!(matches!(ask(&mut upstreams, mark(0)), Pick::Server(_)));
    upstreams.wait(APP, key(1), mark(0), Tried::default(), Tick::ZERO).unwrap();
    assert_eq!(ask(&mut upstreams, mark(0)), Pick::Full);
    let Pick::Server(picked) = ask(&mut upstreams, Affinity::default()) else { panic!("the other has room") };
    assert_eq!(picked.server, at(1));
}

#[test]
fn a_server_that_returns_is_noticed_while_requests_wait() {
    let rule = UpstreamRule { fails_max: 1, in_flight_max: Some(1), queue_wait: Duration::from_secs(60), ..rule(2) };
    let mut upstreams = Upstreams::new(&[rule], 1);
    assert_eq!(upstreams.failed(at(0), Tick::ZERO), Some(EJECT));
    let pick = upstreams.pick(APP, Affinity::default(), Tried::default(), 3, Tick::ZERO);
    assert!(matches!(pick, Pick::Server(picked) if picked.server == at(1)));
    upstreams.wait(APP, key(1), Affinity::default(), Tried::default(), Tick::ZERO).unwrap();
    assert_eq!(upstreams.next_waiter(3, Tick::ZERO), None);
    let returns = Tick::ZERO + EJECT;
    assert_eq!(upstreams.deadline(), returns);
    assert_eq!(upstreams.next_waiter(3, returns).map(|(key, picked)| (key, picked.server)), Some((key(1), at(0))));
    assert_eq!(upstreams.deadline(), Tick::NEVER);
}

#[test]
fn a_server_that_is_down_is_left_out_and_returns_slowly() {
    let mut upstreams = Upstreams::new(&[rule(2)], 1);
    let now = Tick::from_millis(5);
    let given = |upstreams: &mut Upstreams, now: Tick| {
        let ask = |number| upstreams.pick(APP, Affinity::default(), Tried::default(), mix(number), now);
        let picks: Vec<Pick> = (0..1_000).map(ask).collect();
        let is_first = |pick: &&Pick| matches!(pick, Pick::Server(picked) if picked.server == at(0));
        let first = picks.iter().filter(is_first).count();
        for pick in picks {
            let Pick::Server(picked) = pick else { panic!("{pick:?}") };
            upstreams.done(picked.server);
        }
        first
    };
    upstreams.set_up(at(0), false, now);
    assert!(upstreams.standing(at(0), now).is_down && !upstreams.standing(at(0), now).is_up());
    assert_eq!(given(&mut upstreams, now), 0);
    upstreams.set_up(at(1), false, now);
    assert_eq!(upstreams.desperate(APP), 0);
    assert!(given(&mut upstreams, now) > 0, "if all are down, they are tried in spite of it");
    assert_eq!(upstreams.desperate(APP), 1_000);
    upstreams.set_up(at(1), true, now);
    upstreams.set_up(at(0), true, now + 10 * EJECT);
    assert!(given(&mut upstreams, now + 10 * EJECT) < 150, "its caches are cold");
    assert!(given(&mut upstreams, now + 12 * EJECT) > 400);
}

#[test]
fn a_drained_server_gets_nothing_even_if_it_is_the_last() {
    let mut upstreams = Upstreams::new(&[rule(2)], 1);
    let marked = Affinity { mark: Some(rule(2).servers[0].mark), hash: None };
    let ask = |upstreams: &mut Upstreams| upstreams.pick(APP, marked, Tried::default(), 3, Tick::ZERO);
    assert!(matches!(ask(&mut upstreams), Pick::Server(picked) if picked.server == at(0)));
    assert!(upstreams.keep(at(0), key(9), 1, None, Tick::ZERO).is_some());
    upstreams.set_drained(at(0), true);
    assert_eq!(upstreams.idle(at(0)).collect::<Vec<_>>(), [key(9)], "the shard closes them");
    assert_eq!(upstreams.keep(at(0), key(8), 1, None, Tick::ZERO), None);
    assert!(
        matches!(ask(&mut upstreams), Pick::Server(picked) if picked.server == at(1) && picked.is_unmarked),
        "its clients get another one"
    );
    upstreams.set_drained(at(1), true);
    assert_eq!(ask(&mut upstreams), Pick::Exhausted);
    upstreams.set_drained(at(0), false);
    assert!(matches!(ask(&mut upstreams), Pick::Server(picked) if picked.server == at(0)));
}

#[test]
fn a_name_without_an_address_has_no_requests() {
    let name = crate::proto::upstream::ServerName { host: "app.internal".into(), port: 80 };
    let mut upstreams = Upstreams::new(&[UpstreamRule::new("app").with("app.internal:80", name)], 1);
    let ask = |upstreams: &mut Upstreams| upstreams.pick(APP, Affinity::default(), Tried::default(), 3, Tick::ZERO);
    assert_eq!(ask(&mut upstreams), Pick::Exhausted);
    assert!(!upstreams.standing(at(0), Tick::ZERO).is_up());
    let [one, other] = [1, 2].map(|number| SocketAddr::from(([10, 0, 0, number], 80)));
    upstreams.found(at(0), &[one, other]);
    assert!(matches!(ask(&mut upstreams), Pick::Server(_)));
    let next = |upstreams: &mut Upstreams| upstreams.next_address(at(0), Tick::ZERO);
    assert_eq!([next(&mut upstreams), next(&mut upstreams)], [Some(one), Some(other)]);
    assert!(upstreams.unreachable(at(0), one, Tick::ZERO), "there is the other one");
    assert_eq!([next(&mut upstreams), next(&mut upstreams)], [Some(other), Some(other)]);
    upstreams.found(at(0), &[one]);
    assert!(upstreams.is_at(at(0), one) && !upstreams.is_at(at(0), other));
    assert!(!upstreams.unreachable(at(0), one, Tick::ZERO));
    upstreams.found(at(0), &[]);
    assert_eq!(ask(&mut upstreams), Pick::Exhausted);
}
