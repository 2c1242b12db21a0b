//! Reads a ClientHello before rustls does, to see whether it has a ticket.
//!
//! ```text
//! record 22 | version | length | 1 | length | version | random | session id | suites | compressions | extensions
//!                                                                                    type, length, bytes; each --'
//! ```
//!
//! The result only decides an order, so an incomplete or malformed message is a "no"; rustls reports the fault. The
//! walk is no longer than the bytes.

const RECORD_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// RFC 8446 section 4.2.11.
const PRE_SHARED_KEY: u16 = 41;

/// Whether the client asks to resume a session of TLS 1.3. `wire` are its first bytes.
pub fn asks_to_resume(wire: &[u8]) -> bool {
    extensions(wire).is_some_and(has_pre_shared_key)
}

/// The extensions of a ClientHello at the beginning of the bytes, in one record.
fn extensions(wire: &[u8]) -> Option<&[u8]> {
    let mut rest = wire;
    let is_hello = take(&mut rest, 1)? == [RECORD_HANDSHAKE] && take(&mut rest, 4).is_some();
    let is_hello = is_hello && take(&mut rest, 1)? == [CLIENT_HELLO];
    // Length of the message, version, random.
    take(&mut rest, 3 + 2 + 32).filter(|_| is_hello)?;
    take_counted(&mut rest, 1)?;
    take_counted(&mut rest, 2)?;
    take_counted(&mut rest, 1)?;
    take_counted(&mut rest, 2)
}

fn has_pre_shared_key(mut extensions: &[u8]) -> bool {
    while let Some(kind) = take(&mut extensions, 2) {
        if kind == PRE_SHARED_KEY.to_be_bytes() {
            return true;
        }
        if take_counted(&mut extensions, 2).is_none() {
            return false;
        }
    }
    false
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

/// A vector after its length, which takes `width` bytes.
fn take_counted<'a>(rest: &mut &'a [u8], width: usize) -> Option<&'a [u8]> {
    let count = take(rest, width)?.iter().fold(0, |count, byte| count << 8 | usize::from(*byte));
    take(rest, count)
}
