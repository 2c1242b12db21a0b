//! The receiving half of a WebSocket connection: frames in, messages out (RFC 6455 sections 5 and 6).
//!
//! ```text
//!              header              FIN and whole
//!  (idle) ------------> admitted ------------------> Message(Borrowed)
//!                          |
//!                          '--> assembly: receiving <--> between fragments   (control frames pass here)
//!                                  | FIN
//!                                  '--> Message(Assembled)
//!  Close or an error --> over: whatever follows is discarded
//! ```

use std::mem;
use std::ops::Deref;

use crate::limits::{FRAGMENTS_MAX, MESSAGE_BYTES_MAX};
use crate::proto::CloseReason;

use super::assembly::{Assembly, CompletedPart, take_front};
use super::frame::{self, FrameHeader, Opcode};
use super::{mask, utf8};

/// Bounds of what a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    pub message_bytes_max: u32,
    /// Most frames of one message; more are refused as a message too big, because each frame costs work, whatever its
    /// size.
    pub fragments_max: u32,
}

impl Default for SessionLimits {
    fn default() -> SessionLimits {
        SessionLimits { message_bytes_max: MESSAGE_BYTES_MAX as u32, fragments_max: FRAGMENTS_MAX }
    }
}

/// One item taken off the input. Except for an assembled message it borrows from the input.
#[derive(Debug, PartialEq, Eq)]
pub enum WebSocketStep<'a> {
    /// `opcode` is `Text`, and then the payload is UTF-8, or `Binary`.
    Message {
        opcode: Opcode,
        payload: Payload<'a>,
    },
    /// The caller answers with a pong of the same bytes (section 5.5.2).
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// The last step of a session. Without a `code` the frame was empty.
    Close {
        code: Option<u16>,
        reason: &'a str,
    },
}

/// The bytes of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// One frame that was complete in the input: unmasked there, right before the rest of the input.
    Borrowed(&'a mut [u8]),
    /// Assembled from pieces.
    Assembled(Vec<u8>),
}

impl Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Payload::Borrowed(bytes) => bytes,
            Payload::Assembled(bytes) => bytes,
        }
    }
}

impl Payload<'_> {
    /// The bytes as their own vector: copied if they were borrowed.
    pub fn into_vec(self) -> Vec<u8> {
        match self {
            Payload::Borrowed(bytes) => bytes.to_vec(),
            Payload::Assembled(bytes) => bytes,
        }
    }
}

/// Which end of the connection this is: it decides whether the other end's frames must be masked (section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}

/// The receiving half of one connection.
#[derive(Debug)]
pub struct WebSocketSession {
    role: Role,
    /// A close frame has come, or the peer broke the protocol.
    is_over: bool,
    /// The incomplete message: only with one is there heap memory.
    pub(super) assembly: Option<Box<Assembly>>,
}

// Every connection has one of these, and most of them idle.
const _: () = assert!(size_of::<WebSocketSession>() <= 16);

impl WebSocketSession {
    /// The gateway's end of a connection.
    pub fn server() -> WebSocketSession {
        WebSocketSession { role: Role::Server, is_over: false, assembly: None }
    }

    /// The other end, for tests and simulated clients.
    pub fn client() -> WebSocketSession {
        WebSocketSession { role: Role::Client, ..WebSocketSession::server() }
    }

