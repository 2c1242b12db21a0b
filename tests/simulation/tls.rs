//! The TLS below a line: a rustls client in memory, and what a client may do to its records.
//!
//! ```text
//!  Line: outgoing --> seal --> wire --> Endpoint      after a deed nothing more is sealed
//!        incoming <-- open <----------- Endpoint      record by record, so that a KeyUpdate is seen
//! ```
//!
//! rustls draws from real chance, so what moves is different in every run. How much moves is not: the certificate and its
//! signatures have one length (Ed25519; ECDSA's vary), and nothing here looks at ciphertext.

use std::io::{Read, Write};

use rustls::{ClientConnection, Error, HandshakeKind, ProtocolVersion};
use tidegate::driver::sim::Random;
use tidegate::limits::{KEY_UPDATE_EARNED_BYTES, KEY_UPDATES_MAX};

use crate::deed::{Deed, break_rules};
use crate::tally::Tally;

/// Type, version and length.
const HEADER_BYTES: usize = 5;
/// A KeyUpdate's record without its header: the message, the content type and the tag. Only data of five bytes has the
/// same size, and data is told by its plaintext.
const KEY_UPDATE_BYTES: usize = 5 + 1 + 16;

pub struct Tls {
    connection: ClientConnection,
    random: Random,
    tally: Tally,
    /// Records on their way out.
    pub wire: Vec<u8>,
    /// Of what has come in, the record that is not whole.
    rest: Vec<u8>,
    deed: Option<Deed>,
    /// The other side has ended TLS with an alert.
    is_alerted: bool,
    is_counted: bool,
    /// A KeyUpdate was asked for, and none has come since.
    awaits_key_update: bool,
    /// Bytes of data that have not yet paid for a KeyUpdate.
    key_update_credit: usize,
}

impl Tls {
    /// `seed` decides how it breaks the rules, if it does.
    pub fn new(connection: ClientConnection, seed: u64, tally: Tally) -> Tls {
        Tls {
            connection,
            random: Random::new(seed),
            tally,
            wire: Vec::new(),
            rest: Vec::new(),
            deed: None,
            is_alerted: false,
            is_counted: false,
            awaits_key_update: false,
            key_update_credit: KEY_UPDATES_MAX * KEY_UPDATE_EARNED_BYTES,
        }
    }

    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// What it has done, after which it says nothing more.
    pub fn deed(&self) -> Option<Deed> {
        self.deed
    }

    pub fn awaits_key_update(&self) -> bool {
        self.awaits_key_update
    }

    /// Nothing is left to be written.
    pub fn is_flushed(&self) -> bool {
        self.wire.is_empty() && !self.connection.wants_write()
    }

