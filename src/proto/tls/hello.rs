//! Reads a ClientHello before rustls does: whether it is whole, and whether it has a ticket.
//!
//! ```text
//! record 22 | version | length | 1 | length | version | random | session id | suites | compressions | extensions
//! `-- junk: another protocol --------'                                            type, length, bytes; each --'
//! record 22 | version | length | more of the message, if the first record does not have all of it
//! ```
//!
//! The walk crosses from record to record without a copy, and is no longer than the bytes. The ticket only decides an
//! order, so a malformed hello is one without; rustls reports the fault.

use crate::limits::HANDSHAKE_BYTES_MAX;

const RECORD_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// The first byte of every version since SSL 3.
const MAJOR_VERSION: u8 = 3;
const HEADER_BYTES: usize = 5;
/// RFC 8446 section 4.2.11.
const PRE_SHARED_KEY: u64 = 41;
/// RFC 5077 section 3.2. Without a ticket in it, it only says that the client would take one.
const SESSION_TICKET: u64 = 35;

/// Alerts (RFC 8446 section 6) for clients that have not begun a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Junk {
    /// Another protocol, or another message than a ClientHello.
    UnexpectedMessage = 10,
    RecordOverflow = 22,
    DecodeError = 50,
    ProtocolVersion = 70,
}

impl Junk {
    pub(super) fn words(self) -> &'static str {
        match self {
            Junk::UnexpectedMessage => "the first bytes are no ClientHello, but another protocol or message",
            Junk::RecordOverflow => "the first record is longer than any ClientHello",
            Junk::DecodeError => "the first record is empty",
            Junk::ProtocolVersion => "the first record has no version of TLS or SSL 3",
        }
    }
}

/// What the first bytes of a client are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstBytes {
    /// The beginning of a ClientHello, perhaps.
    Part,
    /// A whole ClientHello, perhaps with bytes after it.
    Hello { has_ticket: bool },
    /// No ClientHello, whatever comes after it.
    Junk,
}

/// The alert for bytes that no ClientHello begins with, as soon as that is certain.
pub(super) fn junk(wire: &[u8]) -> Option<Junk> {
    let byte = |index: usize| wire.get(index).copied();
    if byte(0)? != RECORD_HANDSHAKE {
        return Some(Junk::UnexpectedMessage);
    }
    if byte(1)? != MAJOR_VERSION {
        return Some(Junk::ProtocolVersion);
    }
    match usize::from(u16::from_be_bytes([byte(3)?, byte(4)?])) {
        0 => return Some(Junk::DecodeError),
        bytes if bytes > HANDSHAKE_BYTES_MAX - HEADER_BYTES => return Some(Junk::RecordOverflow),
        _ => {}
    }
    (byte(5)? != CLIENT_HELLO).then_some(Junk::UnexpectedMessage)
}

/// Looks at everything that a client has sent before its first turn.
pub(super) fn first_bytes(wire: &[u8]) -> FirstBytes {
    if junk(wire).is_some() {
        return FirstBytes::Junk;
    }
    match (Walk { record: &[], wire }).hello() {
        Ok(mut body) => FirstBytes::Hello { has_ticket: body.has_ticket().unwrap_or(false) },
        Err(WalkEnd::Part) if wire.len() <= HANDSHAKE_BYTES_MAX => FirstBytes::Part,
        Err(WalkEnd::Part | WalkEnd::Malformed) => FirstBytes::Junk,
    }
}

/// Why a walk has ended early.
#[derive(Clone, Copy, Debug)]
enum WalkEnd {
    /// The bytes are at their end.
    Part,
    Malformed,
}

/// A place in a handshake message that lies in one record or several.
#[derive(Clone, Copy)]
struct Walk<'a> {
    /// The rest of the record that the walk is in.
    record: &'a [u8],
    /// The bytes after that record.
    wire: &'a [u8],
}

impl Walk<'_> {
    /// From the first record of a whole ClientHello to its body.
    fn hello(mut self) -> Result<Self, WalkEnd> {
        let kind = self.number(1)?;
        let bytes = self.number(3)? as usize;
        if kind != u64::from(CLIENT_HELLO) || bytes > HANDSHAKE_BYTES_MAX {
            return Err(WalkEnd::Malformed);
        }
        let body = self;
        self.skip(bytes)?;
        Ok(body)
    }

    /// From the body of a ClientHello on.
    fn has_ticket(&mut self) -> Result<bool, WalkEnd> {
        // Version and random.
        self.skip(2 + 32)?;
        self.skip_counted(1)?;
        self.skip_counted(2)?;
        self.skip_counted(1)?;
        let mut left = self.number(2)?;
        while left > 0 {
            let (kind, bytes) = (self.number(2)?, self.number(2)?);
            if kind == PRE_SHARED_KEY || (kind == SESSION_TICKET && bytes > 0) {
                return Ok(true);
            }
            self.skip(bytes as usize)?;
            left = left.checked_sub(4 + bytes).ok_or(WalkEnd::Malformed)?;
        }
        Ok(false)
    }

    fn number(&mut self, width: usize) -> Result<u64, WalkEnd> {
        let mut number = 0;
        for _ in 0..width {
            while self.record.is_empty() {
                self.next_record()?;
            }
            number = number << 8 | u64::from(self.record[0]);
            self.record = &self.record[1..];
        }
        Ok(number)
    }

    fn skip_counted(&mut self, width: usize) -> Result<(), WalkEnd> {
        let bytes = self.number(width)?;
        self.skip(bytes as usize)
    }

    fn skip(&mut self, mut bytes: usize) -> Result<(), WalkEnd> {
        while bytes > self.record.len() {
            bytes -= self.record.len();
            self.next_record()?;
        }
        self.record = &self.record[bytes..];
        Ok(())
    }

    /// Only into whole records: rustls takes no others.
    fn next_record(&mut self) -> Result<(), WalkEnd> {
        let (header, rest) = self.wire.split_first_chunk::<HEADER_BYTES>().ok_or(WalkEnd::Part)?;
        let bytes = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if header[0] != RECORD_HANDSHAKE || header[1] != MAJOR_VERSION || bytes == 0 {
            return Err(WalkEnd::Malformed);
        }
        (self.record, self.wire) = rest.split_at_checked(bytes).ok_or(WalkEnd::Part)?;
        Ok(())
    }
}
