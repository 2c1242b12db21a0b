//! Bookings: pushed and polled with the same workers, and through a worker's death.

use serde_json::Value;

use crate::examples::running::{Running, program};
use crate::examples::stage::Stage;

/// A worker whose bookings take about so many seconds.
fn worker(stage: &Stage, seconds: &str) -> Running {
    let mut worker = Running::start(program("examples/booking/worker.py").args([&stage.nats(), seconds]));
    assert!(worker.line().starts_with("booking: working for"));
    worker
}

#[test]
fn pushed_results_need_fewer_requests_than_polled_ones() {
    let stage = Stage::start("booking", "auto");
    let _workers = [worker(&stage, "0.3"), worker(&stage, "0.3")];
    let pid = stage.id().to_string();
    let arguments = [&stage.http(), "--passengers", "20", "--bookings", "3", "--gateway", &pid, "--json"];
    let output = program("examples/booking/compare.mjs").args(arguments).output().expect("node runs");
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
    let stage = Stage::start("booking", "auto");
    let books = |name: &str, seat: &str| {
        Running::start(program("examples/booking/passenger.mjs").args([&stage.http(), name, seat]))
    };
    // Nobody works yet, and the first who comes would take an hour.
    let mut passenger = books("ann", "12A");
    assert!(passenger.line().starts_with("accepted: /bookings/"));
    let slow = worker(&stage, "3600");
    drop(slow);
    let _quick = worker(&stage, "0.1");
    let document: Value = serde_json::from_str(&passenger.line()).expect("a document");
    assert_eq!((&document["status"], &document["result"]["seat"]), (&"done".into(), &"12A".into()));
    let mut unlucky = books("bob", "13C");
    unlucky.line();
    let document: Value = serde_json::from_str(&unlucky.line()).expect("a document");
    assert_eq!((&document["status"], &document["result"]["error"]), (&"failed".into(), &"there is no row 13".into()));
}
