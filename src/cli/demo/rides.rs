//! Ride matching: offers a requested ride to one driver after the other until one accepts. No sockets, no clock.
//!
//! ```text
//! rider  --request-->  nearest driver on duty  --offer-->  accept  ----->  assigned
//!                         ^                                decline --.
//!                         |                                no answer |     no driver left: expired
//!                         '---- next nearest <-- went off duty <-----'
//! ```
//!
//! A user with the name of a driver is that driver's app; every other user is a rider. Messages go to one connection of
//! a rider, or to all connections of a driver, so that two apps of one driver show the same.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::route::distance_m;

/// How long a driver may think: long enough to read the offer, short enough to watch it expire.
pub const OFFER_TIMEOUT: Duration = Duration::from_secs(12);
/// Rides that wait for a driver at the same time: more than a demo needs, few enough for a linear search.
const RIDES_MAX: usize = 64;
/// Longest name of a pickup, in characters; the rest is cut.
const PICKUP_NAME_CHARS_MAX: usize = 60;

/// A message on its way to a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Send {
    pub to: To,
    pub message: Value,
}

/// The receiver of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum To {
    /// One connection, by its id.
    Conn(String),
    /// All connections of a user.
    User(String),
}

/// All rides that look for a driver, and the connected users.
pub struct Matching {
    drivers: Vec<RideDriver>,
    /// The user of every open connection.
    users: HashMap<String, String>,
    /// By number, so that the oldest comes first.
    rides: BTreeMap<u64, Ride>,
    rides_count: u64,
    sends: VecDeque<Send>,
}

struct RideDriver {
    id: String,
    name: String,
    /// Open connections; the driver is on duty while there is one.
    connections: usize,
    /// The ride whose answer is awaited.
    offered: Option<u64>,
}

struct Ride {
    /// The connection that asked.
    rider: String,
    pickup: Value,
    /// Drivers that have not been asked yet, nearest first; indexes into `Matching::drivers`.
    candidates: VecDeque<usize>,
    /// The driver being asked, and until when. There is always one: a ride without one is over.
    asked: usize,
    expires_at: Instant,
    /// How many drivers have been asked: tells a ride that no driver took from one that no driver was asked for.
    asked_count: usize,
}

/// The reason why an offer ended without the driver taking the ride; the driver's apps are told.
#[derive(Clone, Copy)]
enum Passed {
    /// The driver has declined.
    Declined,
    /// The driver has not answered in time, or has disconnected.
    Expired,
}

impl Passed {
    /// The type of the message to the driver.
    fn word(self) -> &'static str {
        match self {
            Passed::Declined => "declined",
            Passed::Expired => "expired",
        }
    }
}

impl Matching {
    /// `drivers`: id and name of each.
    pub fn new(drivers: impl IntoIterator<Item = (String, String)>) -> Matching {
        let driver = |(id, name)| RideDriver { id, name, connections: 0, offered: None };
        Matching {
            drivers: drivers.into_iter().map(driver).collect(),
            users: HashMap::new(),
            rides: BTreeMap::new(),
            rides_count: 0,
            sends: VecDeque::new(),
        }
    }

    /// The next message to send.
    pub fn next_send(&mut self) -> Option<Send> {
        self.sends.pop_front()
    }

    /// When to call [`Matching::on_time`].
    pub fn deadline(&self) -> Option<Instant> {
        self.rides.values().map(|ride| ride.expires_at).min()
    }

    pub fn on_open(&mut self, conn: &str, user: &str) {
        if self.users.insert(conn.to_owned(), user.to_owned()).is_some() {
            return;
        }
        if let Some(driver) = self.driver_named(user) {
            self.drivers[driver].connections += 1;
        }
    }

    /// The request of a rider that disconnects ends; the ride of a driver that disconnects is offered to the next one
    /// at once.
    pub fn on_close(&mut self, conn: &str, now: Instant) {
        let Some(user) = self.users.remove(conn) else { return };
        if let Some(driver) = self.driver_named(&user) {
            self.drivers[driver].connections -= 1;
            if self.drivers[driver].connections == 0 {
                self.pass_on(driver, Passed::Expired, now);
            }
        }
        _ = self.withdraw(conn);
    }

