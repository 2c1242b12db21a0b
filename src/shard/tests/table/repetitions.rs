//! What is published twice under one name (`Nats-Msg-Id`), or says the same again (`Tg-Distinct`), reaches each receiver once,
//! whatever doors it comes by. A requester hears of it.

use super::*;

pub(super) fn play(stage: &mut Stage, way: Way, header: &str) -> Cell {
    let is_name = header == "Nats-Msg-Id";
    match way {
        Way::Plain | Way::Wildcard | Way::Queue | Way::Client | Way::Thread | Way::Http => {
            a_channel_takes_it_once(stage, way, header);
            Cell::Holds
        }
        Way::Request if is_name => {
            a_request_has_one_answer_and_one_keeper(stage);
            Cell::Holds
        }
        Way::Request => {
            let mut ear = stage.join(way);
            stage.say(Voice::Bus, &ear.subject, Some((header, "1")), "m1");
            assert_eq!(ear.marks(), ["m1"]);
            Cell::DoesNotApply("a request has one answer, whatever it says")
        }
        Way::Service | Way::User | Way::Connection | Way::Reply => {
            it_comes_twice(stage, way, header);
            Cell::DoesNotApply(
                "its subject is no channel: what was said there is not kept, so a repetition is not known",
            )
        }
    }
}

fn a_channel_takes_it_once(stage: &mut Stage, way: Way, header: &str) {
    let mut ear = stage.join(way);
    let subject = ear.subject.clone();
    let voices = [Voice::Bus, Voice::Thread, Voice::Post];
    for (number, first) in voices.into_iter().enumerate() {
        let value = format!("v{number}");
        let position = stage.say(first, &subject, Some((header, &value)), "m1");
        for again in voices {
            let repeated = stage.say(again, &subject, Some((header, &value)), "m2");
            if (first, again) == (Voice::Post, Voice::Post) {
                assert_eq!(position, repeated, "it is where the first one is");
            }
        }
        assert_eq!(ear.marks(), ["m1"], "first by {first:?}");
        let heard = stage.asked(&subject, &format!("{header}: {value}\r\n"), "m3");
        assert_eq!(heard.matches("NATS/1.0 409 Duplicate").count(), 1, "a requester is not left waiting: {heard:?}");
        assert_eq!(heard.matches("MSG ").count(), 1);
        assert!(ear.marks().is_empty());
    }
    // Two of a batch, and what is unnamed around them.
    let headers = [None, Some("w"), Some("w"), None, Some("x")];
    for (number, value) in headers.into_iter().enumerate() {
        stage.say(Voice::Bus, &subject, value.map(|value| (header, value)), &format!("m{number}"));
    }
    assert_eq!(ear.marks(), ["m0", "m1", "m3", "m4"]);
}

fn it_comes_twice(stage: &mut Stage, way: Way, header: &str) {
    let mut ear = stage.join(way);
    let subject = ear.subject.clone();
    for voice in [Voice::Bus, Voice::Thread] {
        stage.say(voice, &subject, Some((header, "1")), "m1");
        stage.say(voice, &subject, Some((header, "1")), "m1");
        assert_eq!(ear.marks(), ["m1", "m1"], "{voice:?}");
    }
    let heard = stage.asked(&subject, &format!("{header}: 1\r\n"), "m2");
    assert!(heard.is_empty() && ear.marks() == ["m2"], "it is a request like any other: {heard}");
}

fn a_request_has_one_answer_and_one_keeper(stage: &mut Stage) {
    let mut ear = stage.join(Way::Request);
    let subject = ear.subject.clone();
    stage.jobs();
    for voice in [Voice::Bus, Voice::Thread, Voice::Bus] {
        stage.say(voice, &subject, Some(("Nats-Msg-Id", "1")), "m1");
    }
    assert_eq!(ear.marks(), ["m1"]);
    let heard = stage.asked(&subject, "", "m2");
    assert!(heard.matches("NATS/1.0 409 Duplicate").count() == 1 && ear.marks().is_empty(), "{heard:?}");
    let ids = [(); 2].map(|()| stage.request("Idempotency-Key: \"k\"\r\n"));
    assert_eq!((&ids[0], stage.jobs()), (&ids[1], 1));
}
