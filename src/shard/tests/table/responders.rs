//! A request that reaches nothing that could answer is answered at once, with 503.

use super::*;

const NAMED: &str = "Nats-Msg-Id: ";

pub(super) fn play(stage: &mut Stage, way: Way) -> Cell {
    let subject = way.subject(&stage.room);
    for (number, headers) in
        ["".to_owned(), format!("{NAMED}1\r\n"), "Tg-Distinct: 1\r\n".to_owned()].iter().enumerate()
    {
        assert_told(&stage.asked(&subject, headers, "m1"), &format!("before there is a receiver, {number}"));
    }
    match way {
        Way::Plain
        | Way::Wildcard
        | Way::Queue
        | Way::Service
        | Way::User
        | Way::Connection
        | Way::Reply
        | Way::Client
        | Way::Thread
        | Way::Http => {
            who_has_left_is_none(stage, way);
            who_leaves_meanwhile_is_none(stage, way);
        }
        Way::Request => a_request_is_answered_once(stage),
    }
    if way == Way::Service {
        a_call_whose_worker_leaves_has_an_answer(stage);
    }
    if way == Way::Queue {
        the_next_member_has_what_one_leaves(stage);
    }
    Cell::Holds
}

fn is_told(heard: &str) -> bool {
    heard.contains("NATS/1.0 503") || heard.contains("NATS/1.0 410")
}

fn assert_told(heard: &str, when: &str) {
    assert_eq!(heard.matches("NATS/1.0 503").count(), 1, "{when}: {heard:?}");
}

fn who_has_left_is_none(stage: &mut Stage, way: Way) {
    let mut ear = stage.join(way);
    let subject = ear.subject.clone();
    for (number, headers) in ["", "Nats-Msg-Id: 2\r\n"].iter().enumerate() {
        assert_eq!(stage.asked(&subject, headers, &format!("m{number}")), "", "a receiver is there");
    }
    assert_eq!(ear.marks(), ["m0", "m1"]);
    let _left = Stage::leave(ear, way);
    stage.wait();
    // A question that its client leaves behind has an outcome, too.
    stage.hear_asker();
    for headers in ["", "Nats-Msg-Id: 3\r\n"] {
        assert_told(&stage.asked(&subject, headers, "m1"), "the last has left");
    }
}

/// The last one leaves while the message is under way: it has it, or the requester hears that it reached nothing.
fn who_leaves_meanwhile_is_none(stage: &mut Stage, way: Way) {
    let (ear_at, voice_at) = (usize::from(stage.ear_at), usize::from(stage.voice_at));
    let moment = SECOND / 100;
    for (number, (headers, leaves_first)) in
        [("", true), ("", false), (NAMED, true), (NAMED, false)].into_iter().enumerate()
    {
        // What waits in the queue of a thread that ends has been delivered, as to a worker whose connection breaks.
        if way == Way::Thread && !leaves_first {
            continue;
        }
        let mut ear = stage.join(way);
        let subject = ear.subject.clone();
        let headers = if headers.is_empty() { String::new() } else { format!("{headers}race {number}\r\n") };
        let delivered = stage.delivered();
        let (left, mut has_it) = if leaves_first {
            if way != Way::Thread {
                stage.crowd();
            }
            let left = Stage::leave(ear, way);
            // What meets a thread that has just ended is lost, as with a worker whose connection breaks.
            let may_run = |shard| way == Way::Thread || shard == ear_at && ear_at != voice_at;
            stage.bench.run_some_for(moment, may_run);
            stage.ask(&subject, &headers, "m9");
            stage.bench.run_some_for(moment, |_| false);
            stage.bench.run_some_for(moment, |shard| shard == voice_at);
            (left, false)
        } else {
            stage.ask(&subject, &headers, "m9");
            stage.bench.run_some_for(moment, |shard| shard == voice_at);
            let has_it = ear.marks() == ["m9"];
            let left = Stage::leave(ear, way);
            stage.bench.run_some_for(moment, |shard| shard == ear_at);
            (left, has_it)
        };
        stage.wait();
        has_it |= left.is_some_and(|mut ear| ear.marks() == ["m9"]);
        let heard = stage.hear_asker();
        let when = format!("{headers:?}, leaves first: {leaves_first}: {heard:?}");
        match way {
            Way::User | Way::Connection => assert!(is_told(&heard), "a question has an outcome: {when}"),
            // It was written to a connection that broke with it.
            Way::Client | Way::Http => assert_ne!(stage.delivered() > delivered, is_told(&heard), "{when}"),
            _ => assert_ne!(has_it, is_told(&heard), "{when}"),
        }
    }
}

/// A member leaves while the owner of the channel is asked whether the messages are repetitions.
fn the_next_member_has_what_one_leaves(stage: &mut Stage) {
    let (mut leaver, mut other) = (stage.join(Way::Queue), stage.join(Way::Queue));
    let subject = leaver.subject.clone();
    let (ear_at, voice_at) = (usize::from(stage.ear_at), usize::from(stage.voice_at));
    for number in 0..8 {
        stage.ask(&subject, &format!("{NAMED}left {number}\r\n"), &format!("m{number}"));
    }
    stage.bench.run_some_for(SECOND / 100, |shard| shard == voice_at);
    let mut heard = leaver.marks();
    let mut left = Stage::leave(leaver, Way::Queue).expect("it only unsubscribes");
    stage.bench.run_some_for(SECOND / 100, |shard| shard == ear_at || shard == voice_at);
    stage.wait();
    heard.extend(left.marks().into_iter().chain(other.marks()));
    heard.sort();
    assert_eq!(heard, (0..8).map(|number| format!("m{number}")).collect::<Vec<_>>(), "each once");
    assert_eq!(stage.hear_asker(), "");
}

/// What asks may be a client: its call is refused at once, in the words of its protocol, and does not wait for its time-out.
fn a_call_whose_worker_leaves_has_an_answer(stage: &mut Stage) {
    let (ear_at, voice_at) = (usize::from(stage.ear_at), usize::from(stage.voice_at));
    let worker = stage.join(Way::Service);
    let mut client = stage.bench.open(stage.voice_at, "/open");
    client.say(text(br#"{"id":1,"connect":{}}"#));
    stage.wait();
    client.hear();
    stage.crowd();
    let _left = Stage::leave(worker, Way::Service);
    stage.bench.run_some_for(SECOND / 100, |shard| shard == ear_at);
    client.say(text(br#"{"id":2,"rpc":{"method":"book","data":1}}"#));
    stage.bench.run_some_for(SECOND / 100, |_| false);
    stage.bench.run_some_for(SECOND / 100, |shard| shard == voice_at);
    stage.wait();
    let heard = client.hear();
    assert!(heard.contains("\"code\":100"), "no worker: {heard:?}");
}

/// A worker that puts a reply subject on an answer hears if the answer comes too late, or to nothing.
fn a_request_is_answered_once(stage: &mut Stage) {
    let mut ear = stage.join(Way::Request);
    let subject = ear.subject.clone();
    assert_eq!(stage.asked(&subject, "", "m1"), "", "it is taken");
    assert_eq!(ear.marks(), ["m1"]);
    let late = stage.join(Way::Request);
    stage.bench.run_for(6 * SECOND);
    assert_told(&stage.asked(&late.subject, "", "m2"), "its time is over");
}
