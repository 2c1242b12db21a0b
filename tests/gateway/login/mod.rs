//! Tokens of real issuers (PyJWT, node) shown by real clients, on each kind of route.

mod asked;
mod certificates;
mod decides;
mod keys;
mod snippets;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate::driver::socket::private_descriptor_table;
use tidegate::gateway::Gateway;
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

use crate::events::events;
use crate::support::*;

const ISSUER: &str = "https://id.example";

/// A folder with the keys of both issuers, and the tokens of one.
struct Issuers {
    folder: PathBuf,
    tokens: Vec<(String, String)>,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/login").join(name)
}

/// The output of the program, if all went well.
fn said(command: &mut Command) -> String {
    let output = command.output().expect("it starts: run tests/install.sh first");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn node(words: &[&str]) -> String {
    said(Command::new("node").arg(script("client.mjs")).args(words))
}

impl Issuers {
    fn new(name: &str) -> Issuers {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("issuers-{name}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.venv/bin/python");
        let lines = said(Command::new(python).arg(script("issue.py")).arg(&folder).arg(ISSUER));
        let token = |line: &str| line.split_once(' ').map(|(name, token)| (name.to_owned(), token.to_owned()));
        node(&["keys", folder.to_str().expect("text")]);
        Issuers { tokens: lines.lines().filter_map(token).collect(), folder }
    }

    fn token(&self, name: &str) -> &str {
        &self.tokens.iter().find(|(own, _)| own == name).expect("it is issued").1
    }

    fn configuration(&self, server: SocketAddr) -> String {
        let folder = self.folder.display();
        let mut text = format!(
            r#"
[[auth]]
name = "py"
jwt = {{ issuer = "{ISSUER}", audience = "tidegate", keys = "{folder}/jwks.json" }}
token = ["header", "cookie:session", "subprotocol", "query:token"]
channels = "channels"
require = {{ scope = "push" }}
headers = {{ "X-User" = "sub", "X-Roles" = "roles" }}

[[auth]]
name = "node"
jwt = {{ ecdsa_public_key = "{folder}/node.pem", leeway_s = 0 }}
token = ["header", "cookie:session", "subprotocol"]
headers = {{ "X-User" = "sub" }}
"#
        );
        for auth in ["py", "node"] {
            for (path, target) in [
                ("sse/{room}", "sse = { channel = \"room.{room}\" }"),
                ("ws/{room}", "websocket = { channel = \"room.{room}\", publish = true }"),
                ("control/{room}", "websocket = { channel = \"own.{room}\", publish = true, control = true }"),
                ("jobs", "accept = { service = \"jobs\", channel = \"jobs.{user}.{id}\" }"),
                ("api/*", &format!("proxy = \"http://{server}\"")),
            ] {
                text += &format!("[[route]]\npath = \"/{auth}/{path}\"\nauth = \"{auth}\"\n{target}\n");
            }
        }
        text += &format!("[[route]]\npath = \"/open/*\"\nproxy = \"http://{server}\"\n");
        text
    }
}

/// A server that answers with the head that it got, and knows no WebSockets.
fn echo_server() -> SocketAddr {
    let (tell, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        private_descriptor_table().expect("threads may have tables");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        tell.send(listener.local_addr().expect("it is bound")).expect("the test waits");
        for socket in listener.incoming() {
            let mut socket = socket.expect("a connection");
            std::thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while socket.read(&mut byte).is_ok_and(|count| count == 1) {
                    head.push(byte[0]);
                    if head.ends_with(b"\r\n\r\n") {
                        let status =
                            if memchr::memmem::find(&head, b"websocket").is_some() { "404 No" } else { "200 OK" };
                        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", head.len());
                        let answered = socket.write_all(answer.as_bytes()).and_then(|()| socket.write_all(&head));
                        if answered.is_err() {
                            return;
                        }
                        head.clear();
                    }
                }
            });
        }
    });
    address.recv().expect("it listens")
}

fn get(gateway: &Gateway, path: &str, lines: &str) -> String {
    ask(front(gateway), &format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}Connection: close\r\n\r\n"))
}

