//! A client's event stream: messages to records, and ids with which the client resumes.
//!
//! ```text
//!  one channel       id: <position>               the whole record is shared
//!  several           id: <position>,<position>    the id is written for each stream, the rest of the record shared
//!  added by a worker (no id)                      its last id stays one of the route's
//! ```
//!
//! Each record, like any other text on the stream, is one piece of the answer's body ([`Streaming`]): for HTTP/1.1 a
//! chunk. The shared bytes include the head of the chunk.

use crate::base::{CoarseTick, Tick};
use crate::proto::CloseReason;
use crate::proto::channel::Rules;
use crate::proto::close::Blame;
use crate::proto::event::{Event, Position};
use crate::proto::http::Streaming;
use crate::proto::replay::{Cursor, Excerpt, Gap, Since};
use crate::proto::reserved::{END_EVENT, GAP_EVENT};
use crate::proto::sse;
use crate::proto::subject::Subject;

use super::outbox::Outbox;
use super::passed::PassedFields;
use super::peer::return_after;
use super::{Opening, Peer, TAG_ADDED};

/// What an event stream knows of its client's position; with a single channel, the last record has it.
pub(super) struct EventStream {
    /// The positions, if there are several channels.
    cursor: Option<Box<Cursor>>,
    /// When it was last written to: any bytes serve as a heartbeat.
    pub(super) spoke_at: CoarseTick,
    pub(super) streaming: Streaming,
    uplink: Uplink,
}

/// The client's half of the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Uplink {
    Open,
    /// The client has ended it, and was sent a comment; another one follows soon ([`super::Conn::listens_on`]).
    Probed,
    /// The client has ended it; the next heartbeat probes again.
    Ended,
}

const _: () = assert!(size_of::<EventStream>() == 16, "every stream has one");

impl EventStream {
    /// A stream of `channels` for a client with the position `last_id`. The owner of a channel is asked if a position
    /// may be needed for resuming: if the channel keeps messages, if the client resumes now, or if one id covers
    /// several channels.
    pub(super) fn open(
        mut channels: Vec<Subject>,
        last_id: Option<&str>,
        rules: &Rules,
        streaming: Streaming,
    ) -> (EventStream, Opening) {
        let mut seen: Vec<Subject> = Vec::new();
        channels.retain(|channel| {
            let is_new = !seen.contains(channel);
            seen.extend(is_new.then(|| channel.clone()));
            is_new
        });
        let count = channels.len();
        let newcomer = |channel: &Subject| rules.of(channel).since_for_newcomers();
        let sinces: Vec<Since> = match last_id {
            Some(last_id) => Cursor::read(last_id, count).collect(),
            None => channels.iter().map(|channel| newcomer(channel).unwrap_or(Since::Now)).collect(),
        };
        let mut cursor = (count > 1).then(|| Box::new(Cursor::new(count)));
        for (tag, since) in sinces.iter().enumerate() {
            if let (Some(cursor), Since::After(position)) = (&mut cursor, since) {
                cursor.set(tag, *position);
            }
        }
        let is_asked = count > 1 || last_id.is_some();
        let channels = channels.into_iter().zip(sinces).map(|(channel, since)| {
            let is_asked = is_asked || rules.of(&channel).history.is_some();
            (channel, is_asked.then_some(since))
        });
        (
            EventStream { cursor, spoke_at: CoarseTick::floor(Tick::ZERO), streaming, uplink: Uplink::Open },
            Opening { channels: channels.collect(), user: None, fields: PassedFields::default() },
        )
    }

    /// Whether the record of an event is the same for every client, the id included.
    #[inline]
    pub(super) fn shares_record(&self, tag: u32) -> bool {
        self.cursor.is_none() && tag != TAG_ADDED
    }

    pub(super) fn push_event(&mut self, tag: u32, event: &Event, outbox: &mut Outbox) {
        self.push_event_at(tag, event, event.position, outbox);
    }

