//! One half of a WebSocket that a server behind the gateway serves: what one end says goes to the other one as it came.
//!
//! ```text
//!  client's half (conn::proxying) --.                                          .--> tunnel of the client  --Frames--> server
//!                                    +--a 101 that answers the key: switch_*---+         ^  partner  v
//!  server's half (conn::upstream) --'                                          '--> tunnel of the server  --Frames--> client
//!
//!  one end finishes its half (FIN)  --> so does the gateway towards the other one, behind all that was said
//!  one end has gone                 --> the other one is ended without a word, as it would be without the gateway
//!  the gateway ends it: drain, kick --> both get a Close, at a border between two frames
//! ```
//!
//! - **NOTHING BEFORE THE 101**: until then the client's bytes stay in its carry.
//! - An idle half holds this struct, and no buffer. A half reads on only while its partner's outbox has room.

use std::time::Duration;

use super::outbox::Outbox;
use super::settings::Settings;
use super::websocket::WebSocket;
use super::{Identity, Peer};
use crate::base::{CoarseTick, Key, Tick};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::upstream::ServerId;
use crate::proto::ws::frame;
use crate::proto::ws::mask::Mask;
use crate::proto::ws::{Follow, Followed, FrameStand, Opcode};

/// The payload of a Close for a server: 1001, and words.
const GOING_AWAY: &[u8] = b"\x03\xe9the gateway has ended it";

/// See the module's picture.
pub struct Tunnel {
    pub end: TunnelEnd,
    /// Of the client's half.
    pub(super) client: Identity,
    /// The other half; `None` once that has ended.
    pub partner: Option<Key>,
    /// The borders of what this end says.
    follow: Follow,
    /// The partner's peer takes nothing: this end is not read.
    pub is_stopped: bool,
    /// The other end has finished its half.
    fin: Fin,
    /// It ends for this reason as soon as the frame is whole that is being sent to it.
    leaving: Option<CloseReason>,
    /// Where that ends which is sent to this end.
    hears: FrameStand,
    /// A server expects a client's frames, which are masked: of the gateway itself, with this.
    mask: Mask,
    /// Either end has said something at this time the last.
    active: CoarseTick,
    /// It may be silent for so long.
    idle_ms: u32,
}

const _: () = assert!(size_of::<Tunnel>() <= 64, "there are two for each WebSocket that is passed on");

/// Half of a tunnel as it was when the other one went.
#[derive(Clone, Copy, Debug)]
pub struct PartedHalf {
    pub end: TunnelEnd,
    pub was_stopped: bool,
    pub was_half_closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelEnd {
    Client,
    Server(ServerId),
}

/// The end of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fin {
    No,
    /// Behind what waits.
    Owed,
    Sent,
}

impl Tunnel {
    pub(super) fn new(end: TunnelEnd, partner: Key, mask: Mask, idle: Duration, now: Tick) -> Tunnel {
        Tunnel {
            end,
            client: Identity::default(),
            partner: Some(partner),
            follow: Follow::default(),
            is_stopped: false,
            fin: Fin::No,
            leaving: None,
            hears: FrameStand::Border,
            mask,
            active: CoarseTick::floor(now),
            idle_ms: u32::try_from(idle.as_millis()).unwrap_or(u32::MAX),
        }
    }

