//! Presence, as the owner of a channel reports it, against the clients that are there.

use serde_json::{Value, json};

use super::centrifuge::{Client, settings as settings_of_the_protocol};
use super::seeds::seeds;
use super::*;
use crate::base::{Address, mix};
use crate::mesh::presence::PresenceMail;
use crate::proto::channel::{Keep, Rule, Rules};
use crate::proto::presence::Present;
use crate::proto::subject::{Pattern, Subject};
use crate::proto::user::User;
use crate::shard::budget::Budget;

fn settings() -> Settings {
    let mut settings = settings_of_the_protocol();
    let channel = Some(ChannelTemplate::parse("room.{room}").unwrap());
    let user = Some(UserField::Query("user".into()));
    let named = WebSocketRoute { channel, user, ..WebSocketRoute::default() };
    add_routes(&mut settings, [route("/named/{room}", RouteTarget::WebSocket(named))]);
    let rule = Rule { has_presence: true, ..Rule::default() };
    let keep = Keep { messages: 9, bytes: 9_999, age: 60 * SECOND };
    let patient = Rule { presence_grace: GRACE, history: Some(keep), ..rule.clone() };
    // `room.n1` has none.
    let rules = [("room.0", &rule), ("room.1", &rule), ("room.2", &rule), ("room.patient.*", &patient)];
    settings.generation_mut().channels =
        Arc::new(Rules::new(rules.map(|(name, rule)| (Pattern::new(name).unwrap(), rule.clone()))));
    add_routes(
        &mut settings,
        [route(
            "/patient/{room}",
            RouteTarget::WebSocket(WebSocketRoute {
                channel: Some(ChannelTemplate::parse("room.patient.{room}").unwrap()),
                user: Some(UserField::Query("user".into())),
                ..WebSocketRoute::default()
            }),
        )],
    );
    settings
}

const GRACE: Duration = Duration::from_secs(3);

fn ask(bench: &mut Bench, shard: u16, path: &str) -> String {
    let mut peer = bench.connect(shard, ADMIN);
    peer.say(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    bench.run_for(SECOND / 10);
    peer.hear()
}

fn get_from(bench: &mut Bench, shard: u16, path: &str) -> Value {
    let heard = ask(bench, shard, path);
    serde_json::from_str(heard.split_once("\r\n\r\n").expect("an answer").1).expect("JSON")
}

fn get(bench: &mut Bench, shard: u16, channel: &str) -> Value {
    get_from(bench, shard, &format!("/api/channels/{channel}/presence"))
}

/// A worker that is told of all joins and leaves.
fn watcher(bench: &mut Bench, shard: u16) -> Peer {
    let mut worker = bench.connect(shard, BUS);
    worker.say("CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB tg.event.> 1\r\n");
    bench.run_for(SECOND);
    worker.hear();
    worker
}

/// The joins and leaves that a worker was told of: the change, and the name.
fn changes(worker: &mut Peer) -> Vec<(String, String)> {
    let heard = worker.hear();
    let lines: Vec<&str> = heard.lines().collect();
    let mut changes = Vec::new();
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("HMSG tg.event.")) {
        let change = line.split(['.', ' ']).nth(3).unwrap().to_owned();
        let said = lines[index..].iter().find(|line| line.starts_with('{')).unwrap();
        let said: Value = serde_json::from_str(said).unwrap();
        changes.push((change, said["user"].as_str().unwrap_or_default().to_owned()));
    }
    changes
}

fn change(change: &str, user: &str) -> (String, String) {
    (change.to_owned(), user.to_owned())
}

#[test]
fn a_user_is_announced_once_and_has_left_when_the_last_connection_is_gone_and_the_grace_over() {
    for shards in 1..=4 {
        let mut bench = Bench::new(shards, settings());
        let mut worker = watcher(&mut bench, 0);
        let first = bench.open(0, "/patient/1?user=ann");
        let second = bench.open(shards - 1, "/patient/1?user=ann");
        drop(first);
        bench.run_for(2 * GRACE);
        assert_eq!(changes(&mut worker), [change("join", "ann")], "{shards} shards");
        drop(second);
        bench.run_for(GRACE - SECOND);
        let roster = get(&mut bench, 0, "room.patient.1");
        assert_eq!((&roster["clients"], &roster["present"][0]["away"]), (&json!(1), &json!(true)));
        let third = bench.open(shards - 1, "/patient/1?user=ann");
        bench.run_for(2 * GRACE);
        assert_eq!(changes(&mut worker), [], "a reconnect makes no noise");
        drop(third);
        bench.run_for(GRACE + SECOND);
        assert_eq!(changes(&mut worker), [change("leave", "ann")]);
        let _fourth = bench.open(0, "/patient/1?user=ann");
        bench.run_for(SECOND);
        assert_eq!(changes(&mut worker), [change("join", "ann")]);
        let counters = &bench.core(0).desk.counters;
        let sum = |read: fn(&Counters) -> u64| counters.iter().map(read).sum::<u64>();
        assert_eq!((sum(|c| c.joins.value()), sum(|c| c.leaves.value()), sum(|c| c.returns.value())), (2, 1, 1));
    }
}

