//! Publishers that are not sure whether they were heard, and say it again.

use super::*;
use crate::proto::channel::{Loss, RuleNumber};

fn publish(bench: &mut Bench, peer: &mut Peer, room: &str, id: &str) -> serde_json::Value {
    peer.say(format!(
        "POST /api/channels/room.{room} HTTP/1.1\r\nHost: a\r\nNats-Msg-Id: {id}\r\nContent-Length: 1\r\n\r\nx"
    ));
    bench.run_for(SECOND / 10);
    let answer = peer.hear();
    serde_json::from_str(answer.split_once("\r\n\r\n").expect("an answer").1).expect("JSON")
}

#[test]
fn a_message_that_is_published_twice_is_delivered_once_and_both_hear_its_position() {
    for owner in 0..2 {
        let mut bench = Bench::new(2, settings());
        let room = room_of(owner, 2);
        let mut listener = bench.open(0, &format!("/sse/{room}"));
        let (mut one, mut other) = (bench.connect(0, ADMIN), bench.connect(1, ADMIN));
        let worker = bench.connect(1, BUS);
        let first = publish(&mut bench, &mut one, &room, "a");
        let second = publish(&mut bench, &mut one, &room, "b");
        assert_ne!(first, second);
        assert_eq!(publish(&mut bench, &mut other, &room, "a"), first);
        worker.say(format!("HPUB room.{room} 28 29\r\nNATS/1.0\r\nNats-Msg-Id: b\r\n\r\ny\r\n"));
        bench.run_for(SECOND / 10);
        assert_eq!(listener.hear().matches("data: x\n").count(), 2);
        let core = bench.core(owner as usize);
        let suppressed = core.desk.counters().lost(RuleNumber::FALLBACK, Loss::Duplicate);
        assert_eq!(suppressed.value(), 2);
        bench.run_for(limits::MESSAGE_ID_WINDOW);
        let mut later = bench.connect(0, ADMIN);
        let third = publish(&mut bench, &mut later, &room, "a");
        assert!(third != first && third != second, "{third}");
    }
}
