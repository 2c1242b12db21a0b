//! Everything that threads say to each other, on one screen, and the queues that carry it.
//!
//! ```text
//!   shard 0                                              shard 1                       in-process worker
//!   Post ---- ask lane (bounded, lock-free) -----------> Mailbox                        Mailbox
//!     '------ tell lane (bounded, lock-free) ----------> one wake-up per peer and turn    (tell lane alone)
//! ```
//!
//! Two lanes, so that full queues push back without a deadlock (TELLS ARE TERMINAL): handling a *tell* never makes more
//! mail for a shard that could be full, so tells are always taken; *asks* make tells, so a shard whose own tells
//! are stuck takes no asks. Whoever asks too much finds its queue full, and stops reading from its publishers.

mod post;

pub use post::{Mailbox, Mesh, Post};

use std::sync::Arc;

use crate::base::{Address, Key, Place};
use crate::hub::{Membership, Seat};
use crate::limits;
use crate::proto::event::{Message, Position};
use crate::proto::subject::Subject;

/// One letter. Its lane is [`Mail::lane`].
#[derive(Debug)]
pub enum Mail {
    // --- asks: to the owner of a channel, to the shard of a connection, or to everybody about the directory ---
    /// To the channel's owner: give it an offset, and to everybody who listens.
    Publish(Box<Publish>),
    /// To the channel's owner: the sending shard has its first listener; answered with `Joined`.
    Join { subject: Subject, from: Place, serial: u64 },
    /// To the channel's owner: the sending shard has no listener left.
    Leave { subject: Subject, from: Place },
    /// To every shard: a wildcard or queue subscription exists; answered with `Registered` if `waiting`.
    Enlist { membership: Membership, waiting: Option<Address> },
    /// To every shard: it exists no more.
    Resign { membership: Membership },
    /// To the shard of one connection: a worker's message for it, or a command.
    ToConn { key: Key, publish: Box<Publish> },

    // --- tells: to those who listen, or back to who asked ---
    /// To a shard with listeners: everybody there whose subscription matches.
    Deliver(Box<Delivery>),
    /// To one member of a queue group. If it has left meanwhile, another gets it: once, so that this stays a tell.
    Direct { seat: Seat, delivery: Box<Delivery>, is_second_choice: bool },
    /// The owner knows of the sending shard's listeners.
    Joined { subject: Subject, serial: u64 },
    /// One registration that `key` waits for is done.
    Registered { key: Key },
    /// The message that `key` published has its position.
    Published { key: Key, position: Option<Position> },
    /// Nobody listens to what `key` asked; `reply` is where it waits for the answer.
    NoResponders { key: Key, reply: Subject },
    /// From the gateway: close what is open, and end.
    Drain,
}

/// A message and who published it.
#[derive(Debug)]
pub struct Publish {
    pub message: Arc<Message>,
    pub from: Option<Publisher>,
}

/// Who published, and what it wants to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publisher {
    pub address: Address,
    /// Wants `Published`.
    pub wants_position: bool,
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
    /// The one connection that does not get it.
    pub except: Option<Address>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Ask,
    Tell,
}

impl Mail {
    /// The payload's size, if that is worth counting; else 0.
    fn large_bytes(&self) -> usize {
        let message = match self {
            Mail::Publish(publish) | Mail::ToConn { publish, .. } => &publish.message,
            Mail::Deliver(delivery) | Mail::Direct { delivery, .. } => &delivery.message,
            _ => return 0,
        };
        let bytes = message.payload.len();
        if bytes < limits::MAIL_LARGE_BYTES { 0 } else { bytes }
    }

    pub fn lane(&self) -> Lane {
        match self {
            Mail::Publish(_)
            | Mail::Join { .. }
            | Mail::Leave { .. }
            | Mail::Enlist { .. }
            | Mail::Resign { .. }
            | Mail::ToConn { .. } => Lane::Ask,
            Mail::Deliver(_)
            | Mail::Direct { .. }
            | Mail::Joined { .. }
            | Mail::Registered { .. }
            | Mail::Published { .. }
            | Mail::NoResponders { .. }
            | Mail::Drain => Lane::Tell,
        }
    }
}