    /// Takes what goes to the other end off the front of `input`: a frame at a time if frames are `counted`.
    pub(super) fn next<'a>(&mut self, input: &mut &'a mut [u8], counted: bool) -> Option<Frames<'a>> {
        let is_counted = counted && self.end == TunnelEnd::Client;
        let Followed { bytes, begins } = self.follow.next(input, is_counted)?;
        Some(Frames { bytes, is_message: is_counted && begins })
    }

    /// The end of what is sent to it is still to be sent.
    pub fn owes_fin(&self) -> bool {
        self.fin == Fin::Owed
    }

    /// See [`is_put_off`](super::ends::is_put_off).
    pub(super) fn put_off(&mut self, reason: CloseReason) -> bool {
        let is_within_frame = self.hears == FrameStand::Within;
        if is_within_frame {
            self.leaving = Some(reason);
        }
        is_within_frame
    }

    /// It has no partner from now on.
    pub fn leave(&mut self) -> PartedHalf {
        self.partner = None;
        PartedHalf {
            end: self.end,
            was_stopped: std::mem::take(&mut self.is_stopped),
            was_half_closed: self.fin != Fin::No,
        }
    }

    /// This end has said something now: the other half, and where that ends.
    pub(super) fn said(&mut self, now: Tick) -> Option<(Key, FrameStand)> {
        self.active = CoarseTick::floor(now);
        Some((self.partner?, self.follow.stand()))
    }

    /// It is sent something, which ends there. Returns the reason if it ends now, because the frame is whole for which that had to
    /// wait.
    pub(super) fn hears(&mut self, stand: FrameStand, now: Tick) -> Option<CloseReason> {
        (self.active, self.hears) = (CoarseTick::floor(now), stand);
        self.leaving.filter(|_| stand != FrameStand::Within)
    }

    /// The other end has finished its half: so will the gateway towards this one. True the first time; what is left to say is said
    /// soon.
    pub(super) fn half_close(&mut self) -> bool {
        let is_first = self.fin == Fin::No;
        if is_first {
            self.fin = Fin::Owed;
            self.idle_ms = self.idle_ms.min(limits::PROXY_IDLE_TIMEOUT.as_millis() as u32);
        }
        is_first
    }

    /// The end is sent now of all that is sent to it.
    pub(super) fn finish(&mut self) {
        self.fin = Fin::Sent;
    }

    pub(super) fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms.into())
    }

    /// Its deadline has come; see [`Proxying::on_deadline`](super::proxying::Proxying).
    pub(super) fn on_deadline(
        &self,
        progress: Option<Option<u32>>,
        settings: &Settings,
        now: Tick,
    ) -> Result<Duration, CloseReason> {
        if let Some(reason) = self.leaving {
            return Err(reason);
        }
        let (silent, idle) = (now.since(self.active.tick()), self.idle());
        match progress {
            Some(Some(0)) => Err(CloseReason::SlowConsumer),
            Some(_) => Ok(settings.generation.send_timeout),
            None if silent >= idle => Err(CloseReason::TunnelIdle),
            None => Ok(idle - silent),
        }
    }

    /// The last words, if the gateway ends it and they may be said.
    pub(super) fn end(&self, reason: CloseReason, peer: Peer, outbox: &mut Outbox) {
        if self.hears != FrameStand::Border || self.fin != Fin::No || !is_ended_by_gateway(reason) {
            return;
        }
        match self.end {
            TunnelEnd::Client => WebSocket::default().end(reason.row(), peer, outbox),
            TunnelEnd::Server(_) => {
                outbox.write(|out| frame::write_masked(out, true, Opcode::Close, GOING_AWAY, self.mask));
            }
        }
    }
}

/// Bytes that one end has sent, for the other one.
pub struct Frames<'a> {
    pub bytes: &'a [u8],
    /// It begins with a message that limits count.
    pub is_message: bool,
}

/// Whether the gateway ends it, so that both ends are told. Otherwise one of them has gone.
fn is_ended_by_gateway(reason: CloseReason) -> bool {
    const NEVER_ON_THE_WIRE: u16 = 1006;
    let is_own = !matches!(reason, CloseReason::Normal | CloseReason::PeerClosed);
    is_own && reason.row().websocket_code != NEVER_ON_THE_WIRE
}

/// The reason for a client whose server's half has ended for `reason`.
pub fn reason_for_client(reason: CloseReason) -> CloseReason {
    match reason {
        CloseReason::PeerClosed | CloseReason::Normal => CloseReason::PeerClosed,
        CloseReason::SlowConsumer => CloseReason::UpstreamTimeout,
        CloseReason::Drain | CloseReason::TunnelIdle | CloseReason::WaitingFull | CloseReason::ArrivingFull => reason,
        _ => CloseReason::UpstreamBroke,
    }
}
