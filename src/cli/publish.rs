//! `tidegate pub`: publishes a message, over the admin API or the bus.

use std::io::Read;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::admin::{AdminClient, AdminPlace};
use super::client::bus::BusClient;
use super::client::{Field, Trust, Url};
use super::output;
use super::report::{AT, now_ms};
use tidegate::proto::reserved::headers::{EVENT_HEADER, ID_HEADER, KEY_HEADER};

/// Longest payload that is read from stdin.
const PAYLOAD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Publishes a message to a channel.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate pub news 'hello'                                  over the admin API
  echo '{\"text\":\"hello\"}' | tidegate pub room.lobby
  tidegate pub room.lobby hello --bus nats://127.0.0.1:4222  over the bus
  tidegate pub news '{}' --timestamp --count 1000 --rate 100 for `tidegate sub --latency`")]
pub struct PublishArgs {
    /// The channel, or a subject of the bus
    channel: String,
    /// The payload; without it, or with `-`, it is read from stdin
    payload: Option<String>,
    #[command(flatten)]
    place: AdminPlace,
    /// Publish over the bus instead: nats://host:port, with user:password@ or token@ before the host
    #[arg(long, value_name = "URL", conflicts_with_all = ["admin", "token_file"])]
    bus: Option<String>,
    /// Event name, for event streams
    #[arg(long, value_parser = super::no_control)]
    event: Option<String>,
    /// Name of the message: the channel drops a second message with the same name, for two minutes
    #[arg(long, value_parser = super::no_control)]
    id: Option<String>,
    /// Key of the value that the message updates, for channels with `delivery = "latest"`
    #[arg(long, value_parser = super::no_control)]
    key: Option<String>,
    /// Write the time into the payload, as `at_ms`; a payload that is not a JSON object becomes the `payload` of one
    #[arg(long)]
    timestamp: bool,
    /// Publish the message this many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Publish this many messages per second, instead of as fast as possible
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    #[command(flatten)]
    trust: Trust,
    /// Print the outcome as one line of JSON
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e6).contains(rate));
    rate.ok_or_else(|| "expected a number from 0.001 to 1000000".to_owned())
}

pub fn run(args: &PublishArgs) -> ExitCode {
    match publish_all(args) {
        Ok(text) => output::print(&text),
        Err(message) => output::fail(&message),
    }
}

enum Sink {
    Admin(Box<AdminClient>),
    Bus(Box<BusClient>),
}

/// Publishes the messages, and returns the line about the outcome.
fn publish_all(args: &PublishArgs) -> Result<String, String> {
    let payload = payload(args)?;
    let mut way = match &args.bus {
        Some(url) => Sink::Bus(Box::new(BusClient::connect(&Url::parse(url, "nats")?, &args.trust)?)),
        None => Sink::Admin(Box::new(args.place.connect(&args.trust)?)),
    };
    let fields = fields(args);
    let start = Instant::now();
    let mut answer = String::new();
    for number in 0..args.count {
        if let Some(rate) = args.rate {
            let due = start + Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let stamped = if args.timestamp { Some(with_time(&payload, now_ms())) } else { None };
        let payload = stamped.as_deref().unwrap_or(&payload);
        match &mut way {
            Sink::Admin(admin) => answer = admin.publish(&args.channel, &fields, payload)?,
            Sink::Bus(bus) => bus.publish(&args.channel, &fields, payload)?,
        }
    }
    if let Sink::Bus(bus) = &mut way {
        bus.flush()?;
    }
    Ok(told(args, &answer, start.elapsed().as_secs_f64()))
}

fn told(args: &PublishArgs, answer: &str, seconds: f64) -> String {
    let PublishArgs { channel, count, .. } = args;
    if args.json {
        let mut line = json!({ "channel": channel, "published": count, "seconds": seconds });
        if !answer.is_empty() {
            line["answer"] = serde_json::from_str(answer).unwrap_or_else(|_| Value::from(answer));
        }
        return format!("{line}\n");
    }
    let position = position(answer).map(|position| format!(", position {position}")).unwrap_or_default();
    match count {
        1 => format!("published to {channel}{position}\n"),
        _ => format!("published {count} messages to {channel} in {seconds:.1} s{position}\n"),
    }
}

/// The position of the last message in its channel, if the answer has one; the bus returns none.
fn position(answer: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    Some(answer.get("position")?.as_str()?.to_owned())
}

fn payload(args: &PublishArgs) -> Result<Vec<u8>, String> {
    if let Some(text) = args.payload.as_deref().filter(|text| *text != "-") {
        return Ok(text.as_bytes().to_vec());
    }
    let mut bytes = Vec::new();
    std::io::stdin().take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| format!("stdin: {error}"))?;
    if bytes.len() as u64 > PAYLOAD_BYTES_MAX {
        return Err(format!("stdin: more than {PAYLOAD_BYTES_MAX} bytes"));
    }
    // `echo` appends a line end, which is not part of the message.
    if bytes.ends_with(b"\n") {
        bytes.pop();
    }
    Ok(bytes)
}

fn fields(args: &PublishArgs) -> Vec<Field> {
    [(EVENT_HEADER, &args.event), (ID_HEADER, &args.id), (KEY_HEADER, &args.key)]
        .into_iter()
        .filter_map(|(name, value)| Some(Field { name: name.to_owned(), value: value.clone()? }))
        .collect()
}

/// The payload with the time in its field `at_ms`.
fn with_time(payload: &[u8], at_ms: f64) -> Vec<u8> {
    let object = match serde_json::from_slice(payload) {
        Ok(Value::Object(mut object)) => {
            object.insert(AT.to_owned(), at_ms.into());
            Value::Object(object)
        }
        Ok(other) => json!({ AT: at_ms, "payload": other }),
        Err(_) => json!({ AT: at_ms, "payload": String::from_utf8_lossy(payload) }),
    };
    object.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_time_into_any_payload() {
        let read = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).unwrap();
        assert_eq!(read(with_time(b"{\"a\":1,\"at_ms\":0}", 5.5)), json!({ "a": 1, "at_ms": 5.5 }));
        assert_eq!(read(with_time(b"[1]", 5.5)), json!({ "at_ms": 5.5, "payload": [1] }));
        assert_eq!(read(with_time(b"hello", 5.5)), json!({ "at_ms": 5.5, "payload": "hello" }));
    }
}
