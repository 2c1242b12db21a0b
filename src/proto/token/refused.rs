//! Reasons for which a token is refused: the kind decides what the client is told, the fault what is logged.

use std::fmt;

use super::Algorithm;
use crate::limits::{TOKEN_BYTES_MAX, TOKEN_INFO_BYTES_MAX};
use crate::proto::name::NameError;
use crate::proto::subject::SubjectError;

/// The reason why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenRefusal {
    /// The route requires a token, and there is none.
    Missing,
    /// Another token is required.
    Expired,
    /// The same token will be valid later.
    NotYetValid,
    /// Its issuer's keys are not known, or not well enough: the same token may be valid in a moment.
    Unsettled,
    /// This token will never be valid.
    Invalid(TokenFault),
}

/// The fault of a token that is never accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenFault {
    /// The route has no key to verify it.
    NoKey,
    /// Not three parts of base64url with dots between them (RFC 7515 section 3.1).
    Form,
    /// The first part is not a JSON object with `alg`.
    Header,
    /// `crit` names extensions, and none is supported (RFC 7515 section 4.1.11).
    Extension,
    /// More than [`TOKEN_BYTES_MAX`] bytes.
    TooLong,
    /// Signed with an algorithm that is not allowed, or with none.
    NotAllowed,
    /// None of the issuer's keys has the name in the header.
    UnknownKey,
    /// `iss` is not the issuer that is expected.
    Issuer,
    /// `aud` is not, and does not list, the audience that is expected.
    Audience,
    /// A claim that the gateway requires is missing or has another value.
    Required,
    /// A claim that servers are told has control characters, which no header field can have.
    NoField,
    /// An operator has revoked it.
    Revoked,
    /// There is no `exp`.
    NoEnd,
    /// There is no user.
    NoUser,
    /// Signed with another algorithm than that of the route's key.
    Algorithm(Algorithm),
    Signature(Algorithm),
    /// The second part is not a JSON object in which each name appears once (RFC 7519 section 4).
    Claims,
    /// The claim is neither a text nor a whole number.
    NoText(Claim),
    /// The claim is not a number of seconds (RFC 7519 section 2, NumericDate).
    NoDate(Claim),
    User(NameError),
    Channel(Claim, SubjectError),
    /// A channel of the gateway's own, or an inbox.
    Reserved(Claim),
    /// `channels` is not a list.
    NoList,
    /// `publish` of a subscription token is neither `true` nor `false`.
    NoSwitch,
    InfoTooLong,
    /// A subscription token, presented by a client that connects.
    OfSubscription,
    /// A subscription token that names no channel.
    NoChannel,
    OtherUser,
    OtherChannel,
}

/// A claim with a meaning here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    Sub,
    Exp,
    Nbf,
    Channels,
    Channel,
    Jti,
    Sid,
    /// The one that the configuration names.
    User,
}

impl From<TokenFault> for TokenRefusal {
    fn from(fault: TokenFault) -> TokenRefusal {
        TokenRefusal::Invalid(fault)
    }
}

impl fmt::Display for TokenRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenRefusal::Missing => f.write_str("there is none, and the route wants one"),
            TokenRefusal::Expired => f.write_str("its claim \"exp\" is a time that is over"),
            TokenRefusal::NotYetValid => f.write_str("its claim \"nbf\" is a time that is to come"),
            TokenRefusal::Unsettled => f.write_str("its issuer's keys are being fetched; try again"),
            TokenRefusal::Invalid(fault) => fault.fmt(f),
        }
    }
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenFault::NoKey => f.write_str("the route has no key to check it with (websocket.token)"),
            TokenFault::Form => f.write_str("it is no JWT: expected three parts of base64url with dots between them"),
            TokenFault::Header => f.write_str("its header is no JSON object with \"alg\""),
            TokenFault::Extension => {
                f.write_str("its header demands extensions (\"crit\"), and none is understood here")
            }
            TokenFault::TooLong => write!(f, "it has more than {TOKEN_BYTES_MAX} bytes"),
            TokenFault::NotAllowed => f.write_str("its header has an \"alg\" that is not allowed here"),
            TokenFault::UnknownKey => f.write_str("its header names a key (\"kid\") that the issuer does not publish"),
            TokenFault::Issuer => f.write_str("its claim \"iss\" is not the issuer that is expected"),
            TokenFault::Audience => f.write_str("its claim \"aud\" does not name the audience that is expected"),
            TokenFault::Required => f.write_str("a claim that is required is missing or has another value"),
            TokenFault::NoField => f.write_str("a claim that goes to servers has control characters"),
            TokenFault::Revoked => f.write_str("it is revoked"),
            TokenFault::NoEnd => write!(f, "its claim {} is missing: a token has to end", Claim::Exp),
            TokenFault::NoUser => f.write_str("its claim for the user is missing"),
            TokenFault::Algorithm(ours) => {
                write!(f, "its header has another \"alg\"; the key of the route is for {ours}")
            }
            TokenFault::Signature(ours) => write!(f, "its signature ({ours}) is not of the key of the route"),
            TokenFault::Claims => f.write_str("its claims are no JSON object in which each name stands once"),
            TokenFault::NoText(claim) => write!(f, "its claim {claim} is neither a text nor a whole number"),
            TokenFault::NoDate(claim) => write!(f, "its claim {claim} is no number of seconds of Unix time"),
            TokenFault::User(error) => write!(f, "its claim {} is no user: {error}", Claim::Sub),
            TokenFault::Channel(claim, error) => write!(f, "its claim {claim} has a name that is no channel: {error}"),
            TokenFault::Reserved(claim) => {
                write!(f, "its claim {claim} has a name that is nobody's channel (tg., _INBOX)")
            }
            TokenFault::NoList => write!(f, "its claim {} is no list of channels", Claim::Channels),
            TokenFault::NoSwitch => f.write_str("its claim \"publish\" is neither true nor false"),
            TokenFault::InfoTooLong => write!(f, "its claim \"info\" has more than {TOKEN_INFO_BYTES_MAX} bytes"),
            TokenFault::OfSubscription => {
                write!(f, "its claim {} makes it one of a subscription, and a client connects with it", Claim::Channel)
            }
            TokenFault::NoChannel => write!(f, "its claim {} is missing, which a subscription needs", Claim::Channel),
            TokenFault::OtherUser => write!(f, "its claim {} is another user than the one who shows it", Claim::Sub),
            TokenFault::OtherChannel => {
                write!(f, "its claim {} is another channel than the one asked for", Claim::Channel)
            }
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Claim::Sub => "\"sub\"",
            Claim::Exp => "\"exp\"",
            Claim::Nbf => "\"nbf\"",
            Claim::Channels => "\"channels\"",
            Claim::Channel => "\"channel\"",
            Claim::Jti => "\"jti\"",
            Claim::Sid => "\"sid\"",
            Claim::User => "for the user",
        })
    }
}
