//! Bookings: pushed and polled with the same workers, and through a worker's death.

use std::process::Command;

use serde_json::Value;

use crate::running::{Running, repository};

/// The example's gateway on free ports: its page address, its bus address, and itself.
fn gateway() -> (Running, String, String) {
    let mut gateway = Running::start(
        Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["serve", "--shards", "2", "--config"])
            .arg(repository("examples/booking/tidegate.toml"))
            .envs([("TIDEGATE_LISTENER_0_ADDRESS", "127.0.0.1:0"), ("TIDEGATE_BUS_ADDRESS", "127.0.0.1:0")]),
    );
    let [front, bus] = ["listening http ", "listening bus "].map(|start| {
        let line = gateway.line();
        let address = line.strip_prefix(start).unwrap_or_else(|| panic!("{line:?} does not begin with {start:?}"));
        address.trim().to_owned()
    });
    (gateway, format!("http://{front}"), format!("nats://{bus}"))
}

/// A worker whose bookings take about so many seconds.
fn worker(bus: &str, seconds: &str) -> Running {
    let python = repository("tests/.venv/bin/python");
    let mut worker =
        Running::start(Command::new(python).arg(repository("examples/booking/worker.py")).args([bus, seconds]));
    assert!(worker.line().starts_with("booking: working for"));
    worker
}

fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(repository(script));
    command
}

#[test]
fn pushed_results_need_fewer_requests_than_polled_ones() {
    let (gateway, front, bus) = gateway();
    let _workers = [worker(&bus, "0.3"), worker(&bus, "0.3")];
    let pid = gateway.id().to_string();
    let arguments = [&front, "--passengers", "20", "--bookings", "3", "--gateway", &pid, "--json"];
    let output = node("examples/booking/compare.mjs").args(arguments).output().expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let [push, polling] = &rows[..] else { panic!("{rows:?}") };
    let number = |row: &Value, name: &str| row[name].as_f64().unwrap_or_else(|| panic!("no {name} in {row}"));
    assert!([push, polling].iter().all(|row| number(row, "bookings") == 60.0), "every result was seen: {rows:?}");
    // One stream for each passenger, one request for each booking.
    assert!((number(push, "requests_per_booking") - (1.0 + 1.0 / 3.0)).abs() < 0.01, "{push}");
    assert!(number(polling, "requests_per_booking") >= 2.0, "{polling}");
    assert!(number(push, "result_ms_mean") < number(polling, "result_ms_mean"), "{rows:?}");
}

#[test]
fn a_booking_survives_its_worker() {
    let (_gateway, front, bus) = gateway();
    // Nobody works yet, and the first who comes would take an hour.
    let mut passenger = Running::start(node("examples/booking/passenger.mjs").args([&front, "ann", "12A"]));
    assert!(passenger.line().starts_with("accepted: /bookings/"));
    let slow = worker(&bus, "3600");
    drop(slow);
    let _quick = worker(&bus, "0.1");
    let document: Value = serde_json::from_str(&passenger.line()).expect("a document");
    assert_eq!((&document["status"], &document["result"]["seat"]), (&"done".into(), &"12A".into()));
    let mut unlucky = Running::start(node("examples/booking/passenger.mjs").args([&front, "bob", "13C"]));
    unlucky.line();
    let document: Value = serde_json::from_str(&unlucky.line()).expect("a document");
    assert_eq!((&document["status"], &document["result"]["error"]), (&"failed".into(), &"there is no row 13".into()));
}
