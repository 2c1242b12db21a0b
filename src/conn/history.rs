//! A channel's history for programs: the requested span, and the text of the answer, made piece by piece.
//!
//! ```text
//!  {"channel":..,"gap":..,"is_kept":..,"is_last":..,"messages":[ {"data":"..","event":..,"key":..,"position":..} , .. ],"position":..}
//!  Opening ----------------------------------------------------> Message --> Payload, Payload .. ------> Message .. --> Closing
//! ```
//!
//! The messages are shared with the history, so the answer costs only the bytes that are written and not yet received.
//! Payloads are split, the rest of a message is not.

use std::str;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::limits;
use crate::proto::event::Message;
use crate::proto::http::{self, Head};
use crate::proto::replay::{Excerpt, ExcerptBounds, Since};
use crate::proto::reserved::headers::{EVENT_HEADER, KEY_HEADER};
use crate::proto::subject::Subject;

/// Bytes of a payload that are written at once: a multiple of three, so that base64 needs no padding between slices.
const SLICE_BYTES: usize = 3 * 512;

/// The requested messages.
pub(super) struct Span {
    pub since: Since,
    pub bounds: ExcerptBounds,
}

impl Span {
    /// `limit` messages after the position `since`, or the newest; the error is one sentence.
    pub(super) fn of(head: &Head<'_>) -> Result<Span, String> {
        let parameter = |name| {
            http::query_parameter(head.query, name)
                .map_err(|_| format!("{name} stands more than once, or is not well escaped"))
        };
        let since = match parameter("since")? {
            None => Since::Latest,
            Some(text) => text.parse().map(Since::After).map_err(|_| format!("since: {text:?} is no position"))?,
        };
        let messages_max = match parameter("limit")? {
            None => limits::REPLAY_MESSAGES_MAX,
            Some(text) => text.parse().map_err(|_| format!("limit: {text:?} is no number"))?,
        };
        let messages_max = messages_max.min(limits::REPLAY_MESSAGES_MAX);
        Ok(Span { since, bounds: ExcerptBounds { messages_max, bytes_max: limits::REPLAY_BYTES_MAX } })
    }
}

/// The answer: messages in the channel's order, and whether more follow the last. A payload that is not UTF-8 is sent
/// as base64.
pub(super) struct HistoryText {
    channel: Subject,
    /// Whether the channel keeps history.
    is_kept: bool,
    excerpt: Option<Excerpt>,
    rest: Rest,
}

/// The part that is not written yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Opening,
    /// From this message on.
    Message(usize),
    /// From this byte of this message's payload on.
    Payload {
        index: usize,
        at: usize,
        is_text: bool,
    },
    Closing,
    Nothing,
}

impl HistoryText {
    pub(super) fn new(channel: Subject, is_kept: bool, excerpt: Option<Excerpt>) -> HistoryText {
        HistoryText { channel, is_kept, excerpt, rest: Rest::Opening }
    }

