//! Subjects below `tg.`: their families, their destinations, and functions that make them.
//!
//! ```text
//!  tg.user.ann.close      the family `tg.user.`, the user's token, a verb
//!  tg.event.join.room.1   the family `tg.event.`, the event and the channel that it is about
//! ```

use std::borrow::Cow;

use super::super::subject::{Subject, SubjectError};
use crate::base::{ConnId, DecisionId, Place, RequestId};
use crate::limits::SUBJECT_BYTES_MAX;

/// The prefixes of the families of subjects.
const CONN: &str = "tg.conn.";
const USER: &str = "tg.user.";
const SERVICE: &str = "tg.service.";
const REQUEST: &str = "tg.request.";
const PRESENCE: &str = "tg.presence.";
const REPLY: &str = "tg.reply.";
const EVENT: &str = "tg.event.";
const AUTHORIZE: &str = "tg.authorize.";
const DECISION: &str = "tg.decision.";

/// The subject of revocations, which is in no family.
const REVOKE: &str = "tg.revoke";

/// The token before the number of a call, in the subject of its answer.
const ANSWER: &str = "answer";
/// The event of a drain.
const DRAIN: &str = "drain";

/// The longest token of a user.
pub const USER_BYTES_MAX: usize = SUBJECT_BYTES_MAX - USER.len();
/// The longest name of a channel whose joins and leaves are announced: each has a subject for both.
const ANNOUNCED_BYTES_MAX: usize = SUBJECT_BYTES_MAX - EVENT.len() - "leave.".len();

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct SubjectRow {
    /// Names in angle brackets are variable.
    pub shape: &'static str,
    pub published_by: &'static str,
    pub meaning: &'static str,
}

/// Every subject with a meaning.
pub const SUBJECTS: &[SubjectRow] = &[
    SubjectRow {
        shape: "tg.service.<service>",
        published_by: "the gateway, for clients; workers",
        meaning: "goes to one worker of each queue group; the messages of one client go to the same worker as long as \
                  that worker is connected. `Tg-Kind` has the kind of the message, and the answer goes to its reply subject",
    },
    SubjectRow {
        shape: "tg.conn.<id>",
        published_by: "workers",
        meaning: "goes to one connection. With a reply subject it is a question: a client answers it, or the worker is \
                  told at once why none does. With `Tg-Ack` it is resent until a client acknowledges it",
    },
    SubjectRow {
        shape: "tg.conn.<id>.subscribe",
        published_by: "workers",
        meaning: "subscribes the connection to the channel that the payload names",
    },
    SubjectRow {
        shape: "tg.conn.<id>.unsubscribe",
        published_by: "workers",
        meaning: "ends the subscription of the connection to the channel that the payload names",
    },
    SubjectRow {
        shape: "tg.conn.<id>.close",
        published_by: "workers",
        meaning: "disconnects the connection; the payload says how: empty, `reconnect` or `kick`",
    },
    SubjectRow {
        shape: "tg.conn.<id>.answer.<call>",
        published_by: "workers",
        meaning: "answers a call of the client protocol: the reply subject of a message whose `Tg-Kind` is `rpc`",
    },
    SubjectRow {
        shape: "tg.user.<user>",
        published_by: "workers",
        meaning: "like `tg.conn.<id>`, for all connections of the user",
    },
    SubjectRow {
        shape: "tg.user.<user>.subscribe",
        published_by: "workers",
        meaning: "subscribes all connections of the user to the channel that the payload names",
    },
    SubjectRow {
        shape: "tg.user.<user>.unsubscribe",
        published_by: "workers",
        meaning: "ends their subscriptions to the channel that the payload names",
    },
    SubjectRow {
        shape: "tg.user.<user>.close",
        published_by: "workers",
        meaning: "disconnects all connections of the user, in the same way",
    },
    SubjectRow {
        shape: "tg.request.<id>",
        published_by: "workers",
        meaning: "the reply subject of an accepted request (`Tg-Kind: request`): the first answer is its result, or \
                  with `Tg-Status: failed` its failure",
    },
    SubjectRow {
        shape: "tg.presence.<channel>",
        published_by: "workers",
        meaning: "a request is answered with the clients of the channel, as JSON, if the channel's `[[channel]]` says \
                  `presence = true`",
    },
    SubjectRow {
        shape: REVOKE,
        published_by: "workers",
        meaning: "revokes the tokens that the payload names, as `POST /api/revocations` does; a request is answered with the \
                  number of streams that have ended",
    },
    SubjectRow {
        shape: "tg.authorize.<service>",
        published_by: "the gateway",
        meaning: "asks one worker of each queue group whether a client may do something (`permission.ask`); the payload says what, \
                  as JSON, and the first answer counts",
    },
    SubjectRow {
        shape: "tg.decision.<id>",
        published_by: "workers",
        meaning: "the reply subject of that: the payload says yes or no, as JSON",
    },
    SubjectRow {
        shape: "tg.reply.<id>",
        published_by: "the gateway",
        meaning: "the reply subject of a request on the admin listener: its connection gets the answer",
    },
    SubjectRow {
        shape: "tg.event.join.<channel>",
        published_by: "the gateway",
        meaning: "announces a user that has joined such a channel; a reconnection is not announced",
    },
    SubjectRow {
        shape: "tg.event.leave.<channel>",
        published_by: "the gateway",
        meaning: "announces a user that has left it",
    },
    SubjectRow {
        shape: "tg.event.drain",
        published_by: "the gateway",
        meaning: "the gateway is about to drain; the payload has the times, as JSON",
    },
];