    /// The same, for a client whose position after this event is `stands_at`, not the event's own.
    pub(super) fn push_event_at(&mut self, tag: u32, event: &Event, stands_at: Option<Position>, outbox: &mut Outbox) {
        if self.shares_record(tag) && stands_at == event.position {
            return outbox.push_shared(event.sse_record(self.streaming));
        }
        if let Some(position) = stands_at.filter(|_| tag != TAG_ADDED) {
            let id = self.id_at(tag, position);
            self.write(outbox, |out| sse::write_id(out, &id));
        }
        outbox.push_shared(event.sse_body(self.streaming));
    }

    fn write(&self, outbox: &mut Outbox, piece: impl FnOnce(&mut Vec<u8>)) {
        outbox.write(|out| self.streaming.write(out, piece));
    }

    /// Appends a heartbeat.
    pub(super) fn push_comment(&self, outbox: &mut Outbox) {
        self.write(outbox, |out| sse::write_comment(out, ""));
    }

    /// The client has ended its half. True the first time: then a probe is due.
    pub(super) fn end_uplink(&mut self) -> bool {
        self.move_uplink(Uplink::Open, Uplink::Probed)
    }

    /// A heartbeat was sent. True if it is the first half of a probe.
    pub(super) fn begin_probe(&mut self) -> bool {
        self.move_uplink(Uplink::Ended, Uplink::Probed)
    }

    /// True if the second half of a probe is due.
    pub(super) fn end_probe(&mut self) -> bool {
        self.move_uplink(Uplink::Probed, Uplink::Ended)
    }

    fn move_uplink(&mut self, from: Uplink, to: Uplink) -> bool {
        let has_moved = self.uplink == from;
        if has_moved {
            self.uplink = to;
        }
        has_moved
    }

    /// The last words. A client that is disconnected for the gateway's sake, or for a limit, is told when to reconnect; one that
    /// is at fault sees a stream without a proper end.
    pub(super) fn end(&self, reason: CloseReason, peer: Peer, outbox: &mut Outbox) {
        const TOO_MANY: u16 = 429;
        let for_good = match reason {
            CloseReason::TokenExpired => Some("{\"reason\":\"expired\"}"),
            CloseReason::TokenRevoked => Some("{\"reason\":\"revoked\"}"),
            CloseReason::Kicked => Some("{\"reason\":\"kicked\"}"),
            _ => None,
        };
        if let Some(data) = for_good {
            self.write(outbox, |out| sse::write_record(out, None, Some(END_EVENT), data.as_bytes()));
            return outbox.push(self.streaming.end());
        }
        let is_sent_away = reason.row().blame == Blame::Gateway || reason.row().http_status == TOO_MANY;
        if is_sent_away {
            self.write(outbox, |out| sse::write_retry(out, return_after(peer)));
        }
        if is_sent_away || reason == CloseReason::ClosedByWorker {
            outbox.push(self.streaming.end());
        }
    }

    /// Appends the gap, with an id that leads to the messages after it, then the messages. Without either, appends the
    /// id alone, so that a stream that breaks before its first event can be resumed.
    pub(super) fn push_replayed(&mut self, tag: u32, channel: &Subject, excerpt: &Excerpt, outbox: &mut Outbox) {
        if let Some(gap) = &excerpt.gap {
            self.push_gap(tag, channel, gap, excerpt.begin(), outbox);
        }
        for (position, message) in excerpt.messages() {
            self.push_event(tag, &Event::new(message.clone(), Some(position)), outbox);
        }
        if excerpt.gap.is_none() && excerpt.messages.is_empty() && tag != TAG_ADDED {
            let id = self.id_at(tag, excerpt.end());
            if self.cursor.as_ref().is_none_or(|cursor| cursor.is_complete()) {
                self.write(outbox, |out| {
                    sse::write_id(out, &id);
                    out.push(b'\n');
                });
            }
        }
    }

    /// Appends a gap; `stands_at` is the client's position after it.
    pub(super) fn push_gap(
        &mut self,
        tag: u32,
        channel: &Subject,
        gap: &Gap,
        stands_at: Position,
        outbox: &mut Outbox,
    ) {
        let id = (tag != TAG_ADDED).then(|| self.id_at(tag, stands_at));
        let data = gap.to_json(channel).to_string();
        self.write(outbox, |out| sse::write_record(out, id.as_deref(), Some(GAP_EVENT), data.as_bytes()));
    }

