//! Who is there: the clients that listen to a channel, as its owner tells.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::base::Address;
use crate::proto::subject::Subject;

/// A client that listens to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    pub conn: Address,
    pub user: Option<Box<str>>,
    /// What its token says about it: JSON.
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
            present["user"] = (&**user).into();
        }
        if let Some(info) = self.info.as_ref().and_then(|info| serde_json::from_str(info).ok()) {
            present["info"] = info;
        }
        present
    }
}

/// Everybody who listens to a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// In the order of their connections' ids.
    pub listed: Vec<Arc<Present>>,
    /// How many there are: those that found no place on the list among them.
    pub clients: usize,
}

impl Roster {
    /// Different users on the list; clients without a name count as one.
    pub fn users(&self) -> usize {
        self.listed.iter().map(|present| present.user.as_deref()).collect::<BTreeSet<_>>().len()
    }

    /// For programs; of a channel whose rule asks for no presence everything is null.
    pub fn to_json(roster: Option<&Roster>, channel: &Subject) -> String {
        let present = roster.map(|roster| roster.listed.iter().map(|present| present.to_json()).collect::<Vec<_>>());
        let body = json!({
            "channel": channel.as_str(),
            "clients": roster.map(|roster| roster.clients),
            "users": roster.map(Roster::users),
            "present": present,
        });
        format!("{body}\n")
    }
}
