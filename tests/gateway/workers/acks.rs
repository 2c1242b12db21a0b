//! Messages that clients acknowledge: async-nats and nats-py send them, `ws` and `centrifuge` of npm lose their connection in between.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use async_nats::{Client, Message, RequestErrorKind};
use tidegate::gateway::Gateway;

use crate::workers::{User, folder, front, lines_of, on_both_drivers, python, request, status};

async fn send(worker: &Client, subject: &str, demand: &str) -> Result<Message, RequestErrorKind> {
    request(worker, subject, ("Tg-Ack", demand)).await
}

/// A program of users, and what it says.
struct Users {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Users {
    fn start(gateway: &Gateway, transport: &str) -> Users {
        let mut child = Command::new("node")
            .arg(folder().join("gateway/workers/acknowledging.mjs"))
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

#[test]
fn a_message_waits_for_whoever_is_not_there_and_a_gateway_that_ends_says_so() {
    on_both_drivers(async |gateway, worker| {
        let address = front(&gateway);
        let (late, ()) = tokio::join!(send(worker, "tg.user.ann", "20"), async {
            let come = tokio::task::spawn_blocking(move || {
                let mut ann = User::open(&address, "/control?user=ann");
                let message = ann.hear();
                ann.acknowledge(&message);
                ann
            });
            come.await.expect("it does not panic");
        });
        assert_eq!(status(&late.unwrap()), Some(200));
        // Whatever is published later is behind it.
        let (waiting, ()) = tokio::join!(send(worker, "tg.user.nobody", "60"), async {
            assert_eq!(status(&send(worker, "tg.user.nobody", "1, x").await.unwrap()), Some(400));
            tokio::task::spawn_blocking(|| gateway.stop()).await.expect("it stops");
        });
        assert_eq!(waiting.unwrap_err(), RequestErrorKind::NoResponders);
    });
}

#[test]
fn the_python_client_hears_every_outcome() {
    on_both_drivers(async |gateway, _| {
        let address = front(&gateway);
        let mut user = User::open(&address, "/control?user=acknowledges");
        let _sleeps = User::open(&address, "/control?user=sleeps");
        let worker = python("demanding.py", &gateway);
        let message = user.hear();
        user.acknowledge(&message);
        let wanted = [
            "acknowledges: 200 Acknowledged, acknowledges",
            "sleeps: 408 Request Timeout, None",
            "nobody: 408 Request Timeout, None",
            "misread: 400 Bad Request, None",
        ];
        assert_eq!(lines_of(worker), wanted);
    });
}
