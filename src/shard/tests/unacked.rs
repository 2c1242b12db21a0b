//! Messages that clients have to acknowledge, by the clock and across shards: each has one outcome, whatever the clients do.

use super::*;

const ACKNOWLEDGED: &str = "NATS/1.0 200 Acknowledged\r\n";
const EXPIRED: &str = "NATS/1.0 408 Request Timeout\r\n";
const GONE: &str = "NATS/1.0 410 Gone\r\n";
const NOT_TAKEN: &str = "NATS/1.0 503\r\n";

fn settings() -> Settings {
    let mut settings = super::settings();
    // No client here answers pings.
    settings.generation_mut().ping_interval = 1_000 * SECOND;
    let target = |control| {
        let user = Some(UserField::Query("user".into()));
        RouteTarget::WebSocket(WebSocketRoute { user, control, ..WebSocketRoute::default() })
    };
    add_routes(&mut settings, [route("/control", target(true))]);
    add_routes(&mut settings, [route("/raw", target(false))]);
    settings
}

/// A worker with an inbox.
fn worker(bench: &mut Bench, shard: u16) -> Peer {
    let mut worker = bench.connect(shard, BUS);
    worker.say("CONNECT {\"headers\":true,\"no_responders\":true,\"verbose\":false}\r\nSUB acks.> 1\r\nPING\r\n");
    bench.run_for(SECOND / 10);
    assert!(worker.hear().ends_with("PONG\r\n"));
    worker
}

fn publish(bench: &mut Bench, worker: &Peer, subject: &str, ack: &str) {
    let headers = format!("NATS/1.0\r\nTg-Ack: {ack}\r\n\r\n");
    worker.say(format!("HPUB {subject} acks.1 {} {}\r\n{headers}[1]\r\n", headers.len(), headers.len() + 3));
    bench.run_for(SECOND / 10);
}

fn ack(bench: &mut Bench, client: &Peer, id: &str) {
    client.say(text(format!("{{\"tg\":\"ack\",\"id\":\"{id}\"}}").as_bytes()));
    bench.run_for(SECOND / 10);
}

/// The ids of the messages that a client has heard, and nothing besides.
fn messages(client: &mut Peer) -> Vec<String> {
    let heard = client.hear();
    let said = heard.split("{\"tg\":").skip(1);
    let ids = said.map(|said| {
        let rest = said.strip_prefix("\"message\",\"id\":\"").unwrap_or_else(|| panic!("no message: {heard}"));
        let (id, rest) = rest.split_once('"').unwrap();
        assert!(rest.starts_with(",\"data\":[1]}"), "{heard}");
        id.to_owned()
    });
    ids.collect()
}

fn message(client: &mut Peer) -> String {
    let mut messages = messages(client);
    assert_eq!(messages.len(), 1, "{messages:?}");
    messages.remove(0)
}

/// A client that comes, and what has waited for it.
fn come(bench: &mut Bench, shard: u16, path: &str) -> (Peer, Vec<String>) {
    let mut client = bench.connect(shard, 0);
    client.say(request(path));
    bench.run_for(SECOND / 10);
    let waiting = messages(&mut client);
    (client, waiting)
}

/// The one outcome that has come.
fn outcome(worker: &mut Peer) -> String {
    let heard = worker.hear();
    assert!(heard.starts_with("HMSG acks.1 1 ") && heard.matches("MSG ").count() == 1, "{heard}");
    heard
}

fn assert_quiet(bench: &Bench) {
    for shard in 0..bench.shards.len() {
        let Census { unacked, backlog, .. } = bench.census(shard);
        assert_eq!((unacked, backlog), (0, 0), "shard {shard}");
    }
}

fn count(bench: &Bench, read: impl Fn(&Counters) -> u64) -> u64 {
    (0..bench.shards.len()).map(|shard| read(bench.core(shard).desk.counters())).sum()
}

/// A user whose home is that shard of two.
fn user_of(home: u16) -> String {
    (0..).map(|n| format!("u{n}")).find(|user| owner_of(&format!("tg.user.{user}"), 2).0 == home).unwrap()
}

#[test]
fn any_of_a_users_connections_acknowledges() {
    for home in 0..2 {
        let user = user_of(home);
        let mut bench = Bench::new(2, settings());
        let mut worker = worker(&mut bench, 0);
        let paths = ["/control", "/control", "/raw"].map(|path| format!("{path}?user={user}"));
        let mut clients = [0, 1, 1].map(|index| bench.open(index as u16, &paths[index]));
        let mut raw = bench.open(1, &paths[2]);
        publish(&mut bench, &worker, &format!("tg.user.{user}"), "60");
        let ids: Vec<String> = clients[..2].iter_mut().map(message).collect();
        assert_eq!(ids[0], ids[1], "one message");
        assert!(raw.hear().ends_with("[1]"), "whoever cannot acknowledge gets it as it is");
        ack(&mut bench, &clients[1], &ids[0]);
        let heard = outcome(&mut worker);
        assert!(heard.contains(ACKNOWLEDGED) && heard.contains(&format!("\r\nTg-User: {user}\r\n")), "{heard}");
        for client in &clients[..2] {
            ack(&mut bench, client, &ids[0]);
        }
        bench.run_for(100 * SECOND);
        assert_eq!(worker.hear() + &raw.hear(), "");
        assert!(clients[..2].iter_mut().all(|client| messages(client).is_empty()));
        assert_eq!(count(&bench, |counters| counters.acks_stray.value()), 2);
        assert_eq!(count(&bench, |counters| counters.unacked_acknowledged.value()), 1);
        assert_quiet(&bench);
    }
}

