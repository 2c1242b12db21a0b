//! Why a token is not taken: what the client is told follows from the kind, what the log says from the fault.

use std::fmt;

use super::Algorithm;
use crate::limits::TOKEN_INFO_BYTES_MAX;
use crate::proto::name::NameError;
use crate::proto::subject::SubjectError;

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// There is none where one is needed.
    Missing,
    /// Another token is needed.
    Expired,
    /// The same token will do later.
    NotYetValid,
    /// This token will never do.
    Invalid(Fault),
}

/// The fault of a token that is never accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The route has no key to check it with.
    NoKey,
    /// Not three parts of base64url with dots between them (RFC 7515 section 3.1).
    Form,
    /// The first part is no JSON object with `alg`.
    Header,
    /// `crit` names extensions, and none is understood here (RFC 7515 section 4.1.11).
    Extension,
    /// Signed in another way than the key of the route is for.
    Algorithm(Algorithm),
    Signature(Algorithm),
    /// The second part is no JSON object in which each name stands once (RFC 7519 section 4).
    Claims,
    /// Neither a text nor a whole number.
    NoText(Claim),
    /// No number of seconds (RFC 7519 section 2, NumericDate).
    NoDate(Claim),
    User(NameError),
    Channel(Claim, SubjectError),
    /// A channel of the gateway's own, or an inbox.
    Reserved(Claim),
    /// `channels` is no list.
    NoList,
    InfoTooLong,
    /// A token of a subscription, shown by a client that connects.
    OfSubscription,
    /// A token of a subscription that names no channel.
    NoChannel,
    OtherUser,
    OtherChannel,
}

/// A claim that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    Sub,
    Exp,
    Nbf,
    Channels,
    Channel,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Refused {
        Refused::Invalid(fault)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Missing => f.write_str("there is none, and the route wants one"),
            Refused::Expired => f.write_str("its claim \"exp\" is a time that is over"),
            Refused::NotYetValid => f.write_str("its claim \"nbf\" is a time that is to come"),
            Refused::Invalid(fault) => fault.fmt(f),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoKey => f.write_str("the route has no key to check it with (websocket.token)"),
            Fault::Form => f.write_str("it is no JWT: expected three parts of base64url with dots between them"),
            Fault::Header => f.write_str("its header is no JSON object with \"alg\""),
            Fault::Extension => f.write_str("its header demands extensions (\"crit\"), and none is understood here"),
            Fault::Algorithm(ours) => write!(f, "its header has another \"alg\"; the key of the route is for {ours}"),
            Fault::Signature(ours) => write!(f, "its signature ({ours}) is not of the key of the route"),
            Fault::Claims => f.write_str("its claims are no JSON object in which each name stands once"),
            Fault::NoText(claim) => write!(f, "its claim {claim} is neither a text nor a whole number"),
            Fault::NoDate(claim) => write!(f, "its claim {claim} is no number of seconds of Unix time"),
            Fault::User(error) => write!(f, "its claim {} is no user: {error}", Claim::Sub),
            Fault::Channel(claim, error) => write!(f, "its claim {claim} has a name that is no channel: {error}"),
            Fault::Reserved(claim) => write!(f, "its claim {claim} has a name that is nobody's channel (tg., _INBOX)"),
            Fault::NoList => write!(f, "its claim {} is no list of channels", Claim::Channels),
            Fault::InfoTooLong => write!(f, "its claim \"info\" has more than {TOKEN_INFO_BYTES_MAX} bytes"),
            Fault::OfSubscription => {
                write!(f, "its claim {} makes it one of a subscription, and a client connects with it", Claim::Channel)
            }
            Fault::NoChannel => write!(f, "its claim {} is missing, which a subscription needs", Claim::Channel),
            Fault::OtherUser => write!(f, "its claim {} is another user than the one who shows it", Claim::Sub),
            Fault::OtherChannel => write!(f, "its claim {} is another channel than the one asked for", Claim::Channel),
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
        })
    }
}
