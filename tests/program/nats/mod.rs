//! The bus through the official NATS clients of Rust, Python and Node, and byte by byte. `BUS_UNDER_TEST=HOST:PORT` runs
//! all of it against another server, such as nats-server.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, HeaderMap, Message, RequestErrorKind, Subscriber};
use futures_util::StreamExt;
use futures_util::stream::select_all;
use tokio::time::timeout;

mod bus;
mod reference;

use bus::{Bus, PATIENCE};

async fn take(subscriber: &mut Subscriber, count: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    while messages.len() < count {
        let message = timeout(PATIENCE, subscriber.next()).await.expect("a message arrives in time");
        messages.push(message.expect("the subscription goes on"));
    }
    messages
}

async fn texts(subscriber: &mut Subscriber, count: usize) -> Vec<String> {
    take(subscriber, count).await.iter().map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect()
}

/// Waits until the bus has dealt with the subscriptions of `client`: verbs are taken in order, and `Client::flush` of
/// async-nats waits for the socket alone.
async fn settle(client: &Client) {
    let error = client.request(client.new_inbox(), "".into()).await.unwrap_err();
    assert_eq!(error.kind(), RequestErrorKind::NoResponders);
}

/// Where subjects differ: only messages of one subject have an order.
fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts
}

/// All that has arrived. The subscription is over.
async fn texts_so_far(mut subscriber: Subscriber) -> Vec<String> {
    subscriber.unsubscribe().await.unwrap();
    texts_to_the_end(subscriber).await
}

/// All that arrives before the subscription ends.
async fn texts_to_the_end(mut subscriber: Subscriber) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(message) = timeout(PATIENCE, subscriber.next()).await.expect("the subscription ends in time") {
        texts.push(String::from_utf8_lossy(&message.payload).into_owned());
    }
    texts
}

#[tokio::test]
async fn messages_arrive_in_order() {
    let bus = Bus::start("order");
    let (worker, publisher) = (bus.client().await, bus.client().await);
    let mut subscriber = worker.subscribe("rs.order").await.unwrap();
    settle(&worker).await;
    let sent: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
    for payload in &sent {
        publisher.publish("rs.order", payload.clone().into()).await.unwrap();
    }
    settle(&publisher).await;
    assert_eq!(texts(&mut subscriber, sent.len()).await, sent);
}

#[tokio::test]
async fn wildcards_match_whole_tokens() {
    let bus = Bus::start("wildcards");
    let client = bus.client().await;
    let mut token = client.subscribe("rs.*.location").await.unwrap();
    let mut rest = client.subscribe("rs.>").await.unwrap();
    for subject in ["rs", "rs.location", "rs.1.location", "other.1.location", "rs.1.2.location", "rs.2.location"] {
        client.publish(subject, subject.into()).await.unwrap();
    }
    assert_eq!(sorted(texts(&mut token, 2).await), ["rs.1.location", "rs.2.location"]);
    let below = ["rs.1.2.location", "rs.1.location", "rs.2.location", "rs.location"];
    assert_eq!(sorted(texts(&mut rest, below.len()).await), below);
    settle(&client).await;
    assert!(texts_so_far(token).await.is_empty() && texts_so_far(rest).await.is_empty());
}

#[tokio::test]
async fn one_member_of_each_queue_group_gets_a_message() {
    let bus = Bus::start("queues");
    let publisher = bus.client().await;
    let (mut workers, mut members) = (Vec::new(), Vec::new());
    for (index, group) in ["a", "a", "a", "b", "b"].into_iter().enumerate() {
        let worker = bus.client().await;
        let member = worker.queue_subscribe("rs.jobs.*", group.to_owned()).await.unwrap();
        settle(&worker).await;
        members.push(member.map(move |message| (index, group, message)));
        workers.push(worker);
    }
    let jobs: Vec<String> = (0..500).map(|number| format!("{number:03}")).collect();
    for job in &jobs {
        publisher.publish(format!("rs.jobs.{}", &job[2..]), job.clone().into()).await.unwrap();
    }
    let mut taken: HashMap<&str, Vec<String>> = HashMap::new();
    let mut shares = [0; 5];
    let mut everything = select_all(members);
    for _ in 0..2 * jobs.len() {
        let message = timeout(PATIENCE, everything.next()).await.expect("a message arrives in time");
        let (index, group, message) = message.expect("the subscriptions go on");
        shares[index] += 1;
        taken.entry(group).or_default().push(String::from_utf8_lossy(&message.payload).into_owned());
    }
    for (group, payloads) in taken {
        assert_eq!(sorted(payloads), jobs, "{group}");
    }
    assert!(shares.iter().all(|share| *share > 0), "every member gets its share: {shares:?}");
}

