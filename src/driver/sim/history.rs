//! The history of a world: a hash of all events, and the latest events for a report.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::io;

use super::link::{LinkId, Side};
use crate::base::{Key, Tick};

/// Events that are kept for a failure's report.
const RECENT_EVENTS: usize = 400;

#[derive(Clone, Copy, Debug, Hash)]
pub enum WorldEvent {
    Connected { link: LinkId },
    Wrote { link: LinkId, count: u64 },
    Read { link: LinkId, count: u64 },
    ClientLeft { link: LinkId, with_reset: bool },
    ClientFinished { link: LinkId },
    ServerLeft { link: LinkId, with_reset: bool },
    Broke { link: LinkId, side: Side, kind: io::ErrorKind },
    Answered { link: LinkId },

    Attach { driver: u32, link: LinkId, key: Key },
    Dial { driver: u32, link: LinkId, key: Key },
    Recv { driver: u32, key: Key },
    Send { driver: u32, key: Key, count: u64 },
    Shutdown { driver: u32, key: Key },
    Close { driver: u32, key: Key },
    Abort { driver: u32, key: Key },
    PauseAccept { driver: u32, listener: u16 },
    ResumeAccept { driver: u32, listener: u16 },

    Accepted { driver: u32, listener: u16, link: LinkId },
    AcceptFailed { driver: u32, listener: u16 },
    DialEnded { driver: u32, key: Key, error: Option<io::ErrorKind> },
    Received { driver: u32, key: Key, count: u64 },
    Finished { driver: u32, key: Key, error: Option<io::ErrorKind> },
    Sent { driver: u32, key: Key, error: Option<io::ErrorKind> },
    Closed { driver: u32, key: Key },
    Woken { driver: u32 },
}

#[derive(Default)]
pub(super) struct WorldHistory {
    hash: Fnv,
    recent: VecDeque<(Tick, WorldEvent)>,
}

impl WorldHistory {
    pub(super) fn record(&mut self, now: Tick, event: WorldEvent) {
        (now, event).hash(&mut self.hash);
        if self.recent.len() == RECENT_EVENTS {
            self.recent.pop_front();
        }
        self.recent.push_back((now, event));
    }

    /// Bytes that moved are part of the history.
    pub(super) fn record_bytes(&mut self, bytes: &[u8]) {
        self.hash.write(bytes);
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    pub(super) fn recent(&self) -> Vec<(Tick, WorldEvent)> {
        self.recent.iter().copied().collect()
    }
}

/// FNV-1a, because the hasher of the standard library does not promise stable results.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xCBF2_9CE4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
