//! What a TLS client may do out of turn: take its leave, vanish, or break the rules of the record layer.

use rustls::AlertDescription;
use tidegate::driver::sim::Random;

/// After it the client says nothing more, and hears what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// close_notify.
    Farewell,
    /// The end of the socket's half in the middle of a record, without close_notify.
    Cut,
    /// A bit of a record is another one.
    Forged,
    /// A record lacks its last byte, and its header knows.
    Shortened,
    Replayed,
    /// Two records have changed places.
    Swapped,
    /// A header announces more than a record may hold.
    Oversized,
    /// More of them in a row than the gateway takes.
    KeyUpdates,
}

pub const DEEDS: [Deed; 8] = [
    Deed::Farewell,
    Deed::Cut,
    Deed::Forged,
    Deed::Shortened,
    Deed::Replayed,
    Deed::Swapped,
    Deed::Oversized,
    Deed::KeyUpdates,
];

/// More than TLS 1.2 or 1.3 allows (2^14 and 2,048 or 256).
const OVERSIZED_BYTES: u16 = 20_000;

impl Deed {
    /// Whether the gateway has to end the connection as one that breaks TLS.
    pub fn breaks_rules(self) -> bool {
        !matches!(self, Deed::Farewell | Deed::Cut)
    }

    pub fn needs_tls13(self) -> bool {
        self == Deed::KeyUpdates
    }

    /// The alert that it gets, if any.
    pub fn alert(self, is_tls13: bool) -> Option<AlertDescription> {
        match self {
            Deed::Forged | Deed::Shortened | Deed::Replayed | Deed::Swapped => Some(AlertDescription::BadRecordMac),
            Deed::Oversized if is_tls13 => Some(AlertDescription::RecordOverflow),
            // As rustls has it: what announces so much is no header.
            Deed::Oversized => Some(AlertDescription::DecodeError),
            Deed::KeyUpdates => Some(AlertDescription::UnexpectedMessage),
            Deed::Farewell | Deed::Cut => None,
        }
    }
}

/// The bytes of two records as `deed` has them.
pub fn break_rules(deed: Deed, [mut first, second]: [Vec<u8>; 2], random: &mut Random) -> Vec<u8> {
    const HEADER_BYTES: usize = 5;
    match deed {
        Deed::Cut => first.truncate(1 + random.below(first.len() as u64 - 1) as usize),
        Deed::Forged => {
            let at = HEADER_BYTES + random.below((first.len() - HEADER_BYTES) as u64) as usize;
            first[at] ^= 1 << random.below(8);
        }
        Deed::Shortened => {
            first.pop();
            let content_bytes = (first.len() - HEADER_BYTES) as u16;
            first[3..HEADER_BYTES].copy_from_slice(&content_bytes.to_be_bytes());
        }
        Deed::Replayed => first.extend(first.clone()),
        Deed::Swapped => first = [second, first].concat(),
        Deed::Oversized => first[3..HEADER_BYTES].copy_from_slice(&OVERSIZED_BYTES.to_be_bytes()),
        Deed::Farewell | Deed::KeyUpdates => unreachable!("{deed:?} is rustls' own to send"),
    }
    first
}