#[test]
fn a_client_without_a_name_is_announced_and_leaves_at_once() {
    let mut bench = Bench::new(2, settings());
    let mut worker = watcher(&mut bench, 1);
    let stream = bench.open(0, "/sse/1");
    drop(stream);
    // A client that has ended its half may still read; that it does not is detected.
    bench.run_for(limits::HALF_CLOSE_PROBE + SECOND / 10);
    assert_eq!(changes(&mut worker), [change("join", ""), change("leave", "")]);
}

#[test]
fn clients_that_ask_for_it_hear_who_comes_and_goes_after_their_answer() {
    for shards in 1..=4 {
        let mut bench = Bench::new(shards, settings());
        let (mut client, _) = Client::connected(&mut bench, "/open", json!({}));
        let (mut deaf, _) = Client::connected(&mut bench, "/open", json!({}));
        let subscribe =
            |id: u32, channel: &str| json!({"id": id, "subscribe": {"channel": channel, "join_leave": true}});
        client.say(&[subscribe(2, "room.patient.1"), subscribe(3, "room.n1"), subscribe(4, "room.1")]);
        deaf.say(&[json!({"id": 2, "subscribe": {"channel": "room.patient.1"}})]);
        bench.run_for(SECOND);
        let answers: Vec<_> = client.texts().iter().filter_map(|said| said["id"].as_u64()).collect();
        assert_eq!(answers, [2, 3, 4]);
        let ann = bench.open(shards - 1, "/patient/1?user=ann");
        let _bob = bench.open(0, "/named/n1?user=bob");
        bench.run_for(SECOND);
        drop(ann);
        bench.run_for(GRACE + SECOND);
        let said = client.texts();
        let said: Vec<&Value> = said.iter().map(|said| &said["push"]).filter(|push| !push.is_null()).collect();
        assert_eq!(said.len(), 2, "{shards} shards: {said:?}");
        let (join, leave) = (&said[0]["join"]["info"], &said[1]["leave"]["info"]);
        assert_eq!((&join["user"], &leave["user"], &join["client"]), (&json!("ann"), &json!("ann"), &leave["client"]));
        assert!(said.iter().all(|push| push["channel"] == "room.patient.1"));
        assert!(deaf.texts().iter().all(|said| said["push"].is_null()), "it has not asked");
        let before: usize = (0..shards).map(|shard| bench.census(shard.into()).subscriptions).sum();
        client.say(&[json!({"id": 9, "unsubscribe": {"channel": "room.patient.1"}})]);
        bench.run_for(SECOND);
        let after: usize = (0..shards).map(|shard| bench.census(shard.into()).subscriptions).sum();
        assert_eq!(before - after, 2, "the channel, and its joins and leaves");
    }
}

/// Large enough for rounds of many turns ([`watchers_in_small_turns`]).
const WATCHERS: usize = 60;

/// Clients that watch `room.1`, and a shard that gives an event to a few of them in each turn.
fn watchers_in_small_turns() -> (Bench, Vec<Client>) {
    let mut bench = Bench::new(1, settings());
    let subscribe = json!({"id": 2, "subscribe": {"channel": "room.1", "join_leave": true}});
    let mut watch = || {
        let (client, _) = Client::connected(&mut bench, "/open", json!({}));
        client.say(std::slice::from_ref(&subscribe));
        client
    };
    let mut clients: Vec<Client> = (0..WATCHERS).map(|_| watch()).collect();
    bench.run_for(SECOND);
    clients.iter_mut().for_each(|client| assert!(!client.texts().is_empty()));
    let small = Budget { share: 8, fan_out_at_once: 4, ..Budget::default() };
    bench.shards.iter_mut().flatten().for_each(|shard| shard.core.desk.meter.budget = small);
    (bench, clients)
}

/// The connection of a client that is somewhere else: its joins and leaves are announced, and that is all of it.
fn somewhere_else(slot: u32) -> ConnId {
    ConnId::new(None, Address { place: Place(0), key: Key { slot: 1_000 + slot, generation: 0 } })
}

/// A client without a name comes, and perhaps goes at once; then the shard has a turn.
fn visit(bench: &mut Bench, slot: u32, goes: bool) {
    let channel = Subject::new("room.1").unwrap();
    let conn = somewhere_else(slot);
    let Core { features, desk, .. } = &mut bench.shards[0].as_mut().unwrap().core;
    let present = Box::new(Present { conn, user: None, info: None, since: 0 });
    features.presence.read(desk, PresenceMail::Arrive { channel: channel.clone(), present });
    if goes {
        features.presence.read(desk, PresenceMail::Depart { channel, conn: conn.address() });
    }
    bench.turn(0);
}

