//! All letters between threads, and the queues that carry them.
//!
//! ```text
//!   a thread                                             shard, side thread            in-process worker
//!   Post ---- ask lane (bounded, lock-free) -----------> Mailbox                        Mailbox
//!     '------ tell lane (bounded, lock-free) ----------> one wake-up per peer and turn    (tell lane alone)
//! ```
//!
//! Four kinds of threads have a place ([`Threads`]). A shard has connections and channels. A side thread has neither,
//! and takes asks and tells like a shard. An in-process worker takes only tells, so that no ask waits for the
//! embedder's code. So does the writer of the access log, which may hang with its disk: what does not fit into its mailbox is lost.
//!
//! Two lanes let full queues push back without a deadlock (TELLS ARE TERMINAL). Handling a *tell* never makes mail for
//! a shard that could be full, so tells are always taken. *Asks* make tells, so a shard whose own tells are stuck takes
//! no asks. A shard that sends too many asks finds the queue full, and stops reading from its publishers.

pub mod acks;
pub mod decisions;
pub mod drain;
pub mod engine;
pub mod keys;
pub mod log;
pub mod memberships;
pub mod order;
mod post;
pub mod presence;
pub mod questions;
pub mod replays;
pub mod requests;
pub mod revocations;
pub mod upstreams;

pub use post::{Mailbox, Mesh, Post, Threads};

use std::sync::Arc;

use crate::base::{Address, Key, Place};
use crate::hub::Seat;
use crate::limits;
use crate::proto::event::{Message, Position};
use crate::proto::subject::Subject;

use acks::AckMail;
use decisions::DecisionMail;
use drain::DrainMail;
use engine::EngineMail;
use keys::KeyMail;
use log::LogMail;
use memberships::MembershipMail;
use order::OrderMail;
use presence::PresenceMail;
use questions::QuestionMail;
use replays::ReplayMail;
use requests::RequestMail;
use revocations::RevocationMail;
use upstreams::UpstreamMail;

/// One letter. Its lane is [`Mail::lane`].
#[derive(Debug)]
pub enum Mail {
    // --- asks: to the owner of a channel, to the shard of a connection, or to every shard about the directory ---
    /// To the channel's owner: assign an offset, and deliver to clients. To the keeper of a request: its answer.
    Publish(Box<Publish>),
    /// To one shard, from an in-process worker: deliver to workers. All messages of one in-process worker go through
    /// the same shard.
    Spread(Box<Publish>),
    /// To the channel's owner: the sending shard has its first subscriber; answered with `Joined`.
    Join { subject: Subject, from: Place, serial: u64 },
    /// To the channel's owner: the sending shard has no subscriber left.
    Leave { subject: Subject, from: Place },
    /// To the shard of one connection: a worker's message for it, or a command.
    ToConn { key: Key, publish: Box<Publish> },

    /// Asks and tells about subscriptions of workers.
    Memberships(MembershipMail),
    /// Letters about the order of publications, and about PONG.
    Order(OrderMail),
    /// About questions to clients.
    Questions(QuestionMail),
    /// Letters about missed and kept messages.
    Replays(ReplayMail),
    /// Letters about messages to acknowledge.
    Acks(AckMail),
    /// About accepted requests.
    Requests(RequestMail),
    /// Letters about the clients of channels, and the connections of users.
    Presence(PresenceMail),
    /// Letters about the servers behind the gateway.
    Upstreams(UpstreamMail),
    /// Letters about revoked tokens.
    Revocations(RevocationMail),
    /// Letters about the keys of issuers.
    Keys(KeyMail),
    /// Letters about decisions of the application.
    Decisions(DecisionMail),
    /// Letters about shared channels, to and from the engine.
    Engine(EngineMail),
    /// Letters about the drain.
    Drain(DrainMail),
    /// Lines of the access log, for their writer.
    Log(LogMail),

    // --- tells: to subscribers, or back to the sender of an ask ---
    /// To a shard with subscribers: deliver to all whose subscription matches.
    Deliver(Box<Delivery>),
    /// To one member of a queue group. If it has left, another member gets the message: once, so that this stays a
    /// tell.
    Direct { seat: Seat, delivery: Box<Delivery>, is_second_choice: bool },
    /// The owner knows that the receiving shard has subscribers.
    Joined { subject: Subject, serial: u64 },
    /// The publication `number` of `key` has its position.
    Published { key: Key, number: u32, position: Option<Position> },
    /// The message of `key`, or its command, has reached so many connections of a user or of an id on one of `of` shards.
    Reached { key: Key, connections: u32, of: u16 },
    /// The request of `key` has no responder; `reply` is the subject at which it waits for the answer.
    NoResponders { key: Key, reply: Subject },
}

