//! Accepted requests: 202 at once, one worker, a result that is pushed, kept and read.

use std::sync::mpsc;
use std::time::Instant;

use serde_json::{Value, json};
use tidegate::gateway::Gateway;
use tidegate::worker::Received;

use crate::events::{Events, events};
use crate::support::*;

const ACCEPT: &str = r#"
[[route]]
path = "/jobs"
origins = ["https://app.example"]
accept = { service = "jobs", user = { header = "X-User", unverified = true } }

[[route]]
path = "/rooms/{room}/jobs"
method = ["POST", "PUT"]
accept = { service = "jobs", channel = "room.{room}", event = "job", timeout_s = 1, keep_s = 1 }

[[route]]
path = "/rooms/{room}/kept"
accept = { service = "jobs", channel = "room.{room}", event = "job", timeout_s = 1 }

[[route]]
path = "/{tenant}/bookings"
accept = { service = "jobs", channel = "tenant.{tenant}" }

[[route]]
path = "/results/{id}"
sse = { channel = "request.{id}" }

[limits]
payload_bytes_max = 100000
"#;

/// The status, the fields and the body of an answer.
struct Answer {
    head: String,
    body: String,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let start = format!("{name}: ");
        self.head.split("\r\n").find_map(|line| line.strip_prefix(&start))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    #[track_caller]
    fn expect(self, status: u16) -> Answer {
        assert!(self.head.starts_with(&format!("HTTP/1.1 {status} ")), "{}\n{}", self.head, self.body);
        self
    }
}

fn request(gateway: &Gateway, method: &str, path: &str, fields: &str, body: &str) -> Answer {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = ask(front(gateway), &request);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {answer:?}"));
    Answer { head: head.to_owned(), body: body.to_owned() }
}

/// Ann's job; its receipt.
fn post(gateway: &Gateway, fields: &str, body: &str) -> Value {
    let answer = request(gateway, "POST", "/jobs", &format!("X-User: ann\r\n{fields}"), body).expect(202);
    let receipt = answer.json();
    assert_eq!(answer.field("Location"), receipt["location"].as_str());
    receipt
}

fn text<'a>(receipt: &'a Value, name: &str) -> &'a str {
    receipt[name].as_str().unwrap_or_else(|| panic!("no {name} in {receipt}"))
}

fn read(gateway: &Gateway, receipt: &Value) -> Answer {
    request(gateway, "GET", text(receipt, "location"), "", "")
}

/// A worker of the service, when it is known everywhere.
fn worker(gateway: &Gateway) -> Raw {
    let mut worker = bus(gateway);
    worker.send("SUB tg.service.jobs workers 1\r\nPING\r\n").read_until("PONG\r\n");
    worker
}

/// A worker that comes when there is something to do already.
fn late_worker(gateway: &Gateway) -> Raw {
    let mut worker = bus(gateway);
    worker.send("SUB tg.service.jobs workers 1\r\n");
    worker
}

/// The next job that comes to it: headers and payload, as they came.
fn take(worker: &mut Raw, payload: &str) -> String {
    worker.read_until(&format!("\r\n\r\n{payload}\r\n"))
}

fn answer(worker: &mut Raw, receipt: &Value, headers: &str, payload: &str) {
    let block = format!("NATS/1.0\r\n{headers}\r\n");
    let (id, total) = (text(receipt, "id"), block.len() + payload.len());
    let verb = format!("HPUB tg.request.{id} {} {total}\r\n{block}{payload}\r\nPING\r\n", block.len());
    worker.send(verb).read_until("PONG\r\n");
}

fn listen(gateway: &Gateway, receipt: &Value) -> Events {
    events(gateway, &format!("/results/{}", text(receipt, "id")))
}

/// The document of the next event of that name.
fn hear(stream: &mut Events, event: &str) -> Value {
    stream.read_until(&format!("event: {event}\ndata: "));
    serde_json::from_str(&stream.read_until("\n\n")).expect("a document")
}

