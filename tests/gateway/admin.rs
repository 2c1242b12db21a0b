//! What the admin listener says of itself.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use serde_json::{Value, json};
use tidegate::conn::Door;
use tidegate::conn::admin::{ENDPOINTS, Scope};
use tidegate::gateway::config::Remote;
use tidegate::gateway::{Builder, Gateway};
use tungstenite::Message;

use crate::support::*;

/// The status line and the body of the answer to a request without one.
fn said(gateway: &Gateway, method: &str, target: &str) -> (String, String) {
    let request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    let answer = Raw::connect(admin(gateway)).send(request).read_all();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

#[test]
fn a_path_that_there_is_not_is_answered_with_those_that_there_are() {
    on_both_drivers("[[upstream]]\nname = \"app\"\nservers = [\"127.0.0.1:9\", \"unix:/run/a.sock\"]\n", |gateway| {
        let (status, paths) = said(gateway, "GET", "/");
        assert_eq!((status.as_str(), paths.lines().count()), ("HTTP/1.1 404 Not Found", 1));
        for target in ["/nowhere", "/api", "/metrics/", "/health/x"] {
            assert_eq!(said(gateway, "GET", target), (status.clone(), paths.clone()), "{target}");
        }
        for target in ["/api/channels", "/api/channels/a/b", "/api/users/ann/dance"] {
            let error = json!({ "error": paths.trim_end() }).to_string();
            assert_eq!(said(gateway, "GET", target), (status.clone(), error), "{target}");
        }
        let (_, listed) = paths.trim_end().split_once("expected ").expect("what there is");
        let listed = listed.replace(" or ", ", ");
        let listed: Vec<_> = listed.split(", ").map(|one| one.split_once(' ').expect("method and path")).collect();
        assert_eq!(listed.len(), ENDPOINTS.len(), "{listed:?}");
        for (method, path) in listed {
            let target = path.replace("{channel}", "room.1").replace("{user}", "ann").replace("{name}", "app");
            let target = target.replace("{server}", "unix%3A%2Frun%2Fa.sock").replace("{id}", "0000000000000001");
            let (status, _) = said(gateway, method, &target);
            let expected = match target.as_str() {
                // Without a body, it revokes nothing …
                "/api/revocations" => "HTTP/1.1 400 Bad Request",
                // … and names no channel.
                "/api/users/ann/subscribe" | "/api/users/ann/unsubscribe" => "HTTP/1.1 400 Bad Request",
                // No client is there.
                target if method == "POST" && (target.contains("/users/") || target.contains("/connections/")) => {
                    "HTTP/1.1 404 Not Found"
                }
                _ => "HTTP/1.1 200 OK",
            };
            assert_eq!(status, expected, "{method} {target}");
        }
    });
}

#[test]
fn a_server_is_taken_out_in_all_shards_before_the_answer() {
    on_both_drivers("[[upstream]]\nname = \"app\"\nservers = [\"127.0.0.1:9\", \"unix:/run/a.sock\"]\n", |gateway| {
        for (verb, drained) in [("drain", 2), ("drain", 2), ("ready", 0)] {
            let (status, body) = said(gateway, "POST", &format!("/api/upstreams/app/unix:%2Frun%2Fa.sock/{verb}"));
            assert_eq!(status, "HTTP/1.1 200 OK");
            let is_drained = drained > 0;
            assert_eq!(
                body,
                format!("{{\"drained\":{is_drained},\"server\":\"unix:/run/a.sock\",\"upstream\":\"app\"}}")
            );
            assert_eq!(metric(gateway, "upstream_drained"), drained, "in both shards");
            let (_, list) = said(gateway, "GET", "/api/upstreams");
            assert_eq!(list.matches("\"state\":\"drained\"").count(), usize::from(is_drained), "{list}");
        }
        for (target, words) in [
            ("/api/upstreams/ap/127.0.0.1:9/drain", "there is no upstream \"ap\"; expected one of: app"),
            (
                "/api/upstreams/app/127.0.0.1:8/ready",
                "the upstream \"app\" has no server \"127.0.0.1:8\"; expected one of: 127.0.0.1:9, unix:/run/a.sock",
            ),
        ] {
            let error = json!({ "error": words }).to_string();
            assert_eq!(said(gateway, "POST", target), ("HTTP/1.1 404 Not Found".to_owned(), error));
        }
        for (method, target) in [("GET", "/api/upstreams/app/127.0.0.1:9/drain"), ("POST", "/api/upstreams")] {
            assert_eq!(said(gateway, method, target).0, "HTTP/1.1 405 Method Not Allowed");
        }
    });
}

/// The status and the JSON of the answer to a `POST`.
fn post(gateway: &Gateway, target: &str, headers: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let answer = ask(
        admin(gateway),
        &format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ),
    );
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains("\r\nContent-Type: application/json\r\n"), "{head}");
    (head[9..12].parse().expect("a status"), serde_json::from_str(body).expect("JSON"))
}