    /// Handles a client's message. `places` are latitude and longitude of every driver, in the order given to `new`.
    ///
    /// A connection that is not known opened before the matching started; apps send a hello for that case.
    pub fn on_message(&mut self, conn: &str, user: &str, text: &[u8], places: &[(f64, f64)], now: Instant) {
        self.on_open(conn, user);
        let message: Value = serde_json::from_slice(text).unwrap_or_default();
        let ride = message["ride"].as_u64();
        match (message["type"].as_str(), self.driver_named(user), ride) {
            (Some("hello"), driver, _) => self.on_hello(conn, driver, now),
            (Some("request"), None, _) => self.on_request(conn, &message["pickup"], places, now),
            (Some("cancel"), None, _) => self.on_cancel(conn),
            (Some("accept"), Some(driver), Some(ride)) => self.on_accept(driver, ride),
            (Some("decline"), Some(driver), Some(ride)) if self.drivers[driver].offered == Some(ride) => {
                self.pass_on(driver, Passed::Declined, now);
            }
            // An answer that came too late; the driver has been told that the offer is over.
            (Some("decline"), Some(_), Some(_)) => {}
            _ => self
                .refuse(conn, "expected hello, request or cancel from a rider, hello, accept or decline from a driver"),
        }
    }

    /// Offers that were not answered in time go to the next driver.
    pub fn on_time(&mut self, now: Instant) {
        let late = |ride: &Ride| (ride.expires_at <= now).then_some(ride.asked);
        let drivers: Vec<usize> = self.rides.values().filter_map(late).collect();
        for driver in drivers {
            self.pass_on(driver, Passed::Expired, now);
        }
    }

    /// A driver's app that connects while an offer is open shows it like the driver's other apps.
    fn on_hello(&mut self, conn: &str, driver: Option<usize>, now: Instant) {
        self.tell_conn(conn, json!({"type": "welcome"}));
        let Some(driver) = driver else { return };
        let Some((number, ride)) = self.drivers[driver].offered.and_then(|number| self.rides.get_key_value(&number))
        else {
            return;
        };
        let offer = offer(*number, ride, now);
        self.tell_driver(driver, offer);
    }

    /// The outcome of a ride that is over was already sent, and stands.
    fn on_cancel(&mut self, conn: &str) {
        if let Some(number) = self.withdraw(conn) {
            self.tell_conn(conn, json!({"type": "cancelled", "ride": number}));
        }
    }

    fn on_request(&mut self, conn: &str, pickup: &Value, places: &[(f64, f64)], now: Instant) {
        let Some((place, pickup)) = parse_pickup(pickup) else {
            return self.refuse(conn, "a pickup needs lat and lng in degrees");
        };
        if self.rides.values().any(|ride| ride.rider == conn) {
            return self.refuse(conn, "your last request is still open");
        }
        if self.rides.len() >= RIDES_MAX {
            return self.refuse(conn, "too many rides are waiting; try again later");
        }
        let mut nearest: Vec<usize> = (0..self.drivers.len().min(places.len())).collect();
        nearest.sort_by(|a, b| distance_m(places[*a], place).total_cmp(&distance_m(places[*b], place)));

        self.rides_count += 1;
        let ride = Ride {
            rider: conn.to_owned(),
            pickup,
            candidates: nearest.into(),
            asked: 0,
            expires_at: now,
            asked_count: 0,
        };
        self.ask_next(self.rides_count, ride, now);
    }

    /// Asks the next candidate that is on duty and has no other offer; without one the ride is over.
    fn ask_next(&mut self, number: u64, mut ride: Ride, now: Instant) {
        let drivers = &self.drivers;
        let is_free = |driver: &usize| drivers[*driver].connections > 0 && drivers[*driver].offered.is_none();
        let Some(asked) = std::iter::from_fn(|| ride.candidates.pop_front()).find(is_free) else {
            let expired = json!({"type": "expired", "ride": number, "asked": ride.asked_count});
            return self.tell_conn(&ride.rider, expired);
        };
        ride.asked = asked;
        ride.asked_count += 1;
        ride.expires_at = now + OFFER_TIMEOUT;
        let driver = &mut self.drivers[asked];
        driver.offered = Some(number);
        let asking = json!({"type": "asking", "ride": number, "driver": driver.id, "name": driver.name,
            "expires_in_ms": OFFER_TIMEOUT.as_millis() as u64});
        self.tell_conn(&ride.rider, asking);
        self.tell_driver(asked, offer(number, &ride, now));
        self.rides.insert(number, ride);
    }