#[test]
fn a_result_is_pushed_to_those_who_wait_and_kept_for_those_who_ask() {
    on_both_drivers(ACCEPT, |gateway| {
        let mut workers = [worker(gateway), worker(gateway)];
        let fields = "Content-Type: application/json\r\n";
        let receipt = post(gateway, fields, "{\"seat\":1}");
        let id = text(&receipt, "id").to_owned();
        assert_eq!(receipt["channel"], format!("request.{id}"));
        assert_eq!(receipt["location"], format!("/jobs/{id}"));
        let pending = read(gateway, &receipt).expect(200);
        assert_eq!(pending.field("Retry-After"), Some("1"));
        assert_eq!(pending.json(), json!({"id": id, "status": "pending", "channel": receipt["channel"]}));
        let mut stream = listen(gateway, &receipt);
        // Only one of them has it: the other answers a ping with nothing before it, long after the first has got it.
        await_that("a worker has it", || metric(gateway, "messages_delivered_total") == 1);
        workers.iter_mut().for_each(|worker| _ = worker.send("PING\r\n"));
        let heard: Vec<String> = workers.iter_mut().map(|worker| worker.read_until("PONG\r\n")).collect();
        assert_eq!(heard.iter().filter(|heard| *heard == "PONG\r\n").count(), 1, "{heard:?}");
        let by = heard.iter().position(|heard| heard != "PONG\r\n").expect("one has it");
        for line in [
            "Tg-Kind: request",
            &format!("Tg-Request: {id}"),
            "Tg-User: ann",
            "Tg-Route: /jobs",
            "Tg-Method: POST",
            "Tg-Path: /jobs",
            "Content-Type: application/json",
            "{\"seat\":1}",
        ] {
            assert!(heard[by].contains(&format!("{line}\r\n")), "no {line} in {}", heard[by]);
        }
        assert!(heard[by].contains(&format!(" 1 tg.request.{id} ")), "{}", heard[by]);
        answer(&mut workers[by], &receipt, "Content-Type: application/json\r\n", "{\"ok\": true}");
        let document = json!({
            "id": id, "status": "done", "channel": receipt["channel"],
            "content_type": "application/json", "result": {"ok": true},
        });
        assert_eq!(hear(&mut stream, "tg.result"), document);
        let done = read(gateway, &receipt).expect(200);
        assert_eq!((done.json(), done.field("Retry-After")), (document, None));
        let head = request(gateway, "HEAD", text(&receipt, "location"), "", "").expect(200);
        assert_eq!((head.field("Content-Length"), &*head.body), (done.field("Content-Length"), ""));
        answer(&mut workers[by], &receipt, "", "again");
        await_that("it is counted", || metric(gateway, "answers_twice_total") == 1);
        assert_eq!(read(gateway, &receipt).expect(200).body, done.body, "who answers twice is not heard");
        assert_eq!(metric(gateway, "requests_done_total"), 1);
        // Whoever comes to the channel now gets the result as well: once, on every shard.
        for _ in 0..6 {
            let mut late = listen(gateway, &receipt);
            assert_eq!(hear(&mut late, "tg.result"), done.json());
            publish(gateway, text(&receipt, "channel"), "Tg-Event: more\r\n", "{}");
            assert_eq!(late.read_until("data: {}\n\n").matches("data:").count(), 1);
        }
        drop((workers, stream));
        expect_nobody(gateway);
    });
}

#[test]
fn a_request_waits_for_the_worker_that_comes_and_goes_on_to_the_next_when_it_leaves() {
    on_both_drivers(ACCEPT, |gateway| {
        let receipts: Vec<Value> = (0..4).map(|number| post(gateway, "", &format!("job {number}"))).collect();
        let mut first = late_worker(gateway);
        let mut heard = String::new();
        while (0..4).any(|number| !heard.contains(&format!("\r\n\r\njob {number}\r\n"))) {
            heard += &first.read_until("\r\n");
        }
        assert!(!heard.contains("Tg-Attempt"), "{heard}");
        answer(&mut first, &receipts[1], "", "done");
        drop(first);
        let mut second = late_worker(gateway);
        let mut heard = String::new();
        while [0, 2, 3].iter().any(|number| !heard.contains(&format!("\r\n\r\njob {number}\r\n"))) {
            heard += &second.read_until("\r\n");
        }
        assert_eq!((heard.matches("Tg-Attempt: 2\r\n").count(), heard.contains("job 1")), (3, false), "{heard}");
        assert_eq!(metric(gateway, "requests_orphaned_total"), 3);
        for number in [0, 2, 3] {
            answer(&mut second, &receipts[number], "Tg-Status: failed\r\n", "sold out");
        }
        for (number, receipt) in receipts.iter().enumerate() {
            let (status, result) = if number == 1 { ("done", "done") } else { ("failed", "sold out") };
            await_that("it is over", || read(gateway, receipt).expect(200).json()["status"] != "pending");
            let document = read(gateway, receipt).expect(200).json();
            assert_eq!((&document["status"], &document["result"]), (&json!(status), &json!(result)));
        }
        drop(second);
        expect_nobody(gateway);
    });
}

