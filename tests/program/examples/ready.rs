//! Workers say that they work when the gateway has taken their subscriptions, and note as sent what it has taken.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::examples::running::{PATIENCE, Running, program, repository};

/// A bus that notes the verbs of its one worker in their order, and answers each PING.
struct Notes {
    address: String,
    verbs: Receiver<String>,
}

impl Notes {
    fn start() -> Notes {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = format!("nats://{}", listener.local_addr().expect("it has an address"));
        let (noted, verbs) = channel();
        // Ends with the worker, or with the test.
        thread::spawn(move || {
            let (mut worker, _) = listener.accept().expect("the worker connects");
            let info = r#"INFO {"server_id":"S","version":"2.10.0","proto":1,"headers":true,"max_payload":1048576}"#;
            write!(worker, "{info}\r\n").expect("a greeting");
            let lines = BufReader::new(worker.try_clone().expect("a second handle")).lines();
            for line in lines.map_while(Result::ok) {
                let verb = line.split(' ').next().unwrap_or_default().to_owned();
                let is_ping = verb == "PING";
                let is_over = noted.send(verb).is_err();
                if is_over || is_ping && worker.write_all(b"PONG\r\n").is_err() {
                    return;
                }
            }
        });
        Notes { address, verbs }
    }
}

/// That a PONG came for a PING behind the last SUB: whatever is published from now on reaches the worker.
fn expect_subscribed(path: &str, files: Option<&str>, words: &str) {
    let bus = Notes::start();
    let mut worker = program(path);
    let mut worker = Running::start(worker.arg(&bus.address).args(files.map(scratch)));
    let line = worker.line();
    assert!(line.starts_with(words), "{line}");
    let verbs: Vec<String> = bus.verbs.try_iter().collect();
    let last_sub = verbs.iter().rposition(|verb| verb == "SUB").expect("it subscribes");
    assert!(verbs[last_sub..].iter().any(|verb| verb == "PING"), "{words}: {verbs:?}");
}

/// A path of the test's own, with nothing there.
fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ready").join(name);
    // Fails when there is none.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    folder.join(name)
}

#[test]
fn a_worker_works_when_its_subscriptions_are_in_force() {
    for (path, files, words) in [
        ("examples/echo.py", None, "echo: working for"),
        ("examples/booking/worker.py", None, "booking: working for"),
        ("examples/ride-acceptance/dispatcher.py", None, "dispatcher: working for"),
        ("examples/notifications/worker.py", Some("empty.sqlite"), "notifications: working for"),
        ("examples/collaboration/worker.py", Some("documents"), "collaboration: working for"),
    ] {
        expect_subscribed(path, files, words);
    }
}

#[test]
fn an_outbox_notes_as_sent_what_the_bus_has_taken() {
    let outbox = scratch("outbox.sqlite");
    let put = "import sys; from outbox import Outbox; Outbox(sys.argv[1]).put([('n1', 'ann', 'hello')])";
    let python = program("examples/notifications/worker.py").get_program().to_owned();
    let seeded = Command::new(python)
        .args(["-c", put])
        .arg(&outbox)
        .current_dir(repository("examples/notifications"))
        .status()
        .expect("python runs");
    assert!(seeded.success());
    let bus = Notes::start();
    let _worker = Running::start(program("examples/notifications/worker.py").arg(&bus.address).arg(&outbox));
    let next = || bus.verbs.recv_timeout(PATIENCE).expect("the worker goes on");
    while next() != "HPUB" {}
    // Only a PONG for this one says that the message has been taken.
    while next() != "PING" {}
}
