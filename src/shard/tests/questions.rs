//! Questions by the clock and across shards: each has one outcome, whatever the clients do.

use super::*;

const CONNECT: &str = "CONNECT {\"headers\":true,\"no_responders\":true,\"verbose\":false}\r\n";
const GONE: &str = "NATS/1.0 410 Gone\r\n";
const LATE: &str = "NATS/1.0 408 Request Timeout\r\n";
const NOBODY: &str = "NATS/1.0 503\r\n";

fn settings() -> Settings {
    let mut settings = super::settings();
    let target = |control| {
        let user = Some(UserField::Query("user".into()));
        RouteTarget::WebSocket(WebSocketRoute { user, control, ..WebSocketRoute::default() })
    };
    add_routes(&mut settings, [route("/asked", target(true))]);
    add_routes(&mut settings, [route("/raw", target(false))]);
    settings
}

/// A worker with an inbox.
fn worker(bench: &mut Bench, shard: u16) -> Peer {
    let mut worker = bench.connect(shard, BUS);
    worker.say(format!("{CONNECT}SUB _INBOX.> 1\r\nPING\r\n"));
    bench.run_for(SECOND / 10);
    assert!(worker.hear().ends_with("PONG\r\n"));
    worker
}

fn ask(bench: &mut Bench, worker: &Peer, subject: &str, inbox: &str, headers: &str) {
    let headers = format!("NATS/1.0\r\n{headers}\r\n");
    let total = headers.len() + "{\"ride\":7}".len();
    worker.say(format!("HPUB {subject} {inbox} {} {total}\r\n{headers}{{\"ride\":7}}\r\n", headers.len()));
    bench.run_for(SECOND / 10);
}

fn answer(bench: &mut Bench, client: &Peer, id: &str) {
    client.say(text(format!("{{\"tg\":\"answer\",\"id\":\"{id}\",\"data\":[1]}}").as_bytes()));
    bench.run_for(SECOND / 10);
}

/// The id of the one question that a client has heard, and nothing besides.
fn question(client: &mut Peer) -> String {
    let heard = client.hear();
    let (_, rest) =
        heard.split_once("{\"tg\":\"question\",\"id\":\"").unwrap_or_else(|| panic!("no question: {heard}"));
    let (id, rest) = rest.split_once('"').unwrap();
    assert_eq!(rest, ",\"data\":{\"ride\":7}}");
    id.to_owned()
}

/// The one message that has come to an inbox.
fn outcome(worker: &mut Peer, inbox: &str) -> String {
    let heard = worker.hear();
    assert!(heard.starts_with(&format!("HMSG {inbox} 1 ")) && heard.matches("MSG ").count() == 1, "{heard}");
    heard
}

fn assert_quiet(bench: &Bench) {
    for shard in 0..bench.shards.len() {
        let Census { questions, asked, backlog, .. } = bench.census(shard);
        assert_eq!((questions, asked, backlog), (0, 0, 0), "shard {shard}");
    }
}

fn count(bench: &Bench, read: impl Fn(&Counters) -> u64) -> u64 {
    (0..bench.shards.len()).map(|shard| read(bench.core(shard).desk.counters())).sum()
}

#[test]
fn the_first_of_a_users_connections_answers_and_the_others_hear_of_it() {
    for home in 0..2 {
        let user =
            (0..).map(|n| format!("u{n}")).find(|user| owner_of(&format!("tg.user.{user}"), 2).0 == home).unwrap();
        let mut bench = Bench::new(2, settings());
        let mut worker = worker(&mut bench, 0);
        let mut clients: Vec<Peer> =
            [0, 1, 1].iter().map(|shard| bench.open(*shard, &format!("/asked?user={user}"))).collect();
        let mut raw = bench.open(1, &format!("/raw?user={user}"));
        ask(&mut bench, &worker, &format!("tg.user.{user}"), "_INBOX.1", "");
        let ids: Vec<String> = clients.iter_mut().map(question).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "one question: {ids:?}");
        assert!(raw.hear().ends_with("{\"ride\":7}"), "whoever cannot answer gets it as it is");
        answer(&mut bench, &clients[1], &ids[0]);
        let heard = outcome(&mut worker, "_INBOX.1");
        assert!(
            heard.contains(&format!("Tg-User: {user}\r\nTg-User-Name: {user}\r\n\r\n[1]\r\n"))
                && heard.contains("\r\nTg-Conn: "),
            "{heard}"
        );
        for other in [0, 2] {
            assert!(clients[other].hear().ends_with(&format!("{{\"tg\":\"over\",\"id\":\"{}\"}}", ids[0])));
        }
        for client in &clients {
            answer(&mut bench, client, &ids[0]);
        }
        assert_eq!(worker.hear() + &clients[1].hear(), "");
        assert_eq!(count(&bench, |counters| counters.answers_stray.value()), 3);
        assert_quiet(&bench);
    }
}