#[tokio::test]
async fn requests_are_answered_and_nobody_is_known_at_once() {
    let bus = Bus::start("requests");
    let (worker, client) = (bus.client().await, bus.client().await);
    let mut questions = worker.subscribe("rs.upper").await.unwrap();
    settle(&worker).await;
    let answers = tokio::spawn(async move {
        for _ in 0..20 {
            let question = take(&mut questions, 1).await.remove(0);
            let answer = question.payload.to_ascii_uppercase();
            worker.publish(question.reply.unwrap(), answer.into()).await.unwrap();
        }
        worker.flush().await.unwrap();
    });
    for number in 0..20 {
        let answer = client.request("rs.upper", format!("a{number}").into()).await.unwrap();
        assert_eq!(answer.payload, format!("A{number}"));
    }
    answers.await.unwrap();
    let error = client.request("rs.nobody", "?".into()).await.unwrap_err();
    assert_eq!(error.kind(), RequestErrorKind::NoResponders);
}

#[tokio::test]
async fn headers_travel_with_the_payload() {
    let bus = Bus::start("headers");
    let client = bus.client().await;
    let mut subscriber = client.subscribe("rs.headers").await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("Tg-Event", "move");
    headers.append("Many", "1");
    headers.append("Many", "a: b");
    client.publish_with_headers("rs.headers", headers.clone(), "x".into()).await.unwrap();
    client.publish("rs.headers", "bare".into()).await.unwrap();
    let messages = take(&mut subscriber, 2).await;
    assert_eq!(messages[0].headers.as_ref(), Some(&headers));
    assert_eq!((&messages[0].payload[..], &messages[1].payload[..]), (&b"x"[..], &b"bare"[..]));
    assert_eq!(messages[1].headers, None);
}

#[tokio::test]
async fn a_subscription_ends_after_its_last_message() {
    let bus = Bus::start("max");
    let client = bus.client().await;
    let mut limited = client.subscribe("rs.max").await.unwrap();
    let mut control = client.subscribe("rs.max").await.unwrap();
    limited.unsubscribe_after(2).await.unwrap();
    for number in 0..4 {
        client.publish("rs.max", number.to_string().into()).await.unwrap();
    }
    assert_eq!(texts(&mut control, 4).await, ["0", "1", "2", "3"]);
    assert_eq!(texts_to_the_end(limited).await, ["0", "1"]);
}

#[tokio::test]
async fn the_largest_payload_passes_and_no_larger_one() {
    let bus = Bus::start("large");
    let client = bus.client().await;
    let mut subscriber = client.subscribe("rs.large").await.unwrap();
    let max_payload = client.max_payload();
    let largest: Vec<u8> = (0..max_payload).map(|index| index as u8).collect();
    client.publish("rs.large", largest.clone().into()).await.unwrap();
    assert!(take(&mut subscriber, 1).await[0].payload == largest, "every byte arrives as it was sent");
    let line = format!("PUB rs.large {}\r\n", max_payload + 1);
    bus.say(",\"verbose\":false", line.as_bytes()).expect_last("-ERR 'Maximum Payload Violation'\r\n");
}

#[tokio::test]
async fn an_echo_can_be_declined() {
    let bus = Bus::start("echo");
    let silent = bus.connect(ConnectOptions::new().no_echo()).await;
    let other = bus.client().await;
    let mut own = silent.subscribe("rs.echo").await.unwrap();
    settle(&silent).await;
    silent.publish("rs.echo", "own".into()).await.unwrap();
    settle(&silent).await;
    other.publish("rs.echo", "other's".into()).await.unwrap();
    assert_eq!(texts(&mut own, 1).await, ["other's"]);
}

