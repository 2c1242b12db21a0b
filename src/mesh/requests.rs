//! Letters about accepted requests, between a request's keeper, the workers' shards, and the clients' shards.

use std::sync::Arc;

use crate::base::{Address, Key, Place, RequestId, RouteId};
use crate::hub::Member;
use crate::hub::requests::AcceptedRequest;
use crate::proto::CloseReason;
use crate::proto::event::Message;
use crate::proto::request::{Reading, Receipt};
use crate::proto::subject::Subject;

use super::Lane;

/// `shard::features::requests` shows the path of each.
#[derive(Debug)]
pub enum RequestMail {
    // --- asks, to the keeper of the request, except `Hand` ---
    /// Keep this request; answered with `Accepted`.
    Accept { from: Address, request: Box<AcceptedRequest> },
    /// Return the state of this request; answered with `Told`.
    Read { from: Address, id: RequestId, route: RouteId },
    /// `from` has joined the request's channel, which the keeper owns as well; answered with `Recalled`.
    Recall { from: Address, id: RequestId, channel: Subject },
    /// To the shard of a worker: a request for it. If it has left the service, `Missed`.
    Hand { from: Place, id: RequestId, worker: Member, message: Arc<Message> },
    /// The worker was gone. An ask, to stay after the worker's `Resign`.
    Missed { id: RequestId, worker: Address },
    /// To each shard that keeps requests of this worker: its connection has ended. An ask, to stay after its answers.
    Gone { worker: Address },

    // --- tells, to the shard of the client that has asked ---
    /// Whether the request of `key` is kept.
    Accepted { key: Key, outcome: Result<Receipt, CloseReason> },
    /// The state of the request that `key` asked for, if it exists.
    Told { key: Key, reading: Option<Box<Reading>> },
    /// The result that `key` has missed on the channel, if it has.
    Recalled { key: Key, channel: Subject, message: Option<Box<Message>> },
}

impl RequestMail {
    pub(super) fn lane(&self) -> Lane {
        match self {
            RequestMail::Accept { .. }
            | RequestMail::Read { .. }
            | RequestMail::Recall { .. }
            | RequestMail::Hand { .. }
            | RequestMail::Missed { .. }
            | RequestMail::Gone { .. } => Lane::Ask,
            RequestMail::Accepted { .. } | RequestMail::Told { .. } | RequestMail::Recalled { .. } => Lane::Tell,
        }
    }

    pub(super) fn payload_bytes(&self) -> usize {
        match self {
            RequestMail::Accept { request, .. } => request.message.payload.len(),
            RequestMail::Hand { message, .. } => message.payload.len(),
            RequestMail::Told { reading, .. } => reading.as_ref().map_or(0, |reading| reading.document.len()),
            RequestMail::Recalled { message, .. } => message.as_ref().map_or(0, |message| message.payload.len()),
            _ => 0,
        }
    }
}