#[test]
fn a_worker_that_drains_may_finish_what_it_has() {
    on_both_drivers(ACCEPT, |gateway| {
        let mut leaving = worker(gateway);
        let receipt = post(gateway, "", "last");
        take(&mut leaving, "last");
        leaving.send("UNSUB 1\r\nPING\r\n").read_until("PONG\r\n");
        let mut other = worker(gateway);
        let next = post(gateway, "", "next");
        let heard = take(&mut other, "next");
        assert!(!heard.contains("last"), "{heard}");
        answer(&mut leaving, &receipt, "", "1");
        answer(&mut other, &next, "", "2");
        await_that("it is done", || read(gateway, &receipt).expect(200).json()["result"] == 1);
        assert_eq!(metric(gateway, "requests_orphaned_total"), 0);
        drop((leaving, other));
        expect_nobody(gateway);
    });
}

#[test]
fn what_nobody_answers_in_time_has_expired_and_its_channel_hears_that() {
    on_both_drivers(ACCEPT, |gateway| {
        let mut room = events(gateway, "/sse/7");
        let receipt = request(gateway, "PUT", "/rooms/7/jobs?a=b", "", "x").expect(202).json();
        assert_eq!(receipt["channel"], "room.7");
        await_that("its bytes count", || metric(gateway, "requests_bytes") > 1_024);
        let mut late = late_worker(gateway);
        let heard = take(&mut late, "x");
        let [path, query] = ["Tg-Path: /rooms/7/jobs\r\n", "Tg-Query: a=b\r\n"].map(|line| heard.contains(line));
        assert!(path && query && heard.contains("Tg-Route: /rooms/{room}/jobs\r\nTg-Method: PUT\r\n"), "{heard}");
        let document = hear(&mut room, "job");
        assert_eq!(document, json!({"id": receipt["id"], "status": "expired", "channel": "room.7"}));
        await_that("it is forgotten", || read(gateway, &receipt).head.starts_with("HTTP/1.1 404 "));
        answer(&mut late, &receipt, "", "far too late");
        await_that("nobody knows it", || metric(gateway, "answers_unknown_total") == 1);
        await_that("nothing is kept", || metric(gateway, "requests_kept") == 0);
        await_that("and no bytes", || metric(gateway, "requests_bytes") == 0);
        // Of one that is kept for long it is known that it was there, however late the answer is.
        let receipt = request(gateway, "POST", "/rooms/7/kept", "", "y").expect(202).json();
        take(&mut late, "y");
        assert_eq!(hear(&mut room, "job")["status"], "expired");
        answer(&mut late, &receipt, "", "too late");
        await_that("it is too late", || metric(gateway, "answers_late_total") == 1);
        assert_eq!(metric(gateway, "requests_expired_total"), 2);
        drop((late, room));
        expect_nobody(gateway);
    });
}

