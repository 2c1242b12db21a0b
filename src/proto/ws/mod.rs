//! WebSocket (RFC 6455): frames <-> messages.
//!
//! ```text
//!  input --> frame::FrameHeader --> unmask in place --> whole? --> WebSocketStep::Message(Borrowed)      no copy
//!    |                                                    '-- no --> assembly --> WebSocketStep::Message(Assembled)
//!    '-- Ok(None): the caller keeps the rest, a header or a control frame at most, in its carry
//!
//!  frame::write_header, write_close, ... --> output
//! ```
//!
//! This module has the arithmetic of the opening handshake ([`handshake`]), the wire format both ways ([`frame`],
//! [`mask`]), text that arrives in pieces ([`utf8`]), the receiving half of a connection ([`WebSocketSession`]) and the
//! borders between frames that are passed on unread ([`Follow`]). It does not have the HTTP part of the upgrade (`proto::http`), the timing (pings, the closing handshake, deadlines:
//! `conn`) or extensions, which are never negotiated, so that reserved bits are always an error.
//!
//! A session owns memory only while a message is incomplete.

mod assembly;
mod follow;
pub mod frame;
pub mod handshake;
pub mod mask;
pub mod session;
mod unfinished;
pub mod utf8;

pub use follow::{Follow, Followed, FrameStand};
pub use frame::{FrameHeader, Opcode};
pub use session::{Payload, SessionLimits, WebSocketSession, WebSocketStep};
