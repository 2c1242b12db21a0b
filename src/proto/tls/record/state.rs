//! The state of a connection's record layer as bytes, and back: for the process that takes the connection over.
//!
//! ```text
//! [format 2][suite][phase][owes][empty][warnings][held]        7 bytes
//! [records_max: 4][credit: 4][opened: 8][sealed: 8]            big endian
//! [client's secret: 48][server's secret: 48]
//! ```
//!
//! Keys are not written: they follow from the secrets.

use zeroize::Zeroizing;

use super::keys::Keys;
use super::message::{KEY_UPDATE_BYTES_HELD_MAX, KEY_UPDATE_CREDIT_MAX, WARNINGS_MAX};
use super::{EMPTY_RECORDS_MAX, OpenDirections, Records, SECRET_BYTES_MAX, Suite};

/// Another layout needs another number.
const FORMAT: u8 = 2;
/// No connection reaches it, and counters below it cannot overflow.
const SEQUENCE_END: u64 = 1 << 62;
const COUNTERS_AT: usize = 7;
const SECRETS_AT: usize = COUNTERS_AT + 4 + 4 + 8 + 8;
pub const STATE_BYTES: usize = SECRETS_AT + 2 * SECRET_BYTES_MAX;

/// Wiped on drop.
pub type State = Zeroizing<[u8; STATE_BYTES]>;

impl Records {
    pub fn into_bytes(self) -> State {
        let mut bytes = State::new([0; STATE_BYTES]);
        bytes[..COUNTERS_AT].copy_from_slice(&[
            FORMAT,
            self.suite as u8,
            self.phase as u8,
            u8::from(self.owes_key_update),
            self.empty_records,
            self.warnings,
            self.key_update_bytes,
        ]);
        bytes[COUNTERS_AT..][..4].copy_from_slice(&self.records_max.to_be_bytes());
        bytes[COUNTERS_AT + 4..][..4].copy_from_slice(&self.key_update_credit.to_be_bytes());
        bytes[COUNTERS_AT + 8..][..8].copy_from_slice(&self.opened.to_be_bytes());
        bytes[COUNTERS_AT + 16..][..8].copy_from_slice(&self.sealed.to_be_bytes());
        bytes[SECRETS_AT..][..SECRET_BYTES_MAX].copy_from_slice(self.receiving.secret());
        bytes[SECRETS_AT + SECRET_BYTES_MAX..].copy_from_slice(self.sending.secret());
        bytes
    }

    /// `None` if the bytes are not from [`Records::into_bytes`].
    pub fn from_bytes(bytes: &[u8; STATE_BYTES]) -> Option<Records> {
        let (flags, rest) = bytes.split_first_chunk::<COUNTERS_AT>()?;
        let (records_max, rest) = rest.split_first_chunk()?;
        let (key_update_credit, rest) = rest.split_first_chunk()?;
        let (opened, rest) = rest.split_first_chunk()?;
        let (sealed, rest) = rest.split_first_chunk()?;
        let (client_secret, rest) = rest.split_first_chunk()?;
        let (server_secret, _) = rest.split_first_chunk()?;
        let [FORMAT, suite, phase, owes @ 0..=1, empty_records, warnings, key_update_bytes] = *flags else {
            return None;
        };
        let key_update_credit = u32::from_be_bytes(*key_update_credit);
        let is_within = key_update_credit <= KEY_UPDATE_CREDIT_MAX
            && empty_records <= EMPTY_RECORDS_MAX
            && warnings <= WARNINGS_MAX
            && key_update_bytes <= KEY_UPDATE_BYTES_HELD_MAX;
        let (opened, sealed) = (u64::from_be_bytes(*opened), u64::from_be_bytes(*sealed));
        let is_within = is_within && opened.max(sealed) < SEQUENCE_END;
        let suite = Suite::from_code(suite).filter(|_| is_within)?;
        Some(Records {
            opened,
            sealed,
            receiving: Keys::new(suite, client_secret),
            sending: Keys::new(suite, server_secret),
            records_max: u32::from_be_bytes(*records_max),
            key_update_credit,
            suite,
            phase: phase_of(phase)?,
            owes_key_update: owes == 1,
            empty_records,
            warnings,
            key_update_bytes,
        })
    }
}

fn phase_of(code: u8) -> Option<OpenDirections> {
    [OpenDirections::Open, OpenDirections::PeerClosed, OpenDirections::Closed]
        .into_iter()
        .find(|phase| *phase as u8 == code)
}
