//! One message on its way to many: encoded at most once per framing and shard, then shared.
//!
//! ```text
//!  Message --(owner: position)--> Event --+-- websocket_frame()  --> every WebSocket of the shard
//!     plain data, crosses threads   |     +-- sse_record()       --> every event stream, with the head of its chunk
//!                                   |     +-- centrifuge_frame() --> every WebSocket of the client protocol
//!                                   |     +-- bus_body()         --> every worker (its line differs, the body not)
//!                         one Rc per shard
//! ```

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;

use crate::base::joined;

use super::bus::headers;
use super::centrifuge::{self, ClientInfo, Data};
use super::http::Streaming;
use super::reserved::destination::{Destination, is_of_requester};
use super::reserved::headers::{CONN_HEADER, EVENT_HEADER, INFO_HEADER, OPCODE_HEADER, USER_HEADER};
use super::reserved::subjects::Change;
use super::subject::Subject;
use super::{name, sse, ws};

/// A publication: plain, owned data that can cross threads. Its parts are read-only, because its destination and the
/// expected answer follow from them and are decided when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    parts: MessageParts,
    destination: Destination,
}

/// The parts of a publication; a [`Message`] dereferences to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageParts {
    /// The channel, service, connection or user that the message was published to, not the pattern of a subscription.
    pub subject: Subject,
    /// The subject at which an answer is expected.
    pub reply: Option<Subject>,
    /// A NATS header block, from `NATS/1.0\r\n` to the empty line. A worker's block is passed to other workers unread,
    /// even if it is malformed ([`headers::lookup`] reads it with care).
    pub headers: Option<Box<[u8]>>,
    /// The bytes as they were published; empty for a message that has only a status.
    pub payload: Box<[u8]>,
}

impl Deref for Message {
    type Target = MessageParts;

    fn deref(&self) -> &MessageParts {
        &self.parts
    }
}

impl Message {
    /// A message to a subject. Its destination is decided here, unless the caller has decided it already
    /// ([`Addressed`]).
    pub fn new(
        to: impl Into<Addressed>,
        reply: Option<Subject>,
        headers: Option<Box<[u8]>>,
        payload: Box<[u8]>,
    ) -> Message {
        let Addressed { subject, destination } = to.into();
        let destination = destination.expecting(reply.as_ref(), headers.as_deref());
        Message { parts: MessageParts { subject, reply, headers, payload }, destination }
    }

    /// A message that has only a status.
    pub fn of_status(subject: Subject, status: &[u8]) -> Message {
        Message::new(subject, None, Some(status.into()), Box::default())
    }

    /// The destination, and the expected answer.
    pub fn destination(&self) -> Destination {
        self.destination
    }

    /// The subject that clients subscribe to: the message's subject without a command, and for an announcement the one that the
    /// joins and leaves of its channel have in common ([`Change::listened`]).
    pub fn listened(&self) -> Cow<'_, str> {
        match self.destination {
            Destination::Event(Some(_)) => Change::listened_in(self.subject.as_str()),
            _ => Cow::Borrowed(self.without_command()),
        }
    }

    fn without_command(&self) -> &str {
        let subject = self.subject.as_str();
        match self.destination {
            Destination::User { command: Some(command), .. } => &subject[..subject.len() - command.word().len() - 1],
            _ => subject,
        }
    }

    /// The name by which the owner is found: an announcement about a channel belongs to the owner of the channel.
    pub fn owned_by(&self) -> &str {
        match self.destination {
            Destination::Event(Some(_)) => self.change().map_or(self.subject.as_str(), |(_, channel)| channel),
            _ => self.without_command(),
        }
    }

    /// The announced change, and its channel.
    pub fn change(&self) -> Option<(Change, &str)> {
        match self.destination {
            Destination::Event(Some(_)) => Change::of(self.subject.as_str()),
            _ => None,
        }
    }

    /// The reply subject for the outcome, if workers may publish there.
    pub fn requester(&self) -> Option<&Subject> {
        self.reply.as_ref().filter(|reply| is_of_requester(reply))
    }

    /// The first value of a header, without surrounding white space; the case of `name` does not matter. `None` if the
    /// header is missing or its value is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        headers::lookup(self.headers.as_deref()?, name)
    }

    /// The bytes of headers and payload.
    pub fn bytes(&self) -> usize {
        self.payload.len() + self.headers.as_ref().map_or(0, |headers| headers.len())
    }
}