    /// The stream's id when its client has reached `position` of the channel `tag`.
    fn id_at(&mut self, tag: u32, position: Position) -> String {
        match &mut self.cursor {
            None => position.to_string(),
            Some(cursor) => {
                cursor.set(tag as usize, position);
                cursor.to_string()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::event::Message;
    use crate::proto::replay::GapReason;

    fn subject(name: &str) -> Subject {
        Subject::new(name).unwrap()
    }

    fn at(offset: u64) -> Position {
        Position { epoch: 1, offset }
    }

    fn event(name: &str, offset: u64) -> Event {
        let message = Message::new(subject(name), None, None, b"x".as_slice().into());
        Event::new(message, Some(at(offset)))
    }

    fn excerpt(latest: u64) -> Excerpt {
        Excerpt { gap: None, begins_after: latest, messages: Vec::new(), latest: at(latest), is_last: true }
    }

    fn written(outbox: &mut Outbox) -> String {
        let batch = outbox.take();
        String::from_utf8(batch.iter().flat_map(|batch| batch.slices()).flatten().copied().collect()).unwrap()
    }

    fn open(names: &[&str], last_id: Option<&str>) -> (EventStream, Vec<(String, Option<Since>)>) {
        let channels = names.iter().map(|name| subject(name)).collect();
        let (stream, opening) = EventStream::open(channels, last_id, &Rules::default(), Streaming::UntilClose);
        (stream, opening.channels.into_iter().map(|(name, since)| (name.to_string(), since)).collect())
    }

    #[test]
    fn an_owner_is_asked_only_if_an_id_may_be_needed() {
        assert_eq!(open(&["a"], None).1, [("a".to_owned(), None)]);
        assert_eq!(open(&["a"], Some("00000001-2")).1, [("a".to_owned(), Some(Since::After(at(2))))]);
        assert_eq!(open(&["a"], Some("junk")).1, [("a".to_owned(), Some(Since::Unreadable))]);
        let (_, several) = open(&["a", "b", "a"], Some("00000001-2,"));
        assert_eq!(several, [("a".to_owned(), Some(Since::After(at(2)))), ("b".to_owned(), Some(Since::Unknown))]);
    }

    #[test]
    fn several_channels_have_one_id() {
        let (mut stream, _) = open(&["a", "b"], None);
        let mut outbox = Outbox::default();
        stream.push_event(0, &event("a", 5), &mut outbox);
        assert_eq!(written(&mut outbox), "id: 00000001-5,\ndata: x\n\n", "the other is not known yet");
        stream.push_replayed(1, &subject("b"), &excerpt(7), &mut outbox);
        assert_eq!(written(&mut outbox), "id: 00000001-5,00000001-7\n\n");
        stream.push_event(1, &event("b", 8), &mut outbox);
        stream.push_event(TAG_ADDED, &event("c", 9), &mut outbox);
        assert_eq!(written(&mut outbox), "id: 00000001-5,00000001-8\ndata: x\n\ndata: x\n\n");
    }

    #[test]
    fn a_gap_has_the_id_of_what_follows_it() {
        let (mut stream, _) = open(&["a"], Some("00000002-1"));
        let mut outbox = Outbox::default();
        let gap = Gap { reason: GapReason::Epoch, first: Some(at(3)), last: at(4) };
        let message = event("a", 3).message;
        let excerpt = Excerpt {
            gap: Some(gap),
            begins_after: 2,
            messages: vec![(3, message.clone()), (4, message)],
            latest: at(4),
            is_last: true,
        };
        stream.push_replayed(0, &subject("a"), &excerpt, &mut outbox);
        assert_eq!(
            written(&mut outbox),
            "id: 00000001-2\nevent: tg.gap\n\
             data: {\"channel\":\"a\",\"first\":\"00000001-3\",\"last\":\"00000001-4\",\"reason\":\"epoch\"}\n\n\
             id: 00000001-3\ndata: x\n\nid: 00000001-4\ndata: x\n\n"
        );
    }
}