#[test]
fn what_nobody_has_acknowledged_waits_for_the_next_connection() {
    for (home, shard) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let user = user_of(home);
        let mut bench = Bench::new(2, settings());
        let mut worker = worker(&mut bench, 0);
        for _ in 0..3 {
            publish(&mut bench, &worker, &format!("tg.user.{user}"), "60");
        }
        let mut raw = bench.open(shard, &format!("/raw?user={user}"));
        bench.run_for(SECOND);
        assert_eq!(raw.hear(), "", "it could not acknowledge");
        let path = format!("/control?user={user}");
        let (cut, ids) = come(&mut bench, shard, &path);
        assert_eq!(ids.len(), 3);
        cut.end.shutdown_write();
        bench.run_for(SECOND / 10);
        let (next, again) = come(&mut bench, 1 - shard, &path);
        assert_eq!(again, ids, "in order, and with the same ids");
        for id in &ids {
            ack(&mut bench, &next, id);
            assert!(outcome(&mut worker).contains(ACKNOWLEDGED));
        }
        assert!(come(&mut bench, shard, &path).1.is_empty());
        assert_eq!(count(&bench, |counters| counters.unacked_resent.value()), 3);
        assert_quiet(&bench);
    }
}

#[test]
fn an_acknowledgement_may_come_before_the_message_comes_again() {
    let mut bench = Bench::new(2, settings());
    let mut worker = worker(&mut bench, 0);
    let mut cut = bench.open(0, "/control?user=ann");
    publish(&mut bench, &worker, "tg.user.ann", "60");
    let id = message(&mut cut);
    drop(cut);
    let next = bench.connect(1, 0);
    next.say(request("/control?user=ann"));
    ack(&mut bench, &next, &id);
    assert!(outcome(&mut worker).contains(ACKNOWLEDGED));
    assert_quiet(&bench);
}

#[test]
fn it_is_sent_again_until_the_time_or_the_count_is_over() {
    for (header, times, seconds) in [("60", 4, 60), ("60, 2", 2, 15), ("60, 1", 1, 5), ("3", 1, 3)] {
        let mut bench = Bench::new(2, settings());
        let mut worker = worker(&mut bench, 0);
        let mut client = bench.open(1, "/control?user=ann");
        publish(&mut bench, &worker, "tg.user.ann", header);
        bench.run_for(SECOND * seconds - SECOND / 5);
        assert_eq!(worker.hear(), "", "{header}");
        bench.run_for(SECOND / 5);
        assert!(outcome(&mut worker).contains(EXPIRED), "{header}");
        let ids = messages(&mut client);
        assert_eq!(ids.len(), times, "{header}");
        ack(&mut bench, &client, &ids[0]);
        assert!(ids.iter().all(|id| *id == ids[0]) && worker.hear().is_empty());
        assert_eq!(count(&bench, |counters| counters.unacked_expired.value()), 1);
        assert_quiet(&bench);
    }
}

#[test]
fn what_is_for_one_connection_ends_with_it() {
    let mut bench = Bench::new(2, settings());
    let mut worker = worker(&mut bench, 0);
    for (path, words) in [("/control?user=ann", GONE), ("/raw?user=ann", NOT_TAKEN)] {
        let mut client = bench.open(1, path);
        let core = bench.core(1);
        let key = core.desk.slots.keys().next().unwrap();
        let subject = format!("tg.conn.{}", conn_id(core, key));
        publish(&mut bench, &worker, &subject, "60");
        if words == GONE {
            let id = message(&mut client);
            ack(&mut bench, &client, &id);
            assert!(outcome(&mut worker).contains(ACKNOWLEDGED));
            publish(&mut bench, &worker, &subject.to_uppercase().replace("TG.CONN", "tg.conn"), "60");
            message(&mut client);
            client.end.shutdown_write();
            bench.run_for(SECOND);
        } else {
            assert!(client.hear().ends_with("[1]"));
            client.end.shutdown_write();
        }
        assert!(outcome(&mut worker).contains(words));
        bench.run_for(SECOND);
        publish(&mut bench, &worker, &subject, "60");
        assert!(outcome(&mut worker).contains(NOT_TAKEN));
        assert_quiet(&bench);
    }
}