#[test]
fn whoever_asks_hears_that_nobody_can_answer() {
    let mut bench = Bench::new(2, settings());
    let mut worker = worker(&mut bench, 0);
    let mut raw = bench.open(1, "/raw?user=ann");
    for (subject, hears) in [("tg.user.bob", false), ("tg.user.ann", true)] {
        ask(&mut bench, &worker, subject, "_INBOX.1", "");
        assert!(outcome(&mut worker, "_INBOX.1").contains(NOBODY));
        assert_eq!(raw.hear().ends_with("{\"ride\":7}"), hears);
    }
    assert_eq!(count(&bench, |counters| counters.questions_unanswerable.value()), 2);
    assert_quiet(&bench);
}

#[test]
fn whoever_asks_hears_that_all_have_left() {
    for leavers in 1..=2 {
        let mut bench = Bench::new(2, settings());
        let mut worker = worker(&mut bench, 1);
        let mut clients: Vec<Peer> = (0..leavers).map(|shard| bench.open(shard, "/asked?user=ann")).collect();
        ask(&mut bench, &worker, "tg.user.ann", "_INBOX.1", "");
        let asked = bench.world.now();
        while let Some(client) = clients.pop() {
            assert_eq!(worker.hear(), "", "somebody is left");
            client.end.shutdown_write();
            bench.run_for(SECOND / 10);
        }
        assert!(outcome(&mut worker, "_INBOX.1").contains(GONE));
        assert!(bench.world.now().since(asked) < SECOND, "at once");
        assert_quiet(&bench);
    }
}

#[test]
fn whoever_asks_hears_that_the_time_is_over() {
    let mut bench = Bench::new(2, settings());
    let mut worker = worker(&mut bench, 0);
    let mut client = bench.open(1, "/asked?user=ann");
    for (header, wait) in [("Tg-Timeout: 500\r\n", SECOND / 2), ("", limits::QUESTION_TIMEOUT)] {
        ask(&mut bench, &worker, "tg.user.ann", "_INBOX.1", header);
        let id = question(&mut client);
        bench.run_for(wait - SECOND / 5);
        assert_eq!(worker.hear(), "");
        client.hear();
        bench.run_for(SECOND / 5);
        assert!(outcome(&mut worker, "_INBOX.1").contains(LATE));
        assert!(client.hear().ends_with(&format!("{{\"tg\":\"over\",\"id\":\"{id}\"}}")));
    }
    assert_quiet(&bench);
    ask(&mut bench, &worker, "tg.user.ann", "_INBOX.1", "Tg-Timeout: 18446744073709551615\r\n");
    let home = owner_of("tg.user.ann", 2).index();
    let left = bench.core(home).features.deadline(Tick::ZERO, false).since(bench.world.now());
    assert!(left <= limits::QUESTION_TIMEOUT_MAX && left > limits::QUESTION_TIMEOUT_MAX - SECOND);
}

