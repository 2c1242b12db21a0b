//! Names that belong to the gateway. No other file of src spells them (`tests/house`).
//!
//! ```text
//!  subjects   tg.conn.<id>, tg.user.<user>.close, …    what each leads to, which of them workers may use, makers
//!   '-- destination   where a message goes, from its subject, and what it expects
//!  headers    Tg-Conn, Tg-Event, …                     what each means, in which messages it is
//!  events     tg.gap, tg.end, tg.result                names of events of event streams
//!  methods    tg.answer, tg.ack                        calls of the client protocol
//! ```
//!
//! `page` writes the tables of docs/workers.md from those of subjects and headers.

pub mod destination;
pub mod headers;
pub mod page;
pub mod subjects;

/// The prefix of the gateway's own names of events and methods. Publishers are refused them everywhere, so a client
/// that gets such an event knows that the gateway sent it.
const OWN: &str = "tg.";

/// The event of a gap on an event stream.
pub const GAP_EVENT: &str = "tg.gap";
/// The event that says why a stream ends for good.
pub const END_EVENT: &str = "tg.end";
/// The event of a request's result, unless its route names another.
pub const RESULT_EVENT: &str = "tg.result";

/// The calls of the client protocol that answer a question and acknowledge a message; they do not go to a worker.
pub const ANSWER_METHOD: &str = "tg.answer";
pub const ACK_METHOD: &str = "tg.ack";

/// Whether an event of this name would be taken for one of the gateway.
pub fn is_own_event(name: &str) -> bool {
    name.starts_with(OWN)
}
