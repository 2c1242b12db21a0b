//! The head of an upstream's answer: status line and header fields, and how the body after it is framed.
//!
//! ```text
//! input --> next_answer --> AnswerHead { status, body: None | Length | Chunked | UntilEnd }
//!              |-- Ok(None): the caller keeps the rest in carry
//!              '-- Err: nothing that two readers could understand differently is passed on
//! ```
//!
//! An answer that announces its body in two ways could be read by one recipient as two answers, of which the second belongs to the
//! next request (RFC 9112 section 11.1, response splitting). So it is refused, as is a line that does not end with CRLF.

use std::mem::{self, MaybeUninit};
use std::ops::Deref;

use super::body::Framing;
use super::fields::{HeadFields, content_length, head_len};
use crate::limits::{ANSWER_FIELDS_MAX, ANSWER_HEAD_BYTES_MAX};
use crate::proto::CloseReason;

/// One head of an answer; it borrows from the bytes it was taken from.
#[derive(Debug)]
pub struct AnswerHead<'a> {
    /// Three digits, 100 or more.
    pub status: u16,
    /// The words after the status; may be empty.
    pub phrase: &'a str,
    /// 0 or 1.
    pub minor_version: u8,
    pub body: Framing,
    /// Whether the upstream lets the connection stay open after the answer.
    pub keep_alive: bool,
    fields: HeadFields<'a>,
}

impl<'a> Deref for AnswerHead<'a> {
    type Target = HeadFields<'a>;

    fn deref(&self) -> &HeadFields<'a> {
        &self.fields
    }
}

const GARBAGE: CloseReason = CloseReason::UpstreamGarbage;

/// Takes the head of one answer off the front of `input`; `is_to_head`: the request was a `HEAD`.
///
/// `Ok(None)`: the head is incomplete, and `input` is unchanged. After an error the connection must not be read further.
pub fn next_answer<'a>(input: &mut &'a mut [u8], is_to_head: bool) -> Result<Option<AnswerHead<'a>>, CloseReason> {
    let window = &input[..input.len().min(ANSWER_HEAD_BYTES_MAX)];
    if !begins_as_answer(window) {
        return Err(GARBAGE);
    }
    let Some(len) = head_len(window).map_err(|_| GARBAGE)? else {
        return if window.len() == ANSWER_HEAD_BYTES_MAX { Err(GARBAGE) } else { Ok(None) };
    };
    let (taken, rest) = mem::take(input).split_at_mut(len);
    *input = rest;
    parse(taken, is_to_head).map(Some)
}

/// Whether the first bytes are those of an answer of HTTP/1, as far as they have arrived.
fn begins_as_answer(bytes: &[u8]) -> bool {
    const BEGINNING: &[u8] = b"HTTP/1.";
    let count = bytes.len().min(BEGINNING.len());
    bytes[..count] == BEGINNING[..count]
}

/// `bytes`: a whole head.
fn parse(bytes: &[u8], is_to_head: bool) -> Result<AnswerHead<'_>, CloseReason> {
    let mut fields = [const { MaybeUninit::uninit() }; ANSWER_FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, bytes, &mut fields) {
        Ok(httparse::Status::Complete(len)) if len == bytes.len() => {}
        _ => return Err(GARBAGE),
    }
    let (Some(minor_version), Some(status @ 100..)) = (response.version, response.code) else { return Err(GARBAGE) };
    let fields = HeadFields::new(response.headers);
    let phrase = response.reason.unwrap_or_default();
    let mut answer = AnswerHead { status, phrase, minor_version, body: Framing::None, keep_alive: false, fields };
    answer.body = answer.framing(is_to_head)?;
    answer.keep_alive = answer.is_kept_alive();
    Ok(answer)
}

