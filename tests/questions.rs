//! Workers ask clients, over real sockets on both drivers: async-nats and nats-py ask, WebSockets of both protocols answer.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
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
path = "/asked"
websocket = { control = true, user = { query = "user" } }

[[route]]
path = "/raw"
websocket = { user = { query = "user" } }

[[route]]
path = "/desk"
websocket = { protocol = "centrifuge-json", user = { query = "user" } }
"#;

fn start(driver: &str) -> Gateway {
    let text = format!("driver = \"{driver}\"\n{CONFIGURATION}");
    let config = Config::parse(Path::new("questions.toml"), &text, []).unwrap_or_else(|errors| panic!("{errors}"));
    Builder::new(config).start().expect("the gateway starts")
}

/// Runs `test` against a gateway on each driver, with a worker.
fn on_both_drivers(test: impl AsyncFn(&Gateway, &Client)) {
    for driver in ["epoll", "uring"] {
        let gateway = start(driver);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let address = gateway.address(Door::Bus, false).expect("a bus").to_string();
            let options = ConnectOptions::new().request_timeout(Some(PATIENCE));
            let worker = options.connect(address).await.expect("the bus takes everybody");
            test(&gateway, &worker).await;
        });
        gateway.stop();
    }
}

struct Asked(WebSocket<TcpStream>);

impl Asked {
    fn open(gateway: &Gateway, path: &str) -> Asked {
        let address = gateway.address(Door::Front, false).expect("a plain listener");
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Asked(tungstenite::client(format!("ws://{address}{path}"), socket).expect("an upgrade").0)
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
}

fn status(message: &Message) -> Option<u16> {
    message.status.map(|status| status.as_u16())
}

async fn ask(worker: &Client, subject: &str, timeout: Option<&str>) -> Result<Message, RequestErrorKind> {
    let mut headers = HeaderMap::new();
    headers.insert("Tg-Timeout", timeout.unwrap_or("20000"));
    let answer = worker.request_with_headers(subject.to_owned(), headers, r#"{"ride":7}"#.into()).await;
    answer.map_err(|error| error.kind())
}

/// What becomes of a question while a client does something that waits.
async fn meanwhile<T: Send + 'static>(
    asked: impl Future<Output = Result<Message, RequestErrorKind>>,
    act: impl FnOnce() -> T + Send + 'static,
) -> (Result<Message, RequestErrorKind>, T) {
    let (outcome, done) = tokio::join!(asked, tokio::task::spawn_blocking(act));
    (outcome, done.expect("it does not panic"))
}

#[test]
fn a_request_to_a_user_is_answered_by_one_of_its_connections() {
    on_both_drivers(async |gateway, worker| {
        let mut phone = Asked::open(gateway, "/asked?user=ann");
        let mut tablet = Asked::open(gateway, "/asked?user=ann");
        let (said, mut phone) = meanwhile(ask(worker, "tg.user.ann", None), move || {
            let question = phone.hear();
            assert_eq!((&question["tg"], &question["data"]), (&json!("question"), &json!({"ride": 7})));
            assert_eq!(tablet.hear(), question);
            phone.answer(&question, json!({"takes": true}));
            assert_eq!(tablet.hear(), json!({"tg": "over", "id": question["id"]}));
            phone
        })
        .await;
        let said = said.unwrap();
        assert_eq!(&said.payload[..], br#"{"takes":true}"#);
        let headers = said.headers.unwrap();
        assert_eq!(headers.get("Tg-User").unwrap().as_str(), "ann");
        let conn = format!("tg.conn.{}", headers.get("Tg-Conn").unwrap().as_str());
        let (said, _phone) = meanwhile(ask(worker, &conn, None), move || {
            let question = phone.hear();
            phone.answer(&question, Value::Null);
            phone
        })
        .await;
        assert_eq!(&said.unwrap().payload[..], b"null");
    });
}

#[test]
fn a_client_of_the_client_protocol_answers_with_a_call() {
    on_both_drivers(async |gateway, worker| {
        let mut client = Asked::open(gateway, "/desk?user=ann");
        client.say(&json!({"id": 1, "connect": {}}));
        client.hear();
        let (said, _) = meanwhile(ask(worker, "tg.user.ann", None), move || {
            let question = client.hear()["push"]["message"]["data"].clone();
            assert_eq!((&question["tg"], &question["data"]), (&json!("question"), &json!({"ride": 7})));
            let mut answer = |command: u32| {
                let data = json!({"id": question["id"], "data": [1]});
                client.say(&json!({"id": command, "rpc": {"method": "tg.answer", "data": data}}));
                client.hear()
            };
            assert_eq!(answer(2), json!({"id": 2, "rpc": {"data": {}}}));
            assert_eq!(answer(3)["error"]["code"], 108, "a second answer is told so");
        })
        .await;
        assert_eq!(&said.unwrap().payload[..], b"[1]");
    });
}

#[test]
fn whoever_gets_no_answer_hears_why() {
    on_both_drivers(async |gateway, worker| {
        assert_eq!(ask(worker, "tg.user.ann", None).await.unwrap_err(), RequestErrorKind::NoResponders);
        let mut raw = Asked::open(gateway, "/raw?user=ann");
        assert_eq!(ask(worker, "tg.user.ann", None).await.unwrap_err(), RequestErrorKind::NoResponders);
        assert_eq!(raw.hear(), json!({"ride": 7}), "whoever cannot answer gets it as it is");
        let mut client = Asked::open(gateway, "/asked?user=ann");
        let late = ask(worker, "tg.user.ann", Some("50")).await.unwrap();
        assert_eq!(status(&late), Some(408));
        assert_eq!([client.hear(), client.hear()].map(|said| said["tg"].clone()), ["question", "over"]);
        let (gone, _) = meanwhile(ask(worker, "tg.user.ann", None), move || {
            client.hear();
        })
        .await;
        assert_eq!(status(&gone.unwrap()), Some(410));
    });
}

#[test]
fn the_python_client_hears_every_outcome() {
    on_both_drivers(async |gateway, _| {
        let mut answers = Asked::open(gateway, "/asked?user=answers");
        let mut leaves = Asked::open(gateway, "/asked?user=leaves");
        let _waits = Asked::open(gateway, "/asked?user=waits");
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let asker = Command::new(tests.join(".venv/bin/python"))
            .arg(tests.join("questions/asker.py"))
            .arg(format!("nats://{}", gateway.address(Door::Bus, false).expect("a bus")))
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is installed");
        let question = answers.hear();
        answers.answer(&question, json!([1]));
        leaves.hear();
        drop(leaves);
        let output = asker.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let wanted = ["nobody: no responders", "answers: [1] by answers", "leaves: 410", "waits: 408"];
        assert_eq!(said.lines().collect::<Vec<_>>(), wanted);
        assert!(output.status.success());
    });
}
