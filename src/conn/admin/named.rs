//! Names in a request: of a channel, a user, a connection; headers. The error of each is one sentence.

use crate::base::ConnId;
use crate::limits;
use crate::proto::bus::HeaderBlock;
use crate::proto::http::Head;
use crate::proto::reserved::headers::{CONN_HEADER, EVENT_HEADER, ID_HEADER};
use crate::proto::reserved::{is_own_event, subjects};
use crate::proto::sse;
use crate::proto::subject::Subject;
use crate::proto::user::User;

pub(super) fn channel_named(name: &str) -> Result<Subject, String> {
    let subject = Subject::new(name).map_err(|error| format!("{name:?} is no channel: {error}"))?;
    if subject.is_reserved() {
        return Err(format!("{name:?} is no channel: names that begin with \"tg.\" are the gateway's own"));
    }
    Ok(subject)
}

pub(super) fn user_named(name: &str) -> Result<(User, Subject), String> {
    let user = User::new(name).map_err(|error| format!("{name:?} is no user: {error}"))?;
    let subject = user.subject().ok_or_else(|| format!("{name:?} is too long for a user"))?;
    Ok((user, subject))
}

/// The subject of a connection.
pub(super) fn conn_named(name: &str) -> Result<Subject, String> {
    let id: ConnId =
        name.parse().map_err(|_| format!("{name:?} is no id of a connection, such as {CONN_HEADER} has"))?;
    Ok(subjects::conn(id))
}

/// The headers of the request that become headers of the message, if there are any; the error is one sentence.
pub(super) fn header_block(head: &Head<'_>, names: &[&str]) -> Result<Option<Box<[u8]>>, String> {
    let mut block = HeaderBlock::new();
    for name in names {
        let value = head.single_header(name).map_err(|_| format!("{name} stands more than once, or is not UTF-8"))?;
        let Some(value) = value else { continue };
        if !sse::is_valid_field(value) {
            return Err(format!("{name} may not hold control characters"));
        }
        if *name == EVENT_HEADER && is_own_event(value) {
            return Err(format!(
                "{name} begins with \"tg.\": such events are the gateway's own; any other name can be given"
            ));
        }
        if *name == ID_HEADER && value.len() > limits::MESSAGE_ID_BYTES_MAX {
            return Err(format!("{name} is longer than {} bytes", limits::MESSAGE_ID_BYTES_MAX));
        }
        block.push(name, value);
    }
    Ok((!block.is_empty()).then(|| block.finish()))
}
