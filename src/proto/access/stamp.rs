//! A time of day in the two forms of the access log, UTC.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

/// The last second of the year 9999: `httpdate` writes no later one.
const UNIX_S_MAX: u64 = 253_402_300_799;
/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7).
const HTTP_DATE_BYTES: usize = 29;
const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

pub(super) struct Stamp {
    date: [u8; HTTP_DATE_BYTES],
    ms: u16,
}

impl Stamp {
    /// `unix_ms`: milliseconds of Unix time.
    pub(super) fn of(unix_ms: u64) -> Stamp {
        let time = UNIX_EPOCH + Duration::from_secs((unix_ms / 1_000).min(UNIX_S_MAX));
        let mut date = Bytes { all: [b' '; HTTP_DATE_BYTES], len: 0 };
        // A date of HTTP always fits.
        let _ = write!(date, "{}", httpdate::HttpDate::from(time));
        Stamp { date: date.all, ms: (unix_ms % 1_000) as u16 }
    }

    /// `1994-11-06T08:49:37.123Z` (RFC 3339).
    pub(super) fn write_iso(&self, out: &mut Vec<u8>) {
        let month = MONTHS.chunks(3).position(|name| *name == self.date[8..11]).map_or(0, |index| index as u8 + 1);
        out.extend_from_slice(&self.date[12..16]);
        out.extend([b'-', b'0' + month / 10, b'0' + month % 10, b'-']);
        out.extend_from_slice(&self.date[5..7]);
        out.push(b'T');
        out.extend_from_slice(&self.date[17..25]);
        out.push(b'.');
        out.extend([self.ms / 100, self.ms / 10 % 10, self.ms % 10].map(|digit| b'0' + digit as u8));
        out.push(b'Z');
    }

    /// `06/Nov/1994:08:49:37 +0000`
    pub(super) fn write_common(&self, out: &mut Vec<u8>) {
        for (part, end) in [(5..7, b'/'), (8..11, b'/'), (12..16, b':')] {
            out.extend_from_slice(&self.date[part]);
            out.push(end);
        }
        out.extend_from_slice(&self.date[17..25]);
        out.extend_from_slice(b" +0000");
    }
}

struct Bytes {
    all: [u8; HTTP_DATE_BYTES],
    len: usize,
}

impl Write for Bytes {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        self.all.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}
