//! The identity of a client, as messages to workers give it.

use crate::proto::subject::Subject;
use crate::proto::user::User;

/// A client that has opened a stream. Most have no name and do not publish: then it takes one word.
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
    /// `channel`: the channel that its messages go to, on routes that let clients publish.
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

    /// Unix time at which its stream began, in seconds; only for clients with a name.
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
