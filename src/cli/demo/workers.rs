//! The two workers in this process: one reports where the drivers are, the other matches rides.
//!
//! ```text
//!  route --position--> report --publish driver.location.<driver>--> event streams
//!
//!  WebSockets --tg.service.rides--> match_rides --> rides::Matching
//!             <--tg.conn.<id>, tg.user.<driver>--------'
//! ```

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::rides::{Matching, Send, To};
use super::route::{CarRoute, routes};
use tidegate::proto::event::Message;
use tidegate::proto::reserved::headers::{CONN_HEADER, EVENT_HEADER, KIND_HEADER, USER_HEADER};
use tidegate::proto::reserved::subjects;
use tidegate::worker::{Error, Received, Worker};

/// The service of the rides' route.
pub const SERVICE: &str = "rides";
/// Each driver's position, five times a second: often enough to look smooth.
const REPORT_EVERY: Duration = Duration::from_millis(200);
/// How long a worker without a deadline sleeps; any value would do.
const IDLE: Duration = Duration::from_secs(3_600);

/// Publishes every driver's position until the gateway ends, the drivers taking turns.
pub fn report(mut worker: Worker) {
    let routes = routes();
    let pause = REPORT_EVERY / routes.len() as u32;
    let mut due = Instant::now();
    for route in routes.iter().cycle() {
        if let Received::Stopped = worker.recv(due) {
            return;
        }
        let channel = format!("driver.location.{}", route.driver);
        let said = worker.publish(&channel, &[(EVENT_HEADER, "location")], location(route, since_epoch()).as_bytes());
        if is_over(said) {
            return;
        }
        // After a pause of the whole machine the reports continue from now; the missed ones are skipped.
        due = (due + pause).max(Instant::now());
    }
}

/// The message to the page about a driver. The position follows from the time of day, so that it continues after a
/// restart.
fn location(route: &CarRoute, since_epoch: Duration) -> String {
    let position = route.position(since_epoch);
    format!(
        r#"{{"driver":"{}","lat":{:.6},"lng":{:.6},"heading":{:.0},"speed_kmh":{:.1},"at_ms":{:.3}}}"#,
        route.driver,
        position.lat,
        position.lng,
        position.heading_deg,
        position.speed_kmh,
        milliseconds(since_epoch)
    )
}

/// Matches rides until the gateway ends.
pub fn match_rides(mut worker: Worker) {
    let routes = routes();
    let mut matching = Matching::new(routes.iter().map(|route| (route.driver.clone(), route.name.clone())));
    if let Err(error) = worker.serve(SERVICE) {
        return log::error!("the demo's matching cannot start: {error}");
    }
    loop {
        let deadline = matching.deadline().unwrap_or_else(|| Instant::now() + IDLE);
        match worker.recv(deadline) {
            Received::Message(message) => hear(&mut matching, &routes, &message),
            Received::Nothing => {}
            Received::Stopped => return,
        }
        // Called after a message too: many messages must not keep an offer from expiring.
        matching.on_time(Instant::now());
        while let Some(send) = matching.next_send() {
            if is_over(tell(&worker, send)) {
                return;
            }
        }
    }
}

fn hear(matching: &mut Matching, routes: &[CarRoute], message: &Message) {
    let Some(conn) = message.header(CONN_HEADER) else { return };
    let user = message.header(USER_HEADER).unwrap_or_default();
    let now = Instant::now();
    match message.header(KIND_HEADER) {
        Some("open") => matching.on_open(conn, user),
        Some("close") => matching.on_close(conn, now),
        Some("message") => {
            let places: Vec<(f64, f64)> = routes.iter().map(|route| place(route, since_epoch())).collect();
            matching.on_message(conn, user, &message.payload, &places, now);
        }
        _ => {}
    }
}

fn place(route: &CarRoute, since_epoch: Duration) -> (f64, f64) {
    let position = route.position(since_epoch);
    (position.lat, position.lng)
}

fn tell(worker: &Worker, send: Send) -> Result<(), Error> {
    let subject = match send.to {
        To::Conn(conn) => conn.parse().ok().map(subjects::conn),
        To::User(user) => subjects::user(&user).ok(),
    };
    let Some(subject) = subject else { return Ok(()) };
    let mut message = send.message;
    message["at_ms"] = Value::from(milliseconds(since_epoch()));
    worker.publish(subject.as_str(), &[], message.to_string().as_bytes())
}

/// Whether the gateway has ended; any other error concerns one message only.
fn is_over(said: Result<(), Error>) -> bool {
    if let Err(error) = &said {
        log::debug!("the demo's message was not sent: {error}");
    }
    said == Err(Error::Stopped)
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::route::distance_m;

    #[test]
    fn a_location_is_json_with_what_the_page_needs() {
        for route in routes() {
            let location: Value = serde_json::from_str(&location(&route, Duration::from_micros(12_345_678))).unwrap();
            assert_eq!(location["driver"], route.driver);
            assert_eq!(location["at_ms"], 12_345.678);
            for number in ["lat", "lng", "heading", "speed_kmh"] {
                assert!(location[number].is_number(), "{number}");
            }
        }
    }

    #[test]
    fn a_driver_goes_on_where_it_was_when_the_gateway_restarts() {
        let route = &routes()[0];
        let (before, after) = (Duration::from_millis(1_800_000_000_000), Duration::from_millis(1_800_000_000_200));
        assert!(distance_m(place(route, before), place(route, after)) < 3.0);
    }
}
