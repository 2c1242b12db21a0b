//! The little HTTP/1.1 that a client or a server needs (RFC 9112): heads, and bodies in every framing.

use crate::line::Line;

/// The first lines of an answer.
#[derive(Clone, Debug)]
pub struct Head {
    pub status: u16,
    fields: Vec<(String, String)>,
}

impl Head {
    /// Takes a head off the line once it is whole.
    pub fn take(line: &mut Line) -> Option<Head> {
        let (status_line, fields) = take_fields(line)?;
        let rest = status_line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("status line {status_line:?}"));
        let status = rest.get(..3).and_then(|digits| digits.parse().ok());
        Some(Head { status: status.expect("three digits"), fields })
    }

    /// `name` in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        first_of(&self.fields, name)
    }
}

/// The first lines of a request.
pub struct RequestHead {
    pub method: String,
    pub path: String,
    fields: Vec<(String, String)>,
}

impl RequestHead {
    /// Takes a head off the line once it is whole.
    pub fn take(line: &mut Line) -> Option<RequestHead> {
        let (request_line, fields) = take_fields(line)?;
        let [method, path, "HTTP/1.1"] = request_line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("request line {request_line:?}")
        };
        Some(RequestHead { method: method.to_owned(), path: path.to_owned(), fields })
    }

    /// `name` in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        first_of(&self.fields, name)
    }

    pub fn count(&self, name: &str) -> usize {
        self.fields.iter().filter(|(other, _)| other == name).count()
    }
}

/// Takes the first line and the fields of a head off the line once it is whole; names in lower case.
fn take_fields(line: &mut Line) -> Option<(String, Vec<(String, String)>)> {
    let bytes = line.take_until(b"\r\n\r\n")?;
    let text = String::from_utf8(bytes).expect("a head is text");
    let mut lines = text.split("\r\n");
    let first = lines.next().expect("there is a first line").to_owned();
    let fields = lines.map(|field| {
        assert!(!field.contains(['\r', '\n']), "bare line end in {field:?}");
        let (name, value) = field.split_once(':').unwrap_or_else(|| panic!("header field {field:?}"));
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    Some((first, fields.collect()))
}

fn first_of<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
}

/// Says a request without a body.
pub fn say_request(line: &mut Line, path: &str, fields: &[(&str, &str)]) {
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: simulated\r\n");
    for (name, value) in fields {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    line.say(request.as_bytes());
}

/// A connection on which one answer comes after the other, each with a body of a known length.
pub struct Answers {
    pub line: Line,
    /// Of an answer whose body has not come whole.
    head: Option<Head>,
}

impl Answers {
    pub fn new(line: Line) -> Answers {
        Answers { line, head: None }
    }

    /// Takes the next answer off the line once it is whole.
    pub fn take(&mut self) -> Option<(Head, Vec<u8>)> {
        if self.head.is_none() {
            self.head = Head::take(&mut self.line);
        }
        let length = self.head.as_ref()?.field("content-length").and_then(|digits| digits.parse().ok());
        let body = self.line.take(length.expect("a length"))?;
        Some((self.head.take()?, body))
    }
}

/// How the bytes after a head are delimited (RFC 9112 section 6.3).
pub enum Body {
    UntilClose,
    /// So many bytes are still to come.
    Length(usize),
    /// `left` bytes of the chunk that has begun, its CRLF included.
    Chunked {
        left: usize,
        has_ended: bool,
    },
}

impl Body {
    pub fn of(head: &Head) -> Body {
        assert!(head.field("content-length").is_none(), "a stream has no length");
        match head.field("transfer-encoding") {
            None => Body::UntilClose,
            Some(coding) => {
                assert_eq!(coding, "chunked");
                Body::Chunked { left: 0, has_ended: false }
            }
        }
    }

    /// That of an answer; to `HEAD`, and with some statuses, there is none whatever the fields say.
    pub fn of_answer(head: &Head, is_to_head: bool) -> Body {
        let has_none = is_to_head || matches!(head.status, 100..200 | 204 | 304);
        if has_none { Body::Length(0) } else { Body::framed_by(&head.fields).unwrap_or(Body::UntilClose) }
    }

    /// That of a request: none, unless the fields say that there is one.
    pub fn of_request(head: &RequestHead) -> Body {
        Body::framed_by(&head.fields).unwrap_or(Body::Length(0))
    }

    fn framed_by(fields: &[(String, String)]) -> Option<Body> {
        let (length, coding) = (first_of(fields, "content-length"), first_of(fields, "transfer-encoding"));
        assert!(length.is_none() || coding.is_none(), "two framings: {fields:?}");
        if let Some(coding) = coding {
            assert_eq!(coding, "chunked");
            return Some(Body::Chunked { left: 0, has_ended: false });
        }
        length.map(|digits| Body::Length(digits.parse().expect("a length")))
    }

    /// True once the body has ended by its own framing.
    pub fn has_ended(&self) -> bool {
        matches!(self, Body::Chunked { left: 0, has_ended: true } | Body::Length(0))
    }

    /// Moves what has been heard of the body to the end of `into`.
    pub fn take(&mut self, line: &mut Line, into: &mut Vec<u8>) {
        let (left, has_ended) = match self {
            Body::UntilClose => return into.append(&mut line.incoming),
            Body::Length(left) => {
                let count = line.incoming.len().min(*left);
                *left -= count;
                return into.extend(line.take(count).expect("so many are there"));
            }
            Body::Chunked { left, has_ended } => (left, has_ended),
        };
        loop {
            if *left == 0 {
                if *has_ended {
                    return;
                }
                let Some(size) = line.take_until(b"\r\n") else { return };
                let size = std::str::from_utf8(&size).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
                let size = size.expect("a chunk begins with its size");
                *has_ended = size == 0;
                *left = size + 2;
            }
            // The CRLF behind a chunk is taken with the chunk's last byte, so a body never ends in half of it.
            if *left == 2 || line.incoming.len() >= *left {
                let Some(mut chunk) = line.take(*left) else { return };
                assert!(chunk.ends_with(b"\r\n"), "a chunk ends with CRLF");
                chunk.truncate(*left - 2);
                into.append(&mut chunk);
                *left = 0;
            } else {
                let count = line.incoming.len().min(*left - 2);
                if count == 0 {
                    return;
                }
                *left -= count;
                into.extend(line.take(count).expect("so many are there"));
            }
        }
    }
}