    /// Appends the next `bytes` bytes, or a little more, or all that is left.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, bytes: usize) {
        let end = out.len() + bytes;
        while out.len() < end && !self.is_written() {
            self.rest = self.write_part(out);
        }
    }

    /// Whether all of it has been written.
    pub(super) fn is_written(&self) -> bool {
        self.rest == Rest::Nothing
    }

    fn write_part(&self, out: &mut Vec<u8>) -> Rest {
        match self.rest {
            Rest::Opening => {
                self.open(out);
                Rest::Message(0)
            }
            Rest::Message(index) => match self.message(index) {
                None => Rest::Closing,
                Some(message) => {
                    let is_text = str::from_utf8(&message.payload).is_ok();
                    out.extend_from_slice(if index == 0 { b"{" } else { b",{" });
                    out.extend_from_slice(if is_text { b"\"data\":\"" } else { b"\"base64\":\"" });
                    Rest::Payload { index, at: 0, is_text }
                }
            },
            Rest::Payload { index, at, is_text } => match self.message(index) {
                None => Rest::Closing,
                Some(message) => {
                    let rest = &message.payload[at..];
                    let len = if is_text { text_slice(rest) } else { rest.len().min(SLICE_BYTES) };
                    write_payload(out, &rest[..len], is_text);
                    if len < rest.len() {
                        Rest::Payload { index, at: at + len, is_text }
                    } else {
                        self.end_message(index, message, out);
                        Rest::Message(index + 1)
                    }
                }
            },
            Rest::Closing => {
                out.extend_from_slice(b"],\"position\":");
                write_json(out, &self.excerpt.as_ref().map(|excerpt| excerpt.latest.to_string()));
                out.extend_from_slice(b"}\n");
                Rest::Nothing
            }
            Rest::Nothing => Rest::Nothing,
        }
    }

    fn message(&self, index: usize) -> Option<&Message> {
        let (_, message) = self.excerpt.as_ref()?.messages.get(index)?;
        Some(message)
    }

    fn open(&self, out: &mut Vec<u8>) {
        let excerpt = self.excerpt.as_ref();
        out.extend_from_slice(b"{\"channel\":");
        write_json(out, self.channel.as_str());
        out.extend_from_slice(b",\"gap\":");
        write_json(out, &excerpt.and_then(|excerpt| excerpt.gap).map(|gap| gap.to_json(&self.channel)));
        out.extend_from_slice(b",\"is_kept\":");
        write_json(out, &self.is_kept);
        out.extend_from_slice(b",\"is_last\":");
        write_json(out, &excerpt.is_none_or(|excerpt| excerpt.is_last));
        out.extend_from_slice(b",\"messages\":[");
    }

    fn end_message(&self, index: usize, message: &Message, out: &mut Vec<u8>) {
        out.push(b'"');
        for (name, header) in [("event", EVENT_HEADER), ("key", KEY_HEADER)] {
            if let Some(value) = message.header(header) {
                out.extend_from_slice(format!(",\"{name}\":").as_bytes());
                write_json(out, value);
            }
        }
        if let Some((position, _)) = self.excerpt.as_ref().and_then(|excerpt| excerpt.messages().nth(index)) {
            out.extend_from_slice(b",\"position\":");
            write_json(out, &position.to_string());
        }
        out.push(b'}');
    }
}

/// The length of a slice of text, which ends at a character boundary.
fn text_slice(text: &[u8]) -> usize {
    let is_boundary = |at: &usize| text.get(*at).is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000);
    (SLICE_BYTES..text.len()).find(is_boundary).unwrap_or(text.len())
}

/// Appends a slice of a payload without the quotes around the whole.
fn write_payload(out: &mut Vec<u8>, slice: &[u8], is_text: bool) {
    if is_text {
        let quote = out.len();
        write_json(out, &*String::from_utf8_lossy(slice));
        out.remove(quote);
        out.pop();
    } else {
        out.extend_from_slice(STANDARD.encode(slice).as_bytes());
    }
}

