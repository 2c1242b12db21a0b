//! Messages that clients acknowledge, over real sockets on both drivers: async-nats and nats-py send them, `ws` and `centrifuge`
//! of npm lose their connection in between.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, HeaderMap, Message, RequestErrorKind};
use serde_json::{Value, json};
use tidegate::conn::Door;
use tidegate::gateway::config::Config;
use tidegate::gateway::{Builder, Gateway};
use tungstenite::WebSocket;

/// Longer than anything here takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const CONFIGURATION: &str = r#"
shards = 2

[[listener]]
address = "127.0.0.1:0"

[bus]
address = "127.0.0.1:0"

[[route]]
path = "/control"
websocket = { control = true, user = { query = "user" } }

[[route]]
path = "/desk"
websocket = { protocol = "centrifuge-json", user = { query = "user" } }
"#;

fn start(driver: &str) -> Gateway {
    let text = format!("driver = \"{driver}\"\n{CONFIGURATION}");
    let config = Config::parse(Path::new("acks.toml"), &text, []).unwrap_or_else(|errors| panic!("{errors}"));
    Builder::new(config).start().expect("the gateway starts")
}

/// Runs `test` against a gateway on each driver, with a worker.
fn on_both_drivers(test: impl AsyncFn(Gateway, &Client)) {
    for driver in ["epoll", "uring"] {
        let gateway = start(driver);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let address = gateway.address(Door::Bus, false).expect("a bus").to_string();
            let options = ConnectOptions::new().request_timeout(Some(PATIENCE));
            let worker = options.connect(address).await.expect("the bus takes everybody");
            test(gateway, &worker).await;
        });
    }
}

async fn send(worker: &Client, subject: &str, demand: &str) -> Result<Message, RequestErrorKind> {
    let mut headers = HeaderMap::new();
    headers.insert("Tg-Ack", demand);
    let outcome = worker.request_with_headers(subject.to_owned(), headers, r#"{"seat":"12A"}"#.into()).await;
    outcome.map_err(|error| error.kind())
}

fn status(message: &Message) -> Option<u16> {
    message.status.map(|status| status.as_u16())
}

fn tests_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn front(gateway: &Gateway) -> String {
    gateway.address(Door::Front, false).expect("a plain listener").to_string()
}

/// A program of users, and what it says.
struct Users {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Users {
    fn start(gateway: &Gateway, transport: &str) -> Users {
        let mut child = Command::new("node")
            .arg(tests_folder().join("acks/users.mjs"))
            .args([&front(gateway), transport])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is installed");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Users { child, lines }
    }

    /// Its words go to standard error if it says something else, or ends.
    fn assert_says(&mut self, word: &str) {
        assert_eq!(self.lines.next().and_then(Result::ok).as_deref(), Some(word));
    }

    fn assert_ends_well(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("it ends").success());
    }
}

#[test]
fn a_message_comes_again_on_the_next_connection_until_it_is_acknowledged() {
    on_both_drivers(async |gateway, worker| {
        for transport in ["ws", "centrifuge"] {
            let mut users = Users::start(&gateway, transport);
            users.assert_says("open");
            let outcome = send(worker, "tg.user.ann", "20").await.unwrap();
            assert_eq!(status(&outcome), Some(200), "{transport}");
            assert_eq!(outcome.headers.unwrap().get("Tg-User").unwrap().as_str(), "ann");
            users.assert_says("done");
            users.assert_ends_well();
        }
    });
}

struct User(WebSocket<TcpStream>);

impl User {
    fn open(gateway: &str, name: &str) -> User {
        let socket = TcpStream::connect(gateway).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        User(tungstenite::client(format!("ws://{gateway}/control?user={name}"), socket).expect("an upgrade").0)
    }

    fn hear(&mut self) -> Value {
        serde_json::from_str(&self.0.read().unwrap().into_text().unwrap()).expect("JSON")
    }

    fn acknowledge(&mut self, message: &Value) {
        self.0.send(json!({"tg": "ack", "id": message["id"]}).to_string().into()).unwrap();
    }
}

#[test]
fn a_message_waits_for_whoever_is_not_there_and_a_gateway_that_ends_says_so() {
    on_both_drivers(async |gateway, worker| {
        let address = front(&gateway);
        let (late, ()) = tokio::join!(send(worker, "tg.user.ann", "20"), async {
            let come = tokio::task::spawn_blocking(move || {
                let mut ann = User::open(&address, "ann");
                let message = ann.hear();
                ann.acknowledge(&message);
                ann
            });
            come.await.expect("it does not panic");
        });
        assert_eq!(status(&late.unwrap()), Some(200));
        let waiting = tokio::task::spawn({
            let worker = worker.clone();
            async move { send(&worker, "tg.user.nobody", "60").await }
        });
        // Whatever is published later is behind it.
        assert_eq!(status(&send(worker, "tg.user.nobody", "1, x").await.unwrap()), Some(400));
        tokio::task::spawn_blocking(|| gateway.stop()).await.expect("it stops");
        assert_eq!(waiting.await.unwrap().unwrap_err(), RequestErrorKind::NoResponders);
    });
}

#[test]
fn the_python_client_hears_every_outcome() {
    on_both_drivers(async |gateway, _| {
        let address = front(&gateway);
        let mut user = User::open(&address, "acknowledges");
        let _sleeps = User::open(&address, "sleeps");
        let worker = Command::new(tests_folder().join(".venv/bin/python"))
            .arg(tests_folder().join("acks/worker.py"))
            .arg(format!("nats://{}", gateway.address(Door::Bus, false).expect("a bus")))
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is installed");
        let message = user.hear();
        user.acknowledge(&message);
        let output = worker.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let wanted = [
            "acknowledges: 200 Acknowledged, acknowledges",
            "sleeps: 408 Request Timeout, None",
            "nobody: 408 Request Timeout, None",
            "misread: 400 Bad Request, None",
        ];
        assert_eq!(said.lines().collect::<Vec<_>>(), wanted);
        assert!(output.status.success());
    });
}
