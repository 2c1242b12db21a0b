//! The operator's rules about clients and channels: which client may do what with which channel.
//!
//! ```text
//!  user.{user}.>   covers user.*.>    and is for the client whose user the token is: user.ann.inbox for ann
//!  room.{rooms}    covers room.*      and is for clients whose claim `rooms` has the token: room.7 for ["7","9"]
//!  news.>          covers news.>      and is for every client, or those whose token has what the rule requires
//!
//!  channel --Permissions::ruling--> Unruled: no rule covers it | Allowed: a rule is for the client, and allows that | Denied
//!                                   Asks: the only rules that allow it have a decider, and the first of them is to be asked
//! ```
//!
//! A rule that covers a channel denies to all others what no rule allows them. Values of claims are names: each is one token of a
//! channel, escaped as users are, so none of them is a wildcard.

use std::fmt;

use super::name;
use super::subject::{Pattern, Subject, tokens};
use super::token::Proof;
use super::user::User;

/// A use of a channel by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Subscribe, and receive what was missed meanwhile.
    Hear,
    Publish,
    /// Read what is kept.
    History,
    /// See the clients of the channel, their joins and leaves.
    Watch,
}

impl Right {
    pub const ALL: [Right; 4] = [Right::Hear, Right::Publish, Right::History, Right::Watch];

    /// As in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Right::Hear => "hear",
            Right::Publish => "publish",
            Right::History => "history",
            Right::Watch => "presence",
        }
    }

    pub fn named(word: &str) -> Option<Right> {
        Right::ALL.into_iter().find(|right| right.word() == word)
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The verdict of the rules on a client and a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// No rule covers the channel.
    Unruled,
    Allowed,
    Denied,
    /// This decider says whether.
    Asks(DeciderId),
}

/// The index of a decider among those of the configuration: the workers of a service, or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeciderId(pub u8);

/// A claim and the value that it must have.
type Condition = (Box<str>, Box<str>);

/// All rules of a configuration, and what of a token decides them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    rules: Box<[Permission]>,
    /// Claims that stand in braces; rules and proofs name them by index.
    claims: Vec<Box<str>>,
    /// The conditions of rules, in the same way.
    conditions: Vec<Vec<Condition>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Permission {
    channels: Vec<PermissionPattern>,
    rights: u8,
    condition: Option<usize>,
    decider: Option<DeciderId>,
}

/// One text of `channels`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PermissionPattern {
    /// With `*` for what stands in braces.
    scope: Pattern,
    /// The tokens that are in braces: their index in the name, and their meaning.
    braced: Vec<(usize, Braced)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Braced {
    User,
    Claim(usize),
}

/// A rule as the configuration says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionText {
    pub channels: Vec<String>,
    pub rights: Vec<Right>,
    pub required: Vec<(String, String)>,
    /// Allows nothing by itself: this decider is asked.
    pub decider: Option<DeciderId>,
}

/// The text is no pattern of channels with names in braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPermission;

impl fmt::Display for NotAPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is no pattern of channels")
    }
}

/// The name of the token in braces that stands for the client's user.
const USER: &str = "user";

/// The name in braces, if the token is one.
fn braced(token: &str) -> Option<&str> {
    token.strip_prefix('{')?.strip_suffix('}').filter(|name| !name.is_empty() && !name.contains(['{', '}']))
}

impl Permissions {
    pub fn new(texts: &[PermissionText]) -> Result<Permissions, NotAPermission> {
        let mut all = Permissions::default();
        let rules = texts.iter().map(|text| all.permission(text)).collect::<Result<_, _>>()?;
        Ok(Permissions { rules, ..all })
    }

    /// Whether a text is a pattern of channels, with names in braces or without.
    pub fn check(text: &str) -> Result<(), NotAPermission> {
        Permissions::default().pattern(text).map(drop)
    }

    fn permission(&mut self, text: &PermissionText) -> Result<Permission, NotAPermission> {
        let condition: Vec<Condition> =
            text.required.iter().map(|(claim, value)| (claim.as_str().into(), value.as_str().into())).collect();
        let condition = (!condition.is_empty()).then(|| position(&mut self.conditions, condition));
        Ok(Permission {
            channels: text.channels.iter().map(|text| self.pattern(text)).collect::<Result<_, _>>()?,
            rights: text.rights.iter().fold(0, |bits, right| bits | right.bit()),
            condition,
            decider: text.decider,
        })
    }