/// The joins, leaves and lists that a client has heard: the visitor's slot, or the number of visitors on the list.
fn news(client: &mut Client) -> Vec<(&'static str, usize)> {
    let slot = |info: &Value| (0..).find(|slot| info["client"] == somewhere_else(*slot).to_string()).unwrap() as usize;
    let mut news = Vec::new();
    for said in client.texts() {
        let push = &said["push"];
        if let Some(present) = said["presence"]["presence"].as_object() {
            news.push(("list", present.len() - WATCHERS));
        } else if !push["join"].is_null() {
            news.push(("join", slot(&push["join"]["info"])));
        } else if !push["leave"].is_null() {
            news.push(("leave", slot(&push["leave"]["info"])));
        }
    }
    news
}

#[test]
fn a_leave_does_not_overtake_its_join_on_the_way_to_many() {
    let (mut bench, mut watchers) = watchers_in_small_turns();
    visit(&mut bench, 0, false);
    // The join waits for the round of the first one, which has begun.
    visit(&mut bench, 1, true);
    assert!(bench.core(0).desk.subscribers.is_spreading());
    bench.run_for(SECOND);
    for watcher in &mut watchers {
        assert_eq!(news(watcher), [("join", 0), ("join", 1), ("leave", 1)]);
    }
}

#[test]
fn a_list_follows_the_changes_that_it_has() {
    let (mut bench, mut watchers) = watchers_in_small_turns();
    visit(&mut bench, 0, false);
    visit(&mut bench, 1, true);
    // Rounds come to the first client last.
    let asker = &mut watchers[0];
    asker.say(&[json!({"id": 3, "presence": {"channel": "room.1"}})]);
    let mut heard = Vec::new();
    while heard.is_empty() {
        assert!(bench.core(0).desk.subscribers.is_spreading(), "the answer comes before the rounds are over");
        bench.turn(0);
        let now = bench.world.now();
        bench.world.advance_to(now + Duration::from_micros(100));
        heard = news(asker);
    }
    assert_eq!(heard, [("join", 0), ("join", 1), ("leave", 1), ("list", 1)]);
    bench.run_for(SECOND);
    assert_eq!(news(asker), [], "nothing comes twice");
}

#[test]
fn a_user_is_found_wherever_it_is_connected() {
    for shards in 1..=4 {
        let mut bench = Bench::new(shards, settings());
        let _first = bench.open(0, "/named/1?user=ann");
        let _second = bench.open(shards - 1, "/patient/7?user=ann");
        let _other = bench.open(0, "/named/1?user=bob");
        let found = get_from(&mut bench, shards - 1, "/api/users/ann");
        assert_eq!((&found["user"], &found["connections"]), (&json!("ann"), &json!(2)));
        let connected = found["connected"].as_array().unwrap();
        let routes: Vec<_> = connected.iter().map(|connected| &connected["route"]).collect();
        assert_eq!(routes, ["/named/{room}", "/patient/{room}"]);
        assert_eq!((&connected[0]["shard"], &connected[1]["shard"]), (&json!(0), &json!(shards - 1)));
        for connected in connected {
            assert!(connected["since"].as_u64() > Some(0) && connected["peer"].as_str().unwrap().contains(':'));
            assert_eq!(connected["conn"].as_str().unwrap().len(), 16);
        }
        assert_eq!(get_from(&mut bench, 0, "/api/users/nobody")["connected"], json!([]));
        let _third = bench.open(0, "/patient/7?user=ann%40example.org");
        for path in ["/api/users/ann@example.org", "/api/users/ann%40example%2Eorg"] {
            let found = get_from(&mut bench, shards - 1, path);
            assert_eq!((&found["user"], &found["connections"]), (&json!("ann@example.org"), &json!(1)), "{path}");
        }
        for bad in ["/api/users/a%0Ab", "/api/users/", &format!("/api/users/{}", "x".repeat(249))] {
            assert!(ask(&mut bench, 0, bad).starts_with("HTTP/1.1 400"), "{bad}");
        }
        assert!(ask(&mut bench, 0, "/api/users").starts_with("HTTP/1.1 404"));
    }
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

/// The rooms' lists, by name; a room without a list has an empty one.
fn listed(bench: &Bench, room: usize) -> Vec<String> {
    let channel = Subject::new(&format!("room.{room}")).unwrap();
    let owner = owner_of(channel.as_str(), bench.shards.len() as u16);
    let core = bench.core(owner.index());
    let roster = core.features.presence.roster(&core.desk, &channel).expect("its rule asks for it");
    assert_eq!(roster.clients, roster.listed.len());
    let mut names: Vec<_> =
        roster.listed.iter().map(|present| present.user.as_ref().map_or("", User::token).to_owned()).collect();
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
    bench.run_for(limits::HALF_CLOSE_PROBE + SECOND);
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
    for seed in seeds(0..40) {
        come_and_go(seed, 1 + (seed % 4) as u16);
    }
}
