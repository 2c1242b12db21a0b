//! Verbs of a worker, taken off the front of the input.
//!
//! ```text
//!  input --> line (to LF) --> operation, fields --> body, of the size in the last field --> WorkerVerb, borrowed
//!               |                                     |
//!               '-- Ok(None): not whole yet ----------'   the caller keeps everything
//! ```
//!
//! A call reads the line and the place at which the body must end, never the body itself: large payloads that arrive in
//! small pieces cost no more than others.

use std::mem;
use std::str;

use memchr::memchr;

use super::BusError;
use crate::limits::SID_BYTES_MAX;

/// The bounds that INFO announces and the parser enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusLimits {
    /// Longest line, without its end.
    pub control_line_bytes_max: usize,
    /// Longest body: headers and payload.
    pub payload_bytes_max: usize,
}

/// A verb of a worker. Subjects are UTF-8, and not checked here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerVerb<'a> {
    /// Options, as JSON: see [`ConnectOptions::parse`](super::ConnectOptions::parse).
    Connect(&'a str),
    Ping,
    Pong,
    /// PUB, or HPUB: then `headers` should be a header block (see [`headers`](super::headers)). Like nats-server, the
    /// gateway passes it on unread.
    Pub {
        subject: &'a str,
        reply: Option<&'a str>,
        headers: Option<&'a [u8]>,
        payload: &'a [u8],
    },
    Sub {
        subject: &'a str,
        queue: Option<&'a str>,
        sid: &'a str,
    },
    /// Ends the subscription, or limits it to `max` messages in all.
    Unsub {
        sid: &'a str,
        max: Option<u64>,
    },
    /// A verb between servers (INFO, +OK): nats-server ignores it.
    Idle,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Connect,
    Ping,
    Pong,
    Pub,
    Hpub,
    Sub,
    Unsub,
    Idle,
    /// -ERR: the worker's later verbs are not read.
    Error,
}

const OPERATIONS: [(&[u8], Operation); 10] = [
    (b"PUB", Operation::Pub),
    (b"HPUB", Operation::Hpub),
    (b"PING", Operation::Ping),
    (b"PONG", Operation::Pong),
    (b"SUB", Operation::Sub),
    (b"UNSUB", Operation::Unsub),
    (b"CONNECT", Operation::Connect),
    (b"INFO", Operation::Idle),
    (b"+OK", Operation::Idle),
    (b"-ERR", Operation::Error),
];

/// Takes one verb off the front of `input`. `Ok(None)`: it is incomplete, and `input` is unchanged. After an error that
/// does not close ([`BusError::closes`]) the verb has been skipped; after any other, `input` still begins with it.
pub fn next<'a>(input: &mut &'a mut [u8], limits: &BusLimits) -> Result<Option<WorkerVerb<'a>>, BusError> {
    let Some(line_len) = find_line(input, limits.control_line_bytes_max)? else { return Ok(None) };
    let line = &input[..line_len];
    let (operation, arguments) = find_operation(line)?.ok_or(BusError::UnknownOperation)?;
    let fields = match operation {
        Operation::Pub | Operation::Hpub | Operation::Sub | Operation::Unsub => Fields::split(line, arguments)?,
        _ => Fields::default(),
    };
    let body = BodySizes::announced(operation, &fields, line, limits)?;
    let Some(end) = find_end(input, line_len, &body)? else { return Ok(None) };

    let (verb, rest) = mem::take(input).split_at_mut(end);
    *input = rest;
    let (line, rest) = verb.split_at(line_len);
    read(operation, line, arguments, &fields, &body, rest).map(Some)
}

/// The name of the verb at the front of `input`, for the log: letters only, as many as a verb can have. Empty if there
/// is no verb.
pub fn verb_at(input: &[u8]) -> &str {
    const VERB_BYTES_MAX: usize = 7;
    let length = input.iter().take(VERB_BYTES_MAX).take_while(|byte| byte.is_ascii_alphabetic()).count();
    str::from_utf8(&input[..length]).unwrap_or_default()
}

