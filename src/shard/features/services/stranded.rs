//! Clients' messages that wait for a worker of their service; their clients are read no further meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::{Key, Tick};
use crate::proto::event::Message;

/// At most one message of each client. In an order that is the same in every run of a simulation, because they leave in it.
#[derive(Default)]
pub(super) struct Stranded {
    by_client: BTreeMap<Key, (Arc<Message>, Tick)>,
    deadlines: BTreeSet<(Tick, Key)>,
}

impl Stranded {
    pub(super) fn len(&self) -> usize {
        self.by_client.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_client.is_empty()
    }

    pub(super) fn contains(&self, client: Key) -> bool {
        self.by_client.contains_key(&client)
    }

    pub(super) fn insert(&mut self, client: Key, message: Arc<Message>, until: Tick) {
        self.remove(client);
        self.by_client.insert(client, (message, until));
        self.deadlines.insert((until, client));
    }

    pub(super) fn remove(&mut self, client: Key) {
        if let Some((_, until)) = self.by_client.remove(&client) {
            self.deadlines.remove(&(until, client));
        }
    }

    /// All of them, to be tried again: those that find no worker this time either are inserted again.
    pub(super) fn take(&mut self) -> BTreeMap<Key, (Arc<Message>, Tick)> {
        self.deadlines.clear();
        std::mem::take(&mut self.by_client)
    }

    /// A client whose message has waited long enough.
    pub(super) fn expired(&mut self, now: Tick) -> Option<Key> {
        let (_, client) = *self.deadlines.first().filter(|(until, _)| *until <= now)?;
        self.remove(client);
        Some(client)
    }

    /// When [`Stranded::expired`] has one.
    pub(super) fn deadline(&self) -> Tick {
        self.deadlines.first().map_or(Tick::NEVER, |(until, _)| *until)
    }
}
