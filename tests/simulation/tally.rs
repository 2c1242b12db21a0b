//! How often the TLS clients of a scenario did something and heard something: what the gateway counts is held to it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::deed::Deed;

/// Shared by all TLS clients of a scenario.
#[derive(Clone, Default)]
pub struct Tally(Rc<RefCell<Counts>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Finished, as the client sees it; those of TLS 1.2 and the resumed ones among them.
    pub handshakes: u64,
    pub tls12: u64,
    pub resumed: u64,
    pub key_updates_asked: u64,
    pub key_updates_heard: u64,
    pub deeds: BTreeMap<Deed, u64>,
    /// Heard after a deed.
    pub alerts: BTreeMap<Deed, u64>,
    /// Connections that the client gave up without close_notify.
    pub left: u64,
}

impl Tally {
    pub fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.0.borrow_mut());
    }

    pub fn counts(&self) -> Counts {
        self.0.borrow().clone()
    }
}

impl Counts {
    /// Deeds for which the gateway has to close, and those for which it said so.
    pub fn offences(&self) -> u64 {
        self.deeds.iter().filter(|(deed, _)| deed.breaks_rules()).map(|(_, count)| count).sum()
    }

    pub fn cuts(&self) -> u64 {
        self.deeds.get(&Deed::Cut).copied().unwrap_or(0)
    }

    pub fn alerts_heard(&self) -> u64 {
        self.alerts.values().sum()
    }

    pub fn add(&mut self, other: Counts) {
        self.handshakes += other.handshakes;
        self.tls12 += other.tls12;
        self.resumed += other.resumed;
        self.key_updates_asked += other.key_updates_asked;
        self.key_updates_heard += other.key_updates_heard;
        self.left += other.left;
        for (sum, counts) in [(&mut self.deeds, other.deeds), (&mut self.alerts, other.alerts)] {
            counts.into_iter().for_each(|(deed, count)| *sum.entry(deed).or_default() += count);
        }
    }
}
