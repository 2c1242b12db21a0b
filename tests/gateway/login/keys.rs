//! Key sets that issuers publish, well or badly, as real servers do.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidegate::gateway::Gateway;

use super::script;
use crate::support::*;

/// The script's server; it ends with the value.
struct Publisher {
    process: Child,
    plain: SocketAddr,
    secured: SocketAddr,
    /// Of its certificate.
    authority: PathBuf,
}

impl Publisher {
    fn start(name: &str) -> Publisher {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("publisher-{name}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).expect("a file");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.venv/bin/python");
        let mut process = Command::new(python)
            .arg(script("publish.py"))
            .args([&certificate, &key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts: run tests/install.sh first");
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().expect("piped")).read_line(&mut line).expect("its ports");
        let ports: Vec<u16> = line.split_whitespace().map(|port| port.parse().expect("a port")).collect();
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Publisher { process, plain: at(ports[0]), secured: at(ports[1]), authority: certificate }
    }

    /// Its answer to that path.
    fn tell(&self, path: &str) -> String {
        let said = ask(self.plain, &format!("GET /{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        said.split_once("\r\n\r\n").expect("an answer").1.to_owned()
    }

    fn token(&self, issuer: &str, kid: &str) -> String {
        self.tell(&format!("{issuer}/token/{kid}/ann"))
    }

    fn configuration(&self, issuers: &[&str]) -> String {
        let url = |issuer: &str| match issuer {
            "secured" => format!(
                "keys = \"https://localhost:{}/secured/jwks.json\", keys_ca = {:?}",
                self.secured.port(),
                self.authority
            ),
            // No authority is known that has signed its certificate.
            "strange" => format!("keys = \"https://localhost:{}/strange/jwks.json\"", self.secured.port()),
            "away" => "keys = \"http://127.0.0.1:9/jwks.json\"".to_owned(),
            issuer => format!("keys = \"http://{}/{issuer}/jwks.json\"", self.plain),
        };
        let auth = |issuer: &&str| {
            format!(
                "[[auth]]\nname = \"{issuer}\"\njwt = {{ {} }}\nheaders = {{ \"X-User\" = \"sub\" }}\n\
                 [[route]]\npath = \"/{issuer}\"\nauth = \"{issuer}\"\nrespond = {{ body = \"in\" }}\n",
                url(issuer)
            )
        };
        issuers.iter().map(auth).collect()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The status of a request with this token.
fn status(gateway: &Gateway, issuer: &str, token: &str) -> u16 {
    let lines = format!("Host: a\r\nAuthorization: Bearer {token}\r\nConnection: close");
    let heard = ask(front(gateway), &format!("GET /{issuer} HTTP/1.1\r\n{lines}\r\n\r\n"));
    heard[9..12].parse().unwrap_or_else(|_| panic!("{heard}"))
}

fn fetched(gateway: &Gateway, issuer: &str, outcome: &str) -> u64 {
    let line = format!("tidegate_key_fetches_total{{auth=\"{issuer}\",outcome=\"{outcome}\"}} ");
    let metrics = gateway.metrics();
    let value = metrics.lines().find_map(|own| own.strip_prefix(&line)).unwrap_or_else(|| panic!("no {line}"));
    value.parse().expect("a number")
}

#[test]
fn each_fault_of_a_key_server_has_its_outcome_and_costs_the_requests_of_its_own_auth_only() {
    let publisher = Publisher::start("faults");
    let bad = [
        ("redirects", "status"),
        ("fails", "status"),
        ("floods", "unreadable"),
        ("multiplies", "unreadable"),
        ("babbles", "unreadable"),
        ("shares", "unreadable"),
        ("hangs", "too_slow"),
        ("drips", "too_slow"),
        ("strange", "unreachable"),
        ("away", "unreachable"),
    ];
    for (issuer, _) in bad {
        publisher.tell(&format!("{issuer}/publish/one"));
        publisher.tell(&format!("{issuer}/is/{issuer}"));
    }
    for issuer in ["good", "secured"] {
        publisher.tell(&format!("{issuer}/publish/one"));
    }
    let issuers: Vec<&str> = bad.iter().map(|(issuer, _)| *issuer).chain(["good", "secured"]).collect();
    let began = Instant::now();
    let gateway = builder("epoll", &publisher.configuration(&issuers)).start().expect("it starts without its issuers");
    assert!(began.elapsed() < Duration::from_secs(8), "it waits for no key server for long: {:?}", began.elapsed());
    for issuer in ["good", "secured"] {
        assert_eq!(status(&gateway, issuer, &publisher.token(issuer, "one")), 200, "{issuer}");
        assert_eq!(fetched(&gateway, issuer, "fetched"), 1);
    }
    for (issuer, outcome) in bad {
        assert_eq!(status(&gateway, issuer, &publisher.token("good", "one")), 503, "{issuer}");
        await_that(outcome, || fetched(&gateway, issuer, outcome) > 0);
        assert_eq!(fetched(&gateway, issuer, "fetched"), 0, "{issuer}");
    }
    assert_eq!(publisher.tell("good/fetches"), "1", "no redirect is followed");
    assert!(gateway.metrics().contains("tidegate_keys_fetched_seconds{auth=\"hangs\"} 0\n"));
    // A server that is well again is found without a question of a client.
    publisher.tell("fails/is/well");
    await_that("the keys are fetched again", || status(&gateway, "fails", &publisher.token("fails", "one")) == 200);
    gateway.stop();
}

#[test]
fn a_new_key_is_fetched_when_a_token_names_it_and_a_lost_one_passes_no_more() {
    let publisher = Publisher::start("rotation");
    for issuer in ["one", "other"] {
        publisher.tell(&format!("{issuer}/publish/first"));
    }
    let configuration = publisher.configuration(&["one", "other"]);
    let gateway = builder("uring", &configuration).start().expect("it starts");
    let first = publisher.token("one", "first");
    assert_eq!(status(&gateway, "one", &first), 200);
    assert_eq!(
        status(&gateway, "other", &first),
        401,
        "a kid belongs to its issuer: the other one has a key of this name"
    );
    publisher.tell("one/publish/second");
    let second = publisher.token("one", "second");
    assert_eq!(status(&gateway, "one", &second), 401, "the set was just fetched");
    assert_eq!(status(&gateway, "one", &first), 200, "it is not known yet that it is gone");
    // Until it may be asked for again, which is 10 s after the last fetch.
    let deadline = Instant::now() + 2 * PATIENCE;
    while status(&gateway, "one", &second) != 200 {
        assert!(Instant::now() < deadline, "the new key is not found");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert_eq!(publisher.tell("one/fetches"), "2", "however often it was shown");
    assert_eq!(status(&gateway, "one", &first), 401, "although it was remembered");
    assert_eq!(publisher.tell("other/fetches"), "1");
    gateway.stop();
}
