//! Who is there, as the owner of a channel tells it, and who is there.

use serde_json::{Value, json};

use super::centrifuge::{Client, settings as settings_of_the_protocol};
use super::*;
use crate::hub::mix;
use crate::proto::channel::{Rule, Rules};
use crate::proto::subject::{Pattern, Subject};

fn settings() -> Settings {
    let mut settings = settings_of_the_protocol();
    let channel = Some(ChannelTemplate::parse("room.{room}").unwrap());
    let user = Some(UserSource::Query("user".into()));
    let named = WebSocketTarget { channel, publish: false, service: None, user, control: false };
    settings.routes.push(route("/named/{room}", Target::WebSocket(named)));
    let rule = Rule { has_presence: true, ..Rule::default() };
    // `room.n1` has none.
    let rules = ["0", "1", "2"].map(|room| (Pattern::new(&format!("room.{room}")).unwrap(), rule.clone()));
    settings.channels = Arc::new(Rules::new(rules));
    settings
}

fn get(bench: &mut Bench, shard: u16, channel: &str) -> Value {
    let mut peer = bench.connect(shard, ADMIN);
    peer.say(format!("GET /api/channels/{channel}/presence HTTP/1.1\r\nHost: a\r\n\r\n"));
    bench.run_for(SECOND / 10);
    let heard = peer.hear();
    serde_json::from_str(heard.split_once("\r\n\r\n").expect("an answer").1).expect("JSON")
}

#[test]
fn everybody_who_may_ask_is_told_who_is_there() {
    for shards in 1..=4 {
        let mut bench = Bench::new(shards, settings());
        let _named = bench.open(shards - 1, "/named/1?user=ann");
        let _stream = bench.open(0, "/sse/1");
        let (mut client, answer) = Client::connected(&mut bench, "/open", json!({}));
        let id = answer["connect"]["client"].as_str().unwrap().to_owned();
        client.say(&[
            json!({"id": 2, "subscribe": {"channel": "room.1"}}),
            json!({"id": 3, "presence": {"channel": "room.1"}}),
            json!({"id": 4, "presence_stats": {"channel": "room.1"}}),
            json!({"id": 5, "presence": {"channel": "room.n1"}}),
        ]);
        let mut worker = bench.connect(shards - 1, BUS);
        worker.say("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB _INBOX.w.* 1\r\nSUB room.1 2\r\n");
        bench.run_for(SECOND);
        worker.hear();
        worker.say("PUB tg.presence.room.1 _INBOX.w.1 0\r\n\r\nPUB tg.presence.room.n1 _INBOX.w.2 0\r\n\r\n");
        bench.run_for(SECOND);

        let answers = client.texts();
        let present = answers[1]["presence"]["presence"].as_object().unwrap();
        assert_eq!(present.len(), 3, "not the worker: {answers:?}");
        assert_eq!(present[&id], json!({"user": "", "client": id}));
        assert!(present.values().any(|present| present["user"] == "ann"));
        assert_eq!(answers[2], json!({"id": 4, "presence_stats": {"num_clients": 3, "num_users": 2}}));
        assert_eq!(answers[3]["error"]["code"], 108);

        let roster = get(&mut bench, 0, "room.1");
        assert_eq!((&roster["clients"], &roster["users"]), (&json!(3), &json!(2)));
        assert!(roster["present"].as_array().unwrap().iter().all(|present| present["since"].is_u64()));
        assert_eq!(get(&mut bench, 0, "room.n1")["clients"], Value::Null);
        let heard = worker.hear();
        let payload = heard.lines().find(|line| line.starts_with('{')).expect("an answer");
        assert_eq!(serde_json::from_str::<Value>(payload).unwrap(), roster);
        assert!(heard.contains("_INBOX.w.2") && heard.contains("503"), "{heard}");
    }
}

/// The rooms' lists, by name: who has none is empty.
fn listed(bench: &Bench, room: usize) -> Vec<String> {
    let channel = Subject::new(&format!("room.{room}")).unwrap();
    let owner = owner_of(channel.as_str(), bench.shards.len() as u16);
    let roster = bench.core(owner.index()).hub.engine.roster(&channel).expect("its rule asks for it");
    assert_eq!(roster.clients, roster.listed.len());
    let mut names: Vec<_> =
        roster.listed.iter().map(|present| present.user.as_deref().unwrap_or_default().to_owned()).collect();
    names.sort();
    names
}

/// Clients come and go, by themselves and by a worker's command, and some are thrown out, for so many steps.
fn come_and_go(seed: u64, shards: u16) {
    let mut bench = Bench::new(shards, settings());
    let worker = bench.connect(0, BUS);
    let mut there: [Vec<(String, Peer)>; 3] = Default::default();
    let mut draws = (0..).map(|step| mix(seed << 32 | step) as usize);
    let mut draw = |count: usize| draws.next().expect("there is always another") % count;
    for _ in 0..24 {
        let (room, shard) = (draw(3), draw(shards.into()) as u16);
        match draw(6) {
            0 => there[room].push((String::new(), bench.open(shard, &format!("/sse/{room}")))),
            1 | 2 => {
                let user = ["ann", "bob", "cid"][draw(3)];
                there[room].push((user.into(), bench.open(shard, &format!("/named/{room}?user={user}"))));
            }
            3 if !there[room].is_empty() => {
                let index = draw(there[room].len());
                there[room].remove(index);
            }
            4 => {
                let user = ["ann", "bob", "cid"][draw(3)];
                worker.say(format!("PUB tg.user.{user}.unsubscribe 6\r\nroom.{room}\r\n"));
                there[room].retain(|(name, _)| name != user);
            }
            _ => {
                let user = ["ann", "bob", "cid"][draw(3)];
                worker.say(format!("PUB tg.user.{user}.close 0\r\n\r\n"));
                there.iter_mut().for_each(|room| room.retain(|(name, _)| name != user));
            }
        }
        bench.run_for(SECOND / 20);
    }
    bench.run_for(SECOND);
    for (room, there) in there.iter().enumerate() {
        let mut names: Vec<_> = there.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        assert_eq!(listed(&bench, room), names, "seed {seed}, {shards} shards, room {room}");
    }
    drop((there, worker));
    bench.run_for(limits::CLOSE_TIMEOUT + SECOND);
    for shard in 0..shards {
        assert_eq!(bench.census(shard.into()), Census::default(), "seed {seed}, {shards} shards");
    }
}

#[test]
fn once_all_is_quiet_the_owner_knows_exactly_who_is_there() {
    let seeds = std::env::var("TIDEGATE_PRESENCE_SEEDS").map_or(40, |seeds| seeds.parse().expect("a number"));
    for seed in 0..seeds {
        come_and_go(seed, 1 + (seed % 4) as u16);
    }
}
