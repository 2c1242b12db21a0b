//! Letters about messages that clients have to acknowledge, between a message's home and the places of the clients.

use std::sync::Arc;

use crate::base::{Address, Key, Place};
use crate::proto::subject::Subject;
use crate::proto::user::User;

use super::{Delivery, Lane};

/// `shard::features::acks` shows the path of each.
#[derive(Debug)]
pub enum AckMail {
    // --- asks ---
    /// To the home of a user's messages: a connection of the sending shard has opened that can acknowledge them. Sent
    /// after its `Join`.
    Came { user: Subject, from: Address },
    /// To the home of a message: a send has reached a connection that can acknowledge it.
    Reached { id: u64 },
    /// To the home of a message: a client has acknowledged it.
    Ack(Box<Ack>),

    // --- tells ---
    /// To a shard with subscribers: connections that can acknowledge get this as a control message, and `Reached`
    /// reports whether there are any. That is mail, but one letter for one, and an ask: it does not keep this shard
    /// from taking tells.
    Offer(Box<Offer>),
    /// To the shard of a new connection: the messages that wait for its user.
    CatchUp { key: Key, texts: Vec<Arc<[u8]>> },
}

/// A message to acknowledge, from its home.
#[derive(Debug)]
pub struct Offer {
    pub id: u64,
    pub home: Place,
    pub user: Subject,
    /// The text for connections that can acknowledge it.
    pub text: Arc<[u8]>,
    /// The message for the others; `None` in a resend.
    pub delivery: Option<Delivery>,
}

/// An acknowledgement, and the connection and user that it comes from.
#[derive(Debug)]
pub struct Ack {
    pub id: u64,
    pub from: Address,
    pub user: Option<User>,
}

impl AckMail {
    pub(super) fn lane(&self) -> Lane {
        match self {
            AckMail::Came { .. } | AckMail::Reached { .. } | AckMail::Ack(_) => Lane::Ask,
            AckMail::Offer(_) | AckMail::CatchUp { .. } => Lane::Tell,
        }
    }

    pub(super) fn payload_bytes(&self) -> usize {
        match self {
            AckMail::Offer(offer) => offer.text.len(),
            AckMail::CatchUp { texts, .. } => texts.iter().map(|text| text.len()).sum(),
            _ => 0,
        }
    }
}