    fn on_accept(&mut self, driver: usize, number: u64) {
        if self.drivers[driver].offered != Some(number) {
            // Too late, or forged.
            return self.tell_driver(driver, json!({"type": "expired", "ride": number}));
        }
        self.drivers[driver].offered = None;
        if let Some(ride) = self.rides.remove(&number) {
            let (id, name) = (self.drivers[driver].id.clone(), self.drivers[driver].name.clone());
            let assigned =
                json!({"type": "assigned", "ride": number, "driver": id, "name": name, "pickup": ride.pickup});
            self.tell_conn(&ride.rider, assigned.clone());
            self.tell_driver(driver, assigned);
        }
    }

    /// The driver does not take the offered ride: the next one is asked.
    fn pass_on(&mut self, driver: usize, why: Passed, now: Instant) {
        let Some(number) = self.drivers[driver].offered.take() else { return };
        self.tell_driver(driver, json!({"type": why.word(), "ride": number}));
        if let Some(ride) = self.rides.remove(&number) {
            self.ask_next(number, ride, now);
        }
    }

    /// The rider cancels the ride. Returns its number, if it was still looking for a driver.
    fn withdraw(&mut self, conn: &str) -> Option<u64> {
        let (&number, ride) = self.rides.iter().find(|(_, ride)| ride.rider == conn)?;
        let asked = ride.asked;
        self.rides.remove(&number);
        self.drivers[asked].offered = None;
        self.tell_driver(asked, json!({"type": "withdrawn", "ride": number}));
        Some(number)
    }

    fn driver_named(&self, user: &str) -> Option<usize> {
        self.drivers.iter().position(|driver| driver.id == user)
    }

    // --- sending ---

    fn refuse(&mut self, conn: &str, words: &str) {
        self.tell_conn(conn, json!({"type": "refused", "words": words}));
    }

    fn tell_conn(&mut self, conn: &str, message: Value) {
        self.sends.push_back(Send { to: To::Conn(conn.to_owned()), message });
    }

    /// Sends nothing to a driver that is not connected.
    fn tell_driver(&mut self, driver: usize, message: Value) {
        let driver = &self.drivers[driver];
        if driver.connections > 0 {
            self.sends.push_back(Send { to: To::User(driver.id.clone()), message });
        }
    }
}

/// The offer to a driver: the ride, and how long the offer remains open.
fn offer(number: u64, ride: &Ride, now: Instant) -> Value {
    let expires_in_ms = ride.expires_at.saturating_duration_since(now).as_millis() as u64;
    json!({"type": "offer", "ride": number, "pickup": ride.pickup, "expires_in_ms": expires_in_ms})
}

