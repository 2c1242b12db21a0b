//! The identity of a client, as messages to workers give it, and the token that has proven it.

use std::sync::Arc;
use std::time::Duration;

use crate::base::Tick;
use crate::proto::subject::Subject;
use crate::proto::token::Proof;
use crate::proto::user::User;

/// A client that has opened a stream. Most have no name and do not publish: then it takes one word.
#[derive(Debug, Default)]
pub struct Identity {
    rare: Option<Box<Rare>>,
}

#[derive(Debug)]
struct Rare {
    known: Known,
    channel: Option<Subject>,
    since: u64,
    /// When its stream ends, once it has begun: the token's time is over.
    until: Tick,
}

#[derive(Debug)]
enum Known {
    Nameless,
    /// The request says so.
    Named(User),
    Proven(Arc<Proof>),
}

impl Identity {
    /// `channel`: the channel that its messages go to, on routes that let clients publish.
    pub fn new(user: Option<User>, channel: Option<Subject>) -> Identity {
        let known = user.map_or(Known::Nameless, Known::Named);
        Identity::default().publishing_to(channel).known_as(known)
    }

    /// A client whose token has proven its user.
    pub fn proven(proof: Arc<Proof>) -> Identity {
        Identity::default().known_as(Known::Proven(proof))
    }

    fn known_as(mut self, known: Known) -> Identity {
        match &mut self.rare {
            None if matches!(known, Known::Nameless) => {}
            None => self.rare = Some(Box::new(Rare { known, channel: None, since: 0, until: Tick::NEVER })),
            Some(rare) => rare.known = known,
        }
        self
    }

    /// The same client, on a route that lets it publish to this channel.
    pub fn publishing_to(mut self, channel: Option<Subject>) -> Identity {
        match &mut self.rare {
            Some(rare) => rare.channel = channel,
            None if channel.is_some() => {
                self.rare = Some(Box::new(Rare { known: Known::Nameless, channel, since: 0, until: Tick::NEVER }));
            }
            None => {}
        }
        self
    }

    /// The same client, whose stream has begun now. `unix_time`: the same in seconds, which only clients with a name have.
    pub fn begun(mut self, unix_time: fn() -> u64, now: Tick) -> Identity {
        if let Some(rare) = &mut self.rare {
            rare.since = unix_time();
            rare.until = rare.known.until(rare.since, now);
        }
        self
    }

    /// The client has shown another token of the same user, at this Unix time, and now. Returns how many seconds it holds; `None`:
    /// it is another user's.
    pub fn refresh(&mut self, proof: Arc<Proof>, unix_now: u64, now: Tick) -> Option<u64> {
        let rare = self.rare.as_mut()?;
        if rare.known.user() != Some(&proof.user) {
            return None;
        }
        let ttl_s = proof.until_s.saturating_sub(unix_now);
        rare.known = Known::Proven(proof);
        rare.until = rare.known.until(unix_now, now);
        Some(ttl_s)
    }

    /// Unix time at which its stream began, in seconds; only for clients with a name.
    pub fn since(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.since)
    }

    /// When its stream has to end; never for a client without a token.
    pub fn until(&self) -> Tick {
        self.rare.as_ref().map_or(Tick::NEVER, |rare| rare.until)
    }

    pub fn user(&self) -> Option<&User> {
        self.rare.as_ref()?.known.user()
    }

    pub fn into_user(self) -> Option<User> {
        match self.rare?.known {
            Known::Nameless => None,
            Known::Named(user) => Some(user),
            Known::Proven(proof) => Some(proof.user.clone()),
        }
    }

    pub fn proof(&self) -> Option<&Arc<Proof>> {
        match &self.rare.as_ref()?.known {
            Known::Proven(proof) => Some(proof),
            Known::Nameless | Known::Named(_) => None,
        }
    }

    /// The channel that its messages go to.
    pub fn channel(&self) -> Option<&Subject> {
        self.rare.as_ref()?.channel.as_ref()
    }
}

impl Known {
    fn user(&self) -> Option<&User> {
        match self {
            Known::Nameless => None,
            Known::Named(user) => Some(user),
            Known::Proven(proof) => Some(&proof.user),
        }
    }

    fn until(&self, unix_now: u64, now: Tick) -> Tick {
        match self {
            Known::Proven(proof) => now + Duration::from_secs(proof.until_s.saturating_sub(unix_now)),
            Known::Nameless | Known::Named(_) => Tick::NEVER,
        }
    }
}
