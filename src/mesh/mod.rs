//! Everything that threads say to each other, on one screen, and the queues that carry it.
//!
//! ```text
//!   a thread                                             shard, side thread            in-process worker
//!   Post ---- ask lane (bounded, lock-free) -----------> Mailbox                        Mailbox
//!     '------ tell lane (bounded, lock-free) ----------> one wake-up per peer and turn    (tell lane alone)
//! ```
//!
//! Three kinds of threads have a place ([`Threads`]). A shard has connections and channels. A side thread has neither, and takes asks
//! and tells as a shard does. An in-process worker takes tells alone, so that no ask waits for the embedder's code.
//!
//! Two lanes, so that full queues push back without a deadlock (TELLS ARE TERMINAL): handling a *tell* never makes more
//! mail for a shard that could be full, so tells are always taken; *asks* make tells, so a shard whose own tells
//! are stuck takes no asks. Whoever asks too much finds its queue full, and stops reading from its publishers.

pub mod acks;
pub mod drain;
pub mod memberships;
pub mod order;
mod post;
pub mod presence;
pub mod questions;
pub mod replays;
pub mod requests;

pub use post::{Mailbox, Mesh, Post, Threads};

use std::sync::Arc;

use crate::base::{Address, Key, Place};
use crate::hub::Seat;
use crate::limits;
use crate::proto::event::{Message, Position};
use crate::proto::subject::Subject;

use acks::AckMail;
use drain::DrainMail;
use memberships::MembershipMail;
use order::OrderMail;
use presence::PresenceMail;
use questions::QuestionMail;
use replays::ReplayMail;
use requests::RequestMail;

/// One letter. Its lane is [`Mail::lane`].
#[derive(Debug)]
pub enum Mail {
    // --- asks: to the owner of a channel, to the shard of a connection, or to everybody about the directory ---
    /// To the channel's owner: give it an offset, and to the clients who listen. To the keeper of a request: its answer.
    Publish(Box<Publish>),
    /// To one shard, from an in-process worker: to the workers who listen. All that one worker says goes by the same shard.
    Spread(Box<Publish>),
    /// To the channel's owner: the sending shard has its first listener; answered with `Joined`.
    Join { subject: Subject, from: Place, serial: u64 },
    /// To the channel's owner: the sending shard has no listener left.
    Leave { subject: Subject, from: Place },
    /// To the shard of one connection: a worker's message for it, or a command.
    ToConn { key: Key, publish: Box<Publish> },

    /// Asks and tells about subscriptions of workers.
    Memberships(MembershipMail),
    /// About the order in which publishers are heard, and the PONG that comes after all that they have said.
    Order(OrderMail),
    /// About questions to clients.
    Questions(QuestionMail),
    /// About what connections missed, and what is kept of channels.
    Replays(ReplayMail),
    /// Asks and tells about messages that clients have to acknowledge.
    Acks(AckMail),
    /// About accepted requests.
    Requests(RequestMail),
    /// About clients that are there, and where a user is.
    Presence(PresenceMail),
    /// About the end of the process.
    Drain(DrainMail),

    // --- tells: to those who listen, or back to who asked ---
    /// To a shard with listeners: everybody there whose subscription matches.
    Deliver(Box<Delivery>),
    /// To one member of a queue group. If it has left meanwhile, another gets it: once, so that this stays a tell.
    Direct { seat: Seat, delivery: Box<Delivery>, is_second_choice: bool },
    /// The owner knows of the sending shard's listeners.
    Joined { subject: Subject, serial: u64 },
    /// The message that `key` published, and called `number`, has its position.
    Published { key: Key, number: u32, position: Option<Position> },
    /// Nobody listens to what `key` asked; `reply` is where it waits for the answer.
    NoResponders { key: Key, reply: Subject },
}

/// A message and who published it.
#[derive(Debug)]
pub struct Publish {
    pub message: Arc<Message>,
    pub from: Option<Publisher>,
    pub reach: Reach,
}

