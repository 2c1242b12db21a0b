//! What is published on a channel has the next position, which clients are told and come back with.

use serde_json::{Value, json};

use super::*;

pub(super) fn play(stage: &mut Stage, way: Way) -> Cell {
    let mut ear = stage.join(way);
    let subject = ear.subject.clone();
    if way == Way::Request {
        return a_result_has_a_position(stage, ear);
    }
    if !way.is_channel() {
        stage.say(Voice::Bus, &subject, None, "m1");
        let heard = ear.hear();
        assert!(heard.contains("\"m1\"") && !heard.contains("id: ") && !heard.contains("\"offset\""), "{heard}");
        if way == Way::Reply {
            let answer = stage.say(Voice::Post, &subject, None, "m2");
            assert!(answer["position"].is_null(), "{answer}");
        }
        return Cell::DoesNotApply("its subject is no channel: there is one receiver, and nothing to come back to");
    }
    let first = stage.say(Voice::Post, &subject, None, "m1");
    stage.say(Voice::Bus, &subject, None, "m2");
    stage.say(Voice::Thread, &subject, None, "m3");
    let last = stage.say(Voice::Post, &subject, None, "m4");
    let kept = stage.get(&format!("/api/channels/{subject}/history"));
    let kept: Vec<&Value> = kept["messages"].as_array().unwrap().iter().map(|kept| &kept["position"]).collect();
    assert_eq!((kept.len(), kept[0], kept[3]), (4, &first["position"], &last["position"]), "whatever door it came by");
    let heard = ear.hear();
    match way {
        Way::Http => {
            for position in &kept {
                assert!(heard.contains(&format!("id: {}\n", position.as_str().unwrap())), "{heard}");
            }
            let mut back = stage.bench.connect(stage.ear_at, 0);
            let path = format!("/sse/{}", subject.trim_start_matches("room."));
            let cursor = kept[1].as_str().unwrap();
            back.say(format!("GET {path} HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {cursor}\r\n\r\n"));
            stage.wait();
            assert_eq!(ear::marks(&back.hear()), ["m3", "m4"]);
            Cell::Holds
        }
        Way::Client => {
            (1..=4).for_each(|offset| assert!(heard.contains(&format!("\"offset\":{offset}")), "{heard}"));
            let mut back = stage.client(json!({"channel": subject, "recover": true, "offset": 2, "epoch": ""}));
            assert_eq!(ear::marks(&back.hear()), ["m3", "m4"]);
            Cell::Holds
        }
        _ => {
            assert_eq!(ear::marks(&heard), ["m1", "m2", "m3", "m4"]);
            assert!(kept.iter().all(|position| !heard.contains(position.as_str().unwrap())), "{heard}");
            Cell::DoesNotApply("workers are told no positions: what they receive is live, as in NATS")
        }
    }
}

/// A result is published on the request's channel. A client that comes back has it, whatever it has heard: it is kept with the request.
fn a_result_has_a_position(stage: &mut Stage, mut ear: Ear) -> Cell {
    stage.say(Voice::Bus, &ear.subject, None, "m1");
    let heard = ear.hear();
    let (_, rest) = heard.split_once("id: ").expect("a position");
    let cursor = rest.lines().next().unwrap();
    let mut back = stage.bench.connect(stage.ear_at, 0);
    let path = format!("/sse/result/{}", ear.subject.trim_start_matches("tg.request."));
    back.say(format!("GET {path} HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {cursor}\r\n\r\n"));
    stage.wait();
    assert_eq!(ear::marks(&back.hear()), ["m1"]);
    Cell::Holds
}
