//! The positions of the demo's drivers: closed routes along the streets of `city.json`, driven as a careful driver
//! would.
//!
//! ```text
//! corners --> path, a point every 2 m --> speed allowed at each point --> knots: when it is passed, and how fast
//!              turns are rounded           red light, turn, cruising;      position(elapsed) looks between two knots
//!                                          bounded acceleration
//! ```

use std::f64::consts::TAU;
use std::time::Duration;

use serde_json::Value;

/// The streets and the drivers; the page draws its map from the same file.
pub const CITY: &str = include_str!("city.json");

const STEP_M: f64 = 2.0;
const TURN_RADIUS_M: f64 = 18.0;
const TURN_SPEED_MS: f64 = 5.0;
const ACCELERATION_MSS: f64 = 1.8;
/// A car waits this far before the middle of the crossing, outside the chamfered corners.
const LIGHT_BEFORE_CROSSING_M: f64 = 26.0;
const LIGHT_WAIT_S: f64 = 4.0;
/// Every third crossing of a street is red, counted from the street's end.
const LIGHT_EVERY: usize = 3;
/// Length of a degree of latitude on a sphere of 6,371 km.
const METRES_PER_DEGREE: f64 = 111_195.0;

/// The position of a driver at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CarPosition {
    /// WGS 84 degrees.
    pub lat: f64,
    pub lng: f64,
    /// Degrees clockwise from north, 0 to 360.
    pub heading_deg: f64,
    pub speed_kmh: f64,
}

/// One driver's closed route, with the time at which each of its points is passed.
pub struct CarRoute {
    pub driver: String,
    pub name: String,
    /// In the order of time; the last one is the first one again, a lap later.
    knots: Vec<Knot>,
    start_s: f64,
}

/// A point of the route, when it is passed and how fast. Two knots at one point are a wait.
struct Knot {
    at_s: f64,
    lat: f64,
    lng: f64,
    heading_deg: f64,
    speed_ms: f64,
}

/// A point of the path in metres: x along the rows of the grid, y up its columns.
#[derive(Clone, Copy)]
struct Point {
    x: f64,
    y: f64,
    speed_max_ms: f64,
    is_light: bool,
}

/// The drivers of `city.json`.
pub fn routes() -> Vec<CarRoute> {
    let city: Value = serde_json::from_str(CITY).expect("city.json is valid JSON");
    let drivers = city["drivers"].as_array().expect("city.json lists drivers");
    drivers.iter().map(|driver| CarRoute::new(&city, driver)).collect()
}

impl CarRoute {
    fn new(city: &Value, driver: &Value) -> CarRoute {
        let block_m = number(&city["block_m"]);
        let corners: Vec<(f64, f64)> = driver["corners"]
            .as_array()
            .expect("city.json gives every driver corners")
            .iter()
            .map(|corner| (number(&corner[0]) * block_m, number(&corner[1]) * block_m))
            .collect();
        let path = path(&corners, number(&driver["cruise_kmh"]) / 3.6, block_m);
        CarRoute {
            driver: driver["id"].as_str().expect("a driver has an id").to_owned(),
            name: driver["name"].as_str().expect("a driver has a name").to_owned(),
            knots: knots(&path, &Projection::new(city)),
            start_s: number(&driver["start_s"]),
        }
    }

    /// The position of the driver after `elapsed`; the route repeats for ever.
    pub fn position(&self, elapsed: Duration) -> CarPosition {
        let at_s = (self.start_s + elapsed.as_secs_f64()) % self.lap_s();
        let next = self.knots.partition_point(|knot| knot.at_s <= at_s).clamp(1, self.knots.len() - 1);
        let (from, to) = (&self.knots[next - 1], &self.knots[next]);
        let (since_s, span_s) = (at_s - from.at_s, to.at_s - from.at_s);
        // Between two knots the acceleration is constant, so the share of the way is a parabola of the time.
        let gain_mss = (to.speed_ms - from.speed_ms) / span_s;
        let way_m = (from.speed_ms + to.speed_ms) / 2.0 * span_s;
        let share =
            if way_m > 0.0 { (from.speed_ms * since_s + gain_mss * since_s * since_s / 2.0) / way_m } else { 0.0 };
        CarPosition {
            lat: from.lat + (to.lat - from.lat) * share,
            lng: from.lng + (to.lng - from.lng) * share,
            heading_deg: from.heading_deg,
            speed_kmh: (from.speed_ms + gain_mss * since_s) * 3.6,
        }
    }

