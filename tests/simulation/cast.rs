//! Workers that send to users, each with an inbox, and the users' clients.
//!
//! ```text
//!  Sender --tg.user.u1, reply inbox.sender.number--> gateway --> clients of u1
//!     '<-- what became of it --------------------------'  ^-----------'
//! ```

use std::ops::Range;

use tidegate::conn::Door;
use tidegate::driver::sim::Endpoint;

use crate::bus::{Bus, Message};
use crate::gateway::address;
use crate::stage::Stage;

/// So many are there from the beginning, and stay.
const STEADY_SENDERS: usize = 2;

pub struct Sender {
    id: u32,
    pub is_calm: bool,
    inbox: String,
    bus: Bus,
}

impl Sender {
    fn new(id: u32, endpoint: Endpoint, inbox: &str) -> Sender {
        let (is_calm, inbox) = (endpoint.is_calm(), format!("{inbox}.{id}"));
        let mut bus = Bus::new(endpoint, "");
        bus.subscribe(&format!("{inbox}.*"), "");
        Sender { id, is_calm, inbox, bus }
    }

    /// The number of what it sends behind `count` others.
    pub fn number(&self, count: usize) -> u64 {
        self.numbers().start + count as u64
    }

    fn numbers(&self) -> Range<u64> {
        let first = u64::from(self.id) << 32;
        first..first + (1 << 32)
    }

    /// Sends a number to a user, with a header that says what the sender wants to know of it.
    pub fn send(&mut self, user: u64, number: u64, header: (&str, &str)) {
        let (subject, reply) = (format!("tg.user.u{user}"), format!("{}.{number}", self.inbox));
        self.bus.publish_with(&subject, &reply, &[header], number.to_string().as_bytes());
    }
}

pub struct Cast<C> {
    inbox: &'static str,
    senders: Vec<Sender>,
    pub clients: Vec<C>,
    /// Both have ids of one row.
    ids: u32,
}

impl<C> Cast<C> {
    /// Two senders and no clients; senders hear of their messages on subjects below `inbox`.
    pub fn new(stage: &Stage, inbox: &'static str) -> Cast<C> {
        let mut cast = Cast { inbox, senders: Vec::new(), clients: Vec::new(), ids: 0 };
        (0..STEADY_SENDERS).for_each(|_| cast.take_on(stage, true));
        cast
    }

    /// Another sender comes.
    pub fn hire(&mut self, stage: &mut Stage) {
        let is_calm = stage.random.chance(500);
        self.take_on(stage, is_calm);
    }

    fn take_on(&mut self, stage: &Stage, is_calm: bool) {
        let Some(endpoint) = stage.connect(address(Door::Bus, false), is_calm) else { return };
        self.ids += 1;
        self.senders.push(Sender::new(self.ids, endpoint, self.inbox));
    }

    /// A sender goes, and does not care any more for what has these numbers.
    pub fn dismiss(&mut self, stage: &mut Stage) -> Option<Range<u64>> {
        let index = stage.one_of(self.senders.len().saturating_sub(STEADY_SENDERS))?;
        Some(self.senders.swap_remove(STEADY_SENDERS + index).numbers())
    }

    pub fn sender(&mut self, stage: &mut Stage) -> &mut Sender {
        let index = stage.one_of(self.senders.len()).expect("the first stay");
        &mut self.senders[index]
    }

    /// A client comes, if the gateway lets it in.
    pub fn come(&mut self, stage: &Stage, is_calm: bool, make: impl FnOnce(u32, Endpoint) -> C) {
        let Some(endpoint) = stage.connect(address(Door::Front, false), is_calm) else { return };
        self.ids += 1;
        self.clients.push(make(self.ids, endpoint));
    }

    /// A client goes without a word.
    pub fn go(&mut self, stage: &mut Stage) -> Option<C> {
        stage.one_of(self.clients.len()).map(|index| self.clients.swap_remove(index))
    }

    /// Lets `hear` have the number that each message in an inbox is about.
    pub fn poll_senders(&mut self, mut hear: impl FnMut(u64, &Message)) {
        for sender in &mut self.senders {
            sender.bus.poll();
            for message in std::mem::take(&mut sender.bus.received) {
                let number = message.subject.rsplit('.').next().and_then(|digits| digits.parse().ok());
                hear(number.expect("a number"), &message);
            }
        }
        self.senders.retain(|sender| sender.is_calm || sender.bus.end().is_none());
    }

    pub fn clear(&mut self) {
        self.senders.clear();
        self.clients.clear();
    }
}
