//! Server-Sent Events: the event stream format (WHATWG HTML, section 9.2), written for browsers and read by our own client.
//!
//! ```text
//!  message --> write_record --> "id: 7:42\nevent: moved\ndata: first line\ndata: second line\n\n"
//!  bytes   --> Parser::next --> SseEvent { id, event, data }
//! ```
//!
//! The format has no escapes. A line break in a payload begins another `data` line, and a client joins the lines with
//! LF. So a message cannot forge a field, and CR and CRLF arrive as LF. NUL has no meaning in data and is passed on. In
//! an id it would make the client ignore the id, so ids and event names with NUL or line breaks are refused at publish.
//! The stream is UTF-8: in a browser, invalid bytes arrive as U+FFFD.

use std::time::Duration;

use memchr::{memchr, memchr2, memchr3};

use crate::proto::CloseReason;

/// Bytes around the values of a record with one line: field names, colons, spaces and line ends.
const RECORD_OVERHEAD: usize = "id: \nevent: \ndata: \n\n".len();

/// Whether `value` can be an id or an event name: it has neither CR, LF nor NUL.
pub fn is_valid_field(value: &str) -> bool {
    memchr3(b'\r', b'\n', 0, value.as_bytes()).is_none()
}

/// Appends one record: the client dispatches it as one event, even if `payload` is empty.
///
/// An `id` or `event` for which [`is_valid_field`] is false is left out; publishers are refused such values earlier.
/// Each line of the payload adds six bytes.
pub fn write_record(out: &mut Vec<u8>, id: Option<&str>, event: Option<&str>, payload: &[u8]) {
    out.reserve(RECORD_OVERHEAD + id.map_or(0, str::len) + event.map_or(0, str::len) + payload.len());
    for (name, value) in [(&b"id: "[..], id), (b"event: ", event)] {
        if let Some(value) = value.filter(|value| is_valid_field(value)) {
            write_line(out, name, value.as_bytes());
        }
    }
    write_lines(out, b"data: ", payload);
    out.push(b'\n');
}

/// Appends an id. At the beginning of a record it is that record's id. With a blank line after it, the client remembers
/// the id without an event (section 9.2.6).
pub fn write_id(out: &mut Vec<u8>, id: &str) {
    write_line(out, b"id: ", id.as_bytes());
}

/// Appends the advice to wait for `delay` before reconnecting.
pub fn write_retry(out: &mut Vec<u8>, delay: Duration) {
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    write_line(out, b"retry: ", itoa::Buffer::new().format(delay_ms).as_bytes());
    out.push(b'\n');
}

/// Appends a comment: clients ignore it, proxies see that the stream lives.
pub fn write_comment(out: &mut Vec<u8>, text: &str) {
    write_lines(out, b": ", text.as_bytes());
    out.push(b'\n');
}

/// Appends a field for each line of `value`; CR, LF and CRLF end a line, as they do for the reader.
fn write_lines(out: &mut Vec<u8>, name: &[u8], mut value: &[u8]) {
    while let Some(end) = memchr2(b'\r', b'\n', value) {
        write_line(out, name, &value[..end]);
        let break_len = if value[end..].starts_with(b"\r\n") { 2 } else { 1 };
        value = &value[end + break_len..];
    }
    write_line(out, name, value);
}

/// `name` ends in a space, and the reader strips one space: so a value may begin with a space.
fn write_line(out: &mut Vec<u8>, name: &[u8], line: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(line);
    out.push(b'\n');
}

/// An event as a client dispatches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseEvent {
    /// The last id that the stream gave, with this event or before it; empty if it never gave one.
    pub id: String,
    /// Empty if the record named none: browsers then use `message`.
    pub event: String,
    pub data: String,
}

/// Reads an event stream piece by piece.
#[derive(Debug)]
pub struct Parser {
    /// Bound of one record, and of one line.
    record_bytes_max: usize,
    /// The beginning of an incomplete line.
    line: Vec<u8>,
    /// The last byte was a CR: a LF after it belongs to it.
    is_after_cr: bool,
    /// A byte order mark is skipped before the first line only.
    is_first_line: bool,
    record: Record,
    last_id: String,
    retry: Option<Duration>,
}

/// The fields since the last blank line.
#[derive(Debug, Default)]
struct Record {
    event: String,
    /// Each line, followed by a LF.
    data: String,
}

impl Parser {
    pub fn new(record_bytes_max: usize) -> Parser {
        Parser {
            record_bytes_max,
            line: Vec::new(),
            is_after_cr: false,
            is_first_line: true,
            record: Record::default(),
            last_id: String::new(),
            retry: None,
        }
    }