fn write_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing to a vector cannot fail, and neither can serializing these values.
    let _ = serde_json::to_writer(out, value);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::proto::bus::HeaderBlock;
    use crate::proto::event::Position;
    use crate::proto::replay::{Gap, GapReason};

    const LATEST: Position = Position { epoch: 7, offset: 1_000 };

    fn channel() -> Subject {
        Subject::new("room.\"1\"").unwrap()
    }

    fn message(payload: &[u8], headers: &[(&str, &str)]) -> Arc<Message> {
        let mut block = HeaderBlock::new();
        headers.iter().for_each(|(name, value)| block.push(name, value));
        let headers = (!block.is_empty()).then(|| block.finish());
        Arc::new(Message::new(channel(), None, headers, payload.into()))
    }

    fn excerpt(messages: Vec<Arc<Message>>, gap: Option<Gap>) -> Excerpt {
        let messages = (3..).step_by(2).zip(messages).collect();
        Excerpt { gap, begins_after: 2, messages, latest: LATEST, is_last: gap.is_none() }
    }

    /// The same text, made in one go.
    fn in_one_go(is_kept: bool, excerpt: Option<&Excerpt>) -> String {
        let kept = |(position, message): (Position, &Arc<Message>)| {
            let mut kept = json!({ "position": position.to_string() });
            match str::from_utf8(&message.payload) {
                Ok(text) => kept["data"] = text.into(),
                Err(_) => kept["base64"] = STANDARD.encode(&message.payload).into(),
            }
            for (name, header) in [("event", EVENT_HEADER), ("key", KEY_HEADER)] {
                if let Some(value) = message.header(header) {
                    kept[name] = value.into();
                }
            }
            kept
        };
        let body = json!({
            "channel": channel().as_str(),
            "position": excerpt.map(|excerpt| excerpt.latest.to_string()),
            "gap": excerpt.and_then(|excerpt| excerpt.gap).map(|gap| gap.to_json(&channel())),
            "is_kept": is_kept,
            "messages": excerpt.iter().flat_map(|excerpt| excerpt.messages()).map(kept).collect::<Vec<Value>>(),
            "is_last": excerpt.is_none_or(|excerpt| excerpt.is_last),
        });
        format!("{body}\n")
    }

    /// The pieces, when there is room for each entry of `bytes` in turn.
    fn pieces(is_kept: bool, excerpt: Option<Excerpt>, bytes: &[usize]) -> Vec<String> {
        let mut text = HistoryText::new(channel(), is_kept, excerpt);
        let mut bytes = bytes.iter().copied().cycle();
        let mut pieces = Vec::new();
        while !text.is_written() {
            let mut out = b"before".to_vec();
            let room = bytes.next().unwrap();
            text.write(&mut out, room);
            let piece = String::from_utf8(out).unwrap().split_off("before".len());
            assert!(piece.len() >= room || text.is_written(), "as much as there is room for");
            assert!(piece.len() < room + 6 * (SLICE_BYTES + 3) + 200, "and little more: {}", piece.len());
            pieces.push(piece);
        }
        pieces
    }

    #[test]
    fn a_channel_that_is_not_known_has_no_position() {
        for is_kept in [false, true] {
            assert_eq!(pieces(is_kept, None, &[1]).concat(), in_one_go(is_kept, None));
        }
    }

    #[test]
    fn a_payload_is_cut_between_characters_and_encoded_without_padding_in_the_middle() {
        let control = vec![1; 3 * SLICE_BYTES];
        let binary = vec![0xff; 3 * SLICE_BYTES + 1];
        let wide = format!("{}{}", "x".repeat(SLICE_BYTES - 1), "\u{1f30a}\u{e9}\"\\".repeat(SLICE_BYTES));
        for payload in [&b""[..], b"a", &control, &binary, wide.as_bytes(), &wide.as_bytes()[..SLICE_BYTES]] {
            let excerpt = excerpt(vec![message(payload, &[(KEY_HEADER, "k\"")]), message(b"last", &[])], None);
            let expected = in_one_go(true, Some(&excerpt));
            assert_eq!(pieces(true, Some(excerpt.clone()), &[1]).concat(), expected);
            assert_eq!(pieces(true, Some(excerpt), &[usize::MAX >> 1]), [expected], "or whole");
        }
    }

    proptest! {
        #[test]
        fn the_text_is_the_same_whatever_the_pieces(
            payloads in proptest::collection::vec((0..4_000_usize, any::<[u8; 3]>(), any::<bool>()), 0..8),
            has_gap: bool,
            bytes in proptest::collection::vec(1..3_000_usize, 1..6),
        ) {
            let of = |(len, pattern, is_text): &(usize, [u8; 3], bool)| {
                let bytes: Vec<u8> = pattern.iter().copied().cycle().take(*len).collect();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let payload = if *is_text { text.into_bytes() } else { bytes };
                message(&payload, if *is_text { &[(EVENT_HEADER, "e"), (KEY_HEADER, "k")] } else { &[] })
            };
            let gap = has_gap.then_some(Gap { reason: GapReason::Gone, first: Some(LATEST), last: LATEST });
            let excerpt = excerpt(payloads.iter().map(of).collect(), gap);
            let expected = in_one_go(true, Some(&excerpt));
            prop_assert_eq!(pieces(true, Some(excerpt), &bytes).concat(), expected);
        }
    }
}
