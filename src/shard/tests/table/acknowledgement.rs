//! A message with `Tg-Ack` is sent until a client acknowledges it, and its publisher hears the outcome.

use super::*;

const ACK: &str = "Tg-Ack: 60\r\n";

pub(super) fn play(stage: &mut Stage, way: Way) -> Cell {
    match way {
        Way::User | Way::Connection => {
            it_comes_until_it_is_acknowledged(stage, way);
            Cell::Holds
        }
        Way::Plain | Way::Wildcard | Way::Queue | Way::Service | Way::Reply | Way::Thread => {
            it_comes_once(stage, way);
            Cell::DoesNotApply("workers are asked with a request; the header is passed on, and means nothing")
        }
        Way::Request => {
            it_comes_once(stage, way);
            Cell::DoesNotApply("a result is kept, and read as often as its client likes")
        }
        Way::Client | Way::Http => {
            it_comes_once(stage, way);
            Cell::DoesNotApply("a channel has positions: its clients come back with theirs instead")
        }
    }
}

fn id_of(heard: &str) -> Option<String> {
    let (_, rest) = heard.split_once("{\"tg\":\"message\",\"id\":\"")?;
    rest.split('"').next().map(str::to_owned)
}

fn it_comes_until_it_is_acknowledged(stage: &mut Stage, way: Way) {
    let mut ear = stage.join(way);
    let subject = ear.subject.clone();
    assert_eq!(stage.asked(&subject, ACK, "m1"), "", "no outcome yet");
    let id = id_of(&ear.hear()).expect("a message with an id");
    stage.bench.run_for(6 * SECOND);
    let again = ear.hear();
    assert_eq!((id_of(&again).as_ref(), ear::marks(&again).len()), (Some(&id), 1), "again, the same");
    for _ in 0..2 {
        ear.peer().say(text(format!("{{\"tg\":\"ack\",\"id\":\"{id}\"}}").as_bytes()));
    }
    stage.wait();
    let heard = stage.hear_asker();
    assert_eq!(heard.matches("NATS/1.0 200 Acknowledged").count(), 1, "once: {heard:?}");
    stage.bench.run_for(12 * SECOND);
    assert_eq!((ear.hear(), stage.hear_asker()), Default::default());
    // By an in-process worker, without an outcome.
    stage.say(Voice::Thread, &subject, Some(("Tg-Ack", "60")), "m2");
    let id = id_of(&ear.hear()).expect("a message with an id");
    ear.peer().say(text(format!("{{\"tg\":\"ack\",\"id\":\"{id}\"}}").as_bytes()));
    stage.bench.run_for(12 * SECOND);
    assert_eq!(ear.hear(), "");
}

fn it_comes_once(stage: &mut Stage, way: Way) {
    let mut ear = stage.join(way);
    let subject = ear.subject.clone();
    stage.bench.run_for(SECOND);
    let heard = stage.asked(&subject, ACK, "m1");
    assert!(!heard.contains("NATS/1.0"), "no outcome: {heard:?}");
    assert_eq!(ear.marks(), ["m1"]);
    stage.bench.run_for(12 * SECOND);
    assert_eq!((ear.marks().len(), stage.hear_asker()), (0, String::new()), "not again, and no outcome");
}