    /// The `Last-Event-ID` for the next connection; empty if there is none.
    pub fn last_id(&self) -> &str {
        &self.last_id
    }

    /// The reconnection time that the stream asked for.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes the next event off the front of `input`; `Ok(None)` when all of it is used up.
    ///
    /// A record above the bound is an error, after which the parser must not be used. An incomplete record at the end
    /// of the stream is not an event.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<SseEvent>, CloseReason> {
        while !input.is_empty() {
            if std::mem::take(&mut self.is_after_cr) && input[0] == b'\n' {
                *input = &input[1..];
                continue;
            }
            let Some(end) = memchr2(b'\r', b'\n', input) else {
                self.check_room(input.len())?;
                self.line.extend_from_slice(input);
                *input = &[];
                break;
            };
            self.check_room(end)?;
            self.is_after_cr = input[end] == b'\r';
            let (tail, rest) = (&input[..end], &input[end + 1..]);
            *input = rest;
            let event = if self.line.is_empty() {
                self.take_line(tail)
            } else {
                self.line.extend_from_slice(tail);
                let line = std::mem::take(&mut self.line);
                self.take_line(&line)
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn check_room(&self, more: usize) -> Result<(), CloseReason> {
        let kept = self.line.len() + self.record.data.len();
        if kept + more > self.record_bytes_max { Err(CloseReason::MessageTooBig) } else { Ok(()) }
    }

    fn take_line(&mut self, mut line: &[u8]) -> Option<SseEvent> {
        if std::mem::take(&mut self.is_first_line) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            return self.dispatch();
        }
        let (name, value) = match memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        self.take_field(name, value.strip_prefix(b" ").unwrap_or(value));
        None
    }

    /// Section 9.2.6; fields with other names, and comments, whose name is empty, are ignored.
    fn take_field(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"event" => self.record.event = String::from_utf8_lossy(value).into_owned(),
            b"data" => {
                self.record.data.push_str(&String::from_utf8_lossy(value));
                self.record.data.push('\n');
            }
            b"id" if memchr(0, value).is_none() => self.last_id = String::from_utf8_lossy(value).into_owned(),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let delay_ms = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                self.retry = delay_ms.map(Duration::from_millis).or(self.retry);
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<SseEvent> {
        let Record { event, mut data } = std::mem::take(&mut self.record);
        // Without a data line there is no event, even if the record has other fields.
        data.pop()?;
        Some(SseEvent { id: self.last_id.clone(), event, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(id: Option<&str>, event: Option<&str>, payload: &[u8]) -> String {
        let mut out = Vec::new();
        write_record(&mut out, id, event, payload);
        String::from_utf8(out).unwrap()
    }

    /// The events of `stream`, which must not depend on how the stream is split.
    fn events(stream: &[u8]) -> Vec<SseEvent> {
        let at_once = events_in_pieces(stream, stream.len().max(1));
        for size in 1..stream.len().min(9) {
            assert_eq!(events_in_pieces(stream, size), at_once, "in pieces of {size}");
        }
        at_once
    }

    fn events_in_pieces(stream: &[u8], size: usize) -> Vec<SseEvent> {
        let mut parser = Parser::new(10_000);
        let mut events = Vec::new();
        for mut piece in stream.chunks(size) {
            while let Some(event) = parser.next(&mut piece).unwrap() {
                events.push(event);
            }
        }
        events
    }

    fn event(id: &str, event: &str, data: &str) -> SseEvent {
        SseEvent { id: id.to_string(), event: event.to_string(), data: data.to_string() }
    }

    #[test]
    fn a_record_has_its_fields_and_a_blank_line() {
        assert_eq!(record(Some("7:42"), Some("moved"), b"{}"), "id: 7:42\nevent: moved\ndata: {}\n\n");
        assert_eq!(record(None, None, b""), "data: \n\n");
    }

    #[test]
    fn every_line_of_a_payload_is_data() {
        let text = record(None, None, b"a\nb\rc\r\nd\r\n\re\n\nid: forged\n");
        let expected = "a b c d  e  id:·forged ".split(' ').map(|line| format!("data: {}\n", line.replace('·', " ")));
        assert_eq!(text, expected.collect::<String>() + "\n");
    }

    #[test]
    fn nul_is_kept_in_data_and_refused_in_fields() {
        assert_eq!(events(record(None, None, b"a\0b").as_bytes()), [event("", "", "a\0b")]);
        assert!(is_valid_field("driver moved: 42 °"));
        assert!(is_valid_field(""));
        for bad in ["a\rb", "a\nb", "a\0b", "\n"] {
            assert!(!is_valid_field(bad));
            assert_eq!(record(Some(bad), Some(bad), b"x"), "data: x\n\n", "and left out where they were not");
        }
    }

    #[test]
    fn writes_retry_and_comments() {
        let mut out = Vec::new();
        write_retry(&mut out, Duration::from_secs(2));
        write_comment(&mut out, "still here\ndata: forged");
        write_comment(&mut out, "");
        assert_eq!(out, b"retry: 2000\n\n: still here\n: data: forged\n\n: \n\n");
        assert_eq!(events(&out), []);
    }

    #[test]
    fn reads_the_examples_of_the_standard() {
        let stocks = events(b"data: YHOO\ndata: +2\ndata: 10\n\n");
        assert_eq!(stocks, [event("", "", "YHOO\n+2\n10")]);
        let four = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
        assert_eq!(
            events(four),
            [event("1", "", "first event"), event("", "", "second event"), event("", "", " third event")]
        );
        assert_eq!(events(b"data\n\ndata\ndata\n\ndata:"), [event("", "", ""), event("", "", "\n")]);
        assert_eq!(events(b"data:test\n\ndata: test\n\n"), [event("", "", "test"), event("", "", "test")]);
    }

    #[test]
    fn takes_every_line_end_and_skips_one_byte_order_mark() {
        let stream = "\u{FEFF}data: a\r\n\r\ndata: b\r\rdata: c\n\n\u{FEFF}data: no field\n\n".as_bytes();
        assert_eq!(events(stream), [event("", "", "a"), event("", "", "b"), event("", "", "c")]);
    }

    #[test]
    fn an_event_is_seen_at_the_cr_that_ends_it() {
        let mut parser = Parser::new(100);
        assert_eq!(parser.next(&mut &b"data: a\r\n\r"[..]), Ok(Some(event("", "", "a"))));
        assert_eq!(parser.next(&mut &b"\ndata: b\n\n"[..]), Ok(Some(event("", "", "b"))));
    }

    #[test]
    fn an_id_lasts_and_a_name_does_not() {
        let stream = b"id: 1\nevent: moved\ndata: a\n\nid: bad\0id\ndata: b\n\nid: 2\n\ndata: c\n\n";
        assert_eq!(events(stream), [event("1", "moved", "a"), event("1", "", "b"), event("2", "", "c")]);
    }

    #[test]
    fn retry_takes_digits_only() {
        let mut parser = Parser::new(100);
        let mut input = &b"retry: 250\nretry: +5\nretry: 1s\nretry\nretry: 99999999999999999999999\n"[..];
        assert_eq!(parser.next(&mut input), Ok(None));
        assert_eq!(parser.retry(), Some(Duration::from_millis(250)));
    }

    #[test]
    fn bytes_that_are_not_utf8_become_replacement_characters() {
        assert_eq!(events(b"data: a\xFFb\xE2\x82\n\n"), [event("", "", "a\u{FFFD}b\u{FFFD}")]);
    }

    #[test]
    fn refuses_a_record_above_its_bound() {
        assert_eq!(Parser::new(10).next(&mut &b"data: 12345"[..]), Err(CloseReason::MessageTooBig));
        let mut parser = Parser::new(10);
        let mut lines = b"data: 1\n".repeat(20);
        assert_eq!(parser.next(&mut &lines[..]), Err(CloseReason::MessageTooBig));
        lines = b"data: 1\n\n".repeat(20);
        let (mut parser, mut input) = (Parser::new(10), &lines[..]);
        for _ in 0..20 {
            assert_eq!(parser.next(&mut input), Ok(Some(event("", "", "1"))));
        }
    }

    proptest! {
        #[test]
        fn a_client_reads_what_was_published(
            messages in proptest::collection::vec(
                ("[^\r\n\0]{0,12}", "[^\r\n\0]{0,12}", "([ :\r\n\0a-dé]|data: |id: ){0,20}"), 0..6),
            size in 1usize..40,
        ) {
            let mut stream = Vec::new();
            write_retry(&mut stream, Duration::from_millis(1));
            let mut expected = Vec::new();
            for (id, name, payload) in &messages {
                write_comment(&mut stream, name);
                write_record(&mut stream, Some(id), Some(name), payload.as_bytes());
                let data = payload.replace("\r\n", "\n").replace('\r', "\n");
                expected.push(event(id, name, &data));
            }
            prop_assert_eq!(events_in_pieces(&stream, size), expected);
        }

        #[test]
        fn any_bytes_give_the_same_events_at_any_split(
            stream in proptest::collection::vec(
                prop_oneof![any::<u8>(), proptest::sample::select(&b"\r\n: datidevent"[..])], 0..200),
            size in 1usize..40,
        ) {
            prop_assert_eq!(events_in_pieces(&stream, size), events_in_pieces(&stream, stream.len().max(1)));
        }
    }
}
