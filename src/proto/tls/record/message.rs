//! A peer's messages after the handshake other than data (KeyUpdate and alerts), and the KeyUpdates that we send.
//!
//! ```text
//! KeyUpdate: [24][0 0 1][0 or 1: whether the other side is to update too]
//! ```

use aws_lc_rs::aead::LessSafeKey;

use crate::limits::{KEY_UPDATE_EARNED_BYTES, KEY_UPDATES_MAX};

use super::header::HANDSHAKE;
use super::{Fault, OpenDirections, Records};

/// The start of a KeyUpdate: its type and its length (RFC 8446 section 4.6.3).
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];
const UPDATE_NOT_REQUESTED: u8 = 0;
const UPDATE_REQUESTED: u8 = 1;

/// What one KeyUpdate takes from the credit of its sender, in bytes of application data.
const KEY_UPDATE_PRICE: u32 = KEY_UPDATE_EARNED_BYTES as u32;
/// The credit at the beginning, and the most that application data can earn.
pub(super) const KEY_UPDATE_CREDIT_MAX: u32 = KEY_UPDATES_MAX as u32 * KEY_UPDATE_PRICE;
/// Times that a peer may send user_canceled, the bound of rustls and BoringSSL for warnings.
pub(super) const WARNINGS_MAX: u8 = 4;
/// The bytes of a KeyUpdate that may wait for the rest.
pub(super) const KEY_UPDATE_BYTES_HELD_MAX: u8 = KEY_UPDATE.len() as u8;

const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;

impl Records {
    /// Handles the content of a handshake record; true if the receiving key has changed.
    ///
    /// A forbidden message is refused by its type, before it is complete, so that none of it has to be kept.
    pub(super) fn take_handshake(&mut self, content: &[u8]) -> Result<bool, Fault> {
        let mut rest = content;
        while let Some((byte, behind)) = rest.split_first() {
            let held = usize::from(self.key_update_bytes);
            match KEY_UPDATE.get(held) {
                Some(expected) if byte == expected => {
                    self.key_update_bytes += 1;
                    rest = behind;
                }
                Some(_) => {
                    return Err(if held == 0 { Fault::Message } else { Fault::KeyUpdateForm });
                }
                None => {
                    self.key_update_bytes = 0;
                    self.take_key_update(*byte, behind)?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn take_key_update(&mut self, request: u8, behind: &[u8]) -> Result<(), Fault> {
        // Later bytes would be encrypted with other keys, so they cannot be in this record (section 5.1).
        if !behind.is_empty() {
            return Err(Fault::KeyUpdateNotLast);
        }
        self.key_update_credit = self.key_update_credit.checked_sub(KEY_UPDATE_PRICE).ok_or(Fault::KeyUpdates)?;
        match request {
            UPDATE_NOT_REQUESTED => {}
            UPDATE_REQUESTED => self.owes_key_update = true,
            _ => return Err(Fault::KeyUpdateValue),
        }
        self.receiving = self.receiving.next(self.suite);
        self.opened = 0;
        Ok(())
    }

    /// Handles the content of an alert record (section 6): close_notify, user_canceled, or the end. An alert of TLS 1.3
    /// means an error whatever its level says (section 6.2).
    pub(super) fn take_alert(&mut self, content: &[u8]) -> Result<(), Fault> {
        const WARNING: u8 = 1;
        const FATAL: u8 = 2;
        let [level, description] = *content else { return Err(Fault::AlertForm) };
        match (level, description) {
            (WARNING | FATAL, CLOSE_NOTIFY) => self.phase = OpenDirections::PeerClosed,
            (WARNING, USER_CANCELED) if self.warnings == WARNINGS_MAX => return Err(Fault::Warnings),
            (WARNING, USER_CANCELED) => self.warnings += 1,
            (WARNING | FATAL, _) => return Err(Fault::Alerted(description)),
            _ => return Err(Fault::AlertLevel),
        }
        Ok(())
    }

    /// Whether a KeyUpdate is due before the next record of data: because the peer asked for one, or because this key
    /// has only its last sequence number left, which the KeyUpdate takes. Inlined, because every record checks it.
    #[inline]
    pub(super) fn is_key_update_due(&self) -> bool {
        self.owes_key_update || (self.sealed > 0 && self.sealed + 1 >= u64::from(self.records_max))
    }

    /// Updates our key. The peer is not asked to update its own: it knows how far that is used up.
    #[cold]
    pub(super) fn send_key_update(&mut self, key: &mut Option<LessSafeKey>, out: &mut Vec<u8>) {
        self.owes_key_update = false;
        let [a, b, c, d] = KEY_UPDATE;
        self.seal_small(&[a, b, c, d, UPDATE_NOT_REQUESTED], HANDSHAKE, key, out);
        self.sending = self.sending.next(self.suite);
        self.sealed = 0;
        *key = None;
    }
}
