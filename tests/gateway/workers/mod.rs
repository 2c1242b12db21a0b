//! What workers say to clients and want something back for, over real sockets on both drivers: async-nats and nats-py on one side,
//! WebSockets of both protocols on the other.

mod acks;
mod questions;

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
websocket = { control = true, user = { query = "user", unverified = true } }

[[route]]
path = "/raw"
websocket = { user = { query = "user", unverified = true } }

[[route]]
path = "/desk"
websocket = { protocol = "centrifuge-json", user = { query = "user", unverified = true } }
"#;

/// Runs `test` against a gateway on each driver, with a worker.
fn on_both_drivers(test: impl AsyncFn(Gateway, &Client)) {
    for driver in ["epoll", "uring"] {
        let text = format!("driver = \"{driver}\"\n{CONFIGURATION}");
        let config = Config::parse(Path::new("workers.toml"), &text, []).unwrap_or_else(|errors| panic!("{errors}"));
        let gateway = Builder::new(config).start().expect("the gateway starts");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let options = ConnectOptions::new().request_timeout(Some(PATIENCE));
            let worker = options.connect(bus(&gateway)).await.expect("the bus takes everybody");
            test(gateway, &worker).await;
        });
    }
}

fn front(gateway: &Gateway) -> String {
    gateway.address(Door::Front, false).expect("a plain listener").to_string()
}

fn bus(gateway: &Gateway) -> String {
    format!("nats://{}", gateway.address(Door::Bus, false).expect("a bus"))
}

/// A worker's request with one header: what comes back.
async fn request(worker: &Client, subject: &str, header: (&str, &str)) -> Result<Message, RequestErrorKind> {
    let headers = HeaderMap::from_iter([(header.0.parse().unwrap(), header.1.parse().unwrap())]);
    let outcome = worker.request_with_headers(subject.to_owned(), headers, r#"{"ride":7}"#.into()).await;
    outcome.map_err(|error| error.kind())
}

fn status(message: &Message) -> Option<u16> {
    message.status.map(|status| status.as_u16())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// A worker in Python, whose words are lines.
fn python(script: &str, gateway: &Gateway) -> Child {
    Command::new(folder().join(".venv/bin/python"))
        .arg(folder().join("gateway/workers").join(script))
        .arg(bus(gateway))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it is installed")
}

/// All that it has said, once it has ended well.
fn lines_of(child: Child) -> Vec<String> {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// A client on a WebSocket.
struct User(WebSocket<TcpStream>);

impl User {
    /// `address` is the front's.
    fn open(address: &str, path: &str) -> User {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        User(tungstenite::client(format!("ws://{address}{path}"), socket).expect("an upgrade").0)
    }

    fn say(&mut self, json: &Value) {
        self.0.send(json.to_string().into()).unwrap();
    }

    fn hear(&mut self) -> Value {
        serde_json::from_str(&self.0.read().unwrap().into_text().unwrap()).expect("JSON")
    }

    fn answer(&mut self, question: &Value, data: Value) {
        self.say(&json!({"tg": "answer", "id": question["id"], "data": data}));
    }

    fn acknowledge(&mut self, message: &Value) {
        self.say(&json!({"tg": "ack", "id": message["id"]}));
    }
}
