//! A message to a channel.

use super::named::{channel_named, header_block};
use crate::proto::http::Head;
use crate::proto::reserved::headers::{DISTINCT_HEADER, EVENT_HEADER, ID_HEADER, KEY_HEADER, OPCODE_HEADER};
use crate::proto::subject::Subject;

/// Headers of a publication that become headers of the message.
const MESSAGE_HEADERS: &[&str] = &[EVENT_HEADER, OPCODE_HEADER, KEY_HEADER, DISTINCT_HEADER, ID_HEADER];

/// A message whose payload has not arrived.
pub(in crate::conn) struct PublicationHead {
    pub subject: Subject,
    pub headers: Option<Box<[u8]>>,
}

impl PublicationHead {
    /// The error is one sentence.
    pub(super) fn read(head: &Head<'_>, channel: &str) -> Result<PublicationHead, String> {
        let subject = channel_named(channel)?;
        Ok(PublicationHead { subject, headers: header_block(head, MESSAGE_HEADERS)? })
    }
}
