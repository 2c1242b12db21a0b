//! The command line's own clients: what `sub` reads from and `pub` writes to.
//!
//! ```text
//!  ws wss      websocket --.
//!  http https  events    --+--> Source::next --> ArrivedMessage channels  (admin API) <-- pub
//!  nats        bus       --'                                    bus       (nats)      <-- pub
//! ```
//!
//! They are blocking and look up now and then ([`TICK`]), so that Ctrl-C and deadlines are noticed while nothing arrives.

use std::time::Duration;

pub(super) mod bus;
pub(super) mod channels;
pub(super) mod events;
mod http;
mod stream;
pub(super) mod url;
pub(super) mod websocket;

pub(super) use stream::Trust;
pub(super) use url::Url;

/// How long a source waits for bytes before it looks up.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// How long connecting may take, and each answer while connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest message that is taken.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A message that has arrived.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ArrivedMessage {
    /// Where it was published; known on the bus only.
    pub subject: Option<String>,
    pub id: Option<String>,
    pub event: Option<String>,
    pub payload: Vec<u8>,
}

/// What came from a source.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SourceEvent {
    Arrived(ArrivedMessage),
    /// Nothing came within [`TICK`].
    Nothing,
    /// The other side ended it, with its reason if it gave one.
    Ended(String),
}

/// Where messages come from.
pub(super) enum Source {
    WebSocket(Box<websocket::WebSocketSource>),
    Events(Box<events::Events>),
    Bus(Box<bus::BusSubscription>),
}

impl Source {
    /// Waits for at most about [`TICK`]. An error is one line, and the end.
    pub fn next(&mut self) -> Result<SourceEvent, String> {
        match self {
            Source::WebSocket(source) => source.next(),
            Source::Events(source) => source.next(),
            Source::Bus(source) => source.next(),
        }
    }

    /// Says goodbye, where the protocol has a word for it.
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
