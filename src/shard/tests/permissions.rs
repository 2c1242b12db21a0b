//! Permissions per channel: the same on event streams, WebSockets and the client protocol.

use serde_json::{Value, json};

use super::centrifuge::{Client, NOW};
use super::proven::{SECRET, close_code, signed};
use super::*;
use crate::conn::auth::{Auth, AuthBy, AuthKeys, Auths, TokenAuth};
use crate::proto::channel::{Keep, Rule, Rules};
use crate::proto::permission::{PermissionText, Permissions, Right};
use crate::proto::subject::Pattern;
use crate::proto::token::{Algorithm, KeySet, TokenPolicy};

fn rule(channels: &str, rights: &[Right], required: &[(&str, &str)]) -> PermissionText {
    let required = required.iter().map(|(claim, value)| ((*claim).to_owned(), (*value).to_owned())).collect();
    PermissionText { channels: vec![channels.to_owned()], rights: rights.to_vec(), required, decider: None }
}

/// Members hear their rooms, writers publish there, and a user hears what is its own. `policy`: what else tokens say.
fn settings(policy: TokenPolicy) -> Settings {
    let permissions = Permissions::new(&[
        rule("room.{rooms}", &[Right::Hear, Right::History], &[]),
        rule("room.{rooms}", &[Right::Publish, Right::Watch], &[("role", "writer")]),
        rule("user.{user}.>", &[Right::Hear], &[]),
    ]);
    let permissions = permissions.expect("patterns");
    let policy = TokenPolicy {
        leeway_s: 0,
        members: permissions.claims().to_vec(),
        conditions: permissions.conditions().to_vec(),
        ..policy
    };
    let keys = AuthKeys::Own(KeySet::secret(SECRET, [Algorithm::Hs256].into_iter().collect()).unwrap());
    let carriers = vec!["query:token".parse().unwrap()];
    let token = TokenAuth { policy, keys, carriers };
    let keep = Keep { messages: 10, bytes: 1 << 20, age: 60 * SECOND };
    let kept = Rule { history: Some(keep), has_presence: true, ..Rule::default() };
    with(super::proven::settings(), |generation| {
        generation.auths = Auths::new(vec![Auth { name: "app".into(), by: AuthBy::Token(Box::new(token)) }]);
        generation.permissions = permissions;
        generation.channels = Arc::new(Rules::new([(Pattern::new("room.*").unwrap(), kept)]));
    })
}

fn token(name: &str, more: &Value) -> String {
    let mut claims = json!({"sub": name, "exp": NOW + 600});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    signed(&claims)
}

fn reader() -> String {
    token("ann", &json!({"rooms": ["7", "8"]}))
}

fn writer() -> String {
    token("bob", &json!({"rooms": ["7"], "role": ["writer"]}))
}

fn asked(bench: &mut Bench, path: &str) -> (String, Peer) {
    let mut peer = bench.connect(0, 0);
    peer.say(request(path));
    bench.run_for(SECOND / 10);
    (peer.hear(), peer)
}

#[test]
fn a_stream_hears_what_its_client_may_hear() {
    let mut bench = Bench::new(2, settings(TokenPolicy::default()));
    for (path, status) in [("/sse/in/7", 200), ("/sse/in/9", 403), ("/in/8", 101), ("/in/9", 403)] {
        let (heard, _) = asked(&mut bench, &format!("{path}?token={}", reader()));
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {heard}");
        assert_eq!(heard.contains("error=\"insufficient_scope\""), status == 403, "{heard}");
    }
    // Without a token nobody is a member.
    for path in ["/sse/7", "/ws/7"] {
        let (heard, _) = asked(&mut bench, path);
        assert!(
            heard.starts_with("HTTP/1.1 403 ") && heard.ends_with("may not do that with this channel\n"),
            "{heard}"
        );
    }
    assert_eq!(bench.closed(0, CloseReason::NotPermitted), 2);
    assert!(asked(&mut bench, "/echo?user=ann").0.starts_with("HTTP/1.1 101 "), "it has no channel");
}

#[test]
fn a_websocket_publishes_where_its_client_may() {
    let mut bench = Bench::new(2, settings(TokenPolicy::default()));
    let mut reading = bench.open(1, &format!("/in/7?token={}", reader()));
    let mut writing = bench.open(0, &format!("/in/7?token={}", writer()));
    writing.say(text(b"hello"));
    bench.run_for(SECOND / 10);
    assert!(reading.hear().contains("hello") && writing.hear().contains("hello"));
    reading.say(text(b"intruder"));
    bench.run_for(SECOND / 10);
    assert_eq!(close_code(&reading.hear_bytes()), Some(1008));
    assert!(!writing.hear().contains("intruder"));
    assert_eq!(bench.closed(1, CloseReason::PolicyViolation), 1);
}