/// A subject with its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressed {
    subject: Subject,
    destination: Destination,
}

impl Addressed {
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The destination; the answer that a message expects is not known here.
    pub fn destination(&self) -> Destination {
        self.destination
    }
}

impl From<Subject> for Addressed {
    fn from(subject: Subject) -> Addressed {
        let destination = Destination::of(&subject);
        Addressed { subject, destination }
    }
}

/// The position of a message in its channel. Opaque to clients: they compare it for equality, and send it back to
/// resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Changes whenever offsets restart.
    pub epoch: u32,
    /// At least 1 for the first message of the epoch, and larger for each later one. The log in memory has no gaps.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.epoch, self.offset)
    }
}

/// The text is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPosition;

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Position, NotAPosition> {
        let (epoch, offset) = text.split_once('-').ok_or(NotAPosition)?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if epoch.len() != 8 || !digits(epoch) || !digits(offset) {
            return Err(NotAPosition);
        }
        let epoch = u32::from_str_radix(epoch, 16).map_err(|_| NotAPosition)?;
        Ok(Position { epoch, offset: offset.parse().map_err(|_| NotAPosition)? })
    }
}

/// A message as one shard delivers it.
pub struct Event {
    /// Shared with receivers on other threads, and with the channel's history.
    pub message: Arc<Message>,
    /// `None` for a message that belongs to no channel: an answer, a message to one connection or user.
    pub position: Option<Position>,
    websocket: OnceCell<Rc<[u8]>>,
    /// Indexed by [`Streaming`].
    sse: [OnceCell<Rc<[u8]>>; Streaming::COUNT],
    sse_body: [OnceCell<Rc<[u8]>>; Streaming::COUNT],
    centrifuge: OnceCell<Rc<[u8]>>,
    bus: OnceCell<Rc<[u8]>>,
    bus_bare: OnceCell<Rc<[u8]>>,
}

impl Event {
    pub fn new(message: impl Into<Arc<Message>>, position: Option<Position>) -> Event {
        Event {
            message: message.into(),
            position,
            websocket: OnceCell::new(),
            sse: [const { OnceCell::new() }; Streaming::COUNT],
            sse_body: [const { OnceCell::new() }; Streaming::COUNT],
            centrifuge: OnceCell::new(),
            bus: OnceCell::new(),
            bus_bare: OnceCell::new(),
        }
    }

    /// Bytes of the message and of its framings: of what others hold, too, the share of one holder.
    pub fn share(&self) -> usize {
        let bodies = [&self.websocket, &self.centrifuge, &self.bus, &self.bus_bare];
        let framings = bodies.into_iter().chain(&self.sse).chain(&self.sse_body).filter_map(OnceCell::get);
        let framed: usize = framings.map(|bytes| bytes.len() / Rc::strong_count(bytes)).sum();
        framed + self.message.bytes() / Arc::strong_count(&self.message)
    }

    /// Text or binary: the publisher's choice, otherwise text if the payload is UTF-8.
    pub fn opcode(&self) -> ws::Opcode {
        // The client would disconnect after a text frame that is not UTF-8, so the publisher's choice is not enough.
        let is_text = self.message.header(OPCODE_HEADER) != Some("binary")
            && simdutf8::basic::from_utf8(&self.message.payload).is_ok();
        if is_text { ws::Opcode::Text } else { ws::Opcode::Binary }
    }

    /// One unmasked, unfragmented frame (RFC 6455 section 5.2).
    pub fn websocket_frame(&self) -> &Rc<[u8]> {
        self.websocket.get_or_init(|| ws::frame::shared(self.opcode(), &self.message.payload))
    }

