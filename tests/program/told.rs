//! What the gateway says in its log about clients and workers: once, with the reason, and nothing that is secret.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// Longer than any single step takes, even where everything is slow.
const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A gateway whose log is a file; killed in the end.
struct Logged {
    child: Child,
    folder: PathBuf,
    front: String,
    bus: String,
}

impl Logged {
    fn start(name: &str) -> Logged {
        let folder = std::env::temp_dir().join(format!("tidegate-log-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder can be made");
        let file = folder.join("tidegate.toml");
        let text = format!(
            "shards = 2\n[[listener]]\naddress = \"127.0.0.1:0\"\n[bus]\naddress = \"127.0.0.1:0\"\n[[route]]\npath = \"/desk\"\n\
             websocket = {{ protocol = \"centrifuge-json\", service = \"desk\", token = {{ hmac_secret = \"{SECRET}\" }} }}\n"
        );
        fs::write(&file, text).expect("a file can be written");
        let mut child = crate::command::unconfigured(env!("CARGO_BIN_EXE_tidegate"))
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.join("log")).expect("a file can be made"))
            .spawn()
            .expect("the binary runs");
        let lines = BufReader::new(child.stdout.take().expect("stdout is ours")).lines();
        let addresses: Vec<String> = lines.map_while(Result::ok).take(2).collect();
        let of = |kind: &str| {
            let address = addresses.iter().find_map(|line| line.strip_prefix("listening ")?.strip_prefix(kind));
            address.expect("it listens there").trim().to_owned()
        };
        let (front, bus) = (of("http "), of("bus "));
        Logged { child, folder, front, bus }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).expect("a log")
    }

    /// The lines with these words, as soon as there is one.
    fn lines(&self, words: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            let found: Vec<String> = log.lines().filter(|line| line.contains(words)).map(str::to_owned).collect();
            if !found.is_empty() {
                return found;
            }
            assert!(Instant::now() < deadline, "no {words:?} in\n{log}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// What a client hears that says these commands.
    fn say(&self, commands: &[Value]) -> (WebSocket<TcpStream>, Message) {
        let socket = TcpStream::connect(&self.front).expect("the gateway accepts");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut client, _) = tungstenite::client(format!("ws://{}/desk", self.front), socket).expect("an upgrade");
        let mut heard = Message::text("");
        for command in commands {
            client.send(Message::text(command.to_string())).unwrap();
            heard = client.read().expect("an answer");
        }
        (client, heard)
    }

    fn worker(&self) -> TcpStream {
        let mut worker = TcpStream::connect(&self.bus).expect("the gateway accepts");
        worker.set_read_timeout(Some(PATIENCE)).unwrap();
        worker.write_all(b"CONNECT {\"verbose\":false}\r\nSUB tg.service.desk 1\r\nPING\r\n").unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"PONG\r\n") {
            let mut byte = [0];
            worker.read_exact(&mut byte).expect("the answer to a ping");
            heard.extend(byte);
        }
        worker
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        _ = fs::remove_dir_all(&self.folder);
    }
}

fn token(claims: &Value, secret: &str) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let message = format!("{}.{}", part(&json!({"alg": "HS256"})), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes())))
}

#[test]
fn a_refused_token_is_one_line_with_the_claim_and_the_reason_and_without_the_token() {
    let gateway = Logged::start("tokens");
    let good = json!({"sub": "zaphod"});
    let mut shown = Vec::new();
    for (token, words) in [
        (token(&json!({"sub": "zaphod", "exp": 1}), SECRET), "its claim \"exp\" is a time that is over"),
        (token(&json!({"sub": "zaphod", "nbf": 1e12}), SECRET), "its claim \"nbf\" is a time that is to come"),
        (token(&json!({"sub": {}}), SECRET), "its claim \"sub\" is neither a text nor a whole number"),
        (token(&good, "another secret"), "its signature (HS256) is not of the key of the route"),
        ("no token".to_owned(), "it is no JWT: expected three parts of base64url with dots between them"),
        (String::new(), "there is none, and the route wants one"),
    ] {
        for id in 1..=5 {
            gateway.say(&[json!({"id": id, "connect": {"token": token}})]);
        }
        let lines = gateway.lines(words);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("a token for /desk was refused: ") && lines[0].contains("INFO"), "{lines:?}");
        shown.push(token);
    }
    let claims = json!({"sub": "zaphod", "channel": "other"});
    let subscribe = json!({"id": 2, "subscribe": {"channel": "vault", "token": token(&claims, SECRET)}});
    gateway.say(&[json!({"id": 1, "connect": {"token": token(&good, SECRET)}}), subscribe]);
    gateway.lines("its claim \"channel\" is another channel than the one asked for");
    let log = gateway.log();
    let secrets = shown.iter().flat_map(|token| token.split('.')).filter(|part| part.len() > 10);
    secrets.for_each(|part| assert!(!log.contains(part), "{log}"));
    assert!(!log.contains("zaphod") && !log.contains("not one of ours"), "{log}");
}

#[test]
fn who_serves_is_said_once_by_the_process() {
    let gateway = Logged::start("services");
    let connect = json!({"id": 1, "connect": {"token": token(&json!({"sub": "zaphod"}), SECRET)}});
    let call = json!({"id": 2, "rpc": {"method": "book"}});
    for _ in 0..3 {
        let (_, heard) = gateway.say(&[connect.clone(), call.clone()]);
        assert!(heard.to_text().unwrap().contains("no worker serves this now"), "{heard}");
    }
    let said = |words: &str| {
        let lines = gateway.lines(words);
        assert!(lines.len() == 1 && lines[0].contains("service desk: "), "{lines:?}");
    };
    said("a client's call found no worker");
    let workers = [gateway.worker(), gateway.worker()];
    said("a worker is there");
    let [first, second] = workers;
    drop(first);
    drop(second);
    said("the last worker has left; clients' calls fail");
}
