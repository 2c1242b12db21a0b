//! Numbers that clients act on: errors in replies, reasons for the end of a subscription, disconnect codes and what
//! they advise.
//!
//! | disconnect code | a client |
//! |---|---|
//! | 3000–3499, 4000–4499 | connects again, with back-off and jitter |
//! | 3500–3999, 4500–4999 | stays away |
//! | below 3000 | WebSocket's own: connects again, except after 1009 |

use crate::proto::CloseReason;

/// An error in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    pub number: u32,
    pub words: &'static str,
    /// The same command may succeed later; the packages retry where they can.
    pub is_temporary: bool,
}

impl Code {
    pub const INTERNAL: Code = Code::temporary(100, "internal server error");
    pub const UNAUTHORIZED: Code = Code::lasting(101, "unauthorized");
    pub const PERMISSION_DENIED: Code = Code::lasting(103, "permission denied");
    pub const METHOD_NOT_FOUND: Code = Code::lasting(104, "method not found");
    pub const ALREADY_SUBSCRIBED: Code = Code::lasting(105, "already subscribed");
    pub const LIMIT_EXCEEDED: Code = Code::lasting(106, "limit exceeded");
    pub const BAD_REQUEST: Code = Code::lasting(107, "bad request");
    pub const NOT_AVAILABLE: Code = Code::lasting(108, "not available");
    pub const TOKEN_EXPIRED: Code = Code::lasting(109, "token expired");
    pub const TOO_MANY_REQUESTS: Code = Code::temporary(111, "too many requests");
    pub const UNRECOVERABLE_POSITION: Code = Code::lasting(112, "unrecoverable position");

    /// For a refresh: the token in use is still valid, and the application may supply another one.
    pub const TOKEN_EXPIRED_AGAIN: Code = Code { is_temporary: true, ..Code::TOKEN_EXPIRED };
    /// The same token will be valid later. Centrifugo sends 109, after which a client without a second token gives up.
    pub const TOKEN_NOT_YET_VALID: Code = Code { words: "token not valid yet", ..Code::INTERNAL };

    /// The route's service has no worker. The protocol has no code of its own for that.
    pub const NO_WORKER: Code = Code { words: "no worker serves this now", ..Code::INTERNAL };
    /// No worker answered in time. The protocol has no code for that either.
    pub const NO_ANSWER: Code = Code { words: "the worker did not answer in time", ..Code::INTERNAL };

    /// The application has not decided whether the client may do that. The protocol has no code for that either.
    pub const UNDECIDED: Code = Code { words: "no decision about this permission now", ..Code::INTERNAL };

    /// An answer to no open question: it was answered before, or never asked. The same for acknowledgements.
    pub const NOT_ASKED: Code = Code { words: "nobody waits for that", ..Code::NOT_AVAILABLE };

    const fn temporary(number: u32, words: &'static str) -> Code {
        Code { number, words, is_temporary: true }
    }

    const fn lasting(number: u32, words: &'static str) -> Code {
        Code { number, words, is_temporary: false }
    }
}

/// The reason why the gateway ends a subscription. From 2500 on, the packages resubscribe by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribed {
    pub code: u32,
    pub words: &'static str,
}

impl Unsubscribed {
    pub const BY_WORKER: Unsubscribed = Unsubscribed { code: 2000, words: "server unsubscribe" };
    pub const INSUFFICIENT_STATE: Unsubscribed = Unsubscribed { code: 2500, words: "insufficient state" };
    pub const EXPIRED: Unsubscribed = Unsubscribed { code: 2501, words: "subscription expired" };
}

/// Code and reason of a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect {
    pub code: u16,
    pub words: &'static str,
}

/// Code and reason for each close reason.
const DISCONNECTS: &[(CloseReason, Disconnect)] = &[
    (CloseReason::Drain, Disconnect { code: 3001, words: "shutdown" }),
    (CloseReason::NoWorker, Disconnect { code: 3004, words: "internal server error" }),
    (CloseReason::Overload, Disconnect { code: 3004, words: "internal server error" }),
    (CloseReason::WaitingFull, Disconnect { code: 3008, words: "slow" }),
    (CloseReason::ArrivingFull, Disconnect { code: 3004, words: "internal server error" }),
    (CloseReason::TokenExpired, Disconnect { code: 3005, words: "connection expired" }),
    (CloseReason::SlowConsumer, Disconnect { code: 3008, words: "slow" }),
    (CloseReason::NoPong, Disconnect { code: 3012, words: "no pong" }),
    (CloseReason::InvalidToken, Disconnect { code: 3500, words: "invalid token" }),
    (CloseReason::TokensRefused, Disconnect { code: 3500, words: "invalid token" }),
    (CloseReason::BadCommand, Disconnect { code: 3501, words: "bad request" }),
    (CloseReason::NotConnected, Disconnect { code: 3502, words: "stale" }),
    (CloseReason::ClosedByWorker, Disconnect { code: 3503, words: "force disconnect" }),
    (CloseReason::Kicked, Disconnect { code: 3503, words: "force disconnect" }),
    (CloseReason::SentBack, Disconnect { code: 3001, words: "shutdown" }),
    (CloseReason::TokenRevoked, Disconnect { code: 3503, words: "force disconnect" }),
    (CloseReason::TooManyChannels, Disconnect { code: 3505, words: "channel limit" }),
];

/// The close frame for a reason, if the protocol has one. Errors of the WebSocket layer keep the codes of RFC 6455.
pub fn disconnect(reason: CloseReason) -> Option<Disconnect> {
    const NEVER_ON_THE_WIRE: u16 = 1006;
    let row = reason.row();
    let own = DISCONNECTS.iter().find(|(own, _)| *own == reason).map(|(_, disconnect)| *disconnect);
    own.or(match row.websocket_code {
        NEVER_ON_THE_WIRE => None,
        code => Some(Disconnect { code, words: row.words }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::close::TABLE;

    #[test]
    fn the_advice_of_each_end_is_the_one_that_helps() {
        let is_final = |code: u16| matches!(code, 3500..=3999 | 4500..=4999);
        for (reason, disconnect) in DISCONNECTS {
            let comes_back = matches!(
                reason,
                CloseReason::Drain
                    | CloseReason::SentBack
                    | CloseReason::NoWorker
                    | CloseReason::Overload
                    | CloseReason::ArrivingFull
                    | CloseReason::WaitingFull
                    | CloseReason::TokenExpired
                    | CloseReason::SlowConsumer
                    | CloseReason::NoPong
            );
            assert_eq!(!is_final(disconnect.code), comes_back, "{reason:?}");
        }
        for row in TABLE {
            if let Some(said) = disconnect(row.reason) {
                assert!(said.words.len() <= 123, "{}", row.name);
                let is_own = matches!(said.code, 3000..=4999);
                assert!(is_own || matches!(said.code, 1000..=1015), "{}: {}", row.name, said.code);
            }
        }
        assert_eq!(disconnect(CloseReason::PeerReset), None);
        assert_eq!(disconnect(CloseReason::MessageTooBig).unwrap().code, 1009);
    }
}