#[tokio::test]
async fn wrong_credentials_are_refused() {
    let bus = Bus::start("credentials");
    let options = [
        ConnectOptions::new(),
        ConnectOptions::with_user_and_password(bus::USER.into(), "wrong".into()),
        ConnectOptions::with_user_and_password(bus::USER.into(), String::new()),
        ConnectOptions::with_token(bus::PASSWORD.into()),
    ];
    for options in options {
        let error = options.connect(&bus.address).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::AuthorizationViolation);
    }
    for early in [&b"SUB a 1\r\n"[..], b"PUB a 1\r\nx\r\n", b"CONNECT {}\r\n"] {
        let mut raw = bus.raw();
        raw.send(early);
        raw.expect_last("-ERR 'Authorization Violation'\r\n");
    }
}

/// The options that a quiet client sends.
const QUIET: &str = ",\"verbose\":false,\"headers\":true,\"no_responders\":true";

#[test]
fn errors_that_close_have_the_words_of_nats_server() {
    let bus = Bus::start("fatal");
    let long = [b"SUB ", &[b'a'; 5000][..]].concat();
    for (bytes, words) in [
        (&b"FOO\r\n"[..], "Unknown Protocol Operation"),
        (b"PUB\r\n", "Unknown Protocol Operation"),
        (b"PUB a 1\r\nxy\r\n", "Unknown Protocol Operation"),
        (b" PING\r\n", "Unknown Protocol Operation"),
        (b"HPUB a 12 999999999\r\n", "Maximum Payload Violation"),
        (&long, "maximum control line exceeded"),
        (b"CONNECT {\"user\":\"alice\",\"pass\":\"secret\",\"protocol\":9}\r\n", "invalid client protocol"),
    ] {
        bus.say(QUIET, bytes).expect_last(&format!("-ERR '{words}'\r\n"));
    }
    let mut raw = bus.raw();
    raw.send(b"CONNECT {\"user\":\"alice\",\"pass\":\"secret\",\"no_responders\":true}\r\n");
    raw.expect_last("-ERR 'no responders requires headers support'\r\n");
}

#[test]
fn a_refused_subject_does_not_close() {
    let bus = Bus::start("subjects");
    let keys = ",\"verbose\":false,\"pedantic\":true";
    for subject in ["a..b", ".a", "a.", "*", "a.>"] {
        let mut raw = bus.say(keys, format!("PUB {subject} 1\r\nx\r\nPING\r\n").as_bytes());
        raw.expect("-ERR 'Invalid Publish Subject'\r\nPONG\r\n");
    }
    for subject in ["a..b", ".a", "a.", "a.>.b"] {
        let mut raw = bus.say(keys, format!("SUB {subject} 1\r\nPING\r\n").as_bytes());
        raw.expect("-ERR 'Invalid Subject'\r\nPONG\r\n");
    }
}

/// What nats-server takes and Tidegate does not is refused with words after which every package goes on.
#[test]
fn what_only_nats_server_takes_is_not_permitted() {
    if std::env::var("BUS_UNDER_TEST").is_ok() {
        return;
    }
    let bus = Bus::start("limits");
    let (long, deep) = ("a".repeat(257), ["a"; 33].join("."));
    for (given, shown) in [
        (long.as_bytes(), &long[..256]),
        (deep.as_bytes(), &deep),
        (b"a\x01b", "a\\u{1}b"),
        (b"a\xff", "a\u{fffd}"),
        (b"tg.other", "tg.other"),
    ] {
        let publish = [b"SUB r 1\r\nPUB ", given, b" r 1\r\nx\r\nPING\r\n"].concat();
        let refusal = format!("-ERR 'Permissions Violation for Publish to \"{shown}\"'\r\n");
        let nobody = if given == b"a\xff" { "" } else { "HMSG r 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n" };
        bus.say(QUIET, &publish).expect(&format!("{refusal}{nobody}PONG\r\n"));
    }
    for (given, shown) in [(long.as_bytes(), &long[..256]), (b"a\xff", "a\u{fffd}"), (b"tg.user.x", "tg.user.x")] {
        let refusal = format!("-ERR 'Permissions Violation for Subscription to \"{shown}\"'\r\n");
        bus.say(QUIET, &[b"SUB ", given, b" 1\r\nPING\r\n"].concat()).expect(&format!("{refusal}PONG\r\n"));
    }
}

