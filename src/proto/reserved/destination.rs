//! The destination of a message, and the answer that it expects of clients: decided once, when the message is made.
//!
//! ```text
//!  room.7                        Channel      to workers, and by the owner of the subject to clients
//!  _INBOX.…                      Inbox        to workers
//!  tg.conn.<id>[.<command>]      Conn         to the shard of the connection, if the id names this node
//!  tg.user.<user>[.<command>]    User         by the owner of tg.user.<user> to the user's connections
//!  tg.service.<service>          Service      to one worker of each queue group
//!  tg.request.<id>               Request      to the shard that keeps the request
//!  tg.decision.<id>              Decision     to the shard that has asked whether a client may do something
//!  tg.presence.<channel>         Presence     to the owner of the channel
//!  tg.revoke                     Revoke       to every shard, which takes the tokens no more
//!  tg.reply.<id>                 Reply        to the shard of the connection, whose request it answers; from the gateway alone
//!  tg.event.<event>              Event        to workers and clients, from the gateway alone
//!  tg.authorize.<service>        Authorize    to one worker of each queue group, from the gateway alone
//! ```

use super::super::bus::headers;
use super::super::subject::{Subject, is_inbox, is_reserved, tokens};
use super::headers::ACK_HEADER;
use super::subjects::{Change, ConnectionCommand, Family, is_revoke, keeper_in, waiter_in};
use crate::base::{ConnId, Place};

/// See the module's picture. A few bytes, which a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Channel,
    /// The first token is `_INBOX`: no client subscribes there, and it has no positions.
    Inbox,
    Conn {
        id: ConnId,
        command: Option<ConnectionCommand>,
        expects: Expects,
    },
    User {
        command: Option<ConnectionCommand>,
        expects: Expects,
    },
    Service,
    Request(Place),
    /// An answer about a client, for which this shard waits.
    Decision(Place),
    /// Workers are asked about a client.
    Authorize,
    Presence,
    Revoke,
    /// The answer to the request of this connection.
    Reply(ConnId),
    /// The event announces this change in a channel, if any.
    Event(Option<Change>),
    /// A family of subjects that workers publish to, without a valid address.
    Nowhere,
    /// Below `tg.`, and in no family.
    Unknown,
}

const _: () = assert!(size_of::<Destination>() <= 16, "every message has one");

/// What a worker expects to be told about a message that it sends to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expects {
    Nothing,
    /// One client's answer, on the reply subject.
    Answer,
    /// The outcome on the reply subject, if there is one: whether a client has acknowledged the message.
    Acknowledgement,
    /// The outcome of a command, which the gateway publishes on the reply subject.
    Outcome,
}

impl Destination {
    /// Decided by the subject alone; the expected answer also depends on reply subject and headers.
    // Nearly all subjects are channels, which their first byte shows.
    #[inline]
    pub fn of(subject: &Subject) -> Destination {
        match subject.as_str().as_bytes().first() {
            Some(b't') if is_reserved(subject.as_str()) => Destination::below_tg(subject.as_str()),
            Some(b'_') if is_inbox(subject.as_str()) => Destination::Inbox,
            _ => Destination::Channel,
        }
    }

    fn below_tg(subject: &str) -> Destination {
        let Some((family, rest)) = Family::of(subject) else {
            return if is_revoke(subject) { Destination::Revoke } else { Destination::Unknown };
        };
        let expects = Expects::Nothing;
        let found = match family {
            Family::Conn => ConnId::split(rest).and_then(|(id, words)| {
                let command = words.map_or(Some(None), |words| ConnectionCommand::of_conn(words).map(Some));
                command.map(|command| Destination::Conn { id, command, expects })
            }),
            Family::User => {
                let command =
                    command_words(rest).map_or(Some(None), |words| ConnectionCommand::of_user(words).map(Some));
                command.map(|command| Destination::User { command, expects })
            }
            Family::Service => Some(Destination::Service),
            Family::Request => keeper_in(rest).map(Destination::Request),
            Family::Decision => waiter_in(rest).map(Destination::Decision),
            Family::Authorize => Some(Destination::Authorize),
            Family::Presence => Some(Destination::Presence),
            Family::Reply => match ConnId::split(rest) {
                Some((id, None)) => Some(Destination::Reply(id)),
                _ => Some(Destination::Unknown),
            },
            Family::Event => Some(Destination::Event(Change::of(subject).map(|(change, _)| change))),
        };
        found.unwrap_or(Destination::Nowhere)
    }