/// The length of the first line with its LF (like nats-server, LF alone is accepted as a line end).
fn find_line(input: &[u8], line_bytes_max: usize) -> Result<Option<usize>, BusError> {
    let window = &input[..input.len().min(line_bytes_max + b"\r\n".len())];
    let found = memchr(b'\n', window);
    let without_end = match found {
        Some(at) => window[..at].strip_suffix(b"\r").unwrap_or(&window[..at]),
        None => window,
    };
    if without_end.len() <= line_bytes_max {
        return if found.is_some() { Ok(found.map(|at| at + 1)) } else { find_operation(input).map(|_| None) };
    }
    // The last byte of a line of the maximum length may be the CR of a line end whose LF has not arrived.
    if found.is_none() && window.len() == line_bytes_max + 1 && window.ends_with(b"\r") {
        return Ok(None);
    }
    find_operation(input)?;
    Err(BusError::ControlLineTooLong)
}

/// The verb at the front of `input` and the offset of its arguments; `None` if more bytes may complete a verb. Garbage
/// is detected by its first wrong letter, before a whole line has arrived.
fn find_operation(input: &[u8]) -> Result<Option<(Operation, usize)>, BusError> {
    // +OK and -ERR begin with a sign.
    let signs = usize::from(matches!(input.first(), Some(b'+' | b'-')));
    let word_len = signs + input[signs..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let word = &input[..word_len];
    let Some(&next) = input.get(word_len) else {
        let could_become_one = |name: &[u8]| name.len() >= word_len && name[..word_len].eq_ignore_ascii_case(word);
        let is_possible = OPERATIONS.iter().any(|(name, _)| could_become_one(name));
        return if is_possible { Ok(None) } else { Err(BusError::UnknownOperation) };
    };
    let found = OPERATIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    let (_, operation) = found.ok_or(BusError::UnknownOperation)?;
    // nats-server requires no space before the braces of CONNECT, and ignores the rest of PING, PONG, INFO and +OK.
    let needs_space = !matches!(operation, Operation::Connect | Operation::Ping | Operation::Pong | Operation::Idle);
    if needs_space && !matches!(next, b' ' | b'\t') {
        return Err(BusError::UnknownOperation);
    }
    Ok(Some((*operation, word_len)))
}

/// The end of the verb, if all of it has arrived. A body without CRLF at its end contradicts its line.
fn find_end(input: &[u8], line_len: usize, body: &BodySizes) -> Result<Option<usize>, BusError> {
    let Some(total) = body.total else { return Ok(Some(line_len)) };
    let body_end = line_len + total;
    let after = input.get(body_end..).unwrap_or_default();
    let after = &after[..after.len().min(2)];
    if !b"\r\n".starts_with(after) {
        return Err(BusError::UnknownOperation);
    }
    Ok((after.len() == 2).then_some(body_end + 2))
}

/// Sizes that the last fields of PUB and HPUB announce.
#[derive(Default)]
struct BodySizes {
    headers: usize,
    /// Headers and payload together; `None` for verbs without a body.
    total: Option<usize>,
}

impl BodySizes {
    fn announced(
        operation: Operation,
        fields: &Fields,
        line: &[u8],
        limits: &BusLimits,
    ) -> Result<BodySizes, BusError> {
        let sizes = match operation {
            Operation::Pub => 1,
            Operation::Hpub => 2,
            _ => return fits(operation, fields, line).then(BodySizes::default).ok_or(BusError::Malformed),
        };
        // A subject, perhaps a reply, then the sizes.
        if fields.count < 1 + sizes || fields.count > 2 + sizes {
            return Err(BusError::Malformed);
        }
        let size = |index: usize| parse_size(fields.get(line, index)).ok_or(BusError::Malformed);
        let total = size(fields.count - 1)?;
        let headers = if sizes == 2 { size(fields.count - 2)? } else { 0 };
        if headers > total {
            return Err(BusError::Malformed);
        }
        if total > limits.payload_bytes_max {
            return Err(BusError::PayloadTooLarge);
        }
        Ok(BodySizes { headers, total: Some(total) })
    }
}

/// Whether a verb without a body has the arguments that it needs. Checked before the verb is taken off the input.
fn fits(operation: Operation, fields: &Fields, line: &[u8]) -> bool {
    match operation {
        Operation::Sub => (2..=3).contains(&fields.count),
        Operation::Unsub => (1..=2).contains(&fields.count),
        Operation::Connect => str::from_utf8(line).is_ok(),
        Operation::Error => false,
        _ => true,
    }
}

/// Only digits, at most nine, as in nats-server.
fn parse_size(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0, |size, digit| digit.is_ascii_digit().then(|| size * 10 + usize::from(digit - b'0')))
}

