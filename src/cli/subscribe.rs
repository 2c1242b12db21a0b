//! `tidegate sub`: shows the messages of a WebSocket, an event stream or a subject of the bus.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::client::bus::BusClient;
use super::client::events::Events;
use super::client::websocket::WebSocketSource;
use super::client::{Field, Source, SourceEvent, Trust, Url};
use super::output;
use super::report::Report;

/// The longest time that an option takes: a day.
const SECONDS_MAX: f64 = 86_400.0;

/// Shows messages as they arrive, until Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate sub http://127.0.0.1:8080/events/news           Server-Sent Events
  tidegate sub ws://127.0.0.1:8080/ws/rooms/lobby          a WebSocket
  tidegate sub ws://127.0.0.1:8080/ws/echo --send hello    a WebSocket, with a worker's answer
  tidegate sub nats://127.0.0.1:4222 'driver.location.*'   the bus, with wildcards
  tidegate sub 'driver.location.*'                         the same, on --bus
  tidegate sub wss://localhost:8443/ws/rooms/lobby --insecure --count 10 --latency

Latency is measured against the field at_ms of JSON payloads, as `tidegate pub --timestamp` writes it.
The exit code is 1 if the server ends the connection, or if --timeout passes before --count messages have arrived.")]
pub struct SubscribeArgs {
    /// A URL (ws, wss, http, https, nats), or a subject of the bus
    #[arg(value_name = "URL_OR_SUBJECT")]
    target: String,
    /// The subject, if the URL is the bus's
    subject: Option<String>,
    /// The bus, if only a subject is given: nats://host:port, with user:password@ or token@ before the host
    #[arg(long, value_name = "URL", default_value = "nats://127.0.0.1:4222")]
    bus: String,
    /// End after this many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Show the latency of each message, and percentiles at the end
    #[arg(long)]
    latency: bool,
    /// Resume an event stream after this id
    #[arg(long, visible_alias = "since", value_name = "ID", value_parser = super::no_control)]
    last_event_id: Option<String>,
    /// Send this text first, over a WebSocket; may be repeated
    #[arg(long, value_name = "TEXT")]
    send: Vec<String>,
    /// Send this header field with the request; may be repeated
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<Field>,
    #[command(flatten)]
    trust: Trust,
    /// Print JSON, one line for each message and one for the summary
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("expected seconds, up to {SECONDS_MAX}"))
}

pub fn run(args: &SubscribeArgs) -> ExitCode {
    let is_ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        if let Err(error) = signal_hook::flag::register(signal, is_ended.clone()) {
            return output::fail(&error.to_string());
        }
    }
    match open(args).and_then(|source| follow(args, source, &is_ended)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => output::fail(&message),
    }
}

fn open(args: &SubscribeArgs) -> Result<Source, String> {
    let target = args.target.as_str();
    let url = if target.contains("://") { Some(Url::parse(target, "nats")?) } else { None };
    if !args.send.is_empty() && !url.as_ref().is_some_and(|url| matches!(url.scheme, "ws" | "wss")) {
        return Err("--send needs a WebSocket; expected ws://host/path or wss://host/path".to_owned());
    }
    let Some(url) = url else { return of_the_bus(args, target) };
    if args.subject.is_some() && !matches!(url.scheme, "nats" | "tls") {
        return Err("only the URL of a bus takes a subject; expected nats://host:port".to_owned());
    }
    match url.scheme {
        "ws" | "wss" => {
            let mut socket = WebSocketSource::open(&url, &args.header, &args.trust)?;
            args.send.iter().try_for_each(|text| socket.send(text))?;
            Ok(Source::WebSocket(Box::new(socket)))
        }
        "http" | "https" => {
            let events = Events::open(&url, &args.header, args.last_event_id.as_deref(), &args.trust)?;
            Ok(Source::Events(Box::new(events)))
        }
        _ => {
            let subject = args.subject.as_deref().ok_or("expected a subject after the URL of the bus")?;
            BusClient::connect(&url, &args.trust)?.subscribe(subject).map(|source| Source::Bus(Box::new(source)))
        }
    }
}

/// A source for a subject without a URL. Few subjects look like the address of a machine.
fn of_the_bus(args: &SubscribeArgs, target: &str) -> Result<Source, String> {
    let place = target.split('/').next().unwrap_or_default();
    if args.subject.is_some() || place.parse::<SocketAddr>().is_ok() || place.starts_with("localhost:") {
        return Err(format!("{target} is no URL; expected ws, wss, http, https or nats and \"://\" before it"));
    }
    let bus = BusClient::connect(&Url::parse(&args.bus, "nats")?, &args.trust)?;
    bus.subscribe(target).map(|source| Source::Bus(Box::new(source)))
}

/// Shows messages until the source, a bound or a signal ends it.
fn follow(args: &SubscribeArgs, mut source: Source, is_ended: &AtomicBool) -> Result<(), String> {
    let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
    let mut report = Report::new(args.json, args.latency)?;
    let mut out = io::stdout().lock();
    let end = loop {
        if is_ended.load(Ordering::Relaxed) || args.count == Some(report.count()) {
            source.close();
            break Ok(());
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            source.close();
            break match args.count {
                Some(count) => Err(format!("timed out: {} of {count} messages arrived", report.count())),
                None => Ok(()),
            };
        }
        match source.next() {
            Ok(SourceEvent::Arrived(arrival)) => match report.message(&mut out, &arrival).and_then(|()| out.flush()) {
                Ok(()) => {}
                // The reader of the messages has closed the pipe.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => break Err(format!("stdout: {error}")),
            },
            Ok(SourceEvent::Nothing) => {}
            Ok(SourceEvent::Ended(words)) if words.is_empty() => {
                break Err("the server ended the connection".to_owned());
            }
            Ok(SourceEvent::Ended(words)) => break Err(format!("the server ended the connection: {words}")),
            Err(message) => break Err(message),
        }
    };
    let summary = report.summary(&mut out).and_then(|()| out.flush());
    if let Some(aside) = report.aside() {
        output::line(&aside);
    }
    end.and(output::unless_unread(summary))
}