    fn pattern(&mut self, text: &str) -> Result<PermissionPattern, NotAPermission> {
        let mut found = Vec::new();
        let mut scope: Vec<&str> = Vec::new();
        for (index, token) in tokens(text).enumerate() {
            match braced(token) {
                Some(USER) => found.push((index, Braced::User)),
                Some(claim) => found.push((index, Braced::Claim(position(&mut self.claims, claim.into())))),
                None if token.contains(['{', '}']) => return Err(NotAPermission),
                None => {}
            }
            scope.push(braced(token).map_or(token, |_| "*"));
        }
        let scope = Pattern::new(&scope.join(".")).map_err(|_| NotAPermission)?;
        let is_of_gateway = scope.is_reserved() || scope.is_inbox();
        if is_of_gateway { Err(NotAPermission) } else { Ok(PermissionPattern { scope, braced: found }) }
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Claims whose values a proof must have ([`Proof::members`]).
    pub fn claims(&self) -> &[Box<str>] {
        &self.claims
    }

    /// Conditions of which a proof must know whether they hold ([`Proof::conditions`]).
    pub fn conditions(&self) -> &[Vec<Condition>] {
        &self.conditions
    }

    /// Whether the client may do that.
    pub fn ruling(&self, right: Right, user: Option<&User>, proof: Option<&Proof>, channel: &Subject) -> Ruling {
        let (mut is_covered, mut decider) = (false, None);
        for rule in &self.rules {
            for pattern in &rule.channels {
                if !pattern.scope.matches(channel.as_str()) {
                    continue;
                }
                is_covered = true;
                if rule.rights & right.bit() != 0
                    && rule.condition.is_none_or(|index| proof.is_some_and(|proof| proof.conditions & 1 << index != 0))
                    && pattern.is_for(user, proof, channel)
                {
                    match rule.decider {
                        None => return Ruling::Allowed,
                        own => decider = decider.or(own),
                    }
                }
            }
        }
        match decider {
            Some(decider) => Ruling::Asks(decider),
            None if is_covered => Ruling::Denied,
            None => Ruling::Unruled,
        }
    }
}

impl PermissionPattern {
    /// Whether the tokens in braces are the client's, in a channel that the scope matches.
    fn is_for(&self, user: Option<&User>, proof: Option<&Proof>, channel: &Subject) -> bool {
        self.braced.iter().all(|(index, braced)| {
            let Some(token) = tokens(channel.as_str()).nth(*index) else { return false };
            match braced {
                Braced::User => user.is_some_and(|user| user.token() == token),
                Braced::Claim(claim) => {
                    let names = proof.and_then(|proof| proof.members.get(*claim));
                    names.is_some_and(|names| names.iter().any(|name| **name == *token))
                }
            }
        })
    }
}

/// The index of an item, which is added if it is not there.
fn position<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|other| *other == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

/// The token of a claim's value; `None` for a value that names nothing.
pub fn member(value: &str) -> Option<Box<str>> {
    name::encode(value).ok().map(|token| token.as_ref().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(channels: &[&str], rights: &[Right], required: &[(&str, &str)]) -> PermissionText {
        PermissionText {
            channels: channels.iter().map(|text| (*text).to_owned()).collect(),
            rights: rights.to_vec(),
            required: required.iter().map(|(claim, value)| ((*claim).to_owned(), (*value).to_owned())).collect(),
            decider: None,
        }
    }

    #[test]
    fn a_decider_is_asked_where_no_rule_allows_it_without() {
        let asking = |channels: &[&str], rights: &[Right], id| PermissionText {
            decider: Some(DeciderId(id)),
            ..rule(channels, rights, &[])
        };
        let rules = [
            asking(&["room.{user}.>"], &[Right::Hear], 0),
            asking(&["room.>"], &[Right::Hear, Right::Publish], 1),
            rule(&["room.lobby.>"], &[Right::Hear], &[]),
        ];
        let permissions = Permissions::new(&rules).unwrap();
        for (right, channel, expected) in [
            (Right::Hear, "room.ann.1", Ruling::Asks(DeciderId(0))),
            (Right::Hear, "room.bob.1", Ruling::Asks(DeciderId(1))),
            (Right::Publish, "room.ann.1", Ruling::Asks(DeciderId(1))),
            (Right::Hear, "room.lobby.1", Ruling::Allowed),
            (Right::Publish, "room.lobby.1", Ruling::Asks(DeciderId(1))),
            (Right::History, "room.lobby.1", Ruling::Denied),
            (Right::Hear, "news", Ruling::Unruled),
        ] {
            let ann = user("ann");
            assert_eq!(permissions.ruling(right, Some(&ann), None, &subject(channel)), expected, "{right:?} {channel}");
        }
    }

    fn subject(name: &str) -> Subject {
        Subject::new(name).unwrap()
    }

    fn user(name: &str) -> User {
        User::new(name).unwrap()
    }

    /// A proof whose first claim has these values.
    fn proof(name: &str, members: &[&str]) -> Proof {
        let members = vec![members.iter().filter_map(|value| member(value)).collect()];
        Proof { members, ..Proof::of(user(name), 1) }
    }

    #[test]
    fn a_channel_of_a_user_is_its_owners() {
        let permissions = Permissions::new(&[rule(&["user.{user}.>"], &[Right::Hear], &[])]).unwrap();
        let ruling = |name: Option<&str>, right, channel| {
            permissions.ruling(right, name.map(user).as_ref(), None, &subject(channel))
        };
        for (name, right, channel, expected) in [
            (Some("ann"), Right::Hear, "user.ann.inbox", Ruling::Allowed),
            (Some("ann"), Right::Hear, "user.ann.inbox.1", Ruling::Allowed),
            (Some("ann"), Right::Publish, "user.ann.inbox", Ruling::Denied),
            (Some("bob"), Right::Hear, "user.ann.inbox", Ruling::Denied),
            (None, Right::Hear, "user.ann.inbox", Ruling::Denied),
            (Some("*"), Right::Hear, "user.ann.inbox", Ruling::Denied),
            (Some("ann.inbox"), Right::Hear, "user.ann.inbox", Ruling::Denied),
            (Some("ann@example.org"), Right::Hear, "user.ann@example%2Eorg.inbox", Ruling::Allowed),
            (Some("ann"), Right::Hear, "user.ann", Ruling::Unruled),
            (Some("ann"), Right::Hear, "news", Ruling::Unruled),
        ] {
            assert_eq!(ruling(name, right, channel), expected, "{name:?} {right:?} {channel}");
        }
    }

    #[test]
    fn a_room_is_its_members() {
        let rules = [
            rule(&["room.{rooms}", "room.{rooms}.typing"], &[Right::Hear, Right::Publish], &[]),
            rule(&["room.lobby"], &[Right::Hear], &[]),
        ];
        let permissions = Permissions::new(&rules).unwrap();
        assert_eq!(permissions.claims(), ["rooms".into()]);
        let ann = proof("ann", &["7", "a.b", "*"]);
        let ruling = |right, channel| permissions.ruling(right, Some(&ann.user), Some(&ann), &subject(channel));
        for (channel, expected) in [
            ("room.7", Ruling::Allowed),
            ("room.7.typing", Ruling::Allowed),
            ("room.a%2Eb", Ruling::Allowed),
            ("room.8", Ruling::Denied),
            ("room.8.typing", Ruling::Denied),
            ("room.lobby", Ruling::Denied),
            ("room.7.other", Ruling::Unruled),
        ] {
            assert_eq!(ruling(Right::Publish, channel), expected, "{channel}");
        }
        assert_eq!(ruling(Right::Hear, "room.lobby"), Ruling::Allowed, "one of the rules is enough");
        assert_eq!(permissions.ruling(Right::Hear, None, None, &subject("room.7")), Ruling::Denied);
    }

    #[test]
    fn what_a_rule_requires_is_the_tokens_to_prove() {
        let rules = [rule(&["news.>"], &Right::ALL, &[("role", "editor")]), rule(&["news.>"], &[Right::Hear], &[])];
        let permissions = Permissions::new(&rules).unwrap();
        assert_eq!(permissions.conditions(), [vec![("role".into(), "editor".into())]]);
        let editor = Proof { conditions: 1, ..Proof::of(user("ann"), 1) };
        let reader = Proof::of(user("bob"), 1);
        for (proof, right, expected) in [
            (Some(&editor), Right::Publish, Ruling::Allowed),
            (Some(&reader), Right::Publish, Ruling::Denied),
            (Some(&reader), Right::Hear, Ruling::Allowed),
            (None, Right::Publish, Ruling::Denied),
        ] {
            assert_eq!(permissions.ruling(right, None, proof, &subject("news.1")), expected, "{right:?}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "a..b", "tg.user.{user}", "_INBOX.>", "a.{}", "a.x{user}", "a.{user", ">.a", "a.{{user}}"] {
            assert_eq!(Permissions::check(text), Err(NotAPermission), "{text}");
        }
        for text in ["a", "{user}", "a.{user}.>", "*.{rooms}", ">"] {
            assert_eq!(Permissions::check(text), Ok(()), "{text}");
        }
    }

    fn token() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["a", "b", "ann", "bob", "7"]).prop_map(str::to_owned)
    }

    fn pattern() -> impl Strategy<Value = String> {
        let part = prop_oneof![token(), Just("*".to_owned()), Just("{user}".to_owned()), Just("{rooms}".to_owned())];
        (prop::collection::vec(part, 1..4), any::<bool>()).prop_map(|(mut parts, has_rest)| {
            parts.extend(has_rest.then(|| ">".to_owned()));
            parts.join(".")
        })
    }

    proptest! {
        /// The literal twins of a pattern, for one client: each has the client's own tokens where the pattern has braces.
        #[test]
        fn a_pattern_never_allows_what_its_literal_twins_deny(
            pattern in pattern(), channel in prop::collection::vec(token(), 1..5), name in token(), room in token(),
        ) {
            let channel = channel.join(".");
            let permissions = Permissions::new(&[rule(&[&pattern], &[Right::Hear], &[])]).unwrap();
            let client = proof(&name, &[&room]);
            let ruling = |right| permissions.ruling(right, Some(&client.user), Some(&client), &subject(&channel));
            let twin = pattern.replace("{user}", &name).replace("{rooms}", &room);
            let is_twins = Pattern::new(&twin).unwrap().matches(&channel);
            prop_assert_eq!(ruling(Right::Hear) == Ruling::Allowed, is_twins);
            prop_assert!(ruling(Right::Publish) != Ruling::Allowed);
            // To a client without a name a pattern with braces allows nothing.
            let of_nameless = permissions.ruling(Right::Hear, None, None, &subject(&channel));
            prop_assert_eq!(of_nameless == Ruling::Allowed, is_twins && !pattern.contains('{'));
            let scope = pattern.replace("{user}", "*").replace("{rooms}", "*");
            let is_covered = Pattern::new(&scope).unwrap().matches(&channel);
            prop_assert_eq!(ruling(Right::Hear) != Ruling::Unruled, is_covered);
        }

        /// More rules never take away what fewer allow, and never make a channel less covered.
        #[test]
        fn rules_add_up(patterns in prop::collection::vec(pattern(), 1..5), channel in prop::collection::vec(token(), 1..5), name in token()) {
            let channel = subject(&channel.join("."));
            let client = proof(&name, &["7"]);
            let mut before = Ruling::Unruled;
            for count in 1..=patterns.len() {
                let rules: Vec<_> = patterns[..count].iter().map(|pattern| rule(&[pattern], &[Right::Hear], &[])).collect();
                let now = Permissions::new(&rules).unwrap().ruling(Right::Hear, Some(&client.user), Some(&client), &channel);
                prop_assert!(before != Ruling::Allowed || now == Ruling::Allowed);
                prop_assert!(before == Ruling::Unruled || now != Ruling::Unruled);
                before = now;
            }
        }
    }
}
