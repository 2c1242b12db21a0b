//! The bus: the NATS client protocol, the server's side (<https://docs.nats.io/reference/reference-protocols/nats-protocol>).
//!
//! ```text
//!   worker                                     gateway
//!          <-- INFO {..}                       write     one function for each thing that is said
//!   CONNECT {..} PING PONG SUB UNSUB PUB HPUB  parse     takes one verb off the front of the input
//!          <-- MSG HMSG +OK -ERR PING PONG     error     what is answered when that fails, in nats-server's words
//!                                              connect   the options of CONNECT
//!                                              headers   the block of header lines that HPUB and HMSG carry
//! ```
//!
//! Pure: permissions and the meaning of a subscription are decided elsewhere. Verbs borrow from the input. If the
//! documents leave something open, this follows nats-server, compared byte by byte; the tests name such cases.

mod connect;
mod error;
pub mod headers;
mod parse;
mod write;

pub use connect::ConnectOptions;
pub use error::BusError;
pub use headers::HeaderBlock;
pub use parse::{BusLimits, WorkerVerb, next, verb_at};
pub use write::{Info, write_error, write_hmsg, write_info, write_msg};

/// The request has no responder: the whole header block of an empty message.
pub const NO_RESPONDERS: &[u8] = b"NATS/1.0 503\r\n\r\n";
/// All connections that were asked have ended without an answer.
pub const GONE: &[u8] = b"NATS/1.0 410 Gone\r\n\r\n";
/// No answer or acknowledgement has come in time; the words are JetStream's for a pull.
pub const TIMEOUT: &[u8] = b"NATS/1.0 408 Request Timeout\r\n\r\n";
/// The message is refused because its header `Tg-Ack` is malformed, or because too many messages wait.
pub const BAD_REQUEST: &[u8] = b"NATS/1.0 400 Bad Request\r\n\r\n";
pub const TOO_MANY: &[u8] = b"NATS/1.0 429 Too Many Messages\r\n\r\n";
/// The connection already has the largest number of channels.
pub const TOO_MANY_CHANNELS: &[u8] = b"NATS/1.0 429 Too Many Channels\r\n\r\n";
/// As many revocations are known, or under way, as there may be.
pub const TOO_MANY_REVOCATIONS: &[u8] = b"NATS/1.0 429 Too Many Revocations\r\n\r\n";
/// The message repeats one that was accepted before, and is not delivered again.
pub const DUPLICATE: &[u8] = b"NATS/1.0 409 Duplicate\r\n\r\n";
/// The status of an acknowledgement, in its first line.
pub const ACKNOWLEDGED: &str = "200 Acknowledged";