impl AnswerHead<'_> {
    /// Whether another answer to the same request follows (RFC 9110 section 15.2).
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// RFC 9112 section 6.3, without its leniencies: what is ambiguous is refused, even where no body follows, because the
    /// fields could be passed on.
    fn framing(&self, is_to_head: bool) -> Result<Framing, CloseReason> {
        let mut lengths = self.values("content-length");
        let mut codings = self.values("transfer-encoding");
        let announced = match (lengths.next(), lengths.next(), codings.next(), codings.next()) {
            (None, _, None, _) => Framing::UntilEnd,
            (Some(length), None, None, _) => Framing::Length(content_length(length).ok_or(GARBAGE)?),
            // HTTP/1.0 has no transfer codings: by section 6.1 such framing is faulty.
            (None, _, Some(coding), None) if self.minor_version == 1 && coding.eq_ignore_ascii_case(b"chunked") => {
                Framing::Chunked
            }
            _ => return Err(GARBAGE),
        };
        let is_bodiless = is_to_head || matches!(self.status, 100..200 | 204 | 304);
        Ok(if is_bodiless { Framing::None } else { announced })
    }

    /// RFC 9112 section 9.3; a body until the end of the connection leaves nothing to keep.
    fn is_kept_alive(&self) -> bool {
        !self.has_element("connection", "close")
            && (self.minor_version == 1 || self.has_element("connection", "keep-alive"))
            && self.body != Framing::UntilEnd
    }

    /// Whether the body is a stream of events (the WHATWG HTML standard, "Server-sent events").
    pub fn is_event_stream(&self) -> bool {
        let media_type = self.values("content-type").next().and_then(|value| value.split(|byte| *byte == b';').next());
        media_type.is_some_and(|media_type| media_type.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
    }

    /// Seconds that the upstream says it keeps an idle connection (`Keep-Alive: timeout=5`).
    pub fn keeps_alive_s(&self) -> Option<u32> {
        let parameters = self.elements("keep-alive").flat_map(|element| element.split(';'));
        let mut timeouts = parameters.filter_map(|parameter| {
            let (name, value) = parameter.trim().split_once('=')?;
            name.eq_ignore_ascii_case("timeout").then(|| value.parse().ok())?
        });
        timeouts.next()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Parses one head and shows it to `look`; the rest of the input must be `rest`.
    fn read_to<T>(is_to_head: bool, answer: &str, rest: &str, look: impl FnOnce(&AnswerHead) -> T) -> T {
        let mut bytes = answer.to_owned().into_bytes();
        let mut input = &mut bytes[..];
        let head = next_answer(&mut input, is_to_head).expect(answer).expect(answer);
        let shown = look(&head);
        assert_eq!(input, rest.as_bytes());
        shown
    }

    fn framing(status: u16, lines: &str) -> Result<Framing, CloseReason> {
        let mut bytes = format!("HTTP/1.1 {status} \r\n{lines}\r\n").into_bytes();
        next_answer(&mut &mut bytes[..], false).map(|answer| answer.expect(lines).body)
    }

    #[test]
    fn reads_the_parts_of_an_answer() {
        let text = "HTTP/1.1 404 Not Found Here\r\nContent-Length: 5\r\nKeep-Alive: timeout=5, max=100\r\n\r\nhello";
        read_to(false, text, "hello", |answer| {
            assert_eq!((answer.status, answer.phrase, answer.minor_version), (404, "Not Found Here", 1));
            assert_eq!((answer.body, answer.keep_alive, answer.keeps_alive_s()), (Framing::Length(5), true, Some(5)));
            assert_eq!(answer.header("CONTENT-LENGTH"), Some("5"));
        });
        read_to(false, "HTTP/1.0 200\r\n\r\nx", "x", |answer| {
            assert_eq!((answer.body, answer.keep_alive, answer.phrase), (Framing::UntilEnd, false, ""));
        });
        read_to(false, "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n", "", |answer| {
            assert!(answer.keep_alive && answer.body.is_empty());
        });
        read_to(false, "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\n\r\n", "", |answer| {
            assert_eq!((answer.body, answer.keep_alive), (Framing::Chunked, false));
        });
    }

    #[test]
    fn an_answer_to_head_and_1xx_204_304_have_no_body_whatever_they_announce() {
        for status in [100, 101, 103, 204, 304] {
            for lines in ["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
                assert_eq!(framing(status, lines), Ok(Framing::None), "{status} {lines}");
            }
        }
        read_to(true, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP", "HTTP", |answer| {
            assert!(answer.body == Framing::None && answer.keep_alive);
        });
    }

    #[test]
    fn refuses_an_answer_with_ambiguous_framing() {
        for lines in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: \r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: \r\n",
        ] {
            for status in [200, 204, 304, 500] {
                assert_eq!(framing(status, lines), Err(GARBAGE), "{status} {lines}");
            }
        }
        let mut old = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        assert_eq!(next_answer(&mut &mut old[..], false).unwrap_err(), GARBAGE);
    }

    #[test]
    fn refuses_bare_line_ends_folds_and_what_is_no_head() {
        for bad in [
            "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "SSH-2.0-OpenSSH",
            "http/1.1 200 OK\r\n\r\n",
            "H2",
        ] {
            let mut bytes = bad.as_bytes().to_vec();
            assert_eq!(next_answer(&mut &mut bytes[..], false).unwrap_err(), GARBAGE, "{bad:?}");
        }
    }

    #[test]
    fn bounds_the_bytes_and_the_fields_of_a_head() {
        let with = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n").into_bytes();
        let long = |bytes: usize| with(&format!("A: {}\r\n", "x".repeat(bytes - with("A: \r\n").len())));
        assert!(next_answer(&mut &mut long(ANSWER_HEAD_BYTES_MAX)[..], false).unwrap().is_some());
        assert_eq!(next_answer(&mut &mut long(ANSWER_HEAD_BYTES_MAX + 1)[..], false).unwrap_err(), GARBAGE);
        let mut endless = [b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'x'; ANSWER_HEAD_BYTES_MAX]].concat();
        assert_eq!(next_answer(&mut &mut endless[..], false).unwrap_err(), GARBAGE);
        assert!(next_answer(&mut &mut with(&"A: b\r\n".repeat(ANSWER_FIELDS_MAX))[..], false).unwrap().is_some());
        let mut many = with(&"A: b\r\n".repeat(ANSWER_FIELDS_MAX + 1));
        assert_eq!(next_answer(&mut &mut many[..], false).unwrap_err(), GARBAGE);
    }

    /// Lines of heads, good and bad, for heads made by chance.
    fn lines() -> impl Strategy<Value = Vec<&'static str>> {
        let line = prop::sample::select(vec![
            "Content-Length: 3\r\n",
            "Content-Length: x\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: close\r\n",
            "Connection: keep-alive, upgrade\r\n",
            "Set-Cookie: a=b\r\n",
            " folded\r\n",
            "bare\n",
            "\r\n",
        ]);
        prop::collection::vec(line, 0..6)
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_answer(
            status in prop::sample::select(vec!["HTTP/1.1 200 OK\r\n", "HTTP/1.0 304 \r\n", "HTTP/1.1 103 x\r\n", "HTTP/3\r\n"]),
            lines in lines(),
        ) {
            let text = format!("{status}{}\r\n", lines.concat()).into_bytes();
            let mut whole = text.clone();
            let mut rest = &mut whole[..];
            let at_once = next_answer(&mut rest, false)
                .map(|answer| answer.map(|answer| (answer.status, answer.body, answer.fields().len())));
            let left = rest.len();
            let mut outcome = Ok(None);
            for end in 0..=text.len() {
                let mut bytes = text[..end].to_vec();
                let mut input = &mut bytes[..];
                outcome = next_answer(&mut input, false)
                    .map(|answer| answer.map(|answer| (answer.status, answer.body, answer.fields().len())));
                match outcome {
                    Ok(None) => prop_assert_eq!(input.len(), end, "an incomplete head is left as it is"),
                    Ok(Some(_)) => {
                        prop_assert_eq!((input.len(), end), (0, text.len() - left));
                        break;
                    }
                    Err(_) => break,
                }
            }
            prop_assert_eq!(outcome, at_once);
        }
    }
}