/// Subjects with a common prefix, and with the same rights for workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    Conn,
    User,
    Service,
    Request,
    Presence,
    Reply,
    Event,
    Authorize,
    Decision,
}

impl Family {
    pub const ALL: [Family; 9] = [
        Family::Conn,
        Family::User,
        Family::Service,
        Family::Request,
        Family::Presence,
        Family::Reply,
        Family::Event,
        Family::Authorize,
        Family::Decision,
    ];

    pub fn prefix(self) -> &'static str {
        match self {
            Family::Conn => CONN,
            Family::User => USER,
            Family::Service => SERVICE,
            Family::Request => REQUEST,
            Family::Presence => PRESENCE,
            Family::Reply => REPLY,
            Family::Event => EVENT,
            Family::Authorize => AUTHORIZE,
            Family::Decision => DECISION,
        }
    }

    /// The family of a subject or pattern, and the rest after the family's prefix; `None` for all other names.
    // Comparisons with constants cost less than a loop over `ALL`: this is called for each publication below `tg.`.
    pub fn of(name: &str) -> Option<(Family, &str)> {
        if let Some(rest) = name.strip_prefix(CONN) {
            return Some((Family::Conn, rest));
        }
        if let Some(rest) = name.strip_prefix(USER) {
            return Some((Family::User, rest));
        }
        if let Some(rest) = name.strip_prefix(SERVICE) {
            return Some((Family::Service, rest));
        }
        if let Some(rest) = name.strip_prefix(REQUEST) {
            return Some((Family::Request, rest));
        }
        if let Some(rest) = name.strip_prefix(PRESENCE) {
            return Some((Family::Presence, rest));
        }
        if let Some(rest) = name.strip_prefix(REPLY) {
            return Some((Family::Reply, rest));
        }
        if let Some(rest) = name.strip_prefix(EVENT) {
            return Some((Family::Event, rest));
        }
        if let Some(rest) = name.strip_prefix(AUTHORIZE) {
            return Some((Family::Authorize, rest));
        }
        name.strip_prefix(DECISION).map(|rest| (Family::Decision, rest))
    }

    /// Whether workers may publish there; in the other families only the gateway publishes.
    pub fn takes_publications(self) -> bool {
        !matches!(self, Family::Event | Family::Reply | Family::Authorize)
    }

    /// Whether workers may subscribe to names with this prefix: a subscriber to an address would read others' messages.
    pub fn takes_subscriptions(self) -> bool {
        !matches!(self, Family::Conn | Family::User | Family::Request | Family::Reply | Family::Decision)
    }
}