#[test]
fn what_the_bus_can_say_to_a_user_the_admin_listener_can_say() {
    on_both_drivers("", |gateway| {
        let mut tab = websocket(gateway, "/echo?user=ann@example.org");
        let one = (200, json!({ "connections": 1 }));
        await_that("the tab is known", || post(gateway, "/api/users/ann%40example.org", "", "hello") == one);
        assert_eq!(tab.read().expect("the message").into_text().unwrap(), "hello");
        for (verb, body) in [("subscribe", "news"), ("unsubscribe", "news"), ("close", "kick")] {
            assert_eq!(post(gateway, &format!("/api/users/ann%40example.org/{verb}"), "", body), one, "{verb}");
        }
        let Ok(Message::Close(Some(close))) = tab.read() else { panic!("a close frame") };
        assert_eq!(u16::from(close.code), 3003);
        for (target, headers, body, status, words) in [
            ("/api/users/bob", "", "hi", 404, "no such connection is here"),
            ("/api/users/bob/close", "", "now", 400, "the body is not what this takes"),
            ("/api/users/%00", "", "", 400, "is no user"),
            ("/api/connections/12", "", "", 400, "is no id of a connection"),
            ("/api/connections/00000000000000ff/close", "", "", 404, "no such connection is here"),
            ("/api/users/bob", "Tg-Event: tg.gap\r\n", "", 400, "such events are the gateway's own"),
        ] {
            let (got, answer) = post(gateway, target, headers, body);
            let error = answer["error"].as_str().expect("words");
            assert!(got == status && error.contains(words), "{target}: {got} {error}");
        }
    });
}

const TOKENS: &str = "[admin]\naddress = \"127.0.0.1:0\"\nhosts = \"a\"\ntoken = \"all-of-it-all-of-it\"\n\
                      tokens = [{ token = \"read-only-read-only\", scopes = \"read\" }]\n";

/// The same gateway with tokens.
fn with_tokens(driver: &str) -> Builder {
    let text = ROUTES.replace("[admin]\naddress = \"127.0.0.1:0\"\nhosts = \"a\"\n", TOKENS);
    builder_of_text(driver, 2, &text)
}

#[test]
fn a_request_needs_a_token_that_allows_it_and_only_probes_need_none() {
    on_both_drivers_with(with_tokens, |gateway| {
        for target in ["/health", "/ready"] {
            assert_eq!(said(gateway, "GET", target).0, "HTTP/1.1 200 OK");
        }
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.scope.is_some()) {
            let target = endpoint.path.replace(['{', '}'], "");
            let asked = |field: &str| {
                let request = format!(
                    "{} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{field}Content-Length: 0\r\n\r\n",
                    endpoint.method
                );
                let answer = ask(admin(gateway), &request);
                let challenge = answer.lines().find_map(|line| line.strip_prefix("WWW-Authenticate: "));
                (answer[9..12].to_owned(), challenge.map(str::to_owned))
            };
            assert_eq!(asked(""), ("401".to_owned(), Some("Bearer".to_owned())), "{target}");
            let (status, challenge) = asked("Authorization: Bearer all-of-it\r\n");
            assert_eq!((status.as_str(), challenge.as_deref()), ("401", Some("Bearer error=\"invalid_token\"")));
            let (status, challenge) = asked("Authorization: Bearer all-of-it-all-of-it\r\n");
            assert!(status != "401" && status != "403" && challenge.is_none(), "{target}: {status}");
            let (status, challenge) = asked("Authorization: Bearer read-only-read-only\r\n");
            let may_read = endpoint.scope == Some(Scope::Read);
            assert_eq!(status == "403" && challenge.is_some(), !may_read, "{target}: {status} {challenge:?}");
        }
        // A path that there is not tells a stranger nothing.
        assert_eq!(said(gateway, "GET", "/nowhere").0, "HTTP/1.1 401 Unauthorized");
        assert_eq!(said(gateway, "POST", "/health").0, "HTTP/1.1 401 Unauthorized");
    });
}

#[test]
fn the_listener_at_a_path_answers_in_all_shards_and_leaves_no_file() {
    for driver in ["epoll", "uring"] {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{driver}.sock"));
        // As a process leaves it that was killed.
        let _ = std::fs::remove_file(&path);
        drop(UnixListener::bind(&path).expect("a path"));
        let socket = format!("[admin]\nsocket = \"{}\"\n", path.display());
        let text = ROUTES.replace("[admin]\naddress = \"127.0.0.1:0\"\nhosts = \"a\"\n", &socket);
        let gateway = builder_of_text(driver, 2, &text).start().expect("the gateway starts");
        assert_eq!(gateway.address(Door::Admin, false), None);
        assert_eq!(gateway.listening().last().expect("it").address, Remote::Unix(path.as_path().into()));
        assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o660);
        let second = builder_of_text(driver, 1, &text).start().err().expect("it is in use").to_string();
        assert!(second.contains(&format!("cannot listen on unix:{}", path.display())), "{second}");
        let mut tab = websocket(&gateway, "/echo?user=ann");
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let mut client = UnixStream::connect(&path).expect("it listens");
                client.set_read_timeout(Some(PATIENCE)).expect("a time");
                let head = "POST /api/users/ann HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
                client.write_all(head.as_bytes()).expect("it reads");
                client
            })
            .collect();
        for mut call in calls {
            let mut answer = String::new();
            call.read_to_string(&mut answer).expect("an answer");
            assert!(answer.ends_with("{\"connections\":1}"), "{answer}");
            assert_eq!(tab.read().expect("the message").into_text().expect("text"), "hi");
        }
        gateway.stop();
        assert!(!path.exists());
    }
}