/// The place of a pickup, and the pickup in the form that drivers get.
fn parse_pickup(pickup: &Value) -> Option<((f64, f64), Value)> {
    let (lat, lng) = (pickup["lat"].as_f64()?, pickup["lng"].as_f64()?);
    if !(-90.0..=90.0).contains(&lat) || !(-180.0..=180.0).contains(&lng) {
        return None;
    }
    let name: String = pickup["name"].as_str().unwrap_or("somewhere").chars().take(PICKUP_NAME_CHARS_MAX).collect();
    Some(((lat, lng), json!({"lat": lat, "lng": lng, "name": name})))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three drivers in a row, 0.01 degrees apart; requests come from beside the first.
    const PLACES: [(f64, f64); 3] = [(41.40, 2.17), (41.41, 2.17), (41.42, 2.17)];
    const REQUEST: &[u8] = br#"{"type":"request","pickup":{"lat":41.4,"lng":2.17,"name":"here"}}"#;

    struct Town {
        matching: Matching,
        now: Instant,
    }

    impl Town {
        /// A rider on connection `r`, and a driver for each name in `on_duty`, on a connection of that name.
        fn new(on_duty: &[&str]) -> Town {
            let drivers = ["a", "b", "c"].map(|id| (id.to_owned(), id.to_uppercase()));
            let mut matching = Matching::new(drivers);
            matching.on_open("r", "rider");
            for driver in on_duty {
                matching.on_open(driver, driver);
            }
            Town { matching, now: Instant::now() }
        }

        /// Riders' connections begin with r, the others belong to the driver of that name.
        fn say(&mut self, conn: &str, text: &[u8]) -> Vec<String> {
            let user = if conn.starts_with('r') { "rider" } else { conn };
            self.matching.on_message(conn, user, text, &PLACES, self.now);
            self.heard()
        }

        fn answer(&mut self, driver: &str, word: &str, ride: u64) -> Vec<String> {
            self.say(driver, json!({"type": word, "ride": ride}).to_string().as_bytes())
        }

        fn wait(&mut self, time: Duration) -> Vec<String> {
            self.now += time;
            self.matching.on_time(self.now);
            self.heard()
        }

        /// All messages to send, as "to:type".
        fn heard(&mut self) -> Vec<String> {
            let words = |send: Send| {
                let to = match send.to {
                    To::Conn(conn) => conn,
                    To::User(user) => user,
                };
                format!("{to}:{}", send.message["type"].as_str().unwrap_or("?"))
            };
            std::iter::from_fn(|| self.matching.next_send()).map(words).collect()
        }
    }

    #[test]
    fn offers_to_the_nearest_driver_on_duty_and_assigns_on_acceptance() {
        let mut town = Town::new(&["c", "b"]);
        assert_eq!(town.say("r", REQUEST), ["r:asking", "b:offer"]);
        assert_eq!(town.answer("b", "accept", 1), ["r:assigned", "b:assigned"]);
        assert_eq!(town.matching.deadline(), None);
    }

    #[test]
    fn a_declined_ride_goes_to_the_next_nearest() {
        let mut town = Town::new(&["a", "b", "c"]);
        town.say("r", REQUEST);
        assert_eq!(town.answer("a", "decline", 1), ["a:declined", "r:asking", "b:offer"]);
        assert_eq!(town.answer("b", "decline", 1), ["b:declined", "r:asking", "c:offer"]);
        assert_eq!(town.answer("c", "decline", 1), ["c:declined", "r:expired"]);
    }

    #[test]
    fn a_ride_that_no_driver_took_is_told_from_one_that_no_driver_heard_of() {
        let mut town = Town::new(&["a"]);
        let asked = |town: &mut Town| {
            std::iter::from_fn(|| town.matching.next_send()).last().map(|send| send.message["asked"].clone())
        };
        let request = |town: &mut Town| town.matching.on_message("r", "rider", REQUEST, &PLACES, town.now);
        request(&mut town);
        town.matching.on_message("a", "a", br#"{"type":"decline","ride":1}"#, &PLACES, town.now);
        assert_eq!(asked(&mut town), Some(json!(1)));
        town.matching.on_close("a", town.now);
        request(&mut town);
        assert_eq!(asked(&mut town), Some(json!(0)));
    }

    #[test]
    fn a_second_app_of_a_driver_shows_the_offer_that_is_open_and_how_long_it_still_is() {
        let mut town = Town::new(&["a"]);
        town.say("r", REQUEST);
        town.wait(OFFER_TIMEOUT / 4);
        town.matching.on_message("a2", "a", br#"{"type":"hello"}"#, &PLACES, town.now);
        let sends: Vec<Send> = std::iter::from_fn(|| town.matching.next_send()).collect();
        assert_eq!(sends[0].message["type"], "welcome");
        assert_eq!((&sends[1].to, &sends[1].message["type"]), (&To::User("a".to_owned()), &json!("offer")));
        let left = OFFER_TIMEOUT - OFFER_TIMEOUT / 4;
        assert_eq!(sends[1].message["expires_in_ms"], json!(left.as_millis() as u64));
        assert_eq!(town.answer("a", "decline", 1), ["a:declined", "r:expired"]);
        assert_eq!(town.say("a", br#"{"type":"hello"}"#), ["a:welcome"], "an offer that is over is not shown again");
    }

    #[test]
    fn a_cancellation_that_crosses_an_acceptance_changes_nothing() {
        let mut town = Town::new(&["a"]);
        town.say("r", REQUEST);
        assert_eq!(town.answer("a", "accept", 1), ["r:assigned", "a:assigned"]);
        assert!(town.say("r", br#"{"type":"cancel"}"#).is_empty());
    }

    #[test]
    fn an_offer_without_an_answer_expires_in_time_and_not_before() {
        let mut town = Town::new(&["a", "b"]);
        town.say("r", REQUEST);
        assert_eq!(town.matching.deadline(), Some(town.now + OFFER_TIMEOUT));
        assert!(town.wait(OFFER_TIMEOUT - Duration::from_millis(1)).is_empty());
        assert_eq!(town.wait(Duration::from_millis(1)), ["a:expired", "r:asking", "b:offer"]);
        assert_eq!(town.wait(OFFER_TIMEOUT), ["b:expired", "r:expired"]);
        assert_eq!(town.matching.deadline(), None);
    }

    #[test]
    fn an_answer_that_comes_too_late_assigns_nothing() {
        let mut town = Town::new(&["a", "b"]);
        town.say("r", REQUEST);
        town.wait(OFFER_TIMEOUT);
        assert_eq!(town.answer("a", "accept", 1), ["a:expired"]);
        assert_eq!(town.answer("b", "accept", 1), ["r:assigned", "b:assigned"]);
    }

    #[test]
    fn nobody_on_duty_is_known_at_once() {
        assert_eq!(Town::new(&[]).say("r", REQUEST), ["r:expired"]);
    }

    #[test]
    fn a_driver_who_disconnects_is_passed_over_at_once() {
        let mut town = Town::new(&["a", "b"]);
        town.say("r", REQUEST);
        town.matching.on_close("a", town.now);
        assert_eq!(town.heard(), ["r:asking", "b:offer"]);
    }

    #[test]
    fn a_driver_with_two_phones_stays_on_duty_until_both_are_gone() {
        let mut town = Town::new(&["a"]);
        town.matching.on_open("a2", "a");
        town.say("r", REQUEST);
        town.matching.on_close("a", town.now);
        assert!(town.heard().is_empty());
        town.matching.on_close("a2", town.now);
        assert_eq!(town.heard(), ["r:expired"]);
    }

    #[test]
    fn a_driver_who_was_connected_before_the_matching_started_says_hello() {
        let mut town = Town::new(&[]);
        assert_eq!(town.say("a", br#"{"type":"hello"}"#), ["a:welcome"]);
        assert_eq!(town.say("r", REQUEST), ["r:asking", "a:offer"]);
        town.matching.on_close("a", town.now);
        assert_eq!(town.heard(), ["r:expired"]);
    }

    #[test]
    fn a_rider_who_cancels_or_leaves_frees_the_driver() {
        let mut town = Town::new(&["a"]);
        town.say("r", REQUEST);
        assert_eq!(town.say("r", br#"{"type":"cancel"}"#), ["a:withdrawn", "r:cancelled"]);
        assert_eq!(town.say("r", REQUEST), ["r:asking", "a:offer"]);
        town.matching.on_close("r", town.now);
        assert_eq!(town.heard(), ["a:withdrawn"]);
        assert_eq!(town.matching.deadline(), None);
    }

    #[test]
    fn a_driver_is_asked_about_one_ride_at_a_time() {
        let mut town = Town::new(&["a", "b"]);
        town.matching.on_open("r2", "rider");
        town.say("r", REQUEST);
        assert_eq!(town.say("r2", REQUEST), ["r2:asking", "b:offer"]);
        assert_eq!(town.say("r", REQUEST), ["r:refused"]);
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        let mut town = Town::new(&["a"]);
        let long = format!(r#"{{"type":"request","pickup":{{"lat":91,"lng":0,"name":"{}"}}}}"#, "x".repeat(100));
        for text in
            [b"".as_slice(), b"[", b"{}", br#"{"type":"accept","ride":1}"#, br#"{"type":"request"}"#, long.as_bytes()]
        {
            assert_eq!(town.say("r", text), ["r:refused"]);
        }
        assert_eq!(town.say("a", REQUEST), ["a:refused"]);
        assert_eq!(town.answer("a", "accept", 7), ["a:expired"]);
    }

    #[test]
    fn waiting_rides_are_bounded() {
        let drivers = (0..=RIDES_MAX).map(|id| (format!("d{id}"), String::new()));
        let mut town = Town { matching: Matching::new(drivers), now: Instant::now() };
        let places = vec![PLACES[0]; RIDES_MAX + 1];
        for index in 0..=RIDES_MAX {
            town.matching.on_open(&format!("d{index}"), &format!("d{index}"));
            town.matching.on_open(&format!("r{index}"), "rider");
        }
        for index in 0..=RIDES_MAX {
            town.matching.on_message(&format!("r{index}"), "rider", REQUEST, &places, town.now);
        }
        let heard = town.heard();
        assert_eq!(heard.iter().filter(|send| send.ends_with(":offer")).count(), RIDES_MAX);
        assert_eq!(heard.last().map(String::as_str), Some(format!("r{RIDES_MAX}:refused").as_str()));
    }
}
