//! Presence: the clients of a channel, as its owner reports them; joins and leaves; the connections of a user.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::base::ConnId;
use crate::proto::bus::HeaderBlock;
use crate::proto::event::Message;
use crate::proto::reserved::headers::{CONN_HEADER, INFO_HEADER};
use crate::proto::reserved::subjects::Change;
use crate::proto::subject::Subject;
use crate::proto::user::User;

/// A client that subscribes to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    pub conn: ConnId,
    pub user: Option<User>,
    /// The claim `info` of its token: JSON.
    pub info: Option<Box<str>>,
    /// Unix time of its subscription, in seconds.
    pub since: u64,
}

impl Present {
    pub fn info(&self) -> Option<&RawValue> {
        self.info.as_ref().and_then(|info| serde_json::from_str(info).ok())
    }

    fn to_json(&self) -> Value {
        let mut present = json!({ "conn": self.conn.to_string(), "since": self.since });
        if let Some(user) = &self.user {
            let name = user.name();
            // The token, if it differs from the name: workers publish with it.
            if name != user.token() {
                present["user_token"] = user.token().into();
            }
            present["user"] = name.into();
        }
        if let Some(info) = self.info.as_ref().and_then(|info| serde_json::from_str(info).ok()) {
            present["info"] = info;
        }
        present
    }
}

/// All clients of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// In the order of their connections' ids.
    pub listed: Vec<Arc<Present>>,
    /// The last connections of users that have left and whose leave is not announced yet.
    pub away: Vec<Arc<Present>>,
    /// The number of clients, those beyond the list included.
    pub clients: usize,
}

impl Roster {
    /// All listed clients, those that are away included.
    pub fn known(&self) -> impl Iterator<Item = &Present> {
        self.listed.iter().chain(&self.away).map(|present| &**present)
    }

    /// Different users on the list; clients without a name count as one.
    pub fn users(&self) -> usize {
        self.known().map(|present| present.user.as_ref()).collect::<BTreeSet<_>>().len()
    }

    /// The JSON for programs; everything is null for a channel without presence.
    pub fn to_json(roster: Option<&Roster>, channel: &Subject) -> String {
        let present = roster.map(|roster| {
            let away = roster.away.iter().map(|present| {
                let mut present = present.to_json();
                present["away"] = true.into();
                present
            });
            roster.listed.iter().map(|present| present.to_json()).chain(away).collect::<Vec<_>>()
        });
        let body = json!({
            "channel": channel.as_str(),
            "clients": roster.map(|roster| roster.clients),
            "users": roster.map(Roster::users),
            "present": present,
        });
        format!("{body}\n")
    }
}

/// A user, or a client without a name, has joined a channel or left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub change: Change,
    pub channel: Subject,
    /// The connection that joined first, or left last.
    pub present: Arc<Present>,
}

impl Announcement {
    /// The message for subscribers; `None` for a channel whose name is too long.
    pub fn message(&self) -> Option<Message> {
        let Present { conn, user, info, .. } = &*self.present;
        let subject = self.change.subject(&self.channel)?;
        let mut headers = HeaderBlock::new();
        headers.push(CONN_HEADER, conn.text().as_str());
        if let Some(user) = user {
            user.push_headers(&mut headers);
        }
        if let Some(info) = info {
            headers.push(INFO_HEADER, info);
        }
        let mut body = self.present.to_json();
        body["channel"] = self.channel.as_str().into();
        let payload = body.to_string().into_bytes().into();
        Some(Message::new(subject, None, Some(headers.finish()), payload))
    }
}

/// A connection of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    pub conn: ConnId,
    /// The route's path, as in the configuration.
    pub route: Box<str>,
    pub peer: Box<str>,
    /// Unix time at which it has opened, in seconds.
    pub since: u64,
}

/// The connections of a user, from the shards that have reported so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    user: User,
    connected: Vec<Connected>,
    /// The number of connections, those beyond the lists included.
    count: usize,
    heard: u16,
}

