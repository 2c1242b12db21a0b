//! The clients of the command line: the sources of `sub` and the targets of `pub`.
//!
//! ```text
//!  ws wss      websocket --.
//!  http https  events    --+--> Source::next --> ArrivedMessage admin     (admin API) <-- pub, send, kick, …
//!  nats        bus       --'                                    bus       (nats)      <-- pub
//! ```
//!
//! They block, and return now and then ([`TICK`]), so that Ctrl-C and deadlines are noticed while nothing arrives.

use std::time::Duration;

pub(super) mod admin;
pub(super) mod bus;
pub(super) mod events;
mod http;
mod stream;
pub(super) mod url;
pub(super) mod websocket;

pub(super) use stream::Trust;
pub(super) use url::Url;

/// How long a source waits for bytes before it returns.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// How long connecting may take, and each answer while connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest accepted message.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A message that has arrived.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ArrivedMessage {
    /// Its subject; known only on the bus.
    pub subject: Option<String>,
    pub id: Option<String>,
    pub event: Option<String>,
    pub payload: Vec<u8>,
}

/// An event of a source.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SourceEvent {
    Arrived(ArrivedMessage),
    /// Nothing came within [`TICK`].
    Nothing,
    /// The other side ended the connection, with its reason if it gave one.
    Ended(String),
}

/// A source of messages.
pub(super) enum Source {
    WebSocket(Box<websocket::WebSocketSource>),
    Events(Box<events::Events>),
    Bus(Box<bus::BusSubscription>),
}

impl Source {
    /// Waits for about [`TICK`] at most. An error is one line, and final.
    pub fn next(&mut self) -> Result<SourceEvent, String> {
        match self {
            Source::WebSocket(source) => source.next(),
            Source::Events(source) => source.next(),
            Source::Bus(source) => source.next(),
        }
    }

    /// Closes the connection properly, if the protocol has a way to do so.
    pub fn close(&mut self) {
        match self {
            Source::WebSocket(source) => source.close(),
            Source::Events(_) => {}
            Source::Bus(source) => source.close(),
        }
    }
}

/// A header field from the command line: `Name: value`.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub name: String,
    pub value: String,
}

impl std::str::FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Field, String> {
        let (name, value) = text.split_once(':').ok_or("expected \"Name: value\"")?;
        let is_value = value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
        let is_name =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if !is_name || !is_value {
            return Err("expected \"Name: value\" without control characters".to_owned());
        }
        Ok(Field { name: name.to_owned(), value: value.trim().to_owned() })
    }
}
