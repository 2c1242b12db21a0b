//! Positions of a client in channels that keep history: those that it sends when it resubscribes, and those that it is
//! told.
//!
//! ```text
//!  subscribe, connect  --Since--> (the channel's owner) --Excerpt--> Recovery --> the reply: position, flags, publications
//!                                       '--- further pieces ---> pushes; a gap in one: unsubscribed, to resubscribe
//! ```
//! In the protocol an epoch is a text and an offset a number; together they are a position.

use serde_json::value::RawValue;

use crate::proto::centrifuge::{Publication, SubscribeRequest, SubscribeResult};
use crate::proto::event::{Event, Position};
use crate::proto::replay::{Excerpt, Since};
use crate::proto::subject::Subject;

/// The answer of a channel's owner, in the client's terms.
pub(super) struct Recovery {
    epoch: String,
    offset: u64,
    was_recovering: bool,
    is_recovered: bool,
    is_kept: bool,
    /// The gap, for the application.
    gap: Option<Box<RawValue>>,
    events: Vec<Event>,
}

/// The position of a client that resubscribes.
pub(super) fn since(subscribe: &SubscribeRequest<'_>) -> Option<Since> {
    subscribe.recover.unwrap_or(false).then(|| position(&subscribe.epoch, subscribe.offset.unwrap_or(0)))
}

/// Parses an epoch and an offset from a client. A missing epoch stands for any, as in Centrifugo's library
/// (`isStreamRecovered`).
pub(super) fn position(epoch: &str, offset: u64) -> Since {
    if epoch.is_empty() {
        return Since::AfterOffset(offset);
    }
    Since::after(&format!("{epoch}-{offset}"))
}

pub(super) fn epoch(position: Position) -> String {
    format!("{:08x}", position.epoch)
}

pub(super) fn publication(event: &Event) -> Publication<'_> {
    let offset = event.position.map_or(0, |position| position.offset);
    Publication { data: event.data(), offset, info: event.info() }
}

impl Recovery {
    /// `is_kept`: the channel keeps history, so the client can resume.
    pub(super) fn new(channel: &Subject, excerpt: &Excerpt, was_recovering: bool, is_kept: bool) -> Recovery {
        let gap = excerpt.gap.map(|gap| serde_json::json!({ "gap": gap.to_json(channel) }));
        Recovery {
            epoch: epoch(excerpt.latest),
            // Each publication that follows advances the client.
            offset: excerpt.begin().offset,
            was_recovering,
            // Also true for a new client that gets messages: the packages pass on the publications in an answer to
            // `connect` only then.
            is_recovered: gap.is_none() && (was_recovering || !excerpt.messages.is_empty()),
            is_kept,
            gap: gap.and_then(|gap| serde_json::value::to_raw_value(&gap).ok()),
            events: excerpt.messages().map(|(position, message)| Event::new(message.clone(), Some(position))).collect(),
        }
    }

    /// Bytes of the publications.
    pub(super) fn len(&self) -> usize {
        self.events.iter().map(|event| event.message.payload.len()).sum()
    }

    pub(super) fn is_recovered(&self) -> bool {
        self.is_recovered
    }

    /// The publications follow as pushes, which advance the client.
    pub(super) fn leave_to_pushes(&mut self) {
        self.events.clear();
    }

    pub(super) fn publications(&self) -> Vec<Publication<'_>> {
        self.events.iter().map(publication).collect()
    }

    pub(super) fn result<'a>(&'a self, publications: &'a [Publication<'a>]) -> SubscribeResult<'a> {
        SubscribeResult {
            recoverable: self.is_kept,
            positioned: self.is_kept,
            epoch: &self.epoch,
            offset: self.offset,
            was_recovering: self.was_recovering,
            recovered: self.is_recovered,
            data: self.gap.as_deref(),
            publications,
            ..SubscribeResult::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::proto::event::Message;
    use crate::proto::replay::{Gap, GapReason};

    fn at(offset: u64) -> Position {
        Position { epoch: 0xa1, offset }
    }

    fn excerpt(first: u64, count: usize, gap: Option<Gap>) -> Excerpt {
        let subject = Subject::new("a").unwrap();
        let message = Arc::new(Message::new(subject, None, None, b"1".as_slice().into()));
        let latest = at(first + count as u64 - 1);
        let messages = (first..).zip(vec![message; count]).collect();
        Excerpt { gap, begins_after: first - 1, messages, latest, is_last: true }
    }

    fn told(recovery: &Recovery) -> String {
        let publications = recovery.publications();
        serde_json::to_string(&recovery.result(&publications)).unwrap()
    }

    #[test]
    fn a_position_is_an_epoch_and_an_offset() {
        assert_eq!(position(&epoch(at(7)), 7), Since::After(at(7)));
        assert_eq!(position("", 7), Since::AfterOffset(7));
        for epoch in ["_", "a1", "000000a1-1", "zzzzzzzz"] {
            assert_eq!(position(epoch, 1), Since::Unreadable, "{epoch:?}");
        }
    }

    #[test]
    fn whoever_is_recovered_stands_where_it_stood_and_moves_on_with_the_publications() {
        let channel = Subject::new("a").unwrap();
        assert_eq!(
            told(&Recovery::new(&channel, &excerpt(4, 2, None), true, true)),
            "{\"recoverable\":true,\"positioned\":true,\"epoch\":\"000000a1\",\"offset\":3,\"was_recovering\":true,\
             \"recovered\":true,\"publications\":[{\"data\":1,\"offset\":4},{\"data\":1,\"offset\":5}]}"
        );
        let later = Recovery::new(&channel, &excerpt(4, 2, None).put_off(), true, true);
        assert_eq!(later.len(), 0);
        let words = told(&later);
        assert!(
            words.contains("\"offset\":3,\"was_recovering\":true,\"recovered\":true}"),
            "they come as pushes: {words}"
        );
    }

    #[test]
    fn whoever_is_not_hears_what_is_missing() {
        let channel = Subject::new("a").unwrap();
        let gap = Gap { reason: GapReason::Gone, first: Some(at(4)), last: at(5) };
        let words = told(&Recovery::new(&channel, &excerpt(4, 2, Some(gap)), true, true));
        assert!(words.contains("\"offset\":3,\"was_recovering\":true,\"data\":{\"gap\":{"), "{words}");
        assert!(words.contains("\"reason\":\"gone\"") && words.contains("\"first\":\"000000a1-4\""), "{words}");
        assert!(words.contains("\"publications\":[{\"data\":1,\"offset\":4}"), "what is kept follows: {words}");
    }
}
