//! The shop of docs/edge.md under load, while each of its services is restarted, hangs and is killed: what its customers lose is
//! what the page says, and what the others do not notice.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::documented::{ANY, Folder, port, start, with_certificate};
use crate::proxied::programs::{Program, TOKEN_SECRET};

/// The customers go on for so long, before a phase is counted.
const PHASE: Duration = Duration::from_millis(1500);

struct Customers {
    process: Child,
    to: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Customers {
    fn start(port: &str) -> Customers {
        let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let mut command = Command::new(tests.join(".venv/bin/python"));
        command.arg(tests.join("gateway/customers.py")).arg(port);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python starts");
        let to = process.stdin.take().expect("a pipe");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some("open"));
        Customers { process, to, lines }
    }

    /// The counts of a phase: while this is done, and a while after it.
    fn during(&mut self, name: &str, deed: impl FnOnce()) -> Phase {
        deed();
        thread::sleep(PHASE);
        writeln!(self.to).expect("it reads");
        let line = self.lines.next().and_then(Result::ok).expect("it counts");
        println!("{name}: {line}");
        Phase(name.to_owned(), serde_json::from_str(&line).expect("JSON"))
    }
}

impl Drop for Customers {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Phase(String, Value);

impl Phase {
    /// Of each kind that is not among these, something was asked, and nothing was lost.
    fn lost_nothing_but(&self, kinds: &[&str]) {
        for kind in ["page", "order", "report", "chat"].iter().filter(|kind| !kinds.contains(kind)) {
            assert!(self.1[kind]["asked"].as_u64().is_some_and(|asked| asked > 0), "{}: {kind}: {}", self.0, self.1);
        }
        let all = self.1.as_object().expect("kinds");
        for (kind, counts) in all.iter().filter(|(kind, _)| !kinds.contains(&kind.as_str())) {
            assert_eq!(counts["lost"], serde_json::json!({}), "{}: {kind}", self.0);
        }
    }

    /// How much of a kind was lost, of which each was one of these.
    fn lost(&self, kind: &str, ways: &[&str]) -> u64 {
        let lost = self.1[kind]["lost"].as_object().expect("ways");
        for way in lost.keys() {
            assert!(ways.contains(&way.as_str()), "{}: {kind}: {lost:?}", self.0);
        }
        lost.values().filter_map(Value::as_u64).sum()
    }
}

#[test]
fn the_shop_under_load_loses_what_its_page_says_while_services_come_and_go() {
    let folder = Folder::new("loaded");
    with_certificate(&folder, "shop");
    folder.write("token.secret", TOKEN_SECRET);
    let (mut first, second, mut chat) = (Program::node(), Program::node(), Program::node());
    let mut reports = Program::uvicorn();
    let servers = [
        ("127.0.0.1:3000", &first),
        ("127.0.0.1:3001", &second),
        ("127.0.0.1:8000", &reports),
        ("127.0.0.1:4000", &chat),
    ];
    let variables = [("LISTENER_0_ADDRESS", ANY), ("LISTENER_1_ADDRESS", ANY)];
    let gateway = start(&folder, "A shop behind it", &servers, &variables);
    let mut customers = Customers::start(&port(&gateway, true));
    customers.during("calm", || {}).lost_nothing_but(&[]);

    // Of the web application, one process of two: requests that were on their way there, at most one of each customer.
    for (name, signal) in [("one web restarts", "TERM"), ("one web is killed", "KILL")] {
        let phase = customers.during(name, || first.start_again_after(signal));
        phase.lost_nothing_but(&["page", "order"]);
        assert!(phase.lost("page", &["502"]) <= 8 && phase.lost("order", &["502"]) <= 4, "{name}: {}", phase.1);
    }
    let hang = |program: &Program| {
        program.signal("STOP");
        thread::sleep(PHASE);
        program.signal("CONT");
    };
    // The one to which all have gone.
    customers.during("one web hangs", || hang(&second)).lost_nothing_but(&[]);

    for (name, signal) in [("chat restarts", "TERM"), ("chat is killed", "KILL")] {
        let phase = customers.during(name, || chat.start_again_after(signal));
        phase.lost_nothing_but(&["chat"]);
        assert!(
            phase.lost("chat", &["closed 1006", "closed 1013", "502", "503"]) >= 8,
            "each customer was cut: {}",
            phase.1
        );
        customers.during("after it", || {}).lost_nothing_but(&[]);
    }
    customers.during("chat hangs", || hang(&chat)).lost_nothing_but(&[]);

    for (name, signal) in [("reports restart", "TERM"), ("reports are killed", "KILL")] {
        let phase = customers.during(name, || reports.start_again_after(signal));
        phase.lost_nothing_but(&["report"]);
        assert!(phase.lost("report", &["502", "503"]) > 0, "there was no other process: {}", phase.1);
        // A server that has failed three times in a row is left out for 10 s, unless there is no other.
        customers.during("after it", || {}).lost_nothing_but(&[]);
    }
    customers.during("reports hang", || hang(&reports)).lost_nothing_but(&[]);

    drop(customers);
    gateway.stop();
}
