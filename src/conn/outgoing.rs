//! A long answer: each piece is made when there is room for it.
//!
//! ```text
//!  text --piece--> chunk --> outbox --> peer          HTTP/1.1: the last piece is followed by the last chunk
//!    ^                         |                      HTTP/1.0: by the end of the connection
//!    '------- room again ------'                      HEAD: no piece at all
//! ```
//!
//! A broken answer lacks its last chunk, or ends with a reset (RFC 9112 section 8): once it has begun, no error can be written.

use super::history::HistoryText;
use super::outbox::Outbox;
use crate::limits;
use crate::proto::http::{Reply, ReplyTo, Streaming};

pub(super) struct Outgoing {
    pub to: ReplyTo,
    streaming: Streaming,
    text: HistoryText,
}

impl Outgoing {
    /// Writes the head of an answer whose length is not known, and the first piece of its text.
    pub(super) fn begin(
        to: ReplyTo,
        content_type: &str,
        first: &[u8],
        text: HistoryText,
        outbox: &mut Outbox,
    ) -> Outgoing {
        let (to, streaming) = to.streaming();
        outbox.write(|out| {
            let reply = Reply::start(out, 200, to).header("Content-Type", content_type);
            reply.header("Cache-Control", "no-store").framed(streaming).stream();
            if !to.is_head {
                streaming.write(out, |out| out.extend_from_slice(first));
            }
        });
        Outgoing { to, streaming, text }
    }

    /// Writes the next piece, if there is room for it.
    pub(super) fn go_on(&mut self, outbox: &mut Outbox) {
        let room = limits::REPLY_PIECE_BYTES.saturating_sub(outbox.pending_len());
        if room == 0 || self.is_whole() {
            return;
        }
        outbox.write(|out| {
            self.streaming.write(out, |out| self.text.write(out, room));
            if self.is_whole() {
                out.extend_from_slice(self.streaming.end());
            }
        });
    }

    /// Whether its reader learns from the end of the connection that it is whole.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.streaming == Streaming::UntilClose
    }

    /// Whether the last piece is written.
    pub(super) fn is_whole(&self) -> bool {
        self.to.is_head || self.text.is_written()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::proto::event::{Message, Position};
    use crate::proto::http::{Body, BodyStep, Framing};
    use crate::proto::replay::Excerpt;
    use crate::proto::subject::Subject;

    /// The text of `count` messages.
    fn text(count: u64) -> HistoryText {
        let channel = Subject::new("a").unwrap();
        let message = Arc::new(Message::new(channel.clone(), None, None, vec![1; 3_000].into()));
        let messages = (1..=count).map(|offset| (offset, message.clone())).collect();
        let latest = Position { epoch: 1, offset: count };
        HistoryText::new(channel, true, Some(Excerpt { gap: None, begins_after: 0, messages, latest, is_last: true }))
    }

    fn whole(count: u64) -> Vec<u8> {
        let mut out = Vec::new();
        text(count).write(&mut out, usize::MAX >> 1);
        out
    }

    /// All bytes to a peer, if before each piece the given number of other bytes wait.
    fn written(to: ReplyTo, count: u64, waiting: &[usize]) -> Vec<u8> {
        let mut waiting = waiting.iter().copied().cycle();
        let mut outbox = Outbox::default();
        let mut written = Vec::new();
        let mut take = |outbox: &mut Outbox, before: usize| {
            let bytes: Vec<u8> = outbox.take().iter().flat_map(|batch| batch.slices()).flatten().copied().collect();
            written.extend_from_slice(&bytes[before..]);
            bytes.len() - before
        };
        let (mut text, mut first) = (text(count), Vec::new());
        text.write(&mut first, 1_000);
        let mut outgoing = Outgoing::begin(to, "text/plain", &first, text, &mut outbox);
        take(&mut outbox, 0);
        while !outgoing.is_whole() {
            let before = waiting.next().unwrap();
            outbox.push(&vec![0; before]);
            outgoing.go_on(&mut outbox);
            let room = limits::REPLY_PIECE_BYTES.saturating_sub(before);
            let taken = take(&mut outbox, before);
            assert!(
                taken <= room + limits::REPLY_PIECE_BYTES && (taken > 0) == (room > 0),
                "{taken} where {room} were"
            );
        }
        outgoing.go_on(&mut outbox);
        assert!(outbox.is_empty(), "nothing follows the end");
        written
    }

    fn body_of(written: &[u8]) -> (String, Vec<u8>) {
        let head_len = memchr::memmem::find(written, b"\r\n\r\n").unwrap() + 4;
        (String::from_utf8(written[..head_len].to_vec()).unwrap(), written[head_len..].to_vec())
    }

    fn unchunked(mut body: Vec<u8>) -> Vec<u8> {
        let (mut chunks, mut input, mut text) =
            (Body::new(Framing::Chunked, u64::MAX).unwrap(), &mut body[..], Vec::new());
        while let BodyStep::Data(piece) = chunks.next(&mut input).unwrap() {
            text.extend_from_slice(piece);
        }
        assert!(chunks.is_over() && input.is_empty(), "the last chunk is the last word");
        text
    }

    #[test]
    fn head_and_http_1_0_have_no_chunks() {
        let to = ReplyTo { is_head: true, minor_version: 1, keep_alive: true };
        let (head, body) = body_of(&written(to, 9, &[0]));
        assert!(head.contains("\r\nTransfer-Encoding: chunked\r\n") && body.is_empty(), "{head}");
        assert!(!head.contains("Connection"), "the next request may follow");
        let old = ReplyTo { is_head: false, minor_version: 0, keep_alive: true };
        let (head, body) = body_of(&written(old, 9, &[0]));
        assert!(head.contains("\r\nConnection: close\r\n") && !head.contains("Transfer-Encoding"), "{head}");
        assert!(!head.contains("Content-Length") && body == whole(9));
    }

    proptest! {
        #[test]
        fn an_answer_is_the_same_at_any_room(
            count in 1..9_u64,
            waiting in proptest::collection::vec(0..2 * limits::REPLY_PIECE_BYTES, 0..6),
            keep_alive: bool,
        ) {
            let to = ReplyTo { is_head: false, minor_version: 1, keep_alive };
            // In the end there is room.
            let waiting = [waiting, vec![0]].concat();
            let (head, body) = body_of(&written(to, count, &waiting));
            prop_assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Connection: close") != keep_alive);
            prop_assert_eq!(unchunked(body), whole(count));
        }
    }
}
