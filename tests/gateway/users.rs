//! Users of any name: what a header or the query says, what workers hear, and how the user is reached.

use serde_json::Value;
use tidegate::gateway::Gateway;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::support::*;

const ROUTES: &str = r#"
[[channel]]
name = "room.*"
presence = true

[[route]]
path = "/headed/{room}"
websocket = { channel = "room.{room}", service = "desk", user = { header = "X-User", unverified = true } }

[[route]]
path = "/named/{room}"
websocket = { channel = "room.{room}", service = "desk", user = { query = "user", unverified = true } }

[[route]]
path = "/orders"
accept = { service = "orders", channel = "orders.{user}.{id}", user = { header = "X-User", unverified = true } }
"#;

/// As the query has it, as it is, and as one token of a subject.
const NAMES: [[&str; 3]; 6] = [
    ["ann%40example.org", "ann@example.org", "ann@example%2Eorg"],
    ["a.b", "a.b", "a%2Eb"],
    ["a%20b", "a b", "a%20b"],
    ["*", "*", "%2A"],
    ["100%25", "100%", "100%25"],
    ["42", "42", "42"],
];

fn headed(gateway: &Gateway, name: &str) -> WebSocket<Raw> {
    let mut request = format!("ws://{}/headed/1", front(gateway)).into_client_request().unwrap();
    request.headers_mut().insert("X-User", name.parse().unwrap());
    tungstenite::client(request, Raw::connect(front(gateway))).expect("an upgrade").0
}

#[test]
fn workers_hear_both_forms_and_reach_the_user_by_one_of_them() {
    on_both_drivers(ROUTES, |gateway| {
        let mut worker = bus(gateway);
        worker.send("SUB tg.service.desk 1\r\nSUB tg.service.orders 2\r\nPING\r\n").read_until("PONG\r\n");
        for [escaped, name, token] in NAMES {
            let headers = format!("\r\nTg-User: {token}\r\nTg-User-Name: {name}\r\n");
            let mut clients = [headed(gateway, name), websocket(gateway, &format!("/named/1?user={escaped}"))];
            for client in &mut clients {
                client.send(Message::text("hello")).unwrap();
                let heard = worker.read_until("hello\r\n");
                assert!(heard.contains(&headers), "{name}: {heard}");
            }
            worker.send(format!("PUB tg.user.{token} 2\r\nhi\r\n"));
            clients.iter_mut().for_each(|client| assert_eq!(client.read().unwrap(), Message::text("hi"), "{name}"));
            expect_found(gateway, escaped, name, token);
            let order = format!(
                "POST /orders HTTP/1.1\r\nHost: a\r\nX-User: {name}\r\nContent-Length: 1\r\nConnection: close\r\n\r\n7"
            );
            let receipt = ask(front(gateway), &order);
            assert!(receipt.starts_with("HTTP/1.1 202 "), "{name}: {receipt}");
            assert!(receipt.contains(&format!("\"channel\":\"orders.{token}.")), "{name}: {receipt}");
            let heard = worker.read_until("\r\n\r\n7\r\n");
            assert!(heard.contains("Tg-Kind: request\r\n") && heard.contains(&headers), "{name}: {heard}");
        }
    });
}

/// What the admin listener and workers that ask are told of the two connections of a user.
fn expect_found(gateway: &Gateway, escaped: &str, name: &str, token: &str) {
    let get = |path: &str| -> Value {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = ask(admin(gateway), &request);
        serde_json::from_str(answer.split_once("\r\n\r\n").expect("a head").1).expect("JSON")
    };
    let found = get(&format!("/api/users/{escaped}"));
    assert_eq!((&found["user"], &found["connections"]), (&name.into(), &2.into()));
    let present = get("/api/channels/room.1/presence");
    let own: Vec<&Value> = present["present"].as_array().unwrap().iter().filter(|own| own["user"] == name).collect();
    let said: Value = if name == token { Value::Null } else { token.into() };
    assert!(own.len() == 2 && own.iter().all(|own| own["user_token"] == said), "{present}");
}

#[test]
fn what_names_nobody_is_refused_with_the_reason() {
    on_both_drivers(ROUTES, |gateway| {
        let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
        let long = "x".repeat(249);
        for name in ["", "a%0Ab", "a%00", "%7F", "%C2%85", &long, &"%2E".repeat(83)] {
            let answer = ask(front(gateway), &format!("GET /named/1?user={name} HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n"));
            assert!(answer.starts_with("HTTP/1.1 400 "), "{name}: {answer}");
            assert!(answer.contains("the name of the user is empty, too long, or has control characters"), "{answer}");
        }
        assert_eq!(metric(gateway, "closed_total:bad_user"), 7);
    });
}
