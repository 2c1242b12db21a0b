//! The rights of a client to a channel: the configuration's permissions, the claims of its token, its route, and the application's
//! decisions.
//!
//! ```text
//!  permissions: Allowed --> yes       Denied --> only if the token's own claim lists the channel
//!               Unruled --> the claim, if the auth has one for that, and the route
//!               Asks    --> as for Denied; otherwise as the application decides (`decisions`)
//! ```

use super::Identity;
use super::decisions::{DecidedRight, Decisions};
use super::route::is_among;
use super::settings::Settings;
use crate::base::Tick;
use crate::proto::authorize::{AskedRight, Decision};
use crate::proto::permission::{DeciderId, Permissions, Right, Ruling};
use crate::proto::subject::{Pattern, Subject};

/// The permissions of the configuration, and the decisions that are known now.
#[derive(Clone, Copy)]
pub(super) struct RightRules<'a> {
    permissions: &'a Permissions,
    decisions: &'a Decisions,
    /// Those for which the client has waited.
    answers: &'a [DecidedRight],
    now: Tick,
}

impl<'a> RightRules<'a> {
    pub(super) fn of(settings: &'a Settings, answers: &'a [DecidedRight], now: Tick) -> RightRules<'a> {
        RightRules { permissions: &settings.generation.permissions, decisions: &settings.decisions, answers, now }
    }

    /// The decision, if it is known.
    fn decided(&self, asked: &AskedRight) -> Option<Decision> {
        let waited = self.answers.iter().find(|answer| answer.asked == *asked).map(|answer| answer.decision);
        let remembered = |is_allowed| if is_allowed { Decision::Allowed } else { Decision::Denied };
        waited.or_else(|| self.decisions.find(asked, self.now).map(remembered))
    }
}

/// The rules, and the client that they are asked for.
#[derive(Clone, Copy)]
pub(super) struct Rights<'a> {
    rules: RightRules<'a>,
    client: &'a Identity,
}

/// Whether a client may do that.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RightVerdict {
    Allowed,
    Denied,
    /// The application should decide, and has not.
    Unclear,
    /// The application has to be asked first.
    Asks(Box<AskedRight>),
}

impl From<bool> for RightVerdict {
    fn from(is_allowed: bool) -> RightVerdict {
        if is_allowed { RightVerdict::Allowed } else { RightVerdict::Denied }
    }
}

impl<'a> Rights<'a> {
    pub(super) fn new(rules: RightRules<'a>, client: &'a Identity) -> Rights<'a> {
        Rights { rules, client }
    }

    /// Whether it may do that with a channel of its route. `is_named`: the configuration has the whole name, so the client has
    /// not chosen it.
    pub(super) fn on_route(self, right: Right, channel: &Subject, is_named: bool) -> RightVerdict {
        match self.ruling(right, channel) {
            Ruling::Allowed => RightVerdict::Allowed,
            Ruling::Unruled => (is_named || self.claimed(right, channel) != Some(false)).into(),
            ruling => self.claimed_or_decided(ruling, right, channel),
        }
    }

    /// Whether it may do that with a channel that a command names, on a route with these patterns. A route without any leaves it
    /// to permissions and claims.
    pub(super) fn by_command(self, right: Right, channel: &Subject, patterns: &[Pattern]) -> RightVerdict {
        let is_listed = is_among(patterns, channel);
        let is_of_route = is_listed || patterns.is_empty() && !channel.is_reserved() && !channel.is_inbox();
        match (self.ruling(right, channel), self.claimed(right, channel)) {
            (Ruling::Allowed, _) | (_, Some(true)) => is_of_route.into(),
            (Ruling::Asks(decider), _) if is_of_route => self.decided(decider, right, channel),
            (Ruling::Denied | Ruling::Asks(_), _) | (_, Some(false)) => RightVerdict::Denied,
            (Ruling::Unruled, None) => is_listed.into(),
        }
    }

    /// Whether it may ask about a channel; `otherwise`: if no permission says so.
    pub(super) fn about(
        self,
        right: Right,
        channel: &Subject,
        otherwise: impl FnOnce() -> RightVerdict,
    ) -> RightVerdict {
        match self.ruling(right, channel) {
            Ruling::Allowed => RightVerdict::Allowed,
            Ruling::Unruled => otherwise(),
            ruling => self.claimed_or_decided(ruling, right, channel),
        }
    }

    fn ruling(self, right: Right, channel: &Subject) -> Ruling {
        let proof = self.client.proof().map(|proof| &**proof);
        self.rules.permissions.ruling(right, self.client.user(), proof, channel)
    }

    fn claimed_or_decided(self, ruling: Ruling, right: Right, channel: &Subject) -> RightVerdict {
        match ruling {
            _ if self.claimed(right, channel) == Some(true) => RightVerdict::Allowed,
            Ruling::Asks(decider) => self.decided(decider, right, channel),
            _ => RightVerdict::Denied,
        }
    }

    fn decided(self, decider: DeciderId, right: Right, channel: &Subject) -> RightVerdict {
        let asked = AskedRight { decider, user: self.client.user().cloned(), right, channel: channel.clone() };
        match self.rules.decided(&asked) {
            Some(Decision::Allowed) => RightVerdict::Allowed,
            Some(Decision::Denied) => RightVerdict::Denied,
            Some(Decision::Unclear) => RightVerdict::Unclear,
            None => RightVerdict::Asks(Box::new(asked)),
        }
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