    fn is_tls13(&self) -> bool {
        self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Takes what is to be said, as soon as it can, and puts its records on the wire; handshake messages too.
    pub fn seal(&mut self, outgoing: &mut Vec<u8>) {
        if !self.is_handshaking() && self.deed.is_none() && !outgoing.is_empty() {
            self.connection.writer().write_all(outgoing).expect("rustls takes all");
            let earned = self.key_update_credit + outgoing.len();
            self.key_update_credit = earned.min(KEY_UPDATES_MAX * KEY_UPDATE_EARNED_BYTES);
            outgoing.clear();
        }
        self.flush();
    }

    /// Updates its keys and asks the other side to do the same. False if it cannot be done now.
    pub fn update_keys(&mut self) -> bool {
        let may_update = !self.is_handshaking() && self.is_tls13() && self.deed.is_none() && !self.is_peer_closed();
        if !may_update || self.key_update_credit < KEY_UPDATE_EARNED_BYTES {
            return false;
        }
        self.connection.refresh_traffic_keys().expect("TLS 1.3 is open");
        self.awaits_key_update = true;
        self.key_update_credit -= KEY_UPDATE_EARNED_BYTES;
        self.tally.count(|counts| counts.key_updates_asked += 1);
        true
    }

    fn flush(&mut self) {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.wire).expect("a vector takes all");
        }
    }

    /// Opens what has come; the plaintext is appended to `incoming`.
    pub fn open(&mut self, bytes: &[u8], incoming: &mut Vec<u8>) {
        self.rest.extend_from_slice(bytes);
        while !self.is_alerted
            && let Some(header) = self.rest.first_chunk::<HEADER_BYTES>()
        {
            let size = HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]]));
            if self.rest.len() < size {
                return;
            }
            let record: Vec<u8> = self.rest.drain(..size).collect();
            self.open_record(&record, incoming);
        }
    }

    fn open_record(&mut self, record: &[u8], incoming: &mut Vec<u8>) {
        let was_handshaking = self.is_handshaking();
        let mut unread = record;
        while !unread.is_empty() {
            self.connection.read_tls(&mut unread).expect("a slice can be read");
            match self.connection.process_new_packets() {
                Ok(_) => {}
                Err(error) => return self.fail(error),
            }
        }
        let before = incoming.len();
        // Besides the end of data this finds WouldBlock, or the end without close_notify, which is the line's to see.
        let _ = self.connection.reader().read_to_end(incoming);
        let is_key_update = incoming.len() == before && record.len() == HEADER_BYTES + KEY_UPDATE_BYTES;
        if !was_handshaking && self.is_tls13() && is_key_update {
            self.awaits_key_update = false;
            self.tally.count(|counts| counts.key_updates_heard += 1);
        }
        if !self.is_handshaking() && !std::mem::replace(&mut self.is_counted, true) {
            let is_resumed = self.connection.handshake_kind() == Some(HandshakeKind::Resumed);
            let is_tls13 = self.is_tls13();
            self.tally.count(|counts| {
                counts.handshakes += 1;
                counts.resumed += u64::from(is_resumed);
                counts.tls12 += u64::from(!is_tls13);
            });
        }
    }

    /// Only whoever has broken the rules gets an alert, and the one that is for it.
    fn fail(&mut self, error: Error) {
        let alert = match error {
            Error::AlertReceived(alert) => alert,
            error => panic!("the gateway breaks TLS after {:?}: {error}", self.deed),
        };
        let expected = self.deed.and_then(|deed| deed.alert(self.is_tls13()));
        assert_eq!(Some(alert), expected, "the alert after {:?}", self.deed);
        self.is_alerted = true;
        self.tally.count(|counts| *counts.alerts.entry(self.deed.expect("it has an alert")).or_default() += 1);
    }

    /// Has the gateway said that nothing more comes?
    pub fn is_peer_closed(&mut self) -> bool {
        // An alert ends everything, and no close_notify follows it.
        let is_closed = self.connection.process_new_packets().is_ok_and(|state| state.peer_has_closed());
        is_closed || self.is_alerted
    }

    /// Does something, once; `filler` is plaintext that the protocol above does not mind. False if it cannot be done now.
    pub fn act(&mut self, deed: Deed, filler: &[u8]) -> bool {
        if self.is_handshaking() || self.deed.is_some() || deed.needs_tls13() && !self.is_tls13() {
            return false;
        }
        self.flush();
        self.deed = Some(deed);
        self.tally.count(|counts| *counts.deeds.entry(deed).or_default() += 1);
        match deed {
            Deed::Farewell => {
                self.connection.send_close_notify();
                self.flush();
            }
            Deed::KeyUpdates => {
                for _ in 0..=KEY_UPDATES_MAX {
                    self.connection.refresh_traffic_keys().expect("TLS 1.3 is open");
                    self.flush();
                }
            }
            _ => {
                let records = [(); 2].map(|()| self.record(filler));
                let random = &mut self.random;
                self.wire.append(&mut break_rules(deed, records, random));
            }
        }
        true
    }

    fn record(&mut self, content: &[u8]) -> Vec<u8> {
        self.connection.writer().write_all(content).expect("rustls takes all");
        let mut record = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut record).expect("a vector takes all");
        }
        record
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        if self.deed != Some(Deed::Farewell) || !self.is_flushed() {
            self.tally.count(|counts| counts.left += 1);
        }
    }
}
