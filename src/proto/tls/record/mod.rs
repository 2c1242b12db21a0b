//! The record layer of TLS 1.3 after the handshake (RFC 8446 sections 4.6.3, 5 and 6), the server's side.
//!
//! ```text
//! input --> header --> opener: decrypted in place --> content type
//!                                 |-- application data --> plain, appended
//!                                 |-- KeyUpdate        --> the next keys; ours go out with what we seal next
//!                                 '-- alert            --> close_notify, or the end
//! slices --> sealer: gathered and encrypted in out, after a KeyUpdate that is due
//! ```
//!
//! A connection holds raw keys and counters, no buffer and no expanded key; [`Records::into_bytes`] writes all of it. A
//! breach of the protocol is a [`Fault`], and gets the alert that RFC 8446 names. There is no handshake, no TLS 1.2
//! and no clock here.

mod fault;
mod header;
mod keys;
mod message;
mod opener;
mod sealer;
mod state;
mod suite;
#[cfg(test)]
pub(in crate::proto::tls) mod tests;

use std::mem;

use aws_lc_rs::aead::LessSafeKey;

use super::connection::Opened;
use super::secrets::SECRET_BYTES_MAX;
pub use fault::{Alert, Fault};
use header::{ALERT, APPLICATION_DATA, HANDSHAKE};
use keys::Keys;
use message::KEY_UPDATE_CREDIT_MAX;
use sealer::Draft;
pub use state::{STATE_BYTES, State};
pub use suite::Suite;

/// Empty records in a row, the bound of rustls and BoringSSL.
const EMPTY_RECORDS_MAX: u8 = 32;

/// The state with which a connection leaves its handshake.
pub(super) struct Beginning<'a> {
    pub(super) suite: Suite,
    /// The suite uses the first bytes.
    pub(super) client_secret: &'a [u8; SECRET_BYTES_MAX],
    pub(super) server_secret: &'a [u8; SECRET_BYTES_MAX],
    /// Records that were already sealed with the server's secret: tickets.
    pub(super) sealed: u64,
    /// Records that one key may seal, including the KeyUpdate that ends it.
    pub(super) records_max: u64,
}

/// Both directions of one connection.
pub struct Records {
    /// Records opened with the current key, which is the sequence number of the next one.
    opened: u64,
    /// Records sealed with the current key, in the same way.
    sealed: u64,
    receiving: Keys,
    sending: Keys,
    /// How many records one key may seal (RFC 8446 section 5.5), as the cipher suite says.
    records_max: u32,
    /// Bytes of application data that have not yet paid for a KeyUpdate of the peer.
    key_update_credit: u32,
    suite: Suite,
    phase: OpenDirections,
    /// The peer has asked for a KeyUpdate. It is sent with the next record (section 4.6.3), so that the request costs
    /// nothing.
    owes_key_update: bool,
    /// Empty records since the last one with content.
    empty_records: u8,
    warnings: u8,
    /// Bytes of a KeyUpdate that has not arrived whole. Nothing but its beginning is let in, so the number says which.
    key_update_bytes: u8,
}

const _: () = assert!(size_of::<Records>() <= 216, "each live TLS connection holds one");

/// The directions that are still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum OpenDirections {
    Open = 0,
    /// The peer has sent close_notify; sealing continues (RFC 8446 section 6.1).
    PeerClosed = 1,
    /// We have sent close_notify; further input is discarded unread.
    Closed = 2,
}

impl Records {
    pub(super) fn new(beginning: &Beginning) -> Records {
        Records {
            opened: 0,
            sealed: beginning.sealed,
            receiving: Keys::new(beginning.suite, beginning.client_secret),
            sending: Keys::new(beginning.suite, beginning.server_secret),
            // A larger number is a limit that no connection reaches; updating earlier does no harm.
            records_max: u32::try_from(beginning.records_max).unwrap_or(u32::MAX),
            key_update_credit: KEY_UPDATE_CREDIT_MAX,
            suite: beginning.suite,
            phase: OpenDirections::Open,
            owes_key_update: false,
            empty_records: 0,
            warnings: 0,
            key_update_bytes: 0,
        }
    }

    /// Like [`super::Tls::open`]. After a fault nothing may be opened or sealed.
    pub(super) fn open(
        &mut self,
        input: &mut &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
        plain_max: usize,
    ) -> Result<Opened, Fault> {
        self.open_all(input, plain, plain_max).inspect_err(|fault| {
            if let Some(alert) = fault.alert() {
                const FATAL: u8 = 2;
                self.say_alert([FATAL, alert as u8], out);
            }
        })
    }

