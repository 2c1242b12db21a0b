//! The body of a request while it arrives, and what it is for.

use super::accept::Accepting;
use super::admin::Publication;
use super::origins::Page;
use crate::proto::CloseReason;
use crate::proto::http::{Body, BodyStep, Head, ReplyTo};

/// A request whose head has been understood, and whose body follows.
pub(super) struct Collecting {
    pub purpose: Purpose,
    pub to: ReplyTo,
    body: Body,
    payload: Vec<u8>,
}

/// What becomes of the body when it is whole.
pub(super) enum Purpose {
    Publish(Publication),
    Accept(Box<Accepting>),
}

impl Purpose {
    /// The page of another origin that may read why it is refused.
    pub(super) fn into_page(self) -> Option<Box<Page>> {
        match self {
            Purpose::Publish(_) => None,
            Purpose::Accept(accepting) => accepting.page.map(Box::new),
        }
    }
}

impl Collecting {
    /// `body`: of this head.
    pub(super) fn new(head: &Head<'_>, purpose: Purpose, body: Body) -> Collecting {
        Collecting { purpose, to: head.reply_to(), body, payload: Vec::new() }
    }

    /// Takes what there is of the body off `input`; true when it is whole.
    pub(super) fn take(&mut self, input: &mut &mut [u8]) -> Result<bool, CloseReason> {
        loop {
            match self.body.next(input)? {
                BodyStep::Data(bytes) => self.payload.extend_from_slice(bytes),
                BodyStep::NeedMore => return Ok(false),
                BodyStep::End => return Ok(true),
            }
        }
    }

    /// The page of another origin that may read why it is refused.
    pub(super) fn page(&self) -> Option<&Page> {
        match &self.purpose {
            Purpose::Publish(_) => None,
            Purpose::Accept(accepting) => accepting.page.as_ref(),
        }
    }

    pub(super) fn finish(self) -> (Purpose, Box<[u8]>) {
        (self.purpose, self.payload.into())
    }
}