#[test]
fn a_request_that_comes_again_with_its_key_is_done_once() {
    on_both_drivers(ACCEPT, |gateway| {
        let mut jobs = worker(gateway);
        let receipt = post(gateway, "Idempotency-Key: \"k-1\"\r\n", "pay 5");
        for key in ["\"k-1\"", "k-1"] {
            // Each on a connection of its own, and so on any of the shards.
            for _ in 0..6 {
                assert_eq!(post(gateway, &format!("Idempotency-Key: {key}\r\n"), "pay 5"), receipt);
            }
        }
        let ann = "X-User: ann\r\nIdempotency-Key: k-1\r\n";
        let reused = request(gateway, "POST", "/jobs", ann, "pay 6").expect(422);
        assert_eq!(reused.body, "this Idempotency-Key came with another request\n");
        let bob = request(gateway, "POST", "/jobs", "X-User: bob\r\nIdempotency-Key: k-1\r\n", "pay 6").expect(202);
        assert_ne!(bob.json()["id"], receipt["id"]);
        let other = post(gateway, "", "pay 5");
        assert_ne!(other["id"], receipt["id"]);
        let mut heard = String::new();
        while heard.matches("\r\n\r\npay 5\r\n").count() < 2 || !heard.contains("\r\n\r\npay 6\r\n") {
            heard += &jobs.read_until("\r\n");
        }
        heard += &jobs.send("PING\r\n").read_until("PONG\r\n");
        assert_eq!(heard.matches("Tg-Kind: request").count(), 3, "{heard}");
        answer(&mut jobs, &receipt, "", "paid");
        assert_eq!(post(gateway, "Idempotency-Key: k-1\r\n", "pay 5"), receipt, "the same although it is done");
        assert_eq!(metric(gateway, "requests_accepted_total"), 3);
        assert_eq!(metric(gateway, "closed_total:key_reused"), 1);
        drop(jobs);
        expect_nobody(gateway);
    });
}

#[test]
fn bad_requests_get_the_answer_of_their_row() {
    let long = "x".repeat(100_001);
    let key = format!("X-User: a\r\nIdempotency-Key: {}\r\n", "k".repeat(256));
    on_both_drivers(ACCEPT, |gateway| {
        for (method, path, fields, body, status) in [
            ("POST", "/jobs", "", "x", 401),
            ("POST", "/jobs", "X-User:\r\n", "x", 400),
            ("POST", "/jobs", "X-User: a\r\nOrigin: https://evil.example\r\n", "x", 403),
            ("POST", "/jobs", "X-User: a\r\n", &long, 413),
            ("POST", "/jobs", &key, "x", 400),
            ("POST", "/jobs", "X-User: a\r\nIdempotency-Key: \r\n", "x", 400),
            ("GET", "/jobs", "", "", 405),
            ("POST", "/jobs/00", "", "", 405),
            ("GET", "/jobs/00", "", "", 404),
            ("GET", "/jobs/0000000000000000000000000000000000", "", "", 404),
            ("GET", "/jobs/ff00000000000000000000000000000000", "", "", 404),
            ("GET", "/jobs/00/00", "", "", 404),
            ("POST", "/rooms/a%00b/jobs", "", "", 400),
        ] {
            request(gateway, method, path, fields, body).expect(status);
        }
        assert_eq!(request(gateway, "GET", "/jobs", "", "").field("Allow"), Some("POST"));
        assert_eq!(request(gateway, "DELETE", "/jobs/00", "", "").field("Allow"), Some("GET"));
        // The result of one route is not to be read by another.
        let receipt = post(gateway, "", "x");
        let elsewhere = format!("/rooms/1/jobs/{}", text(&receipt, "id"));
        request(gateway, "GET", &elsewhere, "", "").expect(404);
        assert_eq!(metric(gateway, "closed_total:unknown_request"), 4);
        expect_nobody(gateway);
    });
}

#[test]
fn one_connection_may_ask_and_read_as_often_as_it_likes() {
    on_both_drivers(ACCEPT, |gateway| {
        let mut client = Raw::connect(front(gateway));
        let mut jobs = worker(gateway);
        for number in 0..20 {
            // In chunks, after a 100 Continue, and with the next request behind it.
            client.send(
                "POST /jobs HTTP/1.1\r\nHost: a\r\nX-User: ann\r\nExpect: 100-continue\r\n\
                 Transfer-Encoding: chunked\r\n\r\n",
            );
            client.read_until("100 Continue\r\n\r\n");
            client.send(format!("3\r\njob\r\n{:x}\r\n {number}\r\n0\r\n\r\n", number.to_string().len() + 1));
            client.send("GET /jobs/0000000000000000000000000000000000 HTTP/1.1\r\nHost: a\r\n\r\n");
            let head = client.read_until("\r\n\r\n");
            assert!(head.starts_with("HTTP/1.1 202 "), "{head}");
            let receipt: Value = serde_json::from_str(&client.read_until("\n")).unwrap();
            client.read_until("not kept any more\n");
            take(&mut jobs, &format!("job {number}"));
            answer(&mut jobs, &receipt, "", &number.to_string());
            let location = text(&receipt, "location");
            // The worker's shard may not be the keeper's: the answer may still be on its way.
            let get = format!("GET {location} HTTP/1.1\r\nHost: a\r\n\r\n");
            let is_done = |document: String| document.contains(&format!("\"result\":{number}}}"));
            await_that("it is done", || {
                client.send(&get).read_until("\r\n\r\n{");
                is_done(client.read_until("}"))
            });
        }
        drop((client, jobs));
        expect_nobody(gateway);
    });
}

