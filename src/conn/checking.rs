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

use std::mem;

use super::admission::Admission;
use super::decisions::DecidedRight;
use super::forward_auth::{ForwardAuth, ForwardVerdict};
use super::inquiry::InquiryAnswer;
use super::origins::Page;
use super::proxying::Proxying;
use super::route::AuthId;
use crate::proto::http::{AnswerHead, ReplyTo};

/// See the module's picture.
pub(super) struct Checking {
    /// Empty until the caller that has the bytes [keeps](Checking::keep) them.
    head: Box<[u8]>,
    /// The stage that asks.
    stage: Admission,
    answer: Option<InquiryAnswer>,
    /// Decisions for which the request has waited before: the answer has them, too.
    pub(super) decided: Vec<DecidedRight>,
    /// A server is asked.
    pub(super) forward: Option<Box<ForwardCheck>>,
    /// For the last words of a connection that ends before the answer.
    pub(super) to: ReplyTo,
    pub(super) page: Option<Page>,
    /// No further request follows on the connection.
    pub(super) is_last: bool,
}

impl Checking {
    pub(super) fn new(stage: Admission, to: ReplyTo, page: Option<Page>) -> Checking {
        Checking {
            head: Box::default(),
            stage,
            answer: None,
            decided: Vec::new(),
            forward: None,
            to,
            page,
            is_last: false,
        }
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
        let answer = match answer {
            InquiryAnswer::Decided(decided) => InquiryAnswer::Decided([mem::take(&mut self.decided), decided].concat()),
            other => other,
        };
        (self.answer, self.forward) = (Some(answer), None);
    }

    /// Bytes of memory for what is kept.
    pub(super) fn bytes(&self) -> usize {
        let forward = self.forward.as_ref();
        self.head.len() + forward.map_or(0, |forward| forward.proxying.bytes() + forward.verdict.bytes())
    }

    /// The raw head, the stage to go on with, and the answer.
    pub(super) fn into_parts(self) -> (Box<[u8]>, Admission, Option<InquiryAnswer>) {
        (self.head, self.stage, self.answer)
    }
}

/// How it is found out whether a client is let in.
pub(super) enum ClientCheck {
    Server(Box<ForwardCheck>),
    /// Workers are asked with this document.
    Workers(Box<str>),
}

/// The question to a server whether a client is let in: the half of a proxied request whose answer stays here.
pub(super) struct ForwardCheck {
    pub auth: AuthId,
    pub proxying: Proxying,
    /// The server's words so far.
    verdict: ForwardVerdict,
}

impl ForwardCheck {
    pub(super) fn new(auth: AuthId, proxying: Proxying) -> ForwardCheck {
        ForwardCheck { auth, proxying, verdict: ForwardVerdict::Unclear }
    }

    /// The head of the server's answer.
    pub(super) fn hear(&mut self, auth: &ForwardAuth, head: &AnswerHead<'_>, unix_now: u64) {
        self.verdict = auth.judge(head, unix_now);
    }

    /// A piece of its body.
    pub(super) fn hear_on(&mut self, piece: &[u8]) {
        self.verdict.hear(piece);
    }

    /// The server has said all.
    pub(super) fn take_verdict(&mut self) -> ForwardVerdict {
        std::mem::replace(&mut self.verdict, ForwardVerdict::Unclear)
    }
}