/// A worker's command to a client's connection: the token after the connection or the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionCommand {
    /// Subscribe to the channel that the payload names.
    Subscribe,
    Unsubscribe,
    Close,
    /// Give the client the answer to its call; only for connections.
    Answer,
}

impl ConnectionCommand {
    /// The token of its subjects.
    pub fn word(self) -> &'static str {
        match self {
            ConnectionCommand::Subscribe => "subscribe",
            ConnectionCommand::Unsubscribe => "unsubscribe",
            ConnectionCommand::Close => "close",
            ConnectionCommand::Answer => ANSWER,
        }
    }

    /// Parses the command after a user.
    pub(super) fn of_user(words: &str) -> Option<ConnectionCommand> {
        [ConnectionCommand::Subscribe, ConnectionCommand::Unsubscribe, ConnectionCommand::Close]
            .into_iter()
            .find(|command| command.word() == words)
    }

    /// Parses the command after a connection.
    pub(super) fn of_conn(words: &str) -> Option<ConnectionCommand> {
        ConnectionCommand::of_user(words).or_else(|| serial_in(words).map(|_| ConnectionCommand::Answer))
    }
}

/// The serial number of the call in `answer.<serial>`.
fn serial_in(words: &str) -> Option<u32> {
    words.strip_prefix(ANSWER)?.strip_prefix('.')?.parse().ok()
}

/// The announced change of a client in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    Join,
    Leave,
}

impl Change {
    pub const ALL: [Change; 2] = [Change::Join, Change::Leave];

    /// The token of its subjects, and its name in the client protocol.
    pub fn word(self) -> &'static str {
        match self {
            Change::Join => "join",
            Change::Leave => "leave",
        }
    }

    /// The subject of the announcement; `None` for a channel whose name is too long, which has no announcements.
    pub fn subject(self, channel: &Subject) -> Option<Subject> {
        let has_both = channel.as_str().len() <= ANNOUNCED_BYTES_MAX;
        has_both.then(|| Subject::new(&format!("{EVENT}{}.{channel}", self.word())).ok()).flatten()
    }

    /// The subject that clients subscribe to for the joins and leaves of a channel: one for both, because a shard keeps the order
    /// of messages within a subject. It is that of the joins. `None` as in [`Change::subject`].
    pub fn listened(channel: &Subject) -> Option<Subject> {
        Change::Join.subject(channel)
    }

    /// The same, from the subject of an announcement.
    pub(in crate::proto) fn listened_in(announced: &str) -> Cow<'_, str> {
        match Change::of(announced) {
            Some((Change::Leave, channel)) => Cow::Owned(format!("{EVENT}{}.{channel}", Change::Join.word())),
            _ => Cow::Borrowed(announced),
        }
    }

    /// The reverse: the change and the channel that a subject announces.
    pub fn of(subject: &str) -> Option<(Change, &str)> {
        let rest = subject.strip_prefix(EVENT)?;
        Change::ALL.into_iter().find_map(|change| {
            let channel = rest.strip_prefix(change.word())?.strip_prefix('.')?;
            Some((change, channel))
        })
    }
}

/// The subject of one connection.
pub fn conn(id: ConnId) -> Subject {
    Subject::made(&format!("{CONN}{id}"))
}

/// The subject for the answer to a call of this connection.
pub fn call(id: ConnId, serial: u32) -> Subject {
    Subject::made(&format!("{CONN}{id}.{ANSWER}.{serial}"))
}

