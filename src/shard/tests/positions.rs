//! Where clients of the client protocol say that they stand, and what they hear of what came after that.

use serde_json::{Value, json};

use super::centrifuge::{Client, settings};
use super::*;
use crate::conn::route::CentrifugeRoute;

/// Two messages on a channel that keeps three.
fn bench(shards: u16) -> Bench {
    let mut settings = settings();
    let side = vec![ChannelTemplate::parse("room.kept.1").unwrap()];
    let target = CentrifugeRoute { server_side: side, ..CentrifugeRoute::default() };
    add_routes(&mut settings, [route("/side", RouteTarget::Centrifuge(Box::new(target)))]);
    let mut bench = Bench::new(shards, settings);
    let publisher = bench.connect(0, BUS);
    publisher.say("PUB room.kept.1 1\r\n1\r\nPUB room.kept.1 1\r\n2\r\n");
    bench.run_for(SECOND / 10);
    bench
}

fn subscribed(bench: &mut Bench, position: Value) -> Value {
    let mut subscribe = json!({"channel": "room.kept.1", "recover": true});
    subscribe.as_object_mut().unwrap().extend(position.as_object().unwrap().clone());
    let (mut client, _) = Client::connected(bench, "/open", json!({}));
    client.say(&[json!({"id": 2, "subscribe": subscribe})]);
    bench.run_for(SECOND / 10);
    client.texts().remove(0)["subscribe"].clone()
}

fn data(publications: &Value) -> Vec<Value> {
    publications.as_array().map(Vec::as_slice).unwrap_or_default().iter().map(|own| own["data"].clone()).collect()
}

#[test]
fn an_epoch_that_is_empty_or_not_said_is_any() {
    for shards in [1, 2] {
        let mut bench = bench(shards);
        for (position, expected) in [
            (json!({"offset": 0, "epoch": ""}), &[1, 2][..]),
            (json!({"offset": 0}), &[1, 2]),
            (json!({"epoch": ""}), &[1, 2]),
            (json!({"epoch": null, "offset": null}), &[1, 2]),
            (json!({}), &[1, 2]),
            (json!({"offset": 1, "epoch": ""}), &[2]),
            (json!({"offset": 2, "epoch": ""}), &[]),
        ] {
            let reply = subscribed(&mut bench, position.clone());
            assert_eq!((&reply["was_recovering"], &reply["recovered"]), (&json!(true), &json!(true)), "{position}");
            assert_eq!(data(&reply["publications"]), *expected, "{position}");
            assert_eq!(reply["data"], Value::Null, "{position}");
        }
        let reply = subscribed(&mut bench, json!({"offset": 3, "epoch": ""}));
        assert_eq!((&reply["recovered"], &reply["data"]["gap"]["reason"]), (&Value::Null, &json!("future")));
        let publisher = bench.connect(0, BUS);
        publisher.say("PUB room.kept.1 1\r\n3\r\nPUB room.kept.1 1\r\n4\r\n");
        bench.run_for(SECOND / 10);
        let reply = subscribed(&mut bench, json!({"offset": 0, "epoch": ""}));
        assert_eq!((&reply["recovered"], &reply["data"]["gap"]["reason"]), (&Value::Null, &json!("gone")));
        assert_eq!(data(&reply["publications"]), [2, 3, 4]);
    }
}

#[test]
fn history_takes_an_empty_epoch_as_well() {
    let mut bench = bench(2);
    let (mut client, _) = Client::connected(&mut bench, "/open", json!({}));
    for (since, is_reverse, expected) in [
        (json!({"offset": 0, "epoch": ""}), false, &[1, 2][..]),
        (json!({"offset": 1}), false, &[2]),
        (json!({"offset": 2, "epoch": ""}), true, &[1]),
    ] {
        let history = json!({"channel": "room.kept.1", "limit": 9, "since": since, "reverse": is_reverse});
        client.say(&[json!({"id": 2, "history": history})]);
        bench.run_for(SECOND / 10);
        assert_eq!(data(&client.texts()[0]["history"]["publications"]), *expected, "{since}");
    }
    let history = json!({"channel": "room.kept.1", "limit": 9, "since": {"offset": 3, "epoch": ""}});
    client.say(&[json!({"id": 2, "history": history})]);
    bench.run_for(SECOND / 10);
    assert_eq!(client.texts()[0]["error"]["code"], 112);
}

#[test]
fn what_is_kept_behind_a_gap_follows_the_answer_to_connect() {
    for shards in [1, 2] {
        let mut bench = bench(shards);
        // Of the epoch before a restart.
        let subs = json!({"room.kept.1": {"recover": true, "epoch": "00000001", "offset": 7}});
        let mut client = Client::open(&mut bench, "/side");
        client.say(&[json!({"id": 1, "connect": {"subs": subs}})]);
        bench.run_for(SECOND / 10);
        let mut said = client.texts();
        let answer = said.remove(0);
        let side = &answer["connect"]["subs"]["room.kept.1"];
        assert_eq!((&side["was_recovering"], &side["recovered"]), (&json!(true), &Value::Null));
        assert_eq!((&side["data"]["gap"]["reason"], &side["publications"]), (&json!("epoch"), &Value::Null));
        assert_eq!(side["offset"], Value::Null, "each publication moves it on");
        let publisher = bench.connect(0, BUS);
        publisher.say("PUB room.kept.1 1\r\n3\r\n");
        bench.run_for(SECOND / 10);
        said.extend(client.texts());
        let heard: Vec<_> = said.iter().map(|said| &said["push"]["pub"]).collect();
        assert_eq!(
            heard,
            [&json!({"data": 1, "offset": 1}), &json!({"data": 2, "offset": 2}), &json!({"data": 3, "offset": 3})]
        );
    }
}