#[test]
fn tokens_of_pyjwt_are_taken_with_every_algorithm_and_refused_for_every_fault() {
    let (issuers, server) = (Issuers::new("faults"), echo_server());
    on_both_drivers(&issuers.configuration(server), |gateway| {
        for algorithm in ["RS256", "PS384", "ES256", "ES512", "EdDSA"] {
            let bearer = format!("Authorization: Bearer {}\r\n", issuers.token(algorithm));
            let heard = get(gateway, "/py/api/a", &bearer);
            assert!(heard.contains("\r\nX-User: ann@example.org\r\nX-Roles: admin,editor\r\n"), "{algorithm}: {heard}");
        }
        for (name, status, words) in [
            ("expired", 401, "its claim 'exp' is a time that is over"),
            ("early", 401, "its claim 'nbf' is a time that is to come"),
            ("endless", 401, "its claim 'exp' is missing"),
            ("foreign", 401, "its claim 'iss'"),
            ("elsewhere", 401, "its claim 'aud'"),
            ("weak", 403, "a claim that is required"),
            ("forged", 401, "its signature (ES256)"),
            ("confused", 401, "its header has an 'alg' that is not allowed"),
            ("unsigned", 401, "its header has an 'alg' that is not allowed"),
        ] {
            for path in ["/py/api/a", "/py/sse/1"] {
                let refused = get(gateway, path, &format!("Cookie: session={}\r\n", issuers.token(name)));
                assert!(refused.starts_with(&format!("HTTP/1.1 {status} ")), "{name} {path}: {refused}");
                assert!(refused.contains(words), "{name} {path}: {refused}");
            }
        }
        let metrics = gateway.metrics();
        let lines = metrics.lines().filter(|line| line.starts_with("tidegate_auth_total{") && line.contains("\"py\""));
        let count = |outcome: &str| -> u64 {
            let lines = lines.clone().filter(|line| line.contains(outcome));
            lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
        };
        assert_eq!(count("\"verified\"") + count("\"remembered\""), 5);
        assert_eq!((count("\"expired\""), count("\"forbidden\""), count("\"invalid\"")), (2, 2, 14));
        expect_nobody(gateway);
    });
}

#[test]
fn a_token_opens_streams_of_its_channels_and_names_the_user_to_workers_and_servers() {
    let (issuers, server) = (Issuers::new("streams"), echo_server());
    on_both_drivers(&issuers.configuration(server), |gateway| {
        let token = issuers.token("ES256");
        let mut stream = events(gateway, &format!("/py/sse/1?token={token}"));
        let mut request = format!("ws://{}/py/ws/1", front(gateway)).into_client_request().unwrap();
        let offers = format!("bearer.{token}, tidegate");
        request.headers_mut().insert("Sec-WebSocket-Protocol", offers.parse().unwrap());
        let (mut socket, answer) = tungstenite::client(request, Raw::connect(front(gateway))).expect("an upgrade");
        assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], "tidegate");
        socket.send(Message::text("hello")).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text("hello"));
        stream.read_until("data: hello\n\n");
        let mut worker = bus(gateway);
        worker.send("SUB tg.service.jobs 1\r\nPING\r\n").read_until("PONG\r\n");
        worker.send("PUB tg.user.ann@example%2Eorg 6\r\nto ann\r\n");
        assert_eq!(socket.read().unwrap(), Message::text("to ann"));
        // An event stream has a user, too.
        stream.read_until("data: to ann\n\n");
        let refused = get(gateway, "/py/sse/2", &format!("Authorization: Bearer {token}\r\n"));
        assert!(refused.starts_with("HTTP/1.1 403 ") && refused.contains("error=\"insufficient_scope\""), "{refused}");
        let job = format!(
            "POST /py/jobs?a=b&token={token} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\n7"
        );
        let receipt = ask(front(gateway), &job);
        assert!(receipt.contains("\"channel\":\"jobs.ann@example%2Eorg."), "{receipt}");
        let heard = worker.read_until("\r\n\r\n7\r\n");
        assert!(heard.contains("Tg-User-Name: ann@example.org\r\n") && heard.contains("Tg-Query: a=b\r\n"), "{heard}");
        let forwarded = get(gateway, &format!("/py/api/a?token={token}&c=d"), "x-user: root\r\nX-ROLES: root\r\n");
        assert!(forwarded.contains("GET /py/api/a?c=d HTTP/1.1\r\n") && !forwarded.contains("root"), "{forwarded}");
        let open = get(gateway, "/open/a", "X-User: root\r\nX-Users: all\r\n");
        assert!(
            open.contains("X-Users: all\r\n") && !open.contains("root"),
            "stripped where no auth is asked for: {open}"
        );
        let text = "{\"jti\":\"ES256\"}";
        let lines = format!("Host: a\r\nContent-Length: {}\r\nConnection: close", text.len());
        let revoked = ask(admin(gateway), &format!("POST /api/revocations HTTP/1.1\r\n{lines}\r\n\r\n{text}"));
        assert!(revoked.ends_with("{\"closed\":2}"), "{revoked}");
        stream.read_until("event: tg.end\ndata: {\"reason\":\"revoked\"}\n\n");
        let Message::Close(Some(close)) = socket.read().unwrap() else { panic!("no close frame") };
        assert_eq!(u16::from(close.code), 3003);
        let refused = get(gateway, "/py/api/a", &format!("Authorization: Bearer {token}\r\n"));
        assert!(refused.starts_with("HTTP/1.1 401 ") && refused.contains("it is revoked"), "{refused}");
        let other = format!("Authorization: Bearer {}\r\n", issuers.token("RS256"));
        assert!(get(gateway, "/py/api/a", &other).contains("X-User: ann@example.org"), "another token of the user");
    });
}

#[test]
fn clients_in_javascript_show_tokens_of_node_and_refresh_them() {
    let (issuers, server) = (Issuers::new("node"), echo_server());
    on_both_drivers(&issuers.configuration(server), |gateway| {
        node(&[issuers.folder.to_str().expect("text"), &front(gateway).to_string()]);
        expect_nobody(gateway);
    });
}
