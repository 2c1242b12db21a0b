//! Messages and commands of operators to a user's connections, or to one: the same as those of workers on the bus.
//!
//! ```text
//!  POST /api/users/{user}[/{verb}], /api/connections/{id}[/{verb}] --> OperationHead --the body--> AdminOperation, for the shard
//!                                                     the answer <-- reached, concluded <-----------------'
//! ```

use super::super::Step;
use super::super::about::About;
use super::expected::Expected;
use super::named::{conn_named, header_block, user_named};
use crate::proto::bus::headers;
use crate::proto::http::Head;
use crate::proto::reserved::headers::{ACK_HEADER, EVENT_HEADER, OPCODE_HEADER, TIMEOUT_HEADER};
use crate::proto::reserved::subjects::{self, ConnectionCommand};
use crate::proto::subject::Subject;

/// The effect on the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OperationVerb {
    /// The clients get the body.
    Send,
    /// One of them answers the body.
    Ask,
    /// The connections obey; the body is the command's payload.
    Command(ConnectionCommand),
}

impl OperationVerb {
    /// Of a row of the table: its last segment.
    fn of(path: &str) -> OperationVerb {
        let word = path.rsplit('/').next().unwrap_or_default();
        let commands = [ConnectionCommand::Subscribe, ConnectionCommand::Unsubscribe, ConnectionCommand::Close];
        match commands.into_iter().find(|command| command.word() == word) {
            Some(command) => OperationVerb::Command(command),
            None if word == "question" => OperationVerb::Ask,
            None => OperationVerb::Send,
        }
    }

    /// Headers of the request that become headers of the message.
    fn headers(self) -> &'static [&'static str] {
        match self {
            OperationVerb::Send => &[EVENT_HEADER, OPCODE_HEADER, ACK_HEADER],
            OperationVerb::Ask => &[TIMEOUT_HEADER],
            OperationVerb::Command(_) => &[],
        }
    }
}

/// A message or a command, for the shard.
pub struct AdminOperation {
    /// The subject of a user or a connection, or of a command to it.
    pub to: Subject,
    pub headers: Option<Box<[u8]>>,
    pub payload: Box<[u8]>,
    pub expected: Expected,
}

/// An operation whose payload has not arrived.
pub(in crate::conn) struct OperationHead {
    to: Subject,
    pub headers: Option<Box<[u8]>>,
    expected: Expected,
}

impl OperationHead {
    /// `path`: the row's of the table. The error is one sentence.
    pub(super) fn read(head: &Head<'_>, path: &str, name: &str) -> Result<OperationHead, String> {
        let verb = OperationVerb::of(path);
        let is_user = path.starts_with("/api/users/");
        let addressee = if is_user { user_named(name)?.1 } else { conn_named(name)? };
        let headers = header_block(head, verb.headers())?;
        let to = match verb {
            OperationVerb::Command(command) => {
                subjects::command(&addressee, command).map_err(|_| format!("{name:?} is too long for a command"))?
            }
            OperationVerb::Send | OperationVerb::Ask => addressee,
        };
        let must_acknowledge = headers.as_deref().is_some_and(|block| headers::lookup(block, ACK_HEADER).is_some());
        let expected = match verb {
            OperationVerb::Ask => Expected::Answer,
            OperationVerb::Command(_) if !is_user => Expected::Obedience,
            OperationVerb::Send if must_acknowledge => Expected::Acknowledgement,
            OperationVerb::Send | OperationVerb::Command(_) => Expected::Reach,
        };
        Ok(OperationHead { to, headers, expected })
    }

    pub(in crate::conn) fn finish<'a>(self, payload: Box<[u8]>) -> (About, Step<'a>) {
        let OperationHead { to, headers, expected } = self;
        let about = match expected {
            Expected::Reach => About::Reached { connections: 0, shards: 0 },
            _ => About::Outcome(expected),
        };
        (about, Step::Operate(Box::new(AdminOperation { to, headers, payload, expected })))
    }
}
