//! The ways by which a message reaches its receiver.

use crate::base::{Address, ConnId, Key, Place, RequestId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A worker's subscription to the subject itself.
    Plain,
    Wildcard,
    /// A member of a queue group.
    Queue,
    /// A worker of a service.
    Service,
    /// `tg.user.<user>`, to a client.
    User,
    /// `tg.conn.<id>`, to a client.
    Connection,
    /// `tg.request.<id>`, to the client that waits for its result on an event stream.
    Request,
    /// An inbox of a worker.
    Reply,
    /// A channel, to a client of the client protocol.
    Client,
    /// A channel, to an in-process worker.
    Thread,
    /// A channel, to an event stream.
    Http,
}

impl Way {
    pub(super) const ALL: [Way; 11] = [
        Way::Plain,
        Way::Wildcard,
        Way::Queue,
        Way::Service,
        Way::User,
        Way::Connection,
        Way::Request,
        Way::Reply,
        Way::Client,
        Way::Thread,
        Way::Http,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Way::Plain => "plain",
            Way::Wildcard => "wildcard",
            Way::Queue => "queue",
            Way::Service => "service",
            Way::User => "user",
            Way::Connection => "connection",
            Way::Request => "request",
            Way::Reply => "reply",
            Way::Client => "client",
            Way::Thread => "in-process",
            Way::Http => "http",
        }
    }

    /// The subject that leads there, while there is no receiver yet.
    pub(super) fn subject(self, room: &str) -> String {
        match self {
            Way::Plain | Way::Wildcard | Way::Queue | Way::Client | Way::Thread | Way::Http => room.to_owned(),
            Way::Service => "tg.service.desk".to_owned(),
            Way::User => "tg.user.ann".to_owned(),
            Way::Connection => {
                format!(
                    "tg.conn.{}",
                    ConnId::new(None, Address { place: Place(0), key: Key { slot: 999, generation: 9 } })
                )
            }
            Way::Request => format!("tg.request.{}", RequestId::new(None, Place(0), 999)),
            Way::Reply => "_INBOX.me.1".to_owned(),
        }
    }

    /// What a worker on the bus says to receive by it; none if its receiver is no such worker.
    pub(super) fn subscription(self, room: &str) -> Option<String> {
        match self {
            Way::Plain => Some(format!("SUB {room} 7\r\n")),
            Way::Wildcard => Some("SUB room.* 7\r\n".to_owned()),
            Way::Queue => Some(format!("SUB {room} group 7\r\n")),
            Way::Service => Some("SUB tg.service.desk workers 7\r\n".to_owned()),
            Way::Reply => Some("SUB _INBOX.me.* 7\r\n".to_owned()),
            Way::User | Way::Connection | Way::Request | Way::Client | Way::Thread | Way::Http => None,
        }
    }

    /// Whether its subject is a channel, which has positions, names of messages, and a history.
    pub(super) fn is_channel(self) -> bool {
        match self {
            Way::Plain | Way::Wildcard | Way::Queue | Way::Client | Way::Thread | Way::Http => true,
            Way::Service | Way::User | Way::Connection | Way::Request | Way::Reply => false,
        }
    }
}
