//! Addresses within a process: a thread, and one of its connections.

use super::Key;
use crate::limits::SHARDS_MAX;

/// Numbers the threads that mail each other: first the shards, then side threads, then in-process workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(pub u16);

impl Place {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One connection of the gateway; outside of it, a [`ConnId`](super::ConnId) names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Always a shard: its number fits eight bits.
    pub place: Place,
    pub key: Key,
}

const _: () = assert!(SHARDS_MAX <= 1 << 8, "the number of a shard fits the first byte of an address");

impl Address {
    pub fn to_bits(self) -> u64 {
        u64::from(self.place.0) << 56 | self.key.to_bits()
    }

    pub fn from_bits(bits: u64) -> Address {
        Address { place: Place((bits >> 56) as u16), key: Key::from_bits(bits) }
    }
}
