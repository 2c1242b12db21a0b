//! The ways in which a peer can break the protocol after the handshake, and the alert for each: one row each.
//!
//! The alerts are those of RFC 8446. Where rustls sends others, or none, docs/decisions/tls-alerts.md says so.

use std::fmt;

use rustls::AlertDescription;

/// A fatal alert that we send (RFC 8446 section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Alert {
    UnexpectedMessage = 10,
    BadRecordMac = 20,
    RecordOverflow = 22,
    IllegalParameter = 47,
    DecodeError = 50,
}

/// The peer's breach of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Unprotected,
    Forged,
    Oversized,
    NoContentType,
    ContentType,
    ChangeCipherSpec,
    Interleaved,
    EmptyMessage,
    EmptyRecords,
    Message,
    KeyUpdateForm,
    KeyUpdateValue,
    KeyUpdateNotLast,
    KeyUpdates,
    AlertForm,
    AlertLevel,
    Warnings,
    /// An alert with this description.
    Alerted(u8),
}

impl Fault {
    /// The alert for the peer, if it gets one, and a description.
    fn row(self) -> (Option<Alert>, &'static str) {
        use Alert::*;
        match self {
            Fault::Unprotected => (Some(UnexpectedMessage), "no protected record of TLS 1.3"),
            Fault::Forged => (Some(BadRecordMac), "a record is not authentic, or not in its place"),
            Fault::Oversized => (Some(RecordOverflow), "a record is longer than TLS 1.3 allows"),
            Fault::NoContentType => (Some(UnexpectedMessage), "a record is nothing but padding"),
            Fault::ContentType => (Some(UnexpectedMessage), "a record is of an unknown type"),
            Fault::ChangeCipherSpec => (Some(UnexpectedMessage), "change_cipher_spec after the handshake"),
            Fault::Interleaved => (Some(UnexpectedMessage), "another record inside a handshake message"),
            Fault::EmptyMessage => (Some(UnexpectedMessage), "an empty record of a handshake message or an alert"),
            Fault::EmptyRecords => (Some(UnexpectedMessage), "too many empty records in a row"),
            Fault::Message => (Some(UnexpectedMessage), "a handshake message after the handshake"),
            Fault::KeyUpdateForm => (Some(DecodeError), "a malformed KeyUpdate"),
            Fault::KeyUpdateValue => (Some(IllegalParameter), "a KeyUpdate that asks for something unknown"),
            Fault::KeyUpdateNotLast => (Some(UnexpectedMessage), "a KeyUpdate with more behind it in its record"),
            Fault::KeyUpdates => (Some(UnexpectedMessage), "more KeyUpdates than the data between them allows"),
            Fault::AlertForm => (Some(DecodeError), "a malformed alert"),
            Fault::AlertLevel => (Some(IllegalParameter), "an alert of an unknown level"),
            Fault::Warnings => (Some(UnexpectedMessage), "user_canceled again and again"),
            Fault::Alerted(_) => (None, "received alert"),
        }
    }

    pub fn alert(self) -> Option<Alert> {
        self.row().0
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Alerted(description) => write!(f, "{}: {:?}", self.row().1, AlertDescription::from(*description)),
            _ => f.write_str(self.row().1),
        }
    }
}