/// Who is to get what is with the owner of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Clients; the publisher's shard has sent it to the workers.
    Clients,
    /// Clients; the publisher's shard sends it to the workers too, once it knows by the number that it is no repetition.
    ClientsFirst(u32),
    /// Both, from the owner.
    All,
}

/// Who published, and what it wants to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publisher {
    pub address: Address,
    /// Wants `Published` with this number: which of its publications it is about.
    pub wants_position: Option<u32>,
    /// Wants `NoResponders` when there is a reply subject and nobody listens.
    pub wants_no_responders: bool,
    /// Does not want its own message back (CONNECT with `echo: false`).
    pub is_silent: bool,
}

/// A message and its position, on the way to listeners.
#[derive(Debug)]
pub struct Delivery {
    pub message: Arc<Message>,
    pub position: Option<Position>,
    pub audience: Audience,
    /// The one connection that does not get it.
    pub except: Option<Address>,
    /// Who hears that nobody is there, should everybody have left who was: there is no other delivery.
    pub asker: Option<Address>,
    /// The publisher's shard.
    pub origin: Option<Place>,
}

/// Who of a shard gets a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    Clients,
    Workers,
}

impl Publish {
    pub fn new(message: impl Into<Arc<Message>>, from: Option<Publisher>) -> Publish {
        Publish { message: message.into(), from, reach: Reach::Clients }
    }

    /// The connection that does not want its own message back.
    pub fn except(&self) -> Option<Address> {
        self.from.filter(|from| from.is_silent).map(|from| from.address)
    }

    pub fn origin(&self) -> Option<Place> {
        self.from.map(|from| from.address.place)
    }

    /// The message on its way to the clients of a place.
    pub fn to_clients(&self, position: Option<Position>) -> Delivery {
        let message = self.message.clone();
        let (except, origin) = (self.except(), self.origin());
        Delivery { message, position, audience: Audience::Clients, except, asker: None, origin }
    }

    /// And to workers, who know of no positions; `is_only` says that nobody else gets it.
    pub fn to_workers(&self, is_only: bool) -> Delivery {
        let asker = self.asker().filter(|_| is_only);
        Delivery { audience: Audience::Workers, asker, ..self.to_clients(None) }
    }

    /// The connection that wants to hear if the message reaches nothing.
    pub fn asker(&self) -> Option<Address> {
        self.from.filter(|from| from.wants_no_responders).map(|from| from.address)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Ask,
    Tell,
}

impl Mail {
    /// The payload's size, if that is worth counting; else 0.
    fn large_bytes(&self) -> usize {
        let bytes = match self {
            Mail::Publish(publish) | Mail::Spread(publish) | Mail::ToConn { publish, .. } => {
                publish.message.payload.len()
            }
            Mail::Deliver(delivery) | Mail::Direct { delivery, .. } => delivery.message.payload.len(),
            Mail::Questions(mail) => mail.payload_bytes(),
            Mail::Replays(mail) => mail.payload_bytes(),
            Mail::Acks(mail) => mail.payload_bytes(),
            Mail::Requests(mail) => mail.payload_bytes(),
            _ => return 0,
        };
        if bytes < limits::MAIL_LARGE_BYTES { 0 } else { bytes }
    }

    pub fn lane(&self) -> Lane {
        match self {
            Mail::Memberships(mail) => mail.lane(),
            Mail::Order(mail) => mail.lane(),
            Mail::Questions(mail) => mail.lane(),
            Mail::Replays(mail) => mail.lane(),
            Mail::Acks(mail) => mail.lane(),
            Mail::Requests(mail) => mail.lane(),
            Mail::Presence(mail) => mail.lane(),
            Mail::Drain(mail) => mail.lane(),
            Mail::Publish(_) | Mail::Spread(_) | Mail::Join { .. } | Mail::Leave { .. } | Mail::ToConn { .. } => {
                Lane::Ask
            }
            Mail::Deliver(_)
            | Mail::Direct { .. }
            | Mail::Joined { .. }
            | Mail::Published { .. }
            | Mail::NoResponders { .. } => Lane::Tell,
        }
    }
}
