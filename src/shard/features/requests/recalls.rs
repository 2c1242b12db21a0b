//! Clients that have joined the channel of a request whose result may have been published before.
//!
//! ```text
//!  begin --Recall--> the keeper --Recalled--> end: the result, if it was told before the keeper was asked
//!                              '--Deliver---> forget: it is told now, and has not been missed
//! ```
//!
//! The keeper owns such a channel (`hub::owner_of`), so its messages about the channel stay in order: a result
//! published after the keeper is asked arrives as a publication, an earlier one is recalled, and none arrives twice.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::base::{Key, RequestId};
use crate::conn::TAG_ADDED;
use crate::mesh::Mail;
use crate::mesh::requests::RequestMail;
use crate::proto::event::{Event, Message};
use crate::proto::subject::Subject;
use crate::shard::desk::Desk;

/// Clients, and the channels of which the keeper has not yet answered whether a result was missed.
#[derive(Default)]
pub(in crate::shard) struct Recalls {
    waiting: BTreeSet<(Key, Subject)>,
}

impl Recalls {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// A client has joined the channel of the request `id`, and will not get its kept messages: asks the keeper.
    pub(crate) fn begin(&mut self, desk: &mut Desk, key: Key, id: RequestId, channel: Subject) {
        if desk.post.mesh().is_shard(id.place) {
            let from = desk.address(key);
            self.waiting.insert((key, channel.clone()));
            desk.send(id.place, Mail::Requests(RequestMail::Recall { from, id, channel }));
        }
    }

    /// The keeper has answered.
    pub(crate) fn end(&mut self, desk: &mut Desk, key: Key, channel: Subject, message: Option<Message>) {
        if !self.waiting.remove(&(key, channel)) {
            return;
        }
        let (Some(message), Some(conn)) = (message, desk.slots.get(key)) else { return };
        let before = conn.link.mark();
        desk.push_to(key, TAG_ADDED, &Rc::new(Event::new(message, None)));
        if let Some(conn) = desk.slots.get_mut(key).filter(|conn| conn.is_open()) {
            conn.link.answered(before);
        }
    }

    /// All subscribers get the result now, so none of them has missed it.
    pub(crate) fn forget(&mut self, desk: &Desk, channel: &Subject) {
        if !self.waiting.is_empty() {
            desk.subscribers.for_each(channel.as_str(), |subscriber, _| {
                self.waiting.remove(&(subscriber.key, channel.clone()));
            });
        }
    }
}
