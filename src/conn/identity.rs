//! Who a client is; what its messages to a worker say about it.

use crate::proto::subject::Subject;
use crate::proto::user::User;

/// A client that has opened a stream. Most have no name and publish nothing: for those it is a word.
#[derive(Debug)]
pub struct Identity {
    rare: Option<Box<Rare>>,
}

#[derive(Debug)]
struct Rare {
    user: Option<User>,
    channel: Option<Subject>,
    since: u64,
}

impl Identity {
    /// `channel`: where its messages go, on routes that let clients publish.
    pub fn new(user: Option<User>, channel: Option<Subject>) -> Identity {
        let is_rare = user.is_some() || channel.is_some();
        Identity { rare: is_rare.then(|| Box::new(Rare { user, channel, since: 0 })) }
    }

    /// The same client, whose stream has begun at this Unix time.
    pub fn begun(mut self, since: u64) -> Identity {
        if let Some(rare) = &mut self.rare {
            rare.since = since;
        }
        self
    }

    /// When its stream has begun, in seconds of Unix time; of whoever has a name.
    pub fn since(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.since)
    }

    pub fn user(&self) -> Option<&User> {
        self.rare.as_ref()?.user.as_ref()
    }

    /// The channel that its messages go to.
    pub fn channel(&self) -> Option<&Subject> {
        self.rare.as_ref()?.channel.as_ref()
    }
}