/// A message and its publisher.
#[derive(Debug)]
pub struct Publish {
    pub message: Arc<Message>,
    pub from: Option<Publisher>,
    pub reach: Reach,
}

/// The subscribers that the owner of a channel delivers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Clients; the publisher's shard has delivered to workers.
    Clients,
    /// Clients; the publisher's shard delivers to workers, too, once a verdict with this number says that the message
    /// is no repetition.
    ClientsFirst(u32),
    /// Clients and workers.
    All,
}

/// The publisher, and what it wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publisher {
    pub address: Address,
    /// It wants `Published` with this number, which identifies the publication.
    pub wants_position: Option<u32>,
    /// It wants `NoResponders` if there is a reply subject and no responder.
    pub wants_no_responders: bool,
    /// The publisher wants `Reached`, from each shard that the message goes to; only for connections and users.
    pub wants_reach: bool,
    /// It does not want its own message (CONNECT with `echo: false`).
    pub is_silent: bool,
}

/// A message with its position, on its way to subscribers.
#[derive(Debug)]
pub struct Delivery {
    pub message: Arc<Message>,
    pub position: Option<Position>,
    pub audience: Audience,
    /// The connection that does not get the message.
    pub except: Option<Address>,
    /// The publisher to tell of the subscribers that it reaches.
    pub asker: Option<ReportTo>,
    /// The publisher's shard.
    pub origin: Option<Place>,
}

/// A publisher that wants to know whether its message arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportTo {
    /// The publisher is told if all subscribers have left; only set if there is no other delivery.
    IfNone(Address),
    /// The publisher is told how many connections get the message, by so many shards.
    Count { publisher: Address, of: u16 },
}

/// The subscribers of a shard that get a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    Clients,
    Workers,
}

impl Publish {
    pub fn new(message: impl Into<Arc<Message>>, from: Option<Publisher>) -> Publish {
        Publish { message: message.into(), from, reach: Reach::Clients }
    }

    /// The connection that does not want its own message.
    pub fn except(&self) -> Option<Address> {
        self.from.filter(|from| from.is_silent).map(|from| from.address)
    }

    pub fn origin(&self) -> Option<Place> {
        self.from.map(|from| from.address.place)
    }

    /// The delivery to the clients of a place.
    pub fn to_clients(&self, position: Option<Position>) -> Delivery {
        let message = self.message.clone();
        let (except, origin) = (self.except(), self.origin());
        Delivery { message, position, audience: Audience::Clients, except, asker: None, origin }
    }

    /// The delivery to workers, without a position; `is_only` says that there is no other delivery.
    pub fn to_workers(&self, is_only: bool) -> Delivery {
        let asker = self.asker().filter(|_| is_only).map(ReportTo::IfNone);
        Delivery { audience: Audience::Workers, asker, ..self.to_clients(None) }
    }

    /// The connection that wants to be told if the message reaches no subscriber.
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
    /// The size of the payload if it counts as large; otherwise 0.
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
            Mail::Engine(mail) => mail.payload_bytes(),
            // Each counts: the number of letters would let too much wait.
            Mail::Log(mail) => return mail.payload_bytes(),
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
            Mail::Upstreams(mail) => mail.lane(),
            Mail::Revocations(mail) => mail.lane(),
            Mail::Keys(mail) => mail.lane(),
            Mail::Decisions(mail) => mail.lane(),
            Mail::Engine(mail) => mail.lane(),
            Mail::Drain(mail) => mail.lane(),
            Mail::Log(mail) => mail.lane(),
            Mail::Publish(_) | Mail::Spread(_) | Mail::Join { .. } | Mail::Leave { .. } | Mail::ToConn { .. } => {
                Lane::Ask
            }
            Mail::Deliver(_)
            | Mail::Direct { .. }
            | Mail::Joined { .. }
            | Mail::Published { .. }
            | Mail::Reached { .. }
            | Mail::NoResponders { .. } => Lane::Tell,
        }
    }
}
