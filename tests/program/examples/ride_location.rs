//! Where a driver is: newcomers, riders who are slow, drivers who stand still.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

use crate::examples::running::{PATIENCE, Running, page, program};
use crate::examples::stage::Stage;

const EXAMPLE: &str = "ride-location";
/// Cells that the driver runs through, at 150 bytes each for a rider: several times what the kernels take of it.
const CELLS: usize = 8_000;

struct Driver(WebSocket<MaybeTlsStream<TcpStream>>);

impl Driver {
    fn connect(stage: &Stage) -> Driver {
        Driver(tungstenite::connect(format!("{}/ws/driver?driver=42", stage.websocket())).expect("an upgrade").0)
    }

    /// Is in the middle of the grid's cell of this number, or a little off.
    fn is_at(&mut self, cell: usize, off: f64) {
        let lat = (cell as f64 + 0.5 + off) / 1000.0;
        self.0.write(Message::text(format!("{{\"lat\":{lat},\"lng\":2}}"))).expect("written");
    }

    fn has_said_all(&mut self) {
        self.0.flush().expect("sent");
    }
}

fn locations(stage: &Stage) -> Running {
    let mut worker = Running::start(program("examples/ride-location/locations.mjs").arg(stage.nats()));
    assert!(worker.line().starts_with("locations: working for"));
    worker
}

struct Rider(Running);

impl Rider {
    fn follow(stage: &Stage) -> Rider {
        let mut rider = Rider(Running::start(program("examples/ride-location/rider.mjs").args([&stage.http(), "42"])));
        assert_eq!(rider.0.line(), "following 42");
        rider
    }

    /// The next place, as its offset in the channel and its cell.
    fn hears(&mut self) -> (u64, usize) {
        let line = self.0.line();
        let (id, data) = line.split_once(' ').expect("an id and a place");
        let offset = id.split_once('-').and_then(|(_, offset)| offset.parse().ok());
        (offset.unwrap_or_else(|| panic!("no position: {line}")), cell(data))
    }
}

fn cell(data: &str) -> usize {
    let place: serde_json::Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{data:?}: {error}"));
    (place["lat"].as_f64().expect("a latitude") * 1000.0) as usize
}

/// A stream whose reader does not read until it is told to, and then hears places.
struct SlowReader(BufReader<TcpStream>);

impl SlowReader {
    fn follow(stage: &Stage) -> SlowReader {
        let mut socket = TcpStream::connect(&stage.front).expect("the gateway");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.write_all(b"GET /api/sse/drivers/42/location HTTP/1.1\r\nHost: a\r\n\r\n").expect("a request");
        SlowReader(BufReader::new(socket))
    }

    fn hears(&mut self) -> usize {
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).expect("a line in time"), 0, "the stream goes on");
            if let Some(data) = line.strip_prefix("data: ") {
                return cell(data);
            }
        }
    }
}

fn on_both_drivers(play: impl Fn(Stage)) {
    ["epoll", "uring"].into_iter().for_each(|driver| play(Stage::start(EXAMPLE, driver)));
}

#[test]
fn a_newcomer_sees_the_place_at_once_and_a_standing_driver_makes_no_traffic() {
    on_both_drivers(|stage| {
        let _worker = locations(&stage);
        let mut driver = Driver::connect(&stage);
        let mut rider = Rider::follow(&stage);
        driver.is_at(1, 0.0);
        driver.has_said_all();
        assert_eq!(rider.hears(), (1, 1));
        let mut newcomer = Rider::follow(&stage);
        assert_eq!(newcomer.hears(), (1, 1), "although the driver says nothing any more");

        (0..300).for_each(|number| driver.is_at(1, f64::from(number) / 1000.0));
        driver.is_at(2, 0.0);
        driver.has_said_all();
        for rider in [&mut rider, &mut newcomer] {
            assert_eq!(rider.hears(), (2, 2), "the next that is said is of the next cell");
        }
        assert_eq!(stage.count("tidegate_messages_lost_total", "reason=\"same\""), 300);
    });
}

#[test]
fn a_slow_rider_gets_the_newest_place_and_no_backlog() {
    on_both_drivers(|stage| {
        let _worker = locations(&stage);
        let mut driver = Driver::connect(&stage);
        let mut rider = Rider::follow(&stage);
        let mut slow = SlowReader::follow(&stage);
        driver.is_at(0, 0.0);
        driver.has_said_all();
        assert_eq!((rider.hears().1, slow.hears()), (0, 0));

        (1..=CELLS).for_each(|cell| driver.is_at(cell, 0.0));
        driver.has_said_all();
        while rider.hears().1 < CELLS {}
        // What the kernels had taken; then the newest.
        let heard: Vec<usize> = std::iter::repeat_with(|| slow.hears()).take_while(|cell| *cell < CELLS).collect();
        assert!(heard.is_sorted(), "never an older place after a newer one");
        assert!(heard.len() < CELLS / 2, "{} of {CELLS} places are a backlog", heard.len());
        let superseded = stage.count("tidegate_messages_lost_total", "reason=\"superseded\"");
        assert!(superseded as usize >= CELLS - heard.len() - 1, "{superseded} were superseded");
        driver.is_at(0, 0.0);
        driver.has_said_all();
        assert_eq!(slow.hears(), 0, "nothing else had waited");
    });
}

#[test]
fn an_app_drives_and_a_page_follows() {
    let stage = Stage::start(EXAMPLE, "auto");
    let _worker = locations(&stage);
    let mut rider = Rider::follow(&stage);
    let _driver = Running::start(program("examples/ride-location/driver.mjs").args([&stage.websocket(), "42", "5"]));
    assert_eq!([1, 2, 3, 4].map(|_| rider.hears().0), [1, 2, 3, 4]);
    let mut page = page("rider", &stage.http());
    assert_eq!([page.line(), page.line()], ["there is the car", "it moves"]);
    page.ends_well();
}
