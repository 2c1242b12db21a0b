//! The state of an accepted request, as its client reads it.

use super::subject::Subject;
use crate::base::RequestId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending,
    /// A worker has answered.
    Done,
    /// A worker has answered that it could not.
    Failed,
    /// No worker has answered in time.
    Expired,
}

impl Status {
    /// The word for it in documents and headers.
    pub fn name(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Done => "done",
            Status::Failed => "failed",
            Status::Expired => "expired",
        }
    }
}

/// Where an accepted request is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub id: RequestId,
    /// Where its result is pushed.
    pub channel: Subject,
}

/// The readable state of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub status: Status,
    /// JSON: the status in words, and the result if there is one.
    pub document: Box<[u8]>,
}