/// The report of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// How many shards are asked.
    pub shards: u16,
    pub connected: Vec<Connected>,
    pub count: usize,
}

impl Whereabouts {
    pub fn new(user: &User) -> Whereabouts {
        Whereabouts { user: user.clone(), connected: Vec::new(), count: 0, heard: 0 }
    }

    /// True once every shard has reported.
    pub fn add(&mut self, found: Found) -> bool {
        self.connected.extend(found.connected);
        self.count += found.count;
        self.heard += 1;
        self.heard == found.shards
    }

    pub fn to_json(&mut self) -> String {
        self.connected.sort_by_key(|connected| connected.conn.address());
        let connected = self.connected.iter().map(|Connected { conn, route, peer, since }| {
            json!({ "conn": conn.to_string(), "shard": conn.place().0, "route": route, "peer": peer, "since": since })
        });
        let body = json!({
            "user": self.user.name(),
            "connections": self.count,
            "connected": connected.collect::<Vec<_>>(),
        });
        format!("{body}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Address;

    fn subject(name: &str) -> Subject {
        Subject::new(name).unwrap()
    }

    fn present(conn: u64, user: Option<&str>, info: Option<&str>) -> Arc<Present> {
        let (user, info) = (user.map(|name| User::new(name).unwrap()), info.map(Box::from));
        Arc::new(Present { conn: ConnId::new(None, Address::from_bits(conn)), user, info, since: 7 })
    }

    #[test]
    fn an_announcement_says_who_to_programs_and_in_its_headers() {
        let announcement = |present| Announcement { change: Change::Leave, channel: subject("room.1"), present };
        let message = announcement(present(1, Some("ann"), Some("{\"a\":\n1}"))).message().unwrap();
        assert_eq!(message.subject.as_str(), "tg.event.leave.room.1");
        assert_eq!((message.header("Tg-User"), message.header("Tg-Info")), (Some("ann"), Some("{\"a\": 1}")));
        assert_eq!(message.header("Tg-Conn"), Some("0000000000000001"));
        assert_eq!(
            std::str::from_utf8(&message.payload).unwrap(),
            "{\"channel\":\"room.1\",\"conn\":\"0000000000000001\",\"info\":{\"a\":1},\"since\":7,\"user\":\"ann\"}"
        );
        assert_eq!(announcement(present(1, None, None)).message().unwrap().header("Tg-User"), None);
    }

    #[test]
    fn whoever_may_come_back_is_there_and_marked() {
        let roster =
            Roster { listed: vec![present(1, None, None)], away: vec![present(2, Some("ann"), None)], clients: 2 };
        let json: Value = serde_json::from_str(&Roster::to_json(Some(&roster), &subject("a"))).unwrap();
        assert_eq!((&json["clients"], &json["users"]), (&json!(2), &json!(2)));
        assert_eq!((&json["present"][0]["away"], &json["present"][1]["away"]), (&Value::Null, &json!(true)));
    }

    #[test]
    fn a_user_is_found_when_the_last_shard_has_answered() {
        let connected = |bits| {
            let conn = ConnId::new(None, Address::from_bits(bits));
            Connected { conn, route: "/ws".into(), peer: "127.0.0.1:80".into(), since: 7 }
        };
        let mut whereabouts = Whereabouts::new(&User::new("ann").unwrap());
        assert!(!whereabouts.add(Found { shards: 2, connected: vec![connected(1 << 56 | 3)], count: 5 }));
        assert!(whereabouts.add(Found { shards: 2, connected: vec![connected(2)], count: 1 }));
        let json: Value = serde_json::from_str(&whereabouts.to_json()).unwrap();
        assert_eq!((&json["user"], &json["connections"]), (&json!("ann"), &json!(6)));
        assert_eq!(
            json["connected"][1],
            json!({"conn": "0100000000000003", "shard": 1, "route": "/ws", "peer": "127.0.0.1:80", "since": 7})
        );
        assert_eq!(json["connected"][0]["shard"], 0);
    }
}