    fn lap_s(&self) -> f64 {
        self.knots[self.knots.len() - 1].at_s
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("city.json has a number here")
}

/// Turns metres on the grid into degrees on the globe.
struct Projection {
    lat: f64,
    lng: f64,
    bearing: f64,
}

impl Projection {
    fn new(city: &Value) -> Projection {
        Projection {
            lat: number(&city["origin"]["lat"]),
            lng: number(&city["origin"]["lng"]),
            bearing: number(&city["bearing_deg"]).to_radians(),
        }
    }

    /// Rows run towards `bearing`, columns a quarter turn to its left.
    fn degrees(&self, point: Point) -> (f64, f64) {
        let (sin, cos) = self.bearing.sin_cos();
        let east = point.x * sin - point.y * cos;
        let north = point.x * cos + point.y * sin;
        let lat = self.lat + north / METRES_PER_DEGREE;
        (lat, self.lng + east / (METRES_PER_DEGREE * self.lat.to_radians().cos()))
    }
}

/// The points of a closed route: its corners rounded, a point every `STEP_M`, each with the speed allowed there.
fn path(corners: &[(f64, f64)], cruise_ms: f64, block_m: f64) -> Vec<Point> {
    let mut points = Vec::new();
    let count = corners.len();
    for index in 0..count {
        let (from, to, after) = (corners[index], corners[(index + 1) % count], corners[(index + 2) % count]);
        street(&mut points, from, to, cruise_ms, block_m);
        turn(&mut points, from, to, after);
    }
    points
}

/// The straight part between two corners, without the turns at both ends.
fn street(points: &mut Vec<Point>, from: (f64, f64), to: (f64, f64), cruise_ms: f64, block_m: f64) {
    let (x, y) = (to.0 - from.0, to.1 - from.1);
    let length_m = x.hypot(y);
    let between_crossings_m = length_m / (x.abs().max(y.abs()) / block_m);
    let steps = ((length_m - 2.0 * TURN_RADIUS_M) / STEP_M).floor() as usize;
    let mut crossings = 0;
    let first = points.len();
    // From the far end, because there every street ends at a crossing.
    for step in 0..=steps {
        let to_end_m = TURN_RADIUS_M + step as f64 * STEP_M;
        let crossing_m = (crossings + 1) as f64 * between_crossings_m + LIGHT_BEFORE_CROSSING_M;
        let is_crossing = to_end_m >= crossing_m;
        crossings += usize::from(is_crossing);
        points.push(Point {
            x: to.0 - x / length_m * to_end_m,
            y: to.1 - y / length_m * to_end_m,
            speed_max_ms: cruise_ms,
            is_light: is_crossing && crossings % LIGHT_EVERY == 1,
        });
    }
    points[first..].reverse();
}

/// The rounded corner at `corner`: a quadratic curve from the end of one street to the start of the next.
fn turn(points: &mut Vec<Point>, from: (f64, f64), corner: (f64, f64), to: (f64, f64)) {
    let towards = |other: (f64, f64)| {
        let (x, y) = (other.0 - corner.0, other.1 - corner.1);
        (corner.0 + x / x.hypot(y) * TURN_RADIUS_M, corner.1 + y / x.hypot(y) * TURN_RADIUS_M)
    };
    let (enter, leave) = (towards(from), towards(to));
    let steps = (2.0 * TURN_RADIUS_M / STEP_M) as usize;
    for step in 1..steps {
        let share = step as f64 / steps as f64;
        let mix = |a: f64, b: f64, c: f64| {
            a * (1.0 - share) * (1.0 - share) + 2.0 * b * share * (1.0 - share) + c * share * share
        };
        points.push(Point {
            x: mix(enter.0, corner.0, leave.0),
            y: mix(enter.1, corner.1, leave.1),
            speed_max_ms: TURN_SPEED_MS,
            is_light: false,
        });
    }
}

/// When each point is passed: as fast as allowed, with bounded acceleration and braking, waiting at red lights.
fn knots(path: &[Point], projection: &Projection) -> Vec<Knot> {
    let count = path.len();
    let way_m = |index: usize| {
        let (a, b) = (path[index % count], path[(index + 1) % count]);
        (b.x - a.x).hypot(b.y - a.y)
    };
    let mut speeds: Vec<f64> = path.iter().map(|point| if point.is_light { 0.0 } else { point.speed_max_ms }).collect();
    // Two laps each way, because the speed at the first point depends on the lap before: v^2 = v0^2 + 2as.
    for index in 0..2 * count {
        let reach = (speeds[index % count].powi(2) + 2.0 * ACCELERATION_MSS * way_m(index)).sqrt();
        let next = (index + 1) % count;
        speeds[next] = speeds[next].min(reach);
    }
    for index in (0..2 * count).rev() {
        let reach = (speeds[(index + 1) % count].powi(2) + 2.0 * ACCELERATION_MSS * way_m(index)).sqrt();
        speeds[index % count] = speeds[index % count].min(reach);
    }

    let mut knots = Vec::with_capacity(count + 16);
    let mut at_s = 0.0;
    for index in 0..=count {
        let (point, next) = (path[index % count], path[(index + 1) % count]);
        let (lat, lng) = projection.degrees(point);
        let bearing = (next.x - point.x).atan2(next.y - point.y) + projection.bearing - TAU / 4.0;
        let heading_deg = bearing.rem_euclid(TAU).to_degrees();
        let speed_ms = speeds[index % count];
        knots.push(Knot { at_s, lat, lng, heading_deg, speed_ms });
        if index == count {
            break;
        }
        if point.is_light {
            at_s += LIGHT_WAIT_S;
            knots.push(Knot { at_s, lat, lng, heading_deg, speed_ms });
        }
        at_s += 2.0 * way_m(index) / (speed_ms + speeds[(index + 1) % count]);
    }
    knots
}

/// Metres between two places, good enough within a city.
pub fn distance_m(a: (f64, f64), b: (f64, f64)) -> f64 {
    let north = (b.0 - a.0) * METRES_PER_DEGREE;
    let east = (b.1 - a.1) * METRES_PER_DEGREE * a.0.to_radians().cos();
    north.hypot(east)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(100);

    fn lap(route: &CarRoute) -> Vec<CarPosition> {
        let frames = (route.lap_s() / FRAME.as_secs_f64()) as u32 + 20;
        (0..frames).map(|frame| route.position(FRAME * frame)).collect()
    }

    #[test]
    fn moves_continuously_at_the_speed_it_says() {
        for route in routes() {
            for pair in lap(&route).windows(2) {
                let way_m = distance_m((pair[0].lat, pair[0].lng), (pair[1].lat, pair[1].lng));
                let said_m = (pair[0].speed_kmh + pair[1].speed_kmh) / 2.0 / 3.6 * FRAME.as_secs_f64();
                assert!((way_m - said_m).abs() < 0.1, "{}: {way_m} m, said {said_m} m", route.name);
            }
        }
    }

    #[test]
    fn keeps_city_speeds_and_accelerates_gently() {
        for route in routes() {
            let lap = lap(&route);
            assert!(lap.iter().all(|position| (0.0..=50.0).contains(&position.speed_kmh)), "{}", route.name);
            assert!(lap.iter().any(|position| position.speed_kmh > 30.0), "{} gets going", route.name);
            for pair in lap.windows(2) {
                let gain_mss = (pair[1].speed_kmh - pair[0].speed_kmh) / 3.6 / FRAME.as_secs_f64();
                assert!(gain_mss.abs() < 2.0, "{}: {gain_mss} m/s2", route.name);
            }
        }
    }

    #[test]
    fn waits_at_red_lights() {
        for route in routes() {
            let still = lap(&route).iter().filter(|position| position.speed_kmh == 0.0).count();
            let share = still as f64 / lap(&route).len() as f64;
            assert!((0.02..0.4).contains(&share), "{} stands for {share} of the time", route.name);
        }
    }

    #[test]
    fn heads_where_it_goes() {
        for route in routes() {
            for pair in lap(&route).windows(2).filter(|pair| pair[0].speed_kmh > 5.0) {
                let north = (pair[1].lat - pair[0].lat) * METRES_PER_DEGREE;
                let east = (pair[1].lng - pair[0].lng) * METRES_PER_DEGREE * pair[0].lat.to_radians().cos();
                let went_deg = east.atan2(north).to_degrees();
                let off_deg = (went_deg - pair[0].heading_deg + 540.0).rem_euclid(360.0) - 180.0;
                assert!(off_deg.abs() < 20.0, "{}: off by {off_deg} degrees", route.name);
            }
        }
    }

    #[test]
    fn repeats_after_a_lap_and_stays_in_the_city() {
        for route in routes() {
            let lap = Duration::from_secs_f64(route.lap_s());
            for seconds in [0, 17, 100] {
                let (now, later) = (Duration::from_secs(seconds), Duration::from_secs(seconds) + lap);
                let (a, b) = (route.position(now), route.position(later));
                assert!(distance_m((a.lat, a.lng), (b.lat, b.lng)) < 0.1);
                assert!(distance_m((a.lat, a.lng), (41.395, 2.170)) < 2_500.0);
            }
        }
    }
}
