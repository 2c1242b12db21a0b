//! A worker that has said `echo: false` does not hear itself, nor counts as a responder of its own requests.

use super::ear::marks;
use super::stage::{CONNECT, publication};
use super::*;

pub(super) fn play(stage: &mut Stage, way: Way) -> Cell {
    match way {
        Way::Plain | Way::Wildcard | Way::Queue | Way::Service | Way::Reply => {
            a_silent_worker_is_spared(stage, way);
            Cell::Holds
        }
        Way::User | Way::Connection | Way::Request => {
            nothing_is_withheld(stage, way);
            Cell::DoesNotApply("its receiver is a client, which is never the worker that publishes")
        }
        Way::Client => {
            nothing_is_withheld(stage, way);
            a_client_hears_itself(stage);
            Cell::DoesNotApply("clients have no such option: whoever publishes on a channel it listens to hears itself")
        }
        Way::Thread => {
            nothing_is_withheld(stage, way);
            an_in_process_worker_hears_itself(stage);
            Cell::DoesNotApply("in-process workers have no such option, and hear themselves")
        }
        Way::Http => {
            nothing_is_withheld(stage, way);
            Cell::DoesNotApply("an event stream publishes nothing, and what posts does not listen")
        }
    }
}

fn silent(stage: &mut Stage, subscription: &str) -> Peer {
    stage.worker(&format!("{CONNECT},\"echo\":false"), &format!("{subscription}SUB _INBOX.silent.* 8\r\n"))
}

fn a_silent_worker_is_spared(stage: &mut Stage, way: Way) {
    let subscription = way.subscription(&stage.room).expect("a worker on the bus");
    let subject = way.subject(&stage.room);
    let mut silent = silent(stage, &subscription);
    for headers in ["", "Nats-Msg-Id: 1\r\n", "Tg-Distinct: 1\r\n"] {
        silent.say(publication(&subject, "_INBOX.silent.1", headers, "\"m1\""));
        stage.wait();
        let heard = silent.hear();
        assert_eq!((marks(&heard).len(), heard.matches("NATS/1.0 503").count()), (0, 1), "alone, {headers:?}: {heard}");
    }
    let mut other = stage.join(way);
    for (mark, headers) in ["", "Nats-Msg-Id: 2\r\n", "Tg-Distinct: 2\r\n", ""].iter().enumerate() {
        silent.say(publication(&subject, "", headers, &format!("\"m{mark}\"")));
    }
    stage.wait();
    assert_eq!(other.marks(), ["m0", "m1", "m2", "m3"], "the other hears all");
    assert_eq!(silent.hear(), "");
    stage.say(Voice::Bus, &subject, None, "m4");
    let heard = [other.marks(), marks(&silent.hear())].concat();
    assert!(!heard.is_empty(), "what others say is heard");
}

/// The worker watches everything, and hears nothing of its own; its message arrives all the same.
fn nothing_is_withheld(stage: &mut Stage, way: Way) {
    let mut ear = stage.join(way);
    let mut silent = silent(stage, "SUB > 7\r\nSUB tg.> 9\r\n");
    for (mark, headers) in ["", "Nats-Msg-Id: 1\r\n"].iter().enumerate() {
        if way != Way::Request || mark == 0 {
            silent.say(publication(&ear.subject, "", headers, &format!("\"m{mark}\"")));
        }
    }
    stage.wait();
    let wanted = if way == Way::Request { &["m0"][..] } else { &["m0", "m1"] };
    assert_eq!(ear.marks(), wanted);
    let heard = silent.hear();
    assert!(!heard.contains(&format!("MSG {} ", ear.subject)), "{heard}");
}

fn a_client_hears_itself(stage: &mut Stage) {
    let mut client = stage.join(Way::Client);
    let publish = serde_json::json!({"id": 5, "publish": {"channel": stage.room, "data": "m5"}});
    client.peer().say(text(publish.to_string().as_bytes()));
    stage.wait();
    assert_eq!(client.marks(), ["m5"]);
    // The same on a raw WebSocket whose route publishes.
    let path = format!("/ws/{}", stage.room.trim_start_matches("room."));
    let mut socket = stage.bench.open(stage.ear_at, &path);
    socket.say(text(b"\"m6\""));
    stage.wait();
    assert_eq!((marks(&socket.hear()), client.marks()), (vec!["m6".to_owned()], vec!["m6".to_owned()]));
}

fn an_in_process_worker_hears_itself(stage: &mut Stage) {
    let mut ear = stage.join(Way::Thread);
    let ear::Sound::Thread(worker) = &ear.sound else { panic!("an in-process worker") };
    worker.publish(&stage.room, &[], b"\"m5\"").unwrap();
    worker.publish(&stage.room, &[("Nats-Msg-Id", "5")], b"\"m6\"").unwrap();
    stage.wait();
    let mut heard = ear.marks();
    heard.sort();
    assert_eq!(heard, ["m5", "m6"]);
}