    /// Whether it is a join or a leave.
    pub fn is_announcement(&self) -> bool {
        matches!(self.message.destination(), Destination::Event(Some(_)))
    }

    /// One frame of the client protocol: a publication of its channel, or, under a subject of the gateway, a message, a
    /// join or a leave.
    pub fn centrifuge_frame(&self) -> &Rc<[u8]> {
        self.centrifuge.get_or_init(|| self.encode_centrifuge(self.position))
    }

    /// The same with another position: the one that the client has after this event.
    pub fn centrifuge_frame_at(&self, stands_at: Option<Position>) -> Rc<[u8]> {
        if stands_at == self.position { self.centrifuge_frame().clone() } else { self.encode_centrifuge(stands_at) }
    }

    fn encode_centrifuge(&self, position: Option<Position>) -> Rc<[u8]> {
        let MessageParts { subject, payload, .. } = &**self.message;
        let data = self.data();
        let mut json = Vec::with_capacity(payload.len() + subject.as_str().len() + 64);
        if let (Some((change, channel)), Some(info)) = (self.message.change(), self.info()) {
            centrifuge::write_change(&mut json, channel, change, &info);
        } else if !self.message.destination().is_of_applications() {
            centrifuge::write_message(&mut json, data);
        } else {
            let offset = position.map(|position| position.offset);
            centrifuge::write_publication(&mut json, subject.as_str(), data, offset, self.info().as_ref());
        }
        ws::frame::shared(ws::Opcode::Text, &json)
    }

    /// The payload in the form of the client protocol.
    pub fn data(&self) -> Data<'_> {
        Data(&self.message.payload)
    }

    /// The client that published the message over the client protocol, if one did.
    pub fn info(&self) -> Option<ClientInfo<'_>> {
        let client = self.message.header(CONN_HEADER)?;
        let conn_info = self.message.header(INFO_HEADER).and_then(|info| serde_json::from_str(info).ok());
        let token = self.message.header(USER_HEADER).unwrap_or_default();
        // A worker can write anything there.
        let user = name::decode(token).unwrap_or(Cow::Borrowed(token));
        Some(ClientInfo { user, client, conn_info })
    }

    /// One record of an event stream: position as `id`, `Tg-Event` as `event`, the payload line by line as `data`.
    /// It is one piece of the stream's body.
    pub fn sse_record(&self, streaming: Streaming) -> &Rc<[u8]> {
        self.sse[streaming as usize].get_or_init(|| self.encode_sse(self.position, streaming))
    }

    /// The same without `id`, for messages without a position, and for streams that number their own ids.
    pub fn sse_body(&self, streaming: Streaming) -> &Rc<[u8]> {
        self.sse_body[streaming as usize].get_or_init(|| self.encode_sse(None, streaming))
    }

    fn encode_sse(&self, position: Option<Position>, streaming: Streaming) -> Rc<[u8]> {
        let mut record = Vec::with_capacity(self.message.payload.len() + 64);
        let id = position.map(|position| position.to_string());
        let event = self.message.header(EVENT_HEADER).filter(|name| sse::is_valid_field(name));
        sse::write_record(&mut record, id.as_deref(), event, &self.message.payload);
        streaming.shared(&record)
    }

    /// The bytes behind the control line of HMSG (or of MSG, when there are no headers): headers, payload, CRLF.
    pub fn bus_body(&self) -> &Rc<[u8]> {
        self.bus.get_or_init(|| bus_body(self.message.headers.as_deref().unwrap_or(&[]), &self.message.payload))
    }

    /// The same without headers, for workers that do not support them.
    pub fn bus_body_bare(&self) -> &Rc<[u8]> {
        self.bus_bare.get_or_init(|| bus_body(&[], &self.message.payload))
    }
}

