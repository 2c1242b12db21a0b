//! Clients' messages that wait for a worker of their service. Their clients are not read while they wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::{Key, Tick};
use crate::proto::event::Message;

/// At most one message of each client, in an order that is the same in every run of a simulation.
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

    /// Takes all messages for another try. The caller puts those back that still find no worker.
    pub(super) fn take(&mut self) -> BTreeMap<Key, (Arc<Message>, Tick)> {
        self.deadlines.clear();
        std::mem::take(&mut self.by_client)
    }

    /// The next client whose message has waited too long.
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
