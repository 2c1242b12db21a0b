//! Who takes the ride: every end of a question to a driver, and a dispatcher's.

use serde_json::{Value, json};

use crate::examples::running::{Running, page, program};
use crate::examples::stage::Stage;

/// A dispatcher that asks these drivers, with so many seconds for each.
fn dispatcher(stage: &Stage, drivers: &str, seconds: &str) -> Running {
    let arguments = [&stage.nats(), drivers, seconds];
    let mut worker = Running::start(program("examples/ride-acceptance/dispatcher.py").args(arguments));
    assert!(worker.line().starts_with("dispatcher: working for"));
    worker
}

/// A driver who does what the name says.
fn driver(stage: &Stage, manner: &str) -> Running {
    let arguments = [&stage.websocket(), manner, manner];
    let mut driver = Running::start(program("examples/ride-acceptance/driver.mjs").args(arguments));
    assert_eq!(driver.line(), format!("{manner} is online"));
    driver
}

struct Rider(Running);

impl Rider {
    fn order(stage: &Stage) -> Rider {
        Rider(Running::start(program("examples/ride-acceptance/rider.mjs").args([&stage.http(), "rita"])))
    }

    /// The end of the ride, after what the rider has seen of the search, which the result repeats.
    fn hears(mut self) -> Value {
        let mut progress = Vec::new();
        loop {
            let line = self.0.line();
            let Ok(said) = serde_json::from_str::<Value>(&line) else {
                assert!(line.starts_with("accepted: /rides/"), "{line}");
                continue;
            };
            if said.get("status").is_none() {
                progress.push(said);
                continue;
            }
            assert_eq!(said["result"]["asked"], Value::Array(progress));
            return said;
        }
    }
}

/// Driver and outcome of each question.
fn asked(document: &Value) -> Vec<[&str; 2]> {
    let asked = document["result"]["asked"].as_array().expect("a list");
    asked.iter().map(|asked| ["driver", "outcome"].map(|name| asked[name].as_str().expect("text"))).collect()
}

fn on_both_drivers(play: impl Fn(Stage)) {
    ["epoll", "uring"].into_iter().for_each(|driver| play(Stage::start("ride-acceptance", driver)));
}

#[test]
fn who_is_not_there_or_leaves_is_passed_over_at_once() {
    on_both_drivers(|stage| {
        let mut leaves = driver(&stage, "leaves");
        let _declines = driver(&stage, "declines");
        let mut takes = driver(&stage, "takes");
        // Whoever waited for a driver's deadline would wait for an hour.
        let _dispatcher = dispatcher(&stage, "nobody,leaves,declines,takes", "3600");
        let document = Rider::order(&stage).hears();
        let outcomes =
            [["nobody", "not connected"], ["leaves", "disconnected"], ["declines", "declines"], ["takes", "takes"]];
        assert_eq!(asked(&document), outcomes);
        assert_eq!((&document["status"], &document["result"]["driver"]), (&json!("done"), &json!("takes")));
        let ride = document["id"].as_str().expect("an id");
        assert_eq!(leaves.line(), format!("offered {ride}"));
        assert_eq!([takes.line(), takes.line()], [format!("offered {ride}"), format!("drives {ride}")]);

        drop(takes);
        let document = Rider::order(&stage).hears();
        assert_eq!((&document["status"], asked(&document).len()), (&json!("failed"), 4));
        assert_eq!(document["result"]["error"], "nobody takes the ride");
    });
}

#[test]
fn who_does_not_answer_in_time_is_passed_over_and_told() {
    on_both_drivers(|stage| {
        let mut waits = driver(&stage, "waits");
        let _takes = driver(&stage, "takes");
        let _dispatcher = dispatcher(&stage, "waits,takes", "2");
        let document = Rider::order(&stage).hears();
        assert_eq!(asked(&document), [["waits", "no answer in time"], ["takes", "takes"]]);
        assert!(waits.line().starts_with("offered "));
        assert_eq!(waits.line(), "the offer is over");
    });
}

#[test]
fn a_ride_survives_its_dispatcher() {
    let stage = Stage::start("ride-acceptance", "auto");
    let mut waits = driver(&stage, "waits");
    let _takes = driver(&stage, "takes");
    let first = dispatcher(&stage, "waits", "3600");
    let rider = Rider::order(&stage);
    assert!(waits.line().starts_with("offered "));
    drop(first);
    let _second = dispatcher(&stage, "takes", "3600");
    assert_eq!(asked(&rider.hears()), [["takes", "takes"]]);
}

#[test]
fn a_driver_takes_a_ride_in_a_browser() {
    let stage = Stage::start("ride-acceptance", "auto");
    let _dispatcher = dispatcher(&stage, "ann", "3600");
    let mut driver = page("driver", &stage.websocket());
    assert_eq!(driver.line(), "online");
    let document = Rider::order(&stage).hears();
    assert_eq!(asked(&document), [["ann", "takes"]]);
    assert_eq!(driver.line(), format!("drives {}", document["id"].as_str().expect("an id")));
    driver.ends_well();
}
