//! The output of `sub`: each message, and at the end the number of messages and their latency.
//!
//! Latency is measured against the field `at_ms` of a payload that is a JSON object: milliseconds since 1970, with a
//! fraction if the publisher has one. `pub --timestamp` writes it.

use std::io::{self, Write};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::client::ArrivedMessage;

/// The field of a payload with the time of publication.
pub(super) const AT: &str = "at_ms";
/// Longest latency that is distinguished from longer ones.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// The percentiles that are shown.
const PERCENTILES: &[(&str, f64)] = &[("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)];

pub(super) struct Report {
    is_json: bool,
    /// In microseconds.
    latencies: Option<Histogram<u64>>,
    count: u64,
    start: Instant,
}

impl Report {
    pub fn new(is_json: bool, with_latency: bool) -> Result<Report, String> {
        let latencies = match with_latency {
            true => Some(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).map_err(|error| error.to_string())?),
            false => None,
        };
        Ok(Report { is_json, latencies, count: 0, start: Instant::now() })
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// Shows one message.
    pub fn message(&mut self, out: &mut impl Write, arrival: &ArrivedMessage) -> io::Result<()> {
        self.count += 1;
        let latency_us = self.latencies.as_mut().and_then(|latencies| {
            let sent_ms = serde_json::from_slice::<Value>(&arrival.payload).ok()?.get(AT)?.as_f64()?;
            // The clocks of two machines may differ: a message that seems to arrive before it was sent has latency 0.
            let latency_us = ((now_ms() - sent_ms) * 1000.0).max(0.0) as u64;
            latencies.saturating_record(latency_us.max(1));
            Some(latency_us)
        });
        if self.is_json { json_line(out, arrival, latency_us) } else { text_line(out, arrival, latency_us) }
    }

    /// Prints the requested summary.
    pub fn summary(&self, out: &mut impl Write) -> io::Result<()> {
        let measured = self.latencies.as_ref().filter(|latencies| !latencies.is_empty());
        if self.is_json {
            let seconds = self.start.elapsed().as_secs_f64();
            let mut summary = json!({ "messages": self.count, "seconds": seconds });
            if let Some(latencies) = measured {
                let percentiles = PERCENTILES.iter().map(|(name, at)| ((*name).to_owned(), ms(latencies, *at).into()));
                summary["latency_ms"] = Value::Object(percentiles.collect());
            }
            return writeln!(out, "{}", json!({ "summary": summary }));
        }
        if let Some(latencies) = measured {
            let percentiles: Vec<String> =
                PERCENTILES.iter().map(|(name, at)| format!("{name} {:.3}", ms(latencies, *at))).collect();
            writeln!(out, "latency in ms: {} ({} messages)", percentiles.join("  "), latencies.len())?;
        } else if self.latencies.is_some() {
            writeln!(out, "latency: no message had \"{AT}\"; `tidegate pub --timestamp` writes it")?;
        }
        Ok(())
    }

    /// The line for stderr with the number of messages and the time; `None` with JSON, whose summary has both.
    pub fn aside(&self) -> Option<String> {
        let seconds = self.start.elapsed().as_secs_f64();
        (!self.is_json).then(|| format!("messages: {}, in {seconds:.1} s", self.count))
    }
}

fn ms(latencies: &Histogram<u64>, percentile: f64) -> f64 {
    latencies.value_at_percentile(percentile) as f64 / 1000.0
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_micros() as f64 / 1000.0)
}

fn json_line(out: &mut impl Write, arrival: &ArrivedMessage, latency_us: Option<u64>) -> io::Result<()> {
    let mut line = json!({ "received_ms": now_ms() });
    for (name, value) in [("subject", &arrival.subject), ("id", &arrival.id), ("event", &arrival.event)] {
        if let Some(value) = value {
            line[name] = value.as_str().into();
        }
    }
    match std::str::from_utf8(&arrival.payload) {
        Ok(text) => line["data"] = text.into(),
        Err(_) => line["data_base64"] = STANDARD.encode(&arrival.payload).into(),
    }
    if let Some(latency_us) = latency_us {
        line["latency_ms"] = (latency_us as f64 / 1000.0).into();
    }
    writeln!(out, "{line}")
}

/// `[id] subject event: payload`, without missing parts. Control characters of a message do not reach the terminal.
fn text_line(out: &mut impl Write, arrival: &ArrivedMessage, latency_us: Option<u64>) -> io::Result<()> {
    if let Some(id) = &arrival.id {
        write!(out, "[{}] ", visible(id))?;
    }
    let labels: Vec<String> =
        [&arrival.subject, &arrival.event].into_iter().flatten().map(|label| visible(label)).collect();
    if !labels.is_empty() {
        write!(out, "{}: ", labels.join(" "))?;
    }
    write!(out, "{}", visible(&String::from_utf8_lossy(&arrival.payload)))?;
    match latency_us {
        Some(latency_us) => writeln!(out, "  ({:.3} ms)", latency_us as f64 / 1000.0),
        None => writeln!(out),
    }
}

/// Control characters are shown as escapes.
fn visible(text: &str) -> String {
    let escape =
        |c: char| if c.is_control() && c != '\n' && c != '\t' { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(is_json: bool, arrival: &ArrivedMessage) -> String {
        let mut out = Vec::new();
        Report::new(is_json, false).unwrap().message(&mut out, arrival).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn shows_what_there_is_in_one_line() {
        let arrival = ArrivedMessage {
            subject: Some("room.1".into()),
            id: Some("7:42".into()),
            event: Some("said".into()),
            payload: b"hi".to_vec(),
        };
        assert_eq!(shown(false, &arrival), "[7:42] room.1 said: hi\n");
        assert_eq!(shown(false, &ArrivedMessage { payload: b"hi".to_vec(), ..ArrivedMessage::default() }), "hi\n");
    }

    #[test]
    fn lets_no_message_command_the_terminal() {
        let arrival = ArrivedMessage { payload: b"\x1b[2J\x07\xff".to_vec(), ..ArrivedMessage::default() };
        assert_eq!(shown(false, &arrival), "\\u{1b}[2J\\u{7}\u{fffd}\n");
    }

    #[test]
    fn gives_bytes_that_are_no_text_as_base64() {
        let line: Value =
            serde_json::from_str(&shown(true, &ArrivedMessage { payload: vec![0xff], ..ArrivedMessage::default() }))
                .unwrap();
        assert_eq!(line["data_base64"], "/w==");
    }

    #[test]
    fn measures_latency_from_the_time_in_the_payload() {
        let mut report = Report::new(true, true).unwrap();
        let mut out = Vec::new();
        for ago_ms in [1_000.0, 2_000.0, -5_000.0] {
            let payload = json!({ AT: now_ms() - ago_ms }).to_string().into_bytes();
            report.message(&mut out, &ArrivedMessage { payload, ..ArrivedMessage::default() }).unwrap();
        }
        report
            .message(&mut out, &ArrivedMessage { payload: b"not json".to_vec(), ..ArrivedMessage::default() })
            .unwrap();
        report.summary(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(summary["summary"]["messages"], 4);
        let max = summary["summary"]["latency_ms"]["max"].as_f64().unwrap();
        assert!((2_000.0..60_000.0).contains(&max), "{max}");
        assert!(summary["summary"]["latency_ms"]["p50"].as_f64().unwrap() >= 999.0);
    }
}
