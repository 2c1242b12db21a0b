//! What arrived: every delivery checked, its latency from when it was due.

use std::time::Instant;

use hdrhistogram::Histogram;

/// Latencies from 1 ns to a minute, to three digits.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// What `write_payload` needs: two numbers in hexadecimal and a space.
pub const PAYLOAD_BYTES_MIN: usize = 33;
const FILLING: u8 = b'.';
/// The number of a connection that has got nothing yet.
pub(super) const ANY_NUMBER: u32 = u32::MAX;

/// Of one thread of the load, or of all of them.
#[derive(Clone)]
pub struct Tally {
    /// What the times in payloads count from.
    base: Instant,
    pub deliveries: u64,
    /// Messages that a connection has not got although it got a later one.
    pub lost: u64,
    /// Connections that ended although nobody here ended them.
    pub closed: u64,
    /// Why the first of them did.
    pub fault: Option<String>,
    pub last_delivery: Instant,
    /// In nanoseconds.
    pub latencies: Histogram<u64>,
}

/// Number and due time, filled up to `bytes`.
pub(super) fn write_payload(out: &mut Vec<u8>, number: u32, due_ns: u64, bytes: usize) {
    let start = out.len();
    out.extend_from_slice(format!("{number:016x} {due_ns:016x}").as_bytes());
    out.resize(start + bytes.max(PAYLOAD_BYTES_MIN), FILLING);
}

impl Tally {
    pub(super) fn new(base: Instant) -> Result<Tally, String> {
        let latencies = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).map_err(|error| error.to_string())?;
        Ok(Tally { base, deliveries: 0, lost: 0, closed: 0, fault: None, last_delivery: base, latencies })
    }

    /// Begins a phase.
    pub(super) fn reset(&mut self) {
        (self.deliveries, self.lost, self.closed) = (0, 0, 0);
        self.fault = None;
        self.last_delivery = self.base;
        self.latencies.reset();
    }

    /// A message for a connection that awaits number `next`.
    pub(super) fn arrived(&mut self, next: &mut u32, payload: &[u8]) -> Result<(), String> {
        let now = Instant::now();
        let read = || -> Option<(u32, u64)> {
            let (head, filling) = payload.split_at_checked(PAYLOAD_BYTES_MIN)?;
            let number = |digits: &[u8]| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
            let is_whole = filling.iter().all(|byte| *byte == FILLING);
            is_whole.then_some((number(&head[..16])? as u32, number(&head[17..])?))
        };
        let (number, due_ns) = read().ok_or_else(|| {
            let found = String::from_utf8_lossy(payload.get(..PAYLOAD_BYTES_MIN).unwrap_or(payload)).into_owned();
            format!("a message is not what was published: {found:?}")
        })?;
        if *next != ANY_NUMBER {
            let skipped = number.checked_sub(*next).ok_or_else(|| format!("message {number} came after {next}"))?;
            self.lost += u64::from(skipped);
        }
        *next = number + 1;
        let now_ns = now.duration_since(self.base).as_nanos() as u64;
        self.latencies.saturating_record(now_ns.saturating_sub(due_ns).max(1));
        self.deliveries += 1;
        self.last_delivery = now;
        Ok(())
    }

    pub(super) fn ended(&mut self, fault: String) {
        self.closed += 1;
        self.fault.get_or_insert(fault);
    }

    pub(super) fn add(&mut self, other: &Tally) {
        self.deliveries += other.deliveries;
        self.lost += other.lost;
        self.closed += other.closed;
        self.fault = self.fault.take().or_else(|| other.fault.clone());
        self.last_delivery = self.last_delivery.max(other.last_delivery);
        self.latencies += &other.latencies;
    }

    /// At a quantile, in milliseconds.
    pub fn latency_ms(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(number: u32) -> Vec<u8> {
        let mut payload = Vec::new();
        write_payload(&mut payload, number, 0, 200);
        payload
    }

    #[test]
    fn counts_what_is_missing_and_refuses_what_comes_twice() {
        let mut tally = Tally::new(Instant::now()).unwrap();
        let mut next = ANY_NUMBER;
        for number in [7, 8, 11] {
            tally.arrived(&mut next, &payload(number)).unwrap();
        }
        assert_eq!((tally.deliveries, tally.lost, next), (3, 2, 12));
        assert!(tally.arrived(&mut next, &payload(11)).is_err());
    }

    #[test]
    fn refuses_what_was_not_published() {
        let mut tally = Tally::new(Instant::now()).unwrap();
        let mut spoiled = payload(1);
        spoiled[150] = b'x';
        assert!(tally.arrived(&mut ANY_NUMBER.clone(), &spoiled).is_err());
        assert!(tally.arrived(&mut ANY_NUMBER.clone(), b"short").is_err());
        assert_eq!(tally.deliveries, 0);
    }
}
