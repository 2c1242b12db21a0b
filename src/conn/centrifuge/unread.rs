//! The commands of a frame that have not been taken: each `next` takes one.
//!
//! ```text
//!  a frame lies whole in the input: what is unread of it stays there, unmasked --.
//!  a frame has come in pieces: it was put together apart from the input ---------+--line--> one command
//! ```
//!
//! Commands in the input are carried with everything after them when the connection pauses, so they need no memory of
//! their own.

use std::mem;

use crate::conn::outbox::Outbox;
use crate::conn::websocket::{Heard, WebSocket};
use crate::limits::COMMANDS_PER_FRAME_MAX;
use crate::proto::CloseReason;
use crate::proto::centrifuge::{count, line_len};
use crate::proto::ws::{Payload, SessionLimits};

/// Empty, or begins with a command.
pub(in crate::conn) enum Unread {
    /// This many bytes at the front of the input.
    Lent(usize),
    /// The bytes of `frame` from `at` on.
    Owned { frame: Vec<u8>, at: usize },
}

impl Default for Unread {
    fn default() -> Unread {
        Unread::Lent(0)
    }
}

impl Unread {
    /// All commands of a frame. A lent payload lies right before the rest of the input, and becomes part of the input
    /// again.
    fn new(payload: Payload<'_>) -> Unread {
        match payload {
            Payload::Borrowed(bytes) => Unread::Lent(bytes.trim_ascii_start().len()),
            Payload::Assembled(frame) => Unread::owned(frame, 0),
        }
    }

    /// The rest of `frame`, from `at` on.
    pub(super) fn owned(frame: Vec<u8>, at: usize) -> Unread {
        match frame[at..].trim_ascii_start().len() {
            0 => Unread::default(),
            bytes => Unread::Owned { at: frame.len() - bytes, frame },
        }
    }

    pub(in crate::conn) fn is_empty(&self) -> bool {
        matches!(self, Unread::Lent(0))
    }

    /// Bytes of memory outside the input.
    pub(in crate::conn) fn capacity(&self) -> usize {
        match self {
            Unread::Lent(_) => 0,
            Unread::Owned { frame, .. } => frame.capacity(),
        }
    }

    /// Whether there are commands outside the input.
    pub(in crate::conn) fn is_apart(&self) -> bool {
        matches!(self, Unread::Owned { .. })
    }

    /// The number of bytes at the front of the input that belong to it.
    fn lent_bytes(&self) -> usize {
        match self {
            Unread::Lent(bytes) => *bytes,
            Unread::Owned { .. } => 0,
        }
    }
}

/// Takes a frame off `input`, except the part of it that is lent.
pub(super) fn next_frame(
    input: &mut &mut [u8],
    websocket: &mut WebSocket,
    limits: &SessionLimits,
    outbox: &mut Outbox,
) -> Result<Option<Heard<Unread>>, CloseReason> {
    let mut rest = &mut **input;
    let heard = websocket.next(&mut rest, limits, outbox)?;
    let left = rest.len();
    let heard = match heard {
        Some(Heard::Message(frame)) if count(&frame.payload) > COMMANDS_PER_FRAME_MAX => {
            return Err(CloseReason::BadCommand);
        }
        Some(Heard::Message(frame)) => Some(Heard::Message(Unread::new(frame.payload))),
        Some(Heard::Goodbye) => Some(Heard::Goodbye),
        None => None,
    };
    let lent = if let Some(Heard::Message(unread)) = &heard { unread.lent_bytes() } else { 0 };
    let taken = input.len() - left - lent;
    *input = &mut mem::take(input)[taken..];
    Ok(heard)
}

/// Takes one line off the front of `input`, which begins with `bytes` lent bytes. Returns the line, and the rest of the
/// lent bytes.
pub(super) fn take_lent<'a>(bytes: usize, input: &mut &'a mut [u8]) -> (&'a [u8], Unread) {
    let len = line_len(&input[..bytes]);
    let left = input[len..bytes].trim_ascii_start().len();
    let (front, rest) = mem::take(input).split_at_mut(bytes - left);
    *input = rest;
    (&front[..len], Unread::Lent(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_stays_in_the_input_until_it_is_taken() {
        let mut bytes = b" \n{1}\r\n\n {2} \n\n\x81\x80".to_vec();
        let frame = bytes.len() - 2;
        let unread = Unread::new(Payload::Borrowed(&mut bytes.clone()[..frame]));
        let mut input = &mut bytes[2..];
        assert_eq!(unread.lent_bytes(), frame - 2);
        let (line, unread) = take_lent(unread.lent_bytes(), &mut input);
        assert_eq!((line, &input[..unread.lent_bytes()]), (&b"{1}\r\n"[..], &b"{2} \n\n"[..]));
        let (line, unread) = take_lent(unread.lent_bytes(), &mut input);
        assert_eq!((line, &*input), (&b"{2} \n"[..], &b"\x81\x80"[..]));
        assert!(unread.is_empty());
    }

    #[test]
    fn a_blank_frame_is_empty() {
        assert!(Unread::new(Payload::Borrowed(&mut b" \n".to_owned())).is_empty());
        assert!(Unread::new(Payload::Assembled(b"\n\n".to_vec())).is_empty());
        assert!(Unread::owned(b"{}\n".to_vec(), 2).is_empty());
        let Unread::Owned { at: 2, .. } = Unread::owned(b"\n {}".to_vec(), 0) else {
            panic!("it begins with a command")
        };
    }
}