#[test]
fn verbose_clients_get_an_acknowledgement_of_each_verb() {
    let bus = Bus::start("verbose");
    let verbs = b"SUB raw.v 1\r\nUNSUB 2\r\nPUB raw.v 1\r\nx\r\n";
    bus.say("", verbs).expect("+OK\r\n+OK\r\n+OK\r\n+OK\r\nMSG raw.v 1 1\r\nx\r\n");
}

#[test]
fn lines_may_be_written_in_many_ways() {
    let bus = Bus::start("lines");
    bus.say(QUIET, b"ping\r\nPiNg\nPING  \r\n").expect("PONG\r\nPONG\r\nPONG\r\n");
    let verbs = b"sub\traw.l  9 \nPUB   raw.l\t_INBOX.1  2\r\n\r\n\r\n";
    bus.say(QUIET, verbs).expect("MSG raw.l 9 _INBOX.1 2\r\n\r\n\r\n");
}

#[test]
fn nobody_there_is_said_on_the_reply_subject() {
    let bus = Bus::start("nobody");
    let verbs = b"SUB _INBOX.raw.* 7\r\nPUB raw.nobody _INBOX.raw.1 1\r\nx\r\n";
    bus.say(QUIET, verbs).expect("HMSG _INBOX.raw.1 7 16 16\r\nNATS/1.0 503\r\n\r\n\r\n");
}

#[test]
fn a_payload_may_arrive_in_crumbs() {
    let bus = Bus::start("crumbs");
    let mut raw = bus.say(QUIET, b"SUB raw.c 1\r\n");
    for byte in b"HPUB raw.c 18 23\r\nNATS/1.0\r\nA: b\r\n\r\nhello\r\n" {
        raw.send(&[*byte]);
    }
    raw.expect("HMSG raw.c 1 18 23\r\nNATS/1.0\r\nA: b\r\n\r\nhello\r\n");
}

/// What both older programs check, in their order.
const CASES: [&str; 16] = [
    "publish_subscribe",
    "order",
    "wildcard_token",
    "wildcard_rest",
    "queue_group",
    "request_reply",
    "no_responders",
    "headers",
    "auto_unsubscribe",
    "drain",
    "verbose_and_pedantic",
    "no_echo",
    "max_payload",
    "text_and_binary",
    "slips",
    "wrong_credentials",
];

fn tests_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// What the program with nats-core checks.
const CORE_CASES: [&str; 5] = ["greeting", "order", "wildcards_and_queues", "request_reply", "no_responders"];

fn assert_passes(client: &mut Command, cases: &[&str], bus: &Bus) {
    let output = client.arg(bus.url()).output().unwrap_or_else(|error| panic!("{client:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let passed: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("ok ")).collect();
    let is_whole = cases.iter().all(|case| passed.contains(case));
    assert!(output.status.success() && is_whole, "{said}{}", String::from_utf8_lossy(&output.stderr));
}

fn python() -> Command {
    let installed = tests_folder().join(".venv/bin/python");
    Command::new(if installed.exists() { installed } else { "python3".into() })
}

#[test]
fn the_python_client_finds_all_as_it_expects() {
    let bus = Bus::start("python");
    assert_passes(python().arg(tests_folder().join("program/nats/clients.py")), &CASES, &bus);
}

#[test]
fn the_newer_python_client_finds_all_as_it_expects() {
    let bus = Bus::start("core");
    assert_passes(python().arg(tests_folder().join("program/nats/core.py")), &CORE_CASES, &bus);
}

#[test]
fn the_node_client_finds_all_as_it_expects() {
    let bus = Bus::start("node");
    assert_passes(Command::new("node").arg(tests_folder().join("program/nats/clients.mjs")), &CASES, &bus);
}
