//! Workers ask clients: async-nats and nats-py ask, WebSockets of both protocols answer.

use async_nats::{Client, Message, RequestErrorKind};
use serde_json::{Value, json};

use crate::workers::{User, front, lines_of, on_both_drivers, python, request, status};

async fn ask(worker: &Client, subject: &str, timeout: Option<&str>) -> Result<Message, RequestErrorKind> {
    request(worker, subject, ("Tg-Timeout", timeout.unwrap_or("20000"))).await
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
        let address = front(&gateway);
        let mut phone = User::open(&address, "/control?user=ann");
        let mut tablet = User::open(&address, "/control?user=ann");
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
        let address = front(&gateway);
        let mut client = User::open(&address, "/desk?user=ann");
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
        let address = front(&gateway);
        assert_eq!(ask(worker, "tg.user.ann", None).await.unwrap_err(), RequestErrorKind::NoResponders);
        let mut raw = User::open(&address, "/raw?user=ann");
        assert_eq!(ask(worker, "tg.user.ann", None).await.unwrap_err(), RequestErrorKind::NoResponders);
        assert_eq!(raw.hear(), json!({"ride": 7}), "whoever cannot answer gets it as it is");
        let mut client = User::open(&address, "/control?user=ann");
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
        let address = front(&gateway);
        let mut answers = User::open(&address, "/control?user=answers");
        let mut leaves = User::open(&address, "/control?user=leaves");
        let _waits = User::open(&address, "/control?user=waits");
        let asker = python("asking.py", &gateway);
        let question = answers.hear();
        answers.answer(&question, json!([1]));
        leaves.hear();
        drop(leaves);
        let wanted = ["nobody: no responders", "answers: [1] by answers", "leaves: 410", "waits: 408"];
        assert_eq!(lines_of(asker), wanted);
    });
}