/// The serial number of the call that is answered there.
pub fn call_serial(subject: &Subject) -> Option<u32> {
    let (_, words) = ConnId::split(subject.as_str().strip_prefix(CONN)?)?;
    serial_in(words?)
}

/// The subject for the answer to the request of this connection, which is one of the admin listener.
pub fn reply(id: ConnId) -> Subject {
    Subject::made(&format!("{REPLY}{id}"))
}

/// Whether it is the subject of revocations.
pub(super) fn is_revoke(subject: &str) -> bool {
    subject == REVOKE
}

/// Whether it is such a subject: only the gateway asks for an answer there.
pub fn is_reply(name: &str) -> bool {
    name.starts_with(REPLY)
}

/// The subject of a command to the connections of `to`, which is that of a connection or a user; an error if it is too long.
pub fn command(to: &Subject, command: ConnectionCommand) -> Result<Subject, SubjectError> {
    Subject::new(&format!("{to}.{}", command.word()))
}

/// The subject of all connections of the user with this token.
pub fn user(token: &str) -> Result<Subject, SubjectError> {
    Subject::new(&format!("{USER}{token}"))
}

/// The subject of a service's workers. A name may have several tokens.
pub fn service(name: &str) -> Result<Subject, SubjectError> {
    Subject::new(&format!("{SERVICE}{name}"))
}

/// The name in the subject of a service.
pub fn service_name(subject: &Subject) -> Option<&str> {
    subject.as_str().strip_prefix(SERVICE)
}

/// The subject of the workers that decide for this service.
pub fn authorize(service: &str) -> Result<Subject, SubjectError> {
    Subject::new(&format!("{AUTHORIZE}{service}"))
}

/// The subject for the answer of the application about a client.
pub fn decision(id: DecisionId) -> Subject {
    Subject::made(&format!("{DECISION}{id}"))
}

/// The decision that is told there.
pub fn decision_id(subject: &Subject) -> Option<DecisionId> {
    subject.as_str().strip_prefix(DECISION)?.parse().ok()
}

/// The subject for the answer to an accepted request.
pub fn request(id: RequestId) -> Subject {
    Subject::made(&format!("{REQUEST}{id}"))
}

/// The shard that waits for the decision with this id.
pub(super) fn waiter_in(id: &str) -> Option<Place> {
    id.parse().ok().map(|id: DecisionId| id.place)
}

/// The shard that keeps the request with this id.
pub(super) fn keeper_in(id: &str) -> Option<Place> {
    id.parse().ok().map(|id: RequestId| id.place)
}

/// The request that is answered there.
pub fn request_id(subject: &Subject) -> Option<RequestId> {
    subject.as_str().strip_prefix(REQUEST)?.parse().ok()
}

/// The channel of a presence request.
pub fn presence_channel(subject: &Subject) -> Option<Subject> {
    Subject::new(subject.as_str().strip_prefix(PRESENCE)?).ok()
}