#[test]
fn whoever_says_no_time_hears_so_and_nobody_is_asked() {
    let mut bench = Bench::new(2, settings());
    let mut worker = worker(&mut bench, 0);
    let mut client = bench.open(1, "/asked?user=ann");
    let core = bench.core(1);
    let key = core.desk.slots.keys().next().unwrap();
    let conn = format!("tg.conn.{}", conn_id(core, key));
    for subject in ["tg.user.ann", &conn] {
        for time in ["", "soon", "-1", "1.5", "18446744073709551616"] {
            ask(&mut bench, &worker, subject, "_INBOX.1", &format!("Tg-Timeout: {time}\r\n"));
            assert!(outcome(&mut worker, "_INBOX.1").contains("NATS/1.0 400 Bad Request\r\n"), "{subject} {time:?}");
            assert_eq!(client.hear(), "");
        }
    }
    assert_quiet(&bench);
}

#[test]
fn an_answer_counts_only_from_whom_was_asked() {
    let mut bench = Bench::new(2, settings());
    let mut worker = worker(&mut bench, 0);
    let mut asked = bench.open(0, "/asked?user=ann");
    let mut stranger = bench.open(1, "/asked?user=eve");
    ask(&mut bench, &worker, "tg.user.ann", "_INBOX.1", "Tg-Timeout: 20000\r\n");
    let id = question(&mut asked);
    for _ in 0..limits::STRAY_ANSWERS_MAX {
        answer(&mut bench, &stranger, &id);
    }
    assert_eq!(worker.hear() + &stranger.hear(), "");
    answer(&mut bench, &stranger, "nonsense");
    bench.run_for(SECOND);
    assert!(stranger.hear().ends_with("this connection may not send here"), "so much is no mistake");
    assert_eq!(bench.closed(1, CloseReason::PolicyViolation), 1);
    answer(&mut bench, &asked, &id);
    assert!(outcome(&mut worker, "_INBOX.1").contains("Tg-User: ann"));
    assert_quiet(&bench);
}

#[test]
fn a_connection_is_asked_only_so_much_at_once() {
    let mut bench = Bench::new(1, settings());
    let mut worker = worker(&mut bench, 0);
    let client = bench.open(0, "/asked?user=ann");
    for _ in 0..limits::QUESTIONS_PER_CONNECTION_MAX {
        ask(&mut bench, &worker, "tg.user.ann", "_INBOX.1", "Tg-Timeout: 600000\r\n");
    }
    assert_eq!(worker.hear(), "");
    ask(&mut bench, &worker, "tg.user.ann", "_INBOX.2", "");
    assert!(outcome(&mut worker, "_INBOX.2").contains(NOBODY));
    client.end.shutdown_write();
    bench.run_for(SECOND);
    assert_eq!(worker.hear().matches(GONE).count(), limits::QUESTIONS_PER_CONNECTION_MAX);
    assert_quiet(&bench);
}

#[test]
fn a_drain_leaves_no_question_without_an_outcome() {
    let mut bench = Bench::new(2, settings());
    let mut worker = worker(&mut bench, 0);
    let _clients: Vec<Peer> = (0..2).map(|shard| bench.open(shard, "/asked?user=ann")).collect();
    ask(&mut bench, &worker, "tg.user.ann", "_INBOX.1", "");
    bench.drain();
    bench.run_for(2 * limits::CLOSE_TIMEOUT + SECOND);
    assert!(worker.hear().contains(GONE));
}

#[test]
fn what_is_no_answer_goes_where_it_went_before() {
    let mut settings = settings();
    let channel = Some(ChannelTemplate::parse("room.{room}").unwrap());
    let target = WebSocketRoute { channel, publish: true, control: true, ..WebSocketRoute::default() };
    add_routes(&mut settings, [route("/both/{room}", RouteTarget::WebSocket(target))]);
    let mut bench = Bench::new(1, settings);
    let mut client = bench.open(0, "/both/1");
    for said in ["{\"tg\":\"dance\"}", "hello", "{\"a\":1}"] {
        client.say(text(said.as_bytes()));
        bench.run_for(SECOND / 10);
        assert!(client.hear().ends_with(said));
    }
    answer(&mut bench, &client, "0000000000000000");
    assert_eq!(client.hear(), "");
    assert_eq!(count(&bench, |counters| counters.answers_stray.value()), 1);
}