    /// The expected answer to a message with this reply subject and these headers.
    #[inline]
    pub(in crate::proto) fn expecting(self, reply: Option<&Subject>, headers: Option<&[u8]>) -> Destination {
        match self {
            Destination::Conn { id, command, .. } => {
                Destination::Conn { id, command, expects: Expects::of(command, reply, headers) }
            }
            Destination::User { command, .. } => {
                Destination::User { command, expects: Expects::of(command, reply, headers) }
            }
            other => other,
        }
    }

    /// Whether workers may publish there: below `tg.`, only in some families.
    pub fn takes_publications(self) -> bool {
        !matches!(self, Destination::Event(_) | Destination::Reply(_) | Destination::Authorize | Destination::Unknown)
    }

    /// Whether it is a channel, or the inbox of a client of the bus.
    pub fn is_of_applications(self) -> bool {
        matches!(self, Destination::Channel | Destination::Inbox)
    }

    pub fn expects(self) -> Expects {
        match self {
            Destination::Conn { expects, .. } | Destination::User { expects, .. } => expects,
            _ => Expects::Nothing,
        }
    }
}

impl Expects {
    /// Clients answer and acknowledge only messages to connections and users; elsewhere the header has no meaning. Some
    /// kinds of reply subjects expect no answer: `tg.event.…` and `tg.revoke`, because a client must not be able to publish
    /// there; `tg.request.…` and `tg.decision.…`, because a 503 must not become a result; and invalid ones.
    fn of(command: Option<ConnectionCommand>, reply: Option<&Subject>, headers: Option<&[u8]>) -> Expects {
        let has_requester = || reply.is_some_and(is_of_requester);
        match command {
            Some(_) if has_requester() => Expects::Outcome,
            Some(_) => Expects::Nothing,
            None if headers.is_some_and(|block| headers::lookup(block, ACK_HEADER).is_some()) => {
                Expects::Acknowledgement
            }
            None if has_requester() => Expects::Answer,
            None => Expects::Nothing,
        }
    }
}

/// Whether the gateway may publish the outcome of a message on this reply subject. Workers must be allowed to publish
/// there too, so that no message can make the gateway publish in a place that only the gateway may use. (A worker's message
/// whose reply subject is `tg.reply.…` is refused.)
pub(in crate::proto) fn is_of_requester(reply: &Subject) -> bool {
    Subject::check(reply.as_str()).is_ok()
        && !matches!(
            Destination::of(reply),
            Destination::Event(_)
                | Destination::Request(_)
                | Destination::Decision(_)
                | Destination::Authorize
                | Destination::Revoke
        )
}