/// The subject on which workers are told of a drain.
pub fn drain() -> Subject {
    Subject::made(&format!("{EVENT}{DRAIN}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Address, NodeId};

    #[test]
    fn makers_write_what_can_be_published_to() {
        let node = NodeId::new(0xa);
        let id = ConnId::new(None, Address::from_bits(0x0100_0001_0000_0002));
        let id_there = ConnId::new(node, id.address());
        let request_id = RequestId::new(None, Place(1), 2);
        let asked = DecisionId::new(node, Place(1), 2);
        for (made, name) in [
            (conn(id), "tg.conn.0100000100000002".to_owned()),
            (call(id, 7), format!("tg.conn.{id}.answer.7")),
            (conn(id_there), format!("tg.conn.0000000a.{id}")),
            (reply(id_there), format!("tg.reply.0000000a.{id}")),
            (command(&conn(id), ConnectionCommand::Close).unwrap(), format!("tg.conn.{id}.close")),
            (call(id_there, 7), format!("tg.conn.0000000a.{id}.answer.7")),
            (request(RequestId::new(node, Place(1), 2)), format!("tg.request.0000000a.{request_id}")),
            (user("ann").unwrap(), "tg.user.ann".to_owned()),
            (service("rides").unwrap(), "tg.service.rides".to_owned()),
            (request(request_id), format!("tg.request.{request_id}")),
            (drain(), "tg.event.drain".to_owned()),
            (authorize("rooms").unwrap(), "tg.authorize.rooms".to_owned()),
            (decision(asked), format!("tg.decision.{asked}")),
        ] {
            assert_eq!(made, Subject::new(&name).unwrap());
        }
        assert_eq!(decision_id(&decision(asked)), Some(asked));
        assert_eq!(service_name(&service("a.b").unwrap()), Some("a.b"));
        assert!(user("").is_err() && service("a b").is_err());
    }

    #[test]
    fn a_name_is_of_the_family_that_it_begins_with() {
        for family in Family::ALL {
            let name = format!("{}x.y", family.prefix());
            assert_eq!(Family::of(&name), Some((family, "x.y")));
            assert!(name.starts_with("tg."));
        }
        for other in ["tg", "tg.conn", "tg.connection.x", "tg.other.x", "room.1", "tgx.conn.1", ""] {
            assert_eq!(Family::of(other), None, "{other}");
        }
    }

    #[test]
    fn the_table_has_every_family_command_and_change_and_nothing_else() {
        let words = |change: Change| format!("{EVENT}{}.<channel>", change.word());
        let mut shapes: Vec<String> = Change::ALL.map(words).into();
        shapes.extend([
            format!("{EVENT}{DRAIN}"),
            format!("{PRESENCE}<channel>"),
            format!("{REPLY}<id>"),
            format!("{AUTHORIZE}<service>"),
            format!("{DECISION}<id>"),
            REVOKE.to_owned(),
            format!("{CONN}<id>.{ANSWER}.<call>"),
        ]);
        shapes.extend([format!("{SERVICE}<service>"), format!("{REQUEST}<id>")]);
        for clients in [format!("{CONN}<id>"), format!("{USER}<user>")] {
            let commands = [ConnectionCommand::Subscribe, ConnectionCommand::Unsubscribe, ConnectionCommand::Close];
            shapes.extend(commands.map(|command| format!("{clients}.{}", command.word())));
            shapes.push(clients);
        }
        let mut listed: Vec<String> = SUBJECTS.iter().map(|row| row.shape.to_owned()).collect();
        shapes.sort();
        listed.sort();
        assert_eq!(listed, shapes);
        for row in SUBJECTS.iter().filter(|row| row.shape != REVOKE) {
            let (family, _) = Family::of(row.shape).expect("a family has it");
            assert_eq!(row.published_by.contains("workers"), family.takes_publications(), "{}", row.shape);
        }
    }

    #[test]
    fn a_subject_of_a_change_leads_back_to_its_channel() {
        let subject = |name: &str| Subject::new(name).unwrap();
        for change in Change::ALL {
            let announced = change.subject(&subject("room.1")).unwrap();
            assert_eq!(Change::of(announced.as_str()), Some((change, "room.1")));
            let listened = Change::listened(&subject("room.1")).unwrap();
            assert_eq!(Change::listened_in(announced.as_str()), listened.as_str(), "one for both");
        }
        for other in ["tg.event.drain", "tg.event.join", "tg.event.joiner.room", "room.1", "tg.event.leave"] {
            assert_eq!(Change::of(other), None, "{other}");
        }
        let long = subject(&["a"; 32].join("."));
        assert_eq!(Change::Join.subject(&long), None, "it would have too many tokens");
        let has_subject = |bytes| Change::ALL.map(|change| change.subject(&subject(&"a".repeat(bytes))).is_some());
        assert_eq!(
            (has_subject(241), has_subject(242)),
            ([true; 2], [false; 2]),
            "one is not announced without the other"
        );
    }
}
