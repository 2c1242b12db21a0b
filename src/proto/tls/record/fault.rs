//! The ways in which a peer can break the protocol after the handshake, and the alert for each: one row each.
//!
//! The alerts are those of rustls, including the cases without one: a peer cannot tell the two apart.

use std::fmt;

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
    Header,
    Forged,
    Oversized,
    NoContentType,
    ContentType,
    ChangeCipherSpec,
    ChangeCipherSpecForm,
    Interleaved,
    EmptyRecords,
    Message,
    MessageSize,
    KeyUpdateForm,
    KeyUpdateValue,
    KeyUpdateNotLast,
    KeyUpdates,
    AlertForm,
    AlertLevel,
    WarningKind,
    Warnings,
    /// A fatal alert with this description.
    Alerted(u8),
}

impl Fault {
    /// The alert for the peer, if it gets one, and a description.
    fn row(self) -> (Option<Alert>, &'static str) {
        use Alert::*;
        match self {
            Fault::Header => (Some(DecodeError), "what came is no header of a TLS record"),
            Fault::Forged => (Some(BadRecordMac), "a record is not authentic, or not in its place"),
            Fault::Oversized => (Some(RecordOverflow), "a record holds more than 2^14 bytes"),
            Fault::NoContentType => (None, "a record is nothing but padding"),
            Fault::ContentType => (Some(DecodeError), "a record is of an unknown type"),
            Fault::ChangeCipherSpec => (Some(UnexpectedMessage), "change_cipher_spec after the handshake"),
            Fault::ChangeCipherSpecForm => (Some(DecodeError), "a malformed change_cipher_spec"),
            Fault::Interleaved => (None, "another record inside a handshake message"),
            Fault::EmptyRecords => (None, "too many empty records in a row"),
            Fault::Message => (Some(UnexpectedMessage), "a handshake message after the handshake"),
            Fault::MessageSize => (None, "a handshake message of more than 64 KiB"),
            Fault::KeyUpdateForm => (Some(DecodeError), "a malformed KeyUpdate"),
            Fault::KeyUpdateValue => (Some(IllegalParameter), "a KeyUpdate that asks for something unknown"),
            Fault::KeyUpdateNotLast => (Some(UnexpectedMessage), "a KeyUpdate with more behind it in its record"),
            Fault::KeyUpdates => (Some(UnexpectedMessage), "more KeyUpdates than the data between them allows"),
            Fault::AlertForm => (Some(DecodeError), "a malformed alert"),
            Fault::AlertLevel => (Some(IllegalParameter), "an alert of an unknown level"),
            Fault::WarningKind => (Some(DecodeError), "a warning that TLS 1.3 does not know"),
            Fault::Warnings => (None, "too many warnings"),
            Fault::Alerted(_) => (None, "the peer has sent a fatal alert"),
        }
    }

    pub fn alert(self) -> Option<Alert> {
        self.row().0
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Alerted(description) => write!(f, "{}: {description}", self.row().1),
            _ => f.write_str(self.row().1),
        }
    }
}