/// The words after the token of a user, if there are any.
fn command_words(rest: &str) -> Option<&str> {
    let user = tokens(rest).next().unwrap_or(rest);
    rest.get(user.len() + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Address, DecisionId, NodeId, RequestId};
    use crate::proto::event::Message;
    use crate::proto::reserved::subjects;

    fn subject(name: &str) -> Subject {
        Subject::new(name).unwrap()
    }

    #[test]
    fn every_subject_leads_somewhere() {
        let address = Address::from_bits(0x0100_0001_0000_0002);
        let (id, there) = (ConnId::new(None, address), ConnId::new(NodeId::new(0xa), address));
        let request = RequestId::new(None, Place(1), 2);
        let expects = Expects::Nothing;
        let conn = |command| Destination::Conn { id, command, expects };
        let conn_there = |command| Destination::Conn { id: there, command, expects };
        let user = |command| Destination::User { command, expects };
        for (name, destination) in [
            (format!("tg.conn.{id}"), conn(None)),
            (format!("tg.conn.{id}.close"), conn(Some(ConnectionCommand::Close))),
            (format!("tg.conn.{id}.dance"), Destination::Nowhere),
            (format!("tg.conn.{id}.answer.7"), conn(Some(ConnectionCommand::Answer))),
            (format!("tg.conn.{id}.answer.7.8"), Destination::Nowhere),
            (format!("tg.conn.{id}.answer.-7"), Destination::Nowhere),
            (format!("tg.conn.{id}.answer"), Destination::Nowhere),
            (format!("tg.conn.{there}"), conn_there(None)),
            (format!("tg.conn.{there}.close"), conn_there(Some(ConnectionCommand::Close))),
            (format!("tg.conn.{there}.answer.7"), conn_there(Some(ConnectionCommand::Answer))),
            (format!("tg.conn.{there}.dance"), Destination::Nowhere),
            (format!("tg.conn.0000000b.{there}"), Destination::Nowhere),
            ("tg.conn.0000000a".to_owned(), Destination::Nowhere),
            ("tg.conn.0000000a.close".to_owned(), Destination::Nowhere),
            ("tg.user.ann.answer.7".to_owned(), Destination::Nowhere),
            ("tg.user.ann.dance".to_owned(), Destination::Nowhere),
            ("tg.conn.12".to_owned(), Destination::Nowhere),
            (format!("tg.request.{request}"), Destination::Request(Place(1))),
            (format!("tg.request.0000000a.{request}"), Destination::Request(Place(1))),
            ("tg.request.12".to_owned(), Destination::Nowhere),
            (format!("tg.request.{request}.progress"), Destination::Nowhere),
            ("tg.presence.presence.a".to_owned(), Destination::Presence),
            ("tg.presence".to_owned(), Destination::Unknown),
            (format!("tg.decision.{}", DecisionId::new(None, Place(1), 2)), Destination::Decision(Place(1))),
            ("tg.decision.12".to_owned(), Destination::Nowhere),
            ("tg.authorize.rooms".to_owned(), Destination::Authorize),
            ("tg.revoke".to_owned(), Destination::Revoke),
            ("tg.revoke.ann".to_owned(), Destination::Unknown),
            (format!("tg.reply.{there}"), Destination::Reply(there)),
            (format!("tg.reply.{there}.close"), Destination::Unknown),
            ("tg.reply.12".to_owned(), Destination::Unknown),
            ("tg.user.ann".to_owned(), user(None)),
            ("tg.user.ann.subscribe".to_owned(), user(Some(ConnectionCommand::Subscribe))),
            ("tg.user.ann.unsubscribe".to_owned(), user(Some(ConnectionCommand::Unsubscribe))),
            ("tg.user.ann.close.close".to_owned(), Destination::Nowhere),
            ("tg.service.rides".to_owned(), Destination::Service),
            ("tg.event.drain".to_owned(), Destination::Event(None)),
            ("tg.event.leave.room.1".to_owned(), Destination::Event(Some(Change::Leave))),
            ("tg.other".to_owned(), Destination::Unknown),
            ("tg".to_owned(), Destination::Unknown),
            ("tgx.conn".to_owned(), Destination::Channel),
            ("_INBOX.1".to_owned(), Destination::Inbox),
            ("_INBOXES.1".to_owned(), Destination::Channel),
            ("room.1".to_owned(), Destination::Channel),
        ] {
            assert_eq!(Destination::of(&subject(&name)), destination, "{name}");
        }
    }

    #[test]
    fn what_follows_from_a_subject_is_read_from_it() {
        for node in [None, NodeId::new(0xa)] {
            let request = RequestId::new(node, Place(1), 2);
            assert_eq!(subjects::request_id(&subjects::request(request)), Some(request));
            let id = ConnId::new(node, Address::from_bits(1));
            assert_eq!(subjects::call_serial(&subjects::call(id, 7)), Some(7));
        }
        assert_eq!(subjects::presence_channel(&subject("tg.presence.presence.a")), Some(subject("presence.a")));
        for (name, listened, owned) in [
            ("tg.user.ann", "tg.user.ann", "tg.user.ann"),
            ("tg.user.ann.unsubscribe", "tg.user.ann", "tg.user.ann"),
            ("tg.event.join.room.1", "tg.event.join.room.1", "room.1"),
            ("tg.event.leave.room.1", "tg.event.join.room.1", "room.1"),
            ("tg.event.drain", "tg.event.drain", "tg.event.drain"),
            ("room.close", "room.close", "room.close"),
        ] {
            let message = Message::new(subject(name), None, None, Box::default());
            assert_eq!((&*message.listened(), message.owned_by()), (listened, owned));
        }
    }

    fn expects(subject_name: &str, reply: Option<&str>, header: Option<&str>) -> Expects {
        let headers = header.map(|header| format!("NATS/1.0\r\n{header}\r\n\r\n").into_bytes().into());
        Message::new(subject(subject_name), reply.map(Subject::unread), headers, Box::default()).destination().expects()
    }

    #[test]
    fn what_is_no_question_is_told_from_what_is() {
        for (subject, reply, is) in [
            ("tg.user.ann", Some("_INBOX.1"), true),
            ("tg.user.ann", None, false),
            ("tg.user.ann.close", Some("_INBOX.1"), false),
            ("tg.conn.0000000000000001", Some("tg.service.x"), true),
            ("tg.conn.0000000000000001", Some("tg.event.drain"), false),
            ("tg.conn.0000000000000001", Some("tg.revoke"), false),
            ("tg.service.x", Some("_INBOX.1"), false),
            ("room.1", Some("_INBOX.1"), false),
        ] {
            assert_eq!(expects(subject, reply, None) == Expects::Answer, is, "{subject} {reply:?}");
        }
    }

    #[test]
    fn nothing_is_expected_on_what_is_no_subject() {
        for reply in ["a..b", "", "a b", "a.*", ">"] {
            for (subject, header, expected) in [
                ("tg.user.ann", None, Expects::Nothing),
                ("tg.conn.0000000000000001", None, Expects::Nothing),
                ("tg.user.ann.close", None, Expects::Nothing),
                ("tg.user.ann", Some("Tg-Ack: 5"), Expects::Acknowledgement),
            ] {
                assert_eq!(expects(subject, Some(reply), header), expected, "{subject} {reply:?}");
            }
        }
    }

    #[test]
    fn what_is_to_be_acknowledged_is_told_from_what_is_not() {
        for (subject, header, is) in [
            ("tg.user.ann", "Tg-Ack: 5", true),
            ("tg.conn.0000000000000001", "tg-ack: nonsense", true),
            ("tg.user.ann", "Tg-Other: 5", false),
            ("tg.user.ann.close", "Tg-Ack: 5", false),
            ("tg.service.x", "Tg-Ack: 5", false),
            ("room.1", "Tg-Ack: 5", false),
        ] {
            let expected = expects(subject, None, Some(header));
            assert_eq!(expected == Expects::Acknowledgement, is, "{subject} {header}");
        }
    }

    #[test]
    fn a_command_expects_an_outcome_where_workers_may_publish() {
        for (subject, reply, is) in [
            ("tg.user.ann.close", Some("_INBOX.1"), true),
            ("tg.conn.0000000000000001.subscribe", Some("_INBOX.1"), true),
            ("tg.conn.0000000000000001.subscribe", None, false),
            ("tg.conn.0000000000000001.subscribe", Some("tg.event.drain"), false),
            ("tg.conn.0000000000000001.dance", Some("_INBOX.1"), false),
            ("tg.conn.0000000000000001", Some("_INBOX.1"), false),
            ("room.1.close", Some("_INBOX.1"), false),
        ] {
            let expected = expects(subject, reply, Some("Tg-Other: 1"));
            assert_eq!(expected == Expects::Outcome, is, "{subject} {reply:?}");
        }
    }
}