/// The positions of the arguments in their line. Positions, because the line is checked before it is taken off the
/// input.
#[derive(Default)]
struct Fields {
    at: [(usize, usize); Fields::MAX],
    count: usize,
}

impl Fields {
    /// HPUB has the most: subject, reply and two sizes.
    const MAX: usize = 4;

    fn split(line: &[u8], begin: usize) -> Result<Fields, BusError> {
        let mut fields = Fields::default();
        let mut at = begin;
        while let Some(blanks) = line[at..].iter().position(|byte| !is_blank(*byte)) {
            let start = at + blanks;
            let length = line[start..].iter().position(|byte| is_blank(*byte)).unwrap_or(line.len() - start);
            at = start + length;
            *fields.at.get_mut(fields.count).ok_or(BusError::Malformed)? = (start, at);
            fields.count += 1;
        }
        Ok(fields)
    }

    fn get<'a>(&self, line: &'a [u8], index: usize) -> &'a [u8] {
        let (start, end) = self.at[index];
        &line[start..end]
    }
}

/// A separator of arguments. As in nats-server, a CR counts anywhere.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Builds a verb from its line and body, which have been taken off the input; `rest` is the body with its CRLF.
fn read<'a>(
    operation: Operation,
    line: &'a [u8],
    arguments: usize,
    fields: &Fields,
    body: &BodySizes,
    rest: &'a [u8],
) -> Result<WorkerVerb<'a>, BusError> {
    let text = |index| str::from_utf8(fields.get(line, index)).map_err(|_| ());
    match operation {
        Operation::Ping => Ok(WorkerVerb::Ping),
        Operation::Pong => Ok(WorkerVerb::Pong),
        Operation::Idle => Ok(WorkerVerb::Idle),
        Operation::Error => Err(BusError::Malformed),
        Operation::Connect => match str::from_utf8(line[arguments..].trim_ascii()) {
            Ok(json) => Ok(WorkerVerb::Connect(json)),
            Err(_) => Err(BusError::Malformed),
        },
        Operation::Pub | Operation::Hpub => {
            let sizes = if operation == Operation::Hpub { 2 } else { 1 };
            let has_reply = fields.count == 2 + sizes;
            let (headers, payload) = rest[..rest.len() - b"\r\n".len()].split_at(body.headers);
            let reply = if has_reply { text(1).map(Some) } else { Ok(None) };
            let (Ok(subject), Ok(reply)) = (text(0), reply) else {
                return Err(BusError::PublishNotAllowed(lossy(fields.get(line, 0))));
            };
            Ok(WorkerVerb::Pub { subject, reply, headers: (!headers.is_empty()).then_some(headers), payload })
        }
        Operation::Sub => {
            let refuse = |()| BusError::SubscribeNotAllowed(lossy(fields.get(line, 0)));
            let queue = if fields.count == 3 { Some(text(1).map_err(refuse)?) } else { None };
            let sid = text(fields.count - 1).and_then(check_sid).map_err(refuse)?;
            Ok(WorkerVerb::Sub { subject: text(0).map_err(refuse)?, queue, sid })
        }
        Operation::Unsub => {
            // Like nats-server, unsubscribes at once if the number is malformed.
            let max = if fields.count == 2 { parse_size(fields.get(line, 1)) } else { None };
            // No subscription has an id that SUB would refuse.
            let sid = text(0).and_then(check_sid).unwrap_or_default();
            Ok(WorkerVerb::Unsub { sid, max: max.map(|max| max as u64) })
        }
    }
}

/// A name that is not UTF-8, for the words of an error. In a function of its own, because it is rare.
#[cold]
#[inline(never)]
fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn check_sid(sid: &str) -> Result<&str, ()> {
    if sid.len() <= SID_BYTES_MAX { Ok(sid) } else { Err(()) }
}

#[cfg(test)]
mod tests;