    /// Takes one item off the front of `input`.
    ///
    /// `Ok(None)`: more bytes are needed. The caller keeps the rest of `input`, less than a header or a control frame,
    /// and passes it in again before the next bytes. After a close frame or an error the session is over: it discards
    /// further input (section 1.4).
    pub fn next<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        limits: &SessionLimits,
    ) -> Result<Option<WebSocketStep<'a>>, CloseReason> {
        if self.is_over {
            mem::take(input);
            return Ok(None);
        }
        let step = self.take_step(input, limits);
        if matches!(step, Err(_) | Ok(Some(WebSocketStep::Close { .. }))) {
            self.is_over = true;
            self.assembly = None;
        }
        step
    }

    fn take_step<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        limits: &SessionLimits,
    ) -> Result<Option<WebSocketStep<'a>>, CloseReason> {
        loop {
            if let Some(mut assembly) = self.assembly.take_if(|assembly| assembly.is_receiving()) {
                let state = assembly.receive(input)?;
                if state == CompletedPart::Message {
                    let (opcode, message) = assembly.into_message();
                    return Ok(Some(WebSocketStep::Message { opcode, payload: Payload::Assembled(message) }));
                }
                self.assembly = Some(assembly);
                if state == CompletedPart::Part {
                    return Ok(None);
                }
            }
            let Some((header, header_len)) = FrameHeader::parse(input)? else { return Ok(None) };
            self.admit(&header, limits)?;
            let is_whole = (input.len() - header_len) as u64 >= header.len;
            if header.opcode.is_control() {
                return if is_whole { take_control(&header, header_len, input).map(Some) } else { Ok(None) };
            }
            if is_whole && header.fin && self.assembly.is_none() {
                return take_message(&header, header_len, input).map(Some);
            }
            take_front(input, header_len);
            let assembly = self.assembly.get_or_insert_with(|| Box::new(Assembly::new(header.opcode)));
            assembly.begin_frame(&header);
        }
    }

    /// Checks a header against the frames before it, before any of its payload is kept.
    fn admit(&self, header: &FrameHeader, limits: &SessionLimits) -> Result<(), CloseReason> {
        if header.mask.is_some() != (self.role == Role::Server) {
            return Err(CloseReason::WebSocketProtocol);
        }
        if header.opcode.is_control() {
            return Ok(());
        }
        // A continuation continues a message, and no other data frame may come in between (section 5.4).
        if (header.opcode == Opcode::Continuation) != self.assembly.is_some() {
            return Err(CloseReason::WebSocketProtocol);
        }
        let (kept_len, fragments) =
            self.assembly.as_ref().map_or((0, 0), |assembly| (assembly.len(), assembly.fragments()));
        if kept_len as u64 + header.len > limits.message_bytes_max.into() || fragments >= limits.fragments_max {
            return Err(CloseReason::MessageTooBig);
        }
        Ok(())
    }
}

/// Takes an unfragmented message that is complete in the input: no copy.
fn take_message<'a>(
    header: &FrameHeader,
    header_len: usize,
    input: &mut &'a mut [u8],
) -> Result<WebSocketStep<'a>, CloseReason> {
    let payload = take_payload(header, header_len, input);
    if header.opcode == Opcode::Text && !utf8::is_valid(payload) {
        return Err(CloseReason::WebSocketUtf8);
    }
    Ok(WebSocketStep::Message { opcode: header.opcode, payload: Payload::Borrowed(payload) })
}

fn take_control<'a>(
    header: &FrameHeader,
    header_len: usize,
    input: &mut &'a mut [u8],
) -> Result<WebSocketStep<'a>, CloseReason> {
    let payload: &'a [u8] = take_payload(header, header_len, input);
    match header.opcode {
        Opcode::Ping => Ok(WebSocketStep::Ping(payload)),
        Opcode::Pong => Ok(WebSocketStep::Pong(payload)),
        _ => read_close(payload),
    }
}

/// Parses the payload of a close frame: empty, or a code and a reason (section 5.5.1).
fn read_close(payload: &[u8]) -> Result<WebSocketStep<'_>, CloseReason> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        let is_empty = payload.is_empty();
        return if is_empty {
            Ok(WebSocketStep::Close { code: None, reason: "" })
        } else {
            Err(CloseReason::WebSocketProtocol)
        };
    };
    let code = u16::from_be_bytes(*code);
    if !frame::is_close_code(code) {
        return Err(CloseReason::WebSocketProtocol);
    }
    let reason = std::str::from_utf8(reason).map_err(|_| CloseReason::WebSocketUtf8)?;
    Ok(WebSocketStep::Close { code: Some(code), reason })
}

