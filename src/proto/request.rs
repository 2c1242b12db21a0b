//! The state of an accepted request, as its client reads it.

use super::subject::Subject;
use crate::base::RequestId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending,
    /// A worker has answered.
    Done,
    /// A worker has answered that it failed.
    Failed,
    /// No worker answered in time.
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

/// The address of an accepted request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub id: RequestId,
    /// The channel on which its result is published.
    pub channel: Subject,
}

/// The readable state of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub status: Status,
    /// JSON: the status in words, and the result if there is one.
    pub document: Box<[u8]>,
}