/// The answers to commands: an error's code, or 0.
fn answers(bench: &mut Bench, client: &mut Client, commands: &[Value]) -> Vec<u64> {
    let commands: Vec<Value> = commands
        .iter()
        .zip(2..)
        .map(|(command, id)| {
            let mut command = command.clone();
            command["id"] = id.into();
            command
        })
        .collect();
    client.say(&commands);
    bench.run_for(SECOND / 10);
    let said = client.texts();
    let code =
        |id: u64| said.iter().find(|said| said["id"] == id).map(|said| said["error"]["code"].as_u64().unwrap_or(0));
    (2..).take(commands.len()).map(|id| code(id).expect("an answer")).collect()
}

#[test]
fn a_client_of_the_client_protocol_does_what_it_may() {
    let mut bench = Bench::new(2, settings(TokenPolicy::default()));
    let commands = [
        json!({"subscribe": {"channel": "room.7"}}),
        json!({"subscribe": {"channel": "room.9"}}),
        json!({"subscribe": {"channel": "user.ann.inbox"}}),
        json!({"subscribe": {"channel": "user.bob.inbox"}}),
        json!({"subscribe": {"channel": "elsewhere"}}),
        json!({"publish": {"channel": "room.7", "data": 1}}),
        json!({"publish": {"channel": "user.ann.inbox", "data": 1}}),
        json!({"history": {"channel": "room.8", "limit": 1}}),
        json!({"history": {"channel": "room.9", "limit": 1}}),
        json!({"presence": {"channel": "room.7"}}),
    ];
    for (token, expected) in [
        (reader(), [0, 103, 0, 103, 103, 103, 103, 0, 103, 103]),
        (writer(), [0, 103, 103, 0, 103, 0, 103, 103, 103, 0]),
    ] {
        let before = bench.closed(0, CloseReason::NotPermitted);
        let (mut client, _) = Client::connected(&mut bench, &format!("/protocol?token={token}"), json!({}));
        assert_eq!(answers(&mut bench, &mut client, &commands), expected);
        let denied = expected.iter().filter(|code| **code == 103).count() as u64;
        assert_eq!(bench.closed(0, CloseReason::NotPermitted) - before, denied);
    }
}

#[test]
fn a_token_that_lists_channels_itself_adds_to_permissions() {
    let policy =
        TokenPolicy { channels: Some("channels".into()), publish: Some("publish".into()), ..TokenPolicy::default() };
    let mut bench = Bench::new(1, settings(policy));
    let claims = json!({"rooms": "7", "channels": ["room.9", "news.*"], "publish": ["news.1", "room.9"]});
    let (mut client, _) =
        Client::connected(&mut bench, &format!("/protocol?token={}", token("ann", &claims)), json!({}));
    let commands = [
        json!({"subscribe": {"channel": "room.7"}}),
        json!({"subscribe": {"channel": "room.9"}}),
        json!({"subscribe": {"channel": "room.8"}}),
        json!({"subscribe": {"channel": "news.1"}}),
        json!({"publish": {"channel": "news.1", "data": 1}}),
        json!({"publish": {"channel": "news.2", "data": 1}}),
        json!({"publish": {"channel": "room.9", "data": 1}}),
        json!({"publish": {"channel": "room.7", "data": 1}}),
    ];
    assert_eq!(answers(&mut bench, &mut client, &commands), [0, 0, 103, 0, 0, 103, 0, 103]);
    // The same of a WebSocket whose path names the room.
    for (room, code) in [("9", None), ("7", Some(1008))] {
        let mut peer = bench.open(0, &format!("/in/{room}?token={}", token("ann", &claims)));
        peer.say(text(b"hello"));
        bench.run_for(SECOND / 10);
        assert_eq!(close_code(&peer.hear_bytes()), code, "{room}");
    }
}

#[test]
fn what_the_route_subscribes_a_client_to_is_looked_at_when_it_connects() {
    let mut settings = settings(TokenPolicy::default());
    settings.generation_mut().permissions =
        Permissions::new(&[rule("own.{user}", &[Right::Hear], &[])]).expect("a pattern");
    let mut bench = Bench::new(1, settings);
    let connect = json!({"token": token("ann", &json!({}))});
    let (_, answer) = Client::connected(&mut bench, "/connect/ann", connect.clone());
    assert!(answer["connect"]["subs"]["own.ann"].is_object(), "{answer}");
    let mut stranger = Client::open(&mut bench, "/connect/bob");
    stranger.say(&[json!({"id": 1, "connect": connect})]);
    bench.run_for(SECOND / 10);
    assert_eq!(stranger.texts()[0]["error"]["code"], 103);
    assert_eq!(bench.closed(0, CloseReason::NotPermitted), 1);
}