    fn open_all(&mut self, input: &mut &mut [u8], plain: &mut Vec<u8>, plain_max: usize) -> Result<Opened, Fault> {
        // Expanded for the first record of a call, and after each KeyUpdate.
        let mut key = None;
        loop {
            match self.phase {
                OpenDirections::Open => {}
                OpenDirections::PeerClosed => {
                    *input = &mut [];
                    return Ok(Opened::PeerClosed);
                }
                OpenDirections::Closed => {
                    *input = &mut [];
                    return Ok(Opened::More);
                }
            }
            let Some(bytes) = header::record_bytes(input)?.filter(|bytes| *bytes <= input.len()) else {
                return Ok(Opened::More);
            };
            if plain.len() >= plain_max {
                return Ok(Opened::Full);
            }
            let (record, rest) = mem::take(input).split_at_mut(bytes);
            *input = rest;
            self.open_record(record, &mut key, plain)?;
        }
    }

    fn open_record(
        &mut self,
        record: &mut [u8],
        key: &mut Option<LessSafeKey>,
        plain: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let expanded = key.get_or_insert_with(|| self.receiving.expand(self.suite));
        let content = opener::open(expanded, self.receiving.nonce(self.opened), record)?;
        self.opened += 1;
        if self.key_update_bytes > 0 && content.content_type != HANDSHAKE {
            return Err(Fault::Interleaved);
        }
        self.count_empty(content.bytes)?;
        match content.content_type {
            APPLICATION_DATA => {
                // A record's length; an empty one earns nothing.
                let earned = content.bytes.len() as u32;
                self.key_update_credit = KEY_UPDATE_CREDIT_MAX.min(self.key_update_credit + earned);
                // The one copy on the way in: records are joined, because messages may span them.
                plain.extend_from_slice(content.bytes);
            }
            HANDSHAKE | ALERT if content.bytes.is_empty() => return Err(Fault::EmptyMessage),
            HANDSHAKE => {
                if self.take_handshake(content.bytes)? {
                    *key = None;
                }
            }
            ALERT => self.take_alert(content.bytes)?,
            _ => return Err(Fault::ContentType),
        }
        Ok(())
    }

    fn count_empty(&mut self, content: &[u8]) -> Result<(), Fault> {
        if !content.is_empty() {
            self.empty_records = 0;
            return Ok(());
        }
        if self.empty_records == EMPTY_RECORDS_MAX {
            return Err(Fault::EmptyRecords);
        }
        self.empty_records += 1;
        Ok(())
    }

    /// Encrypts slices as records and appends them to `out`; small slices share a record. After
    /// [`Records::close_notify`] it returns false and does nothing.
    pub(super) fn seal<'p>(&mut self, plain: impl IntoIterator<Item = &'p [u8]>, out: &mut Vec<u8>) -> bool {
        if self.phase == OpenDirections::Closed {
            return false;
        }
        let mut slices = plain.into_iter().filter(|slice| !slice.is_empty());
        let mut slice: &[u8] = &[];
        let mut key = None;
        loop {
            if slice.is_empty() {
                let Some(next) = slices.next() else { return true };
                slice = next;
            }
            if self.is_key_update_due() {
                self.send_key_update(&mut key, out);
            }
            let mut draft = Draft::new(out);
            draft.gather(&mut slice);
            while !draft.is_full() {
                let Some(next) = slices.next() else { break };
                slice = next;
                draft.gather(&mut slice);
            }
            self.seal_draft(draft, &mut key, APPLICATION_DATA);
        }
    }

    /// Tells the peer that no more data will follow; nothing is read afterwards. Once.
    pub(super) fn close_notify(&mut self, out: &mut Vec<u8>) {
        const WARNING: u8 = 1;
        const CLOSE_NOTIFY: u8 = 0;
        if self.phase != OpenDirections::Closed {
            self.say_alert([WARNING, CLOSE_NOTIFY], out);
            self.phase = OpenDirections::Closed;
        }
    }

    pub(super) fn is_peer_closed(&self) -> bool {
        self.phase == OpenDirections::PeerClosed
    }

    pub(super) fn is_closed(&self) -> bool {
        self.phase == OpenDirections::Closed
    }

    fn say_alert(&mut self, alert: [u8; 2], out: &mut Vec<u8>) {
        let mut key = None;
        if self.owes_key_update {
            self.send_key_update(&mut key, out);
        }
        self.seal_small(&alert, ALERT, &mut key, out);
    }

    fn seal_small(&mut self, mut content: &[u8], content_type: u8, key: &mut Option<LessSafeKey>, out: &mut Vec<u8>) {
        let mut draft = Draft::new(out);
        draft.gather(&mut content);
        self.seal_draft(draft, key, content_type);
    }

    fn seal_draft(&mut self, draft: Draft<'_>, key: &mut Option<LessSafeKey>, content_type: u8) {
        let expanded = key.get_or_insert_with(|| self.sending.expand(self.suite));
        draft.seal(expanded, self.sending.nonce(self.sealed), content_type);
        self.sealed += 1;
    }
}