/// Takes a frame that is complete in the input, and unmasks its payload there.
fn take_payload<'a>(header: &FrameHeader, header_len: usize, input: &mut &'a mut [u8]) -> &'a mut [u8] {
    take_front(input, header_len);
    let payload = take_front(input, header.len as usize);
    if let Some(key) = header.mask {
        mask::apply(payload, key);
    }
    payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ws::frame::{write, write_close, write_header, write_masked};
    use crate::proto::ws::mask::Mask;
    use proptest::prelude::*;

    const MASK: Mask = [0x37, 0xFA, 0x21, 0x3D];

    /// A step that owns its bytes.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Seen {
        Text(String),
        Binary(Vec<u8>),
        Ping(Vec<u8>),
        Pong(Vec<u8>),
        Close(Option<u16>, String),
        Failed(CloseReason),
    }

    impl Seen {
        fn from_step(step: WebSocketStep<'_>) -> Seen {
            match step {
                WebSocketStep::Message { opcode: Opcode::Text, payload } => {
                    Seen::Text(String::from_utf8(payload.into_vec()).expect("a session lets only UTF-8 through"))
                }
                WebSocketStep::Message { payload, .. } => Seen::Binary(payload.into_vec()),
                WebSocketStep::Ping(bytes) => Seen::Ping(bytes.to_vec()),
                WebSocketStep::Pong(bytes) => Seen::Pong(bytes.to_vec()),
                WebSocketStep::Close { code, reason } => Seen::Close(code, reason.to_string()),
            }
        }
    }

    /// Uses a session as a connection does: keeps the rest of the input and passes it in again.
    struct Receiver {
        session: WebSocketSession,
        limits: SessionLimits,
        carry: Vec<u8>,
        seen: Vec<Seen>,
    }

    impl Receiver {
        fn new(session: WebSocketSession, limits: SessionLimits) -> Receiver {
            Receiver { session, limits, carry: Vec::new(), seen: Vec::new() }
        }

        fn receive(&mut self, bytes: &[u8]) {
            self.carry.extend_from_slice(bytes);
            let mut joined = mem::take(&mut self.carry);
            let mut input = &mut joined[..];
            loop {
                match self.session.next(&mut input, &self.limits) {
                    Ok(Some(step)) => self.seen.push(Seen::from_step(step)),
                    Ok(None) => break,
                    Err(reason) => self.seen.push(Seen::Failed(reason)),
                }
            }
            self.carry = input.to_vec();
            assert!(self.carry.len() < frame::HEADER_BYTES_MAX + 125, "a header or a control frame at most is left");
        }
    }

    fn small() -> SessionLimits {
        SessionLimits { message_bytes_max: 1000, fragments_max: 5 }
    }

    /// The steps of a server when `bytes` arrive in pieces of `size`.
    fn seen_in_pieces(bytes: &[u8], size: usize) -> Vec<Seen> {
        let mut receiver = Receiver::new(WebSocketSession::server(), small());
        bytes.chunks(size).for_each(|piece| receiver.receive(piece));
        receiver.seen
    }

    /// The steps of a server for `bytes`, which must not depend on how they are split.
    fn seen(bytes: &[u8]) -> Vec<Seen> {
        let at_once = seen_in_pieces(bytes, bytes.len().max(1));
        for size in [1, 2, 3, 7] {
            assert_eq!(seen_in_pieces(bytes, size), at_once, "in pieces of {size}");
        }
        at_once
    }

    fn frames(frames: &[(bool, Opcode, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        frames.iter().for_each(|(fin, opcode, payload)| write_masked(&mut out, *fin, *opcode, payload, MASK));
        out
    }

    fn failed(reason: CloseReason) -> Vec<Seen> {
        vec![Seen::Failed(reason)]
    }

    use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};

    #[test]
    fn a_whole_message_borrows_from_the_input() {
        let mut bytes = frames(&[(true, Text, b"Hello"), (true, Binary, b"")]);
        let mut input = &mut bytes[..];
        let mut session = WebSocketSession::server();
        let step = session.next(&mut input, &small()).unwrap().unwrap();
        assert_eq!(step, WebSocketStep::Message { opcode: Text, payload: Payload::Borrowed(&mut b"Hello".to_owned()) });
        let step = session.next(&mut input, &small()).unwrap().unwrap();
        assert_eq!(step, WebSocketStep::Message { opcode: Binary, payload: Payload::Borrowed(&mut []) });
        assert_eq!(session.next(&mut input, &small()), Ok(None));
    }

    #[test]
    fn fragments_become_one_message_and_control_frames_pass_between_them() {
        let bytes = frames(&[
            (false, Text, b"H\xC3"),
            (true, Ping, b"still there?"),
            (false, Continuation, b"\xA4l"),
            (true, Pong, b""),
            (true, Continuation, b"lo"),
            (true, Close, b"\x03\xE8bye"),
        ]);
        let expected = [
            Seen::Ping(b"still there?".to_vec()),
            Seen::Pong(Vec::new()),
            Seen::Text("Hällo".to_string()),
            Seen::Close(Some(1000), "bye".to_string()),
        ];
        assert_eq!(seen(&bytes), expected);
    }

    #[test]
    fn refuses_continuations_of_nothing_and_messages_within_messages() {
        assert_eq!(seen(&frames(&[(true, Continuation, b"x")])), failed(CloseReason::WebSocketProtocol));
        let within = frames(&[(false, Text, b"x"), (true, Text, b"y")]);
        assert_eq!(seen(&within), failed(CloseReason::WebSocketProtocol));
    }

    #[test]
    fn a_server_refuses_unmasked_frames_and_a_client_masked_ones() {
        let mut unmasked = Vec::new();
        write(&mut unmasked, Text, b"x");
        assert_eq!(seen(&unmasked), failed(CloseReason::WebSocketProtocol));

        let mut client = Receiver::new(WebSocketSession::client(), small());
        client.receive(&unmasked);
        client.receive(&frames(&[(true, Text, b"x")]));
        assert_eq!(client.seen, [Seen::Text("x".to_string()), Seen::Failed(CloseReason::WebSocketProtocol)]);
    }

    #[test]
    fn closes_with_1009_from_the_header_when_a_message_exceeds_its_limits() {
        let mut session = Receiver::new(WebSocketSession::server(), small());
        session.receive(&frames(&[(true, Binary, &[7; 1000])]));
        assert_eq!(session.seen, [Seen::Binary(vec![7; 1000])]);
        session.receive(&frames(&[(true, Binary, &[7; 1001])])[..8]);
        assert_eq!(session.seen[1..], failed(CloseReason::MessageTooBig));

        let in_sum = frames(&[(false, Binary, &[7; 600]), (true, Continuation, &[7; 401])]);
        assert_eq!(seen(&in_sum), failed(CloseReason::MessageTooBig));
        let mut huge = Vec::new();
        FrameHeader { fin: true, opcode: Binary, mask: Some(MASK), len: i64::MAX as u64 }.write(&mut huge);
        assert_eq!(seen(&huge), failed(CloseReason::MessageTooBig));

        let mut fragments = vec![(false, Continuation, &b""[..]); 6];
        fragments[0].1 = Text;
        assert_eq!(seen(&frames(&fragments[..5])), []);
        assert_eq!(seen(&frames(&fragments)), failed(CloseReason::MessageTooBig));
    }

    #[test]
    fn refuses_bad_text_in_the_piece_that_holds_it() {
        assert_eq!(seen(&frames(&[(true, Text, b"ab\xFFcd")])), failed(CloseReason::WebSocketUtf8));
        assert_eq!(seen(&frames(&[(true, Text, b"\xE2\x82")])), failed(CloseReason::WebSocketUtf8));
        let split = frames(&[(false, Text, b"\xE2\x82"), (true, Continuation, b"")]);
        assert_eq!(seen(&split), failed(CloseReason::WebSocketUtf8));

        let long = frames(&[(false, Text, b"valid \xF4\x90 and more")]);
        let mut receiver = Receiver::new(WebSocketSession::server(), small());
        receiver.receive(&long[..13]);
        assert_eq!(receiver.seen, [], "F4 alone may still become a character");
        receiver.receive(&long[13..14]);
        assert_eq!(receiver.seen, failed(CloseReason::WebSocketUtf8), "although most of the frame has not come");
    }

    #[test]
    fn binary_may_be_anything() {
        assert_eq!(seen(&frames(&[(true, Binary, b"\xFF\x00")])), [Seen::Binary(b"\xFF\x00".to_vec())]);
    }

    #[test]
    fn judges_codes_and_reasons_of_close_frames() {
        let close = |payload: &[u8]| seen(&frames(&[(true, Close, payload)]));
        assert_eq!(close(b""), [Seen::Close(None, String::new())]);
        assert_eq!(close(b"\x0F\xA0"), [Seen::Close(Some(4000), String::new())]);
        assert_eq!(close(b"\x03"), failed(CloseReason::WebSocketProtocol));
        assert_eq!(close(b"\x03\xED"), failed(CloseReason::WebSocketProtocol), "1005 is never sent");
        assert_eq!(close(b"\x03\xE8\xFF"), failed(CloseReason::WebSocketUtf8));
    }

    #[test]
    fn discards_what_follows_a_close_or_an_error() {
        let after_close = frames(&[(false, Text, b"x"), (true, Close, b""), (true, Ping, b""), (true, Text, b"y")]);
        assert_eq!(seen(&after_close), [Seen::Close(None, String::new())]);
        let after_error = frames(&[(true, Continuation, b""), (true, Ping, b"")]);
        assert_eq!(seen(&after_error), failed(CloseReason::WebSocketProtocol));
    }

    #[test]
    fn owns_memory_only_while_a_message_is_incomplete() {
        let mut receiver = Receiver::new(WebSocketSession::server(), small());
        let bytes = frames(&[(false, Text, b"Hel"), (true, Continuation, b"lo")]);
        for (index, byte) in bytes.iter().enumerate() {
            assert_eq!(receiver.session.assembly.is_some(), index >= 6, "at byte {index}");
            receiver.receive(&[*byte]);
        }
        assert!(receiver.session.assembly.is_none());
        assert_eq!(receiver.seen, [Seen::Text("Hello".to_string())]);
    }

    /// The messages of one end, and their split: sizes of fragments, and whether a ping precedes each.
    fn conversations() -> impl Strategy<Value = Vec<(Seen, Vec<(usize, bool)>)>> {
        let message = prop_oneof![
            "\\PC{0,80}".prop_map(Seen::Text),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Seen::Binary),
        ];
        let cuts = proptest::collection::vec((0usize..90, any::<bool>()), 0..5);
        proptest::collection::vec((message, cuts), 0..8)
    }

    /// Writes a conversation as frames of a server, or, with a mask, of a client. Returns the expected steps.
    fn write_conversation(talk: &[(Seen, Vec<(usize, bool)>)], mask: Option<Mask>, out: &mut Vec<u8>) -> Vec<Seen> {
        let mut put = |fin, opcode, payload: &[u8]| {
            FrameHeader { fin, opcode, mask, len: payload.len() as u64 }.write(out);
            let start = out.len();
            out.extend_from_slice(payload);
            mask::apply(&mut out[start..], mask.unwrap_or_default());
        };
        let mut expected = Vec::new();
        for (message, cuts) in talk {
            let (mut opcode, mut rest) = match message {
                Seen::Text(text) => (Text, text.as_bytes()),
                Seen::Binary(bytes) => (Binary, &bytes[..]),
                _ => unreachable!("conversations are made of messages"),
            };
            for (size, is_pinged) in cuts {
                let (fragment, after) = rest.split_at((*size).min(rest.len()));
                put(false, opcode, fragment);
                (opcode, rest) = (Continuation, after);
                if *is_pinged {
                    put(true, Ping, b"in between");
                    expected.push(Seen::Ping(b"in between".to_vec()));
                }
            }
            put(true, opcode, rest);
            expected.push(message.clone());
        }
        expected
    }

    proptest! {
        #[test]
        fn both_ends_understand_each_other_at_any_fragmentation_and_split(
            talk in conversations(),
            mask in any::<Mask>(),
            sizes in proptest::collection::vec(1usize..200, 1..20),
        ) {
            let limits = SessionLimits { message_bytes_max: 1000, fragments_max: 6 };
            for (session, mask) in [(WebSocketSession::server(), Some(mask)), (WebSocketSession::client(), None)] {
                let mut bytes = Vec::new();
                let expected = write_conversation(&talk, mask, &mut bytes);
                let mut receiver = Receiver::new(session, limits);
                let mut rest = &bytes[..];
                for size in sizes.iter().cycle() {
                    let (piece, after) = rest.split_at((*size).min(rest.len()));
                    receiver.receive(piece);
                    rest = after;
                    if rest.is_empty() {
                        break;
                    }
                }
                prop_assert_eq!(&receiver.seen, &expected);
                prop_assert!(receiver.carry.is_empty() && receiver.session.assembly.is_none());
            }
        }

        #[test]
        fn any_bytes_are_judged_alike_however_they_are_split(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            size in 1usize..50,
        ) {
            prop_assert_eq!(seen_in_pieces(&bytes, size), seen_in_pieces(&bytes, bytes.len().max(1)));
        }
    }

    #[test]
    fn what_the_gateway_writes_a_client_reads() {
        let mut bytes = Vec::new();
        write_header(&mut bytes, Text, 2);
        bytes.extend(b"hi");
        write(&mut bytes, Ping, b"?");
        write_close(&mut bytes, Some(1001), "going");
        let mut client = Receiver::new(WebSocketSession::client(), small());
        client.receive(&bytes);
        let going = Seen::Close(Some(1001), "going".to_string());
        assert_eq!(client.seen, [Seen::Text("hi".to_string()), Seen::Ping(b"?".to_vec()), going]);
    }
}
