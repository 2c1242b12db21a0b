//! One message alone is never too much for its receiver. A message above the bound is refused at every door. A receiver that
//! makes no progress is disconnected, without an effect on others.

use super::stage::{OUTBOX, PAYLOAD, publication};
use super::*;
use crate::worker;

/// More than may wait for any receiver, and for its link.
const FLOOD: u32 = 60;

pub(super) fn play(stage: &mut Stage, way: Way) -> Cell {
    one_long_message_is_not_too_much(stage, way);
    one_that_is_too_long_is_refused(stage, way);
    match way {
        Way::Plain
        | Way::Wildcard
        | Way::Queue
        | Way::Service
        | Way::User
        | Way::Connection
        | Way::Reply
        | Way::Client
        | Way::Http => who_takes_nothing_is_disconnected(stage, way),
        // There is one result, and it is kept.
        Way::Request => {}
        Way::Thread => what_an_in_process_worker_leaves_waits(stage),
    }
    Cell::Holds
}

fn long(mark: &str, bytes: usize) -> String {
    format!("{mark}{}", "x".repeat(bytes))
}

fn one_long_message_is_not_too_much(stage: &mut Stage, way: Way) {
    let mut ear = stage.join(way);
    let payload = long("m1", OUTBOX + OUTBOX / 2);
    let subject = ear.subject.clone();
    stage.say(Voice::Bus, &subject, None, &payload);
    let mut heard = String::new();
    for _ in 0..10 {
        heard += &ear.hear();
        stage.wait();
    }
    assert_eq!(heard.matches(&payload).count(), 1, "whole");
    assert_eq!(stage.slow_consumers(), 0);
    let _left = Stage::leave(ear, way);
    stage.wait();
}

fn one_that_is_too_long_is_refused(stage: &mut Stage, way: Way) {
    let mut ear = stage.join(way);
    let subject = ear.subject.clone();
    let payload = long("m2", PAYLOAD);
    let mut publisher = stage.passing_worker();
    publisher.say(publication(&subject, "", "", &payload));
    stage.wait();
    let heard = publisher.hear();
    assert!(heard.contains("Maximum Payload Violation") && !publisher.end.is_open(), "{heard}");
    let refused = stage.thread().publish(&subject, &[], payload.as_bytes());
    let bytes = payload.len();
    assert_eq!(refused, Err(worker::Error::TooLong { bytes, bytes_max: PAYLOAD }));
    if way.is_channel() {
        assert!(stage.post(&subject, "", &payload).0.starts_with("HTTP/1.1 413"));
    }
    if way == Way::Request {
        let (status, _) = stage.ask_http(stage.ear_at, 0, "POST /jobs HTTP/1.1\r\nHost: a\r\n", &payload);
        assert!(status.starts_with("HTTP/1.1 413"), "{status}");
    }
    stage.wait();
    assert!(ear.marks().is_empty());
    let _left = Stage::leave(ear, way);
    stage.wait();
}

fn who_takes_nothing_is_disconnected(stage: &mut Stage, way: Way) {
    let stuck = stage.join(way);
    let mut other = stage.join(Way::Http);
    for number in 0..FLOOD {
        let payload = long(&format!("m{number}"), OUTBOX / 2);
        stage.say(Voice::Bus, &stuck.subject, None, &payload);
        stage.say(Voice::Bus, &stage.room.clone(), None, &format!("m{number}"));
        other.hear();
    }
    assert_eq!(stage.slow_consumers(), 1);
    stage.say(Voice::Bus, &stage.room.clone(), None, "m99");
    assert_eq!(other.marks(), ["m99"], "nothing is noticed by others");
}

/// Its queue is its own: nothing of it is lost, and it is never disconnected.
fn what_an_in_process_worker_leaves_waits(stage: &mut Stage) {
    let mut ear = stage.join(Way::Thread);
    let subject = ear.subject.clone();
    (0..FLOOD).for_each(|number| _ = stage.say(Voice::Bus, &subject, None, &format!("m{number}")));
    let expected: Vec<String> = (0..FLOOD).map(|number| format!("m{number}")).collect();
    assert_eq!((ear.marks(), stage.slow_consumers()), (expected, 0));
}
