//! Letters about questions to clients, between a question's home and the places of the clients.

use crate::base::{Address, Key, Place};

use super::{Delivery, Lane};

/// `shard::features::questions` shows the path of each.
#[derive(Debug)]
pub enum QuestionMail {
    // --- asks ---
    /// To a question's home: these connections of the sending shard have been asked.
    Asked { id: u64, from: Place, keys: Vec<Key> },
    /// To a question's home: a client's answer.
    Answer(Box<ClientAnswer>),
    /// To a question's home: this connection will not answer.
    Left { id: u64, from: Address },

    // --- tells ---
    /// To a shard with subscribers: all of them get the message, and those that can answer are asked; `Asked` lists
    /// them. That is mail, but one letter for one, and an ask: it does not keep this shard from taking tells.
    Question(Box<Question>),
    /// To a shard with a connection that was asked: the question is over.
    Over { key: Key, id: u64 },
}

/// A question, from its home.
#[derive(Debug)]
pub struct Question {
    pub id: u64,
    pub home: Place,
    pub delivery: Delivery,
}

/// A client's answer in the form for the worker that has asked.
#[derive(Debug)]
pub struct ClientAnswer {
    pub id: u64,
    pub from: Address,
    pub headers: Box<[u8]>,
    pub payload: Box<[u8]>,
}

impl QuestionMail {
    pub(super) fn lane(&self) -> Lane {
        match self {
            QuestionMail::Asked { .. } | QuestionMail::Answer(_) | QuestionMail::Left { .. } => Lane::Ask,
            QuestionMail::Question(_) | QuestionMail::Over { .. } => Lane::Tell,
        }
    }

    pub(super) fn payload_bytes(&self) -> usize {
        match self {
            QuestionMail::Question(question) => question.delivery.message.payload.len(),
            QuestionMail::Answer(answer) => answer.payload.len(),
            _ => 0,
        }
    }
}