#[test]
fn a_page_of_a_listed_origin_may_ask_and_read() {
    on_both_drivers(ACCEPT, |gateway| {
        let origin = "Origin: https://app.example\r\nX-User: ann\r\n";
        let accepted = request(gateway, "POST", "/jobs", origin, "x").expect(202);
        assert_eq!(accepted.field("Access-Control-Allow-Origin"), Some("https://app.example"));
        assert_eq!(accepted.field("Access-Control-Expose-Headers"), Some("Location, Retry-After"));
        let location = text(&accepted.json(), "location").to_owned();
        let reading = request(gateway, "GET", &location, origin, "").expect(200);
        assert_eq!(reading.field("Access-Control-Allow-Origin"), Some("https://app.example"));
        let unknown = request(gateway, "GET", "/jobs/0000000000000000000000000000000000", origin, "").expect(404);
        assert_eq!(unknown.field("Access-Control-Allow-Origin"), Some("https://app.example"));
        for (path, methods) in [("/jobs", "POST"), (&*location, "GET")] {
            let asks = format!("{origin}Access-Control-Request-Method: {methods}\r\n");
            let allowed = request(gateway, "OPTIONS", path, &asks, "").expect(204);
            assert_eq!(allowed.field("Access-Control-Allow-Methods"), Some(methods));
            assert!(allowed.field("Access-Control-Allow-Headers").unwrap().contains("Idempotency-Key"));
        }
        request(gateway, "GET", &location, "Origin: https://evil.example\r\n", "").expect(403);
        expect_nobody(gateway);
    });
}

#[test]
fn an_in_process_worker_answers_and_its_end_is_noticed() {
    let build = |driver: &str| {
        let (gone, is_gone) = mpsc::channel::<()>();
        builder(driver, ACCEPT)
            .worker("deserter", move |mut worker| {
                worker.serve("jobs").expect("a valid name");
                while !matches!(worker.recv(Instant::now() + PATIENCE), Received::Message(_) | Received::Stopped) {}
                drop(worker);
                let _ = gone.send(());
            })
            .worker("finisher", move |mut worker| {
                let _ = is_gone.recv();
                worker.serve("jobs").expect("a valid name");
                loop {
                    match worker.recv(Instant::now() + PATIENCE) {
                        Received::Message(message) => {
                            assert_eq!(message.header("Tg-Attempt"), Some("2"));
                            worker.reply(&message, &message.payload).expect("the request is known");
                        }
                        Received::Nothing => {}
                        Received::Stopped => return,
                    }
                }
            })
    };
    on_both_drivers_with(build, |gateway| {
        let receipt = post(gateway, "", "7");
        await_that("a result", || read(gateway, &receipt).expect(200).json()["result"] == 7);
        expect_nobody(gateway);
    });
}

#[test]
fn an_empty_part_of_a_path_is_no_value_and_a_location_leads_to_no_other_host() {
    on_both_drivers(ACCEPT, |gateway| {
        for (path, expected) in [
            ("/acme/bookings", 202),
            ("//bookings", 404),
            ("///bookings", 404),
            ("//evil.example/bookings", 404),
            ("/rooms//jobs", 404),
            ("/\\evil.example/bookings", 400),
            ("/\\/bookings", 400),
            ("/acme\\/bookings", 400),
        ] {
            let answer = request(gateway, "POST", path, "", "").expect(expected);
            if expected == 202 {
                assert!(answer.field("Location").is_some_and(|location| location.starts_with("/acme/bookings/")));
            }
        }
        let ids = ["//bookings/0123", "/bookings/", "//"];
        for path in ids {
            request(gateway, "GET", path, "", "").expect(404);
        }
        // Escaped, it is a name like any other.
        let answer = request(gateway, "POST", "/%5Cevil.example/bookings", "", "").expect(202);
        assert!(answer.field("Location").is_some_and(|location| location.starts_with("/%5Cevil.example/bookings/")));
    });
}