#[test]
fn an_acknowledgement_of_somebody_elses_message_is_nothing() {
    let mut bench = Bench::new(2, settings());
    let mut worker = worker(&mut bench, 0);
    let mut ann = bench.open(0, "/control?user=ann");
    let mut strangers = [bench.open(1, "/control?user=eve"), bench.open(0, "/control?user=zoe")];
    publish(&mut bench, &worker, "tg.user.ann", "60");
    let id = message(&mut ann);
    for stranger in &strangers {
        for id in [&*id, "ffffffffffffffff", "0000000000000000", "nonsense"] {
            let text = text(format!("{{\"tg\":\"ack\",\"id\":\"{id}\"}}").as_bytes());
            stranger.say(text.repeat(250));
            bench.run_for(SECOND / 10);
        }
    }
    assert_eq!(worker.hear(), "");
    assert_eq!(count(&bench, |counters| counters.acks_stray.value()), 2_000);
    assert!(strangers.iter_mut().all(|stranger| stranger.hear().is_empty() && !stranger.is_at_end()));
    ack(&mut bench, &ann, &id);
    assert!(outcome(&mut worker).contains(ACKNOWLEDGED));
}

#[test]
fn too_much_is_refused_at_once_and_so_is_what_is_not_understood() {
    let mut bench = Bench::new(2, settings());
    let mut worker = worker(&mut bench, 0);
    let mut client = bench.open(0, "/control?user=eve");
    publish(&mut bench, &worker, "tg.user.eve", "soon");
    assert!(outcome(&mut worker).contains("NATS/1.0 400 Bad Request\r\n"));
    assert_eq!(client.hear(), "");
    for _ in 0..limits::UNACKED_PER_CLIENT_MAX {
        publish(&mut bench, &worker, "tg.user.ann", "1000");
    }
    assert_eq!(worker.hear(), "");
    publish(&mut bench, &worker, "tg.user.ann", "1000");
    assert!(outcome(&mut worker).contains("NATS/1.0 429 Too Many Messages\r\n"));
    assert_eq!(count(&bench, |counters| counters.unacked_refused.value()), 2);
    // All that is for a user goes out to it at once, and does not make it slow.
    let (_client, waiting) = come(&mut bench, 0, "/control?user=ann");
    assert_eq!(waiting.len(), limits::UNACKED_PER_CLIENT_MAX);
    assert_eq!(bench.closed(0, CloseReason::SlowConsumer), 0);
}

#[test]
fn whoever_does_not_read_is_not_sent_the_same_over_and_over() {
    let mut settings = settings();
    settings.generation_mut().send_timeout = 1_000 * SECOND;
    let mut bench = Bench::new(1, settings);
    let mut worker = worker(&mut bench, 0);
    let client = bench.open(0, "/control?user=ann");
    let filler = "x".repeat(40_000);
    for _ in 0..10 {
        worker.say(format!("PUB tg.user.ann {}\r\n{filler}\r\n", filler.len()));
        bench.run_for(SECOND / 10);
    }
    let waiting = bench.census(0).waiting_most;
    assert!(waiting > limits::OUTBOX_BYTES_PAUSE);
    publish(&mut bench, &worker, "tg.user.ann", "100");
    bench.run_for(95 * SECOND);
    assert!(bench.census(0).waiting_most < waiting + 200, "sent once");
    bench.run_for(10 * SECOND);
    assert!(outcome(&mut worker).contains(EXPIRED));
    drop(client);
}

#[test]
fn a_drain_leaves_no_message_without_an_outcome() {
    for shards in 1..=3 {
        let mut bench = Bench::new(shards, settings());
        let mut worker = worker(&mut bench, 0);
        let mut clients: Vec<Peer> = (0..shards).map(|shard| bench.open(shard, "/control?user=ann")).collect();
        for user in ["ann", "bob", "eve", "zoe"] {
            publish(&mut bench, &worker, &format!("tg.user.{user}"), "60");
        }
        bench.drain();
        publish(&mut bench, &worker, "tg.user.ann", "60");
        bench.run_for(2 * limits::CLOSE_TIMEOUT + SECOND);
        assert_eq!(worker.hear().matches(NOT_TAKEN).count(), 5);
        clients.iter_mut().for_each(|client| assert!(client.is_at_end()));
        drop(worker);
        bench.run_for(limits::DRAIN_GRACE);
        assert!(bench.is_over());
    }
}

#[test]
fn whoever_publishes_without_a_reply_subject_hears_nothing() {
    let mut bench = Bench::new(1, settings());
    let mut worker = worker(&mut bench, 0);
    let mut client = bench.open(0, "/control?user=ann");
    worker.say("HPUB tg.user.ann 24 27\r\nNATS/1.0\r\nTg-Ack: 60\r\n\r\n[1]\r\n");
    bench.run_for(SECOND / 10);
    let id = message(&mut client);
    ack(&mut bench, &client, &id);
    assert_eq!((worker.hear(), count(&bench, |counters| counters.unacked_acknowledged.value())), (String::new(), 1));
    assert_quiet(&bench);
}
