//! Key sets that issuers publish, as one shard knows them.
//!
//! ```text
//!  outbound --a fetch has ended--> learn --> the set, and when it was fetched --> find: the keys of a token's auth
//!                                    |                                              '-- none, or too old: no token of it passes
//!                                    '-- a key is gone: the tokens that were verified before are verified again
//! ```

use std::sync::Arc;

use super::route::AuthId;
use crate::limits::KEY_ASKS_APART;
use crate::proto::token::KeySet;

/// A key set with its age.
#[derive(Clone, Debug)]
pub struct PublishedKeys {
    pub set: Arc<KeySet>,
    /// Seconds of Unix time.
    pub fetched_s: u64,
}

/// The sets of a shard.
#[derive(Default)]
pub(super) struct KnownKeys {
    /// By auth; may be shorter.
    of: Vec<OneSet>,
    /// Auths with tokens whose key is not known, beside those of requests that wait.
    wanted: Vec<AuthId>,
}

/// Of one auth.
#[derive(Clone, Default)]
struct OneSet {
    /// `None` until a fetch has succeeded.
    last: Option<PublishedKeys>,
    /// When the last fetch ended, whatever its outcome, in seconds of Unix time.
    tried_s: u64,
}

impl KnownKeys {
    /// The keys of an auth, unless they are older than `stale_s`.
    pub(super) fn find(&self, auth: AuthId, unix_now: u64, stale_s: u64) -> Option<Arc<KeySet>> {
        let last = self.of.get(usize::from(auth.0))?.last.as_ref()?;
        (unix_now.saturating_sub(last.fetched_s) <= stale_s).then(|| last.set.clone())
    }

    /// Whether a fetch could tell more: the last one was not just now.
    pub(super) fn may_ask(&self, auth: AuthId, unix_now: u64) -> bool {
        let tried_s = self.of.get(usize::from(auth.0)).map_or(0, |own| own.tried_s);
        // A clock that was set back must not keep it from asking.
        unix_now.abs_diff(tried_s) >= KEY_ASKS_APART.as_secs()
    }

    /// A fetch has ended. True if a key has left the set: what was verified with it must not pass.
    pub(super) fn learn(&mut self, auth: AuthId, fetched: Option<&PublishedKeys>, unix_now: u64) -> bool {
        let index = usize::from(auth.0);
        if self.of.len() <= index {
            self.of.resize(index + 1, OneSet::default());
        }
        let own = &mut self.of[index];
        own.tried_s = unix_now;
        let Some(fetched) = fetched else { return false };
        let earlier = own.last.replace(fetched.clone());
        earlier.is_some_and(|earlier| !fetched.set.has_all_of(&earlier.set))
    }

    /// A token of this auth would be known if its keys were fetched.
    pub(super) fn want(&mut self, auth: AuthId) {
        if !self.wanted.contains(&auth) {
            self.wanted.push(auth);
        }
    }

    pub(super) fn take_wanted(&mut self) -> Vec<AuthId> {
        std::mem::take(&mut self.wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::token::Algorithm;

    const AUTH: AuthId = AuthId(1);

    fn keys(secrets: &[&[u8]], fetched_s: u64) -> PublishedKeys {
        let allowed = [Algorithm::Hs256].into_iter().collect();
        let set = secrets.first().map(|secret| KeySet::secret(secret, allowed).unwrap()).unwrap_or_default();
        PublishedKeys { set: set.into(), fetched_s }
    }

    #[test]
    fn keys_hold_until_they_are_too_old() {
        let mut sets = KnownKeys::default();
        assert!(sets.find(AUTH, 100, 10).is_none(), "never fetched");
        assert!(!sets.learn(AUTH, None, 100) && sets.find(AUTH, 100, 10).is_none(), "a fetch that failed");
        sets.learn(AUTH, Some(&keys(&[b"one"], 100)), 100);
        sets.learn(AUTH, None, 105);
        for (now, is_found) in [(90, true), (100, true), (110, true), (111, false)] {
            assert_eq!(sets.find(AUTH, now, 10).is_some(), is_found, "{now}");
        }
        assert!(sets.find(AuthId(0), 100, 10).is_none() && sets.find(AuthId(9), 100, 10).is_none());
    }

    #[test]
    fn a_key_that_is_gone_is_noticed_and_one_more_is_not() {
        let mut sets = KnownKeys::default();
        assert!(!sets.learn(AUTH, Some(&keys(&[], 1)), 1));
        assert!(!sets.learn(AUTH, Some(&keys(&[b"one"], 2)), 2));
        assert!(!sets.learn(AUTH, Some(&keys(&[b"one"], 3)), 3), "the same");
        assert!(sets.learn(AUTH, Some(&keys(&[b"two"], 4)), 4));
        assert!(sets.learn(AUTH, Some(&keys(&[], 5)), 5));
    }

    #[test]
    fn fetches_are_so_far_apart_whatever_the_clock_does() {
        let (mut sets, apart) = (KnownKeys::default(), KEY_ASKS_APART.as_secs());
        assert!(sets.may_ask(AUTH, 1_000));
        sets.learn(AUTH, None, 1_000);
        for (now, may_ask) in [(1_000, false), (999 + apart, false), (1_000 + apart, true), (10, true)] {
            assert_eq!(sets.may_ask(AUTH, now), may_ask, "{now}");
        }
        sets.want(AUTH);
        sets.want(AUTH);
        assert_eq!((sets.take_wanted(), sets.take_wanted()), (vec![AUTH], vec![]));
    }
}
