//! A real server decides about clients, and does so badly.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tidegate::conn::Door;
use tidegate::gateway::Gateway;

use super::script;
use crate::support::*;

/// The script's server; it ends with the value.
struct Judge {
    process: Child,
    address: SocketAddr,
}

impl Judge {
    fn start() -> Judge {
        let mut process = Command::new("node")
            .arg(script("decide.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts: run tests/install.sh first");
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().expect("piped")).read_line(&mut line).expect("its port");
        let address = SocketAddr::from(([127, 0, 0, 1], line.trim().parse().expect("a port")));
        Judge { process, address }
    }

    fn configuration(&self) -> String {
        let forward = format!(
            "forward = {{ upstream = \"http://{}\", path = \"/verify\", copy = [\"X-Groups\"], user = \"X-User\", timeout_ms = 1500 }}",
            self.address
        );
        let mut text = format!("[[auth]]\nname = \"session\"\n{forward}\n");
        for (path, target) in [
            ("app/*", format!("proxy = \"http://{}\"", self.address)),
            ("in/sse/{room}", "sse = { channel = \"room.{room}\" }".to_owned()),
            ("in/ws/{room}", "websocket = { channel = \"room.{room}\", publish = true }".to_owned()),
            ("in/jobs", "accept = { service = \"jobs\", channel = \"jobs.{user}.{id}\" }".to_owned()),
        ] {
            text += &format!("[[route]]\npath = \"/{path}\"\nauth = \"session\"\n{target}\n");
        }
        text + "[[route]]\npath = \"/open\"\nrespond = { body = \"open\" }\n"
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn get(gateway: &Gateway, path: &str, sid: &str) -> String {
    let lines = format!("Host: shop\r\nCookie: sid={sid}\r\nX-User: root\r\nConnection: close");
    ask(front(gateway), &format!("GET {path} HTTP/1.1\r\n{lines}\r\n\r\n"))
}

#[test]
fn each_answer_of_the_server_has_its_consequence_and_none_lets_a_client_in_without_a_user() {
    let judge = Judge::start();
    on_both_drivers(&judge.configuration(), |gateway| {
        for sid in ["ann", "slow"] {
            let heard = get(gateway, "/app/a?b=c", sid);
            assert!(heard.starts_with("HTTP/1.1 200 "), "{sid}: {heard}");
            assert!(
                heard.contains("\"x-user\":\"ann@example.org\",") && heard.contains("\"x-groups\":\"staff\""),
                "{heard}"
            );
        }
        let heard = get(gateway, "/app/a?b=c", "nobody");
        assert!(
            heard.starts_with("HTTP/1.1 302 ") && heard.contains("\r\nLocation: /login?to=/app/a?b=c\r\n"),
            "{heard}"
        );
        let heard = get(gateway, "/app/a", "forbidden");
        assert!(heard.starts_with("HTTP/1.1 403 ") && heard.contains("\r\nContent-Type: text/html\r\n"), "{heard}");
        assert!(heard.ends_with("<p>no</p>"), "{heard}");
        for sid in ["hangs", "drips", "dies", "cut", "fails", "nameless", "long"] {
            let heard = get(gateway, "/app/a", sid);
            assert!(heard.starts_with("HTTP/1.1 503 ") && heard.contains("\r\nRetry-After: "), "{sid}: {heard}");
            assert!(get(gateway, "/open", sid).ends_with("\r\n\r\nopen"), "other routes do not ask");
        }
        expect_nobody(gateway);
    });
}

#[test]
fn streams_and_jobs_belong_to_the_user_that_the_server_names() {
    let judge = Judge::start();
    on_both_drivers(&judge.configuration(), |gateway| {
        let refused = get(gateway, "/in/sse/1", "nobody");
        assert!(refused.starts_with("HTTP/1.1 401 ") && !refused.contains("Location"), "{refused}");
        let mut worker = bus(gateway);
        worker.send("SUB tg.service.jobs 1\r\nPING\r\n").read_until("PONG\r\n");
        let mut stream = Raw::connect(front(gateway));
        stream.send("GET /in/sse/1 HTTP/1.1\r\nHost: a\r\nCookie: sid=slow\r\n\r\n").read_until("\r\n\r\n");
        worker.send("PUB tg.user.ann@example%2Eorg 6\r\nto ann\r\n");
        stream.read_until("data: to ann\n\n");
        let job =
            "POST /in/jobs HTTP/1.1\r\nHost: a\r\nCookie: sid=ann\r\nContent-Length: 1\r\nConnection: close\r\n\r\n7";
        let receipt = ask(front(gateway), job);
        assert!(receipt.contains("\"channel\":\"jobs.ann@example%2Eorg."), "{receipt}");
        worker.read_until("\r\n\r\n7\r\n");
    });
}

#[test]
fn requests_over_tls_wait_as_others_do() {
    let (judge, folder) = (Judge::start(), Path::new(env!("CARGO_TARGET_TMPDIR")).join("decides"));
    fs::create_dir_all(&folder).expect("a folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    fs::write(&certificate, made.cert.pem()).expect("a file");
    fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let listener = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\ntls = {{ certificate = {certificate:?}, key = {key:?} }}\n{}",
        judge.configuration()
    );
    on_both_drivers(&listener, |gateway| {
        let port = gateway.address(Door::Front, true).expect("a TLS listener").port();
        for version in ["1.2", "1.3"] {
            // Two requests on one connection: the second one waits behind the first.
            let urls = ["app/a", "open"].map(|path| format!("https://localhost:{port}/{path}"));
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--max-time", "10", "--cookie", "sid=slow", "--tlsv1.2", "--tls-max", version]);
            let output = curl.arg("--cacert").arg(&certificate).args(&urls).output().expect("curl");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("\"x-user\":\"ann@example.org\"") && said.ends_with("open"), "{version}: {said}");
        }
        expect_nobody(gateway);
    });
}
