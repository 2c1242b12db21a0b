//! The rights of a client to a channel: the configuration's permissions, the claims of its token, and its route.
//!
//! ```text
//!  permissions: Allowed --> yes       Denied --> only if the token's own claim lists the channel
//!               Unruled --> the claim, if the auth has one for that, and the route
//! ```

use super::Identity;
use super::route::is_among;
use crate::proto::permission::{Permissions, Right, Ruling};
use crate::proto::subject::{Pattern, Subject};

/// The permissions of the configuration, and the client that they are asked for.
#[derive(Clone, Copy)]
pub(super) struct Rights<'a> {
    permissions: &'a Permissions,
    client: &'a Identity,
}

impl<'a> Rights<'a> {
    pub(super) fn new(permissions: &'a Permissions, client: &'a Identity) -> Rights<'a> {
        Rights { permissions, client }
    }

    /// Whether it may do that with a channel of its route. `is_named`: the configuration has the whole name, so the client has
    /// not chosen it.
    pub(super) fn on_route(self, right: Right, channel: &Subject, is_named: bool) -> bool {
        match self.ruling(right, channel) {
            Ruling::Allowed => true,
            Ruling::Denied => self.claimed(right, channel) == Some(true),
            Ruling::Unruled => is_named || self.claimed(right, channel) != Some(false),
        }
    }

    /// Whether it may do that with a channel that a command names, on a route with these patterns. A route without any leaves it
    /// to permissions and claims.
    pub(super) fn by_command(self, right: Right, channel: &Subject, patterns: &[Pattern]) -> bool {
        let is_listed = is_among(patterns, channel);
        let is_of_route = is_listed || patterns.is_empty() && !channel.is_reserved() && !channel.is_inbox();
        match (self.ruling(right, channel), self.claimed(right, channel)) {
            (Ruling::Allowed, _) | (_, Some(true)) => is_of_route,
            (Ruling::Denied, _) | (_, Some(false)) => false,
            (Ruling::Unruled, None) => is_listed,
        }
    }

    /// Whether it may ask about a channel; `is_open`: it may if no permission says otherwise.
    pub(super) fn about(self, right: Right, channel: &Subject, is_open: impl FnOnce() -> bool) -> bool {
        match self.ruling(right, channel) {
            Ruling::Allowed => true,
            Ruling::Denied => self.claimed(right, channel) == Some(true),
            Ruling::Unruled => is_open(),
        }
    }

    fn ruling(self, right: Right, channel: &Subject) -> Ruling {
        let proof = self.client.proof().map(|proof| &**proof);
        self.permissions.ruling(right, self.client.user(), proof, channel)
    }

    /// Whether the token's claim lists the channel; `None`: there is no claim for that.
    fn claimed(self, right: Right, channel: &Subject) -> Option<bool> {
        let proof = self.client.proof()?;
        let patterns = match right {
            Right::Publish => proof.publish.as_ref()?,
            Right::Hear | Right::History | Right::Watch => proof.channels.as_ref()?,
        };
        Some(is_among(patterns, channel))
    }
}
