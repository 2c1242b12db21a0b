//! The engine of several gateways (Redis): what a gateway asks of it, and what it says. Plain data; the channel's owner
//! makes the calls, and the thread beside the shards translates them.
//!
//! ```text
//!  owner of a channel --EngineCall--> outbound --commands--> the engine
//!                     <--EngineWord--          <--answers, pushes--
//! ```
//!
//! Every call about a channel ends in one word, or in `Down`: after that no call made before it is answered. Answers and
//! pushes may overtake each other.

pub mod entry;

use std::sync::Arc;
use std::time::Duration;

use super::channel::Keep;
use super::event::{Message, Position};
use super::subject::Subject;
use crate::base::Address;

/// What the owner of a shared channel asks of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineCall {
    /// Be subscribed to the channel, and then say where it stands: `Watching` with this serial, or `Unwatched`.
    Watch { channel: Subject, serial: u64, keep: Option<Keep> },
    /// The end of that; has no answer.
    Unwatch { channel: Subject },
    /// Take these messages: `Landed`.
    Fly(Flight),
    /// What is kept: `ReadBack`.
    Read(EngineRead),
    /// Which of these channels are ahead of these positions: `Audited`.
    Audit { channels: Vec<(Subject, Position)> },
}

impl EngineCall {
    pub fn payload_bytes(&self) -> usize {
        match self {
            EngineCall::Fly(flight) => flight.messages.iter().map(|flying| flying.message.payload.len()).sum(),
            _ => 0,
        }
    }
}

/// Messages of one channel that are published together. A channel has one flight at a time, so that its order holds however
/// often one is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    pub channel: Subject,
    /// Larger than that of every earlier flight of this shard for the channel. A flight that is repeated keeps its number, and
    /// lands once.
    pub number: u64,
    /// What the engine keeps of the channel. `None`: its messages have no positions, and land as often as they fly.
    pub keep: Option<Keep>,
    /// Values that repeat the last one are not taken.
    pub is_distinct: bool,
    /// In order; at least one.
    pub messages: Vec<FlyingMessage>,
}

/// A message, and the connection of this gateway that does not want to hear it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlyingMessage {
    pub message: Arc<Message>,
    pub except: Option<Address>,
}

/// A question for kept messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineRead {
    pub channel: Subject,
    /// Comes back with the answer.
    pub serial: u64,
    pub from: ReadFrom,
    pub keep: Keep,
    /// Most messages of the answer, and their bytes; one message may have more.
    pub messages_max: usize,
    pub bytes_max: usize,
}

/// Which of the kept messages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// The oldest after this offset.
    After(u64),
    /// The newest up to this offset.
    UpTo(u64),
}

/// What the engine says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineWord {
    /// The engine is there, and nothing is watched.
    Up,
    /// The engine is away. Calls that are not answered yet may have been heard or not; none of them is answered any more.
    Down { reason: Away },
    /// The channel is watched: each message after this head arrives.
    Watching { channel: Subject, serial: u64, head: EngineHead },
    /// The channel is not watched, or no longer: its part of the engine has moved, or is cut off.
    Unwatched { channel: Subject },
    /// A message of a watched channel, pushed by the engine.
    Arrived { channel: Subject, pushed: PushedMessage },
    /// A flight has ended.
    Landed { channel: Subject, number: u64, outcome: Result<Landing, EngineRefusal> },
    /// The answer to a read; `None`: there is none, because the engine is busy or away.
    ReadBack { channel: Subject, serial: u64, span: Option<EngineSpan> },
    /// These channels have messages that have not arrived.
    Audited { ahead: Vec<Subject> },
}

impl EngineWord {
    pub fn payload_bytes(&self) -> usize {
        match self {
            EngineWord::Arrived { pushed, .. } => pushed.message.payload.len(),
            EngineWord::ReadBack { span: Some(span), .. } => {
                span.messages.iter().map(|kept| kept.message.payload.len()).sum()
            }
            _ => 0,
        }
    }
}

/// Where a channel stands. A channel without history has no positions: its epoch is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineHead {
    pub epoch: u32,
    /// The offset of the last message; 0 if there was none.
    pub last: u64,
    /// The offset of the first message that is kept; above `last` if none is.
    pub first: u64,
}

/// One pushed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedMessage {
    /// `None` in a channel without history.
    pub at: Option<PushedPosition>,
    pub message: Arc<Message>,
    /// The connection of this gateway that published it, and does not want to hear it.
    pub except: Option<Address>,
}

/// The position of a pushed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushedPosition {
    pub position: Position,
    /// The offset of the channel's message before it; 0 if there is none.
    pub before: u64,
}

/// Consecutive kept messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSpan {
    pub head: EngineHead,
    /// The offset of the message before the first one of the span, kept or not. Nothing between it and the first is left out.
    pub after: u64,
    pub messages: Vec<KeptMessage>,
    /// There is nothing kept behind the span, up to the head.
    pub is_last: bool,
}

/// A message that the engine keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMessage {
    pub offset: u64,
    pub message: Arc<Message>,
    /// How long ago it was published, by the clock of the engine.
    pub age: Duration,
}

/// What has become of the messages of a flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landing {
    /// 0 in a channel without history.
    pub epoch: u32,
    /// One for each message of the flight, in its order; empty in a channel without history.
    pub told: Vec<LandedAs>,
    /// How many gateways have heard the last one that was taken; `None`: not known, because the flight had landed before.
    pub gateways: Option<u32>,
}

/// What the engine said to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LandedAs {
    /// Taken, at this offset.
    At(u64),
    /// Not taken: the message at this offset had the same `Nats-Msg-Id`.
    Duplicate(u64),
    /// Not taken: it says the same as the one at this offset.
    Same(u64),
}

/// Why a flight was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineRefusal {
    /// The engine has no memory left, or does not write.
    Full,
    /// It does not allow this gateway to do that.
    Forbidden,
    TooLarge,
    /// It is not there, and has not taken the messages.
    Away,
    /// The connection ended, or nothing came in time: it may have taken them.
    Unknown,
}

/// Why the engine is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Away {
    /// The first connection is not made yet.
    Starting,
    /// One line for people.
    Because(Arc<str>),
}
