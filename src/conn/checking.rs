//! A request that waits in its admission: a stage wants to know something of the shard.
//!
//! ```text
//!  a stage --Inquiry--> Checking: the raw head is kept (the one copy), nothing else is taken off the input
//!                           | the shard answers: InquiryAnswer
//!                           '--> the head is parsed again, and the stages go on where they had stopped
//! ```
//!
//! The answer comes in bounded time, whatever happens elsewhere; the connection's own deadline is behind that. A
//! client that goes away ends the wait with its connection.

use super::admission::Admission;
use super::inquiry::InquiryAnswer;
use super::origins::Page;
use crate::proto::http::ReplyTo;

/// See the module's picture.
pub(super) struct Checking {
    /// Empty until the caller that has the bytes [keeps](Checking::keep) them.
    head: Box<[u8]>,
    /// The stage that asks.
    stage: Admission,
    answer: Option<InquiryAnswer>,
    /// For the last words of a connection that ends before the answer.
    pub(super) to: ReplyTo,
    pub(super) page: Option<Page>,
    /// No further request follows on the connection.
    pub(super) is_last: bool,
}

impl Checking {
    pub(super) fn new(stage: Admission, to: ReplyTo, page: Option<Page>) -> Checking {
        Checking { head: Box::default(), stage, answer: None, to, page, is_last: false }
    }

    /// Keeps the raw head.
    pub(super) fn keep(&mut self, head: &[u8]) {
        self.head = head.into();
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answer.is_some()
    }

    /// The answer is there: the request goes on when its connection is driven next.
    pub(super) fn answer(&mut self, answer: InquiryAnswer) {
        self.answer = Some(answer);
    }

    /// Bytes of memory for what is kept.
    pub(super) fn bytes(&self) -> usize {
        self.head.len()
    }

    /// The raw head, the stage to go on with, and the answer.
    pub(super) fn into_parts(self) -> (Box<[u8]>, Admission, Option<InquiryAnswer>) {
        (self.head, self.stage, self.answer)
    }
}