fn bus_body(headers: &[u8], payload: &[u8]) -> Rc<[u8]> {
    joined(&[headers, payload, b"\r\n"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(headers: Option<&[u8]>, payload: &[u8]) -> Event {
        event_on("room.1", headers, payload)
    }

    fn event_on(subject: &str, headers: Option<&[u8]>, payload: &[u8]) -> Event {
        let subject = Subject::new(subject).unwrap();
        let message = Message::new(subject, None, headers.map(Box::from), payload.into());
        Event::new(message, Some(Position { epoch: 0xA1, offset: 7 }))
    }

    #[test]
    fn a_framing_is_encoded_once() {
        let event = event(Some(b"NATS/1.0\r\nTg-Event: move\r\n\r\n"), b"hi\nthere");
        assert!(Rc::ptr_eq(event.websocket_frame(), event.websocket_frame()));
        assert_eq!(&event.websocket_frame()[..], b"\x81\x08hi\nthere");
        let (chunked, plain) = (Streaming::Chunked, Streaming::UntilClose);
        assert!(Rc::ptr_eq(event.sse_record(chunked), event.sse_record(chunked)));
        assert_eq!(&event.sse_record(plain)[..], b"id: 000000a1-7\nevent: move\ndata: hi\ndata: there\n\n");
        assert_eq!(&event.sse_record(chunked)[..], b"31\r\nid: 000000a1-7\nevent: move\ndata: hi\ndata: there\n\n\r\n");
        assert_eq!(&event.sse_body(plain)[..], b"event: move\ndata: hi\ndata: there\n\n");
        assert_eq!(&event.sse_body(chunked)[..], b"22\r\nevent: move\ndata: hi\ndata: there\n\n\r\n");
        assert_eq!(&event.bus_body()[..], b"NATS/1.0\r\nTg-Event: move\r\n\r\nhi\nthere\r\n");
        assert_eq!(&event.bus_body_bare()[..], b"hi\nthere\r\n");
    }

    #[test]
    fn the_client_protocol_names_channel_offset_and_publisher() {
        let text = |event: &Event| String::from_utf8(event.centrifuge_frame()[2..].to_vec()).unwrap();
        assert_eq!(text(&event(None, b"hi")), r#"{"push":{"channel":"room.1","pub":{"data":"hi","offset":7}}}"#);
        let named = event(Some(b"NATS/1.0\r\nTg-Conn: 0001\r\nTg-User: ann\r\n\r\n"), b"[1]");
        assert!(Rc::ptr_eq(named.centrifuge_frame(), named.centrifuge_frame()));
        let info = r#""info":{"user":"ann","client":"0001"}"#;
        assert_eq!(
            text(&named),
            format!(r#"{{"push":{{"channel":"room.1","pub":{{"data":[1],"offset":7,{info}}}}}}}"#)
        );
        let personal = event_on("tg.user.ann", None, b"{}");
        assert_eq!(text(&personal), r#"{"push":{"message":{"data":{}}}}"#);
        let headers = b"NATS/1.0\r\nTg-Conn: 0001\r\nTg-User: ann\r\n\r\n";
        let announced = event_on("tg.event.join.room.1", Some(headers), b"{}");
        let join = format!(r#"{{"push":{{"channel":"room.1","join":{{{info}}}}}}}"#);
        assert_eq!((announced.is_announcement(), text(&announced)), (true, join));
    }

    #[test]
    fn text_that_is_not_utf8_goes_out_as_binary() {
        assert_eq!(event(None, b"\xff").opcode(), ws::Opcode::Binary);
        assert_eq!(event(Some(b"NATS/1.0\r\nTg-Opcode: text\r\n\r\n"), b"\xff").opcode(), ws::Opcode::Binary);
        assert_eq!(event(Some(b"NATS/1.0\r\nTg-Opcode: binary\r\n\r\n"), b"a").opcode(), ws::Opcode::Binary);
    }

    #[test]
    fn a_position_survives_its_text() {
        let position = Position { epoch: u32::MAX, offset: u64::MAX };
        assert_eq!(position.to_string().parse(), Ok(position));
        for bad in ["", "1-1", "00000001-", "00000001--1", "0000000g-1", "00000001-99999999999999999999"] {
            assert_eq!(bad.parse::<Position>(), Err(NotAPosition), "{bad}");
        }
    }
}
