//! An `EventSource` (WHATWG HTML, section 9.2): asks for a stream, remembers the last id.

use crate::http::{self, Body, Head};
use crate::line::{End, Line};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The last id so far, as `lastEventId` of a browser; empty if there was none.
    pub id: String,
    pub name: String,
    pub data: String,
}

/// The name of an event that is none: an id came alone, see [`EventStream::keeps_ids`].
pub const ONLY_ID: &str = "(id)";

pub struct EventStream {
    pub line: Line,
    /// Whether ids without an event are received too, which a browser only remembers.
    pub keeps_ids: bool,
    body: Option<Body>,
    /// Of the body, what is not a whole record yet.
    bytes: Vec<u8>,
    last_id: String,
    pub head: Option<Head>,
    /// Taken out by whoever checks them.
    pub received: Vec<Event>,
    pub comments: usize,
    pub retry_ms: Option<u64>,
}

impl EventStream {
    /// Asks for a stream on a fresh connection; `last_id` is what an earlier stream had, or empty.
    pub fn new(mut line: Line, path: &str, last_id: &str) -> EventStream {
        let mut fields = vec![("Accept", "text/event-stream"), ("Cache-Control", "no-store")];
        if !last_id.is_empty() {
            fields.push(("Last-Event-ID", last_id));
        }
        http::say_request(&mut line, path, &fields);
        EventStream {
            line,
            keeps_ids: false,
            body: None,
            bytes: Vec::new(),
            last_id: last_id.to_owned(),
            head: None,
            received: Vec::new(),
            comments: 0,
            retry_ms: None,
        }
    }

    /// How the connection ended, once it has.
    pub fn end(&self) -> Option<End> {
        self.line.end
    }

    /// True once the stream has begun.
    pub fn is_open(&self) -> bool {
        self.body.is_some()
    }

    /// True if the server ended the stream as its framing has it, not in the middle.
    pub fn has_ended_cleanly(&self) -> bool {
        match &self.body {
            Some(Body::UntilClose) => self.line.end == Some(End::Finished) && self.bytes.is_empty(),
            Some(body) => body.has_ended() && self.bytes.is_empty() && self.line.end != Some(End::Truncated),
            None => false,
        }
    }

    pub fn last_id(&self) -> &str {
        &self.last_id
    }

    pub fn poll(&mut self) {
        self.line.poll();
        if self.head.is_none()
            && let Some(head) = Head::take(&mut self.line)
        {
            if head.status == 200 {
                let media_type = head.field("content-type").unwrap_or_default();
                assert!(media_type.starts_with("text/event-stream"), "{media_type:?} is no event stream");
                self.body = Some(Body::of(&head));
            }
            self.head = Some(head);
        }
        let Some(body) = &mut self.body else { return };
        body.take(&mut self.line, &mut self.bytes);
        assert!(!body.has_ended() || self.line.incoming.is_empty(), "bytes after the last chunk");
        while let Some(at) = self.bytes.windows(2).position(|window| window == b"\n\n") {
            let mut record: Vec<u8> = self.bytes.drain(..at + 2).collect();
            record.truncate(at);
            self.on_record(&String::from_utf8(record).expect("the stream is UTF-8"));
        }
    }

    /// The gateway ends lines with LF alone: a CR would come from a payload, and could forge a field.
    fn on_record(&mut self, record: &str) {
        assert!(!record.contains('\r'), "a payload's CR got through: {record:?}");
        let mut name = String::new();
        let mut data: Vec<&str> = Vec::new();
        let mut has_id = false;
        for line in record.split('\n') {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => self.comments += 1,
                "id" if !value.contains('\0') => {
                    self.last_id = value.to_owned();
                    has_id = true;
                }
                "event" => name = value.to_owned(),
                "data" => data.push(value),
                "retry" => self.retry_ms = Some(value.parse().expect("digits")),
                _ => panic!("field {field:?} in {record:?}"),
            }
        }
        if !data.is_empty() {
            self.received.push(Event { id: self.last_id.clone(), name, data: data.join("\n") });
        } else if has_id && self.keeps_ids {
            self.received.push(Event { id: self.last_id.clone(), name: ONLY_ID.to_owned(), data: String::new() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, in_worlds};

    const RECORDS: &[u8] =
        b"retry: 2000\n\n: ready\n\nid: 7:1\nevent: moved\ndata: first\ndata: second\n\ndata:  kept space\n\n";

    fn open(script: &mut Script, head_rest: &str) -> EventStream {
        let mut client = EventStream::new(Line::new(script.connect()), "/sse/7", "6:9");
        let request = String::from_utf8(script.hear_until(b"\r\n\r\n", || client.poll())).unwrap();
        assert!(request.starts_with("GET /sse/7 HTTP/1.1\r\n") && request.contains("\r\nLast-Event-ID: 6:9"));
        script.say(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{head_rest}\r\n").as_bytes());
        client
    }

    fn assert_heard(client: &EventStream) {
        let event = |id: &str, name: &str, data: &str| Event { id: id.into(), name: name.into(), data: data.into() };
        assert_eq!(client.received, [event("7:1", "moved", "first\nsecond"), event("7:1", "", " kept space")]);
        assert_eq!((client.comments, client.retry_ms, client.last_id()), (1, Some(2000), "7:1"));
    }

    #[test]
    fn hears_events_until_the_connection_ends() {
        in_worlds(|mut script| {
            let mut client = open(&mut script, "");
            script.say(RECORDS);
            script.finish();
            script.until(|| {
                client.poll();
                client.end().is_some()
            });
            assert_heard(&client);
            assert!(client.has_ended_cleanly());
        });
    }

    #[test]
    fn hears_events_through_chunks_cut_anywhere() {
        in_worlds(|mut script| {
            let mut client = open(&mut script, "Transfer-Encoding: chunked\r\n");
            let mut rest = RECORDS;
            while !rest.is_empty() {
                let count = 1 + script.world().random_below(rest.len() as u64) as usize;
                let (chunk, after) = rest.split_at(count);
                script.say(format!("{count:x}\r\n").as_bytes());
                script.say(&[chunk, b"\r\n"].concat());
                rest = after;
            }
            script.until(|| {
                client.poll();
                client.received.len() == 2
            });
            assert_heard(&client);
            assert!(!client.has_ended_cleanly());
            script.say(b"0\r\n\r\n");
            script.until(|| {
                client.poll();
                client.has_ended_cleanly()
            });
        });
    }

    #[test]
    fn keeps_the_answer_that_refused_it() {
        in_worlds(|mut script| {
            let mut client = EventStream::new(Line::new(script.connect()), "/nowhere", "");
            script.hear_until(b"\r\n\r\n", || client.poll());
            script.say(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            script.until(|| {
                client.poll();
                client.head.is_some()
            });
            assert_eq!(client.head.as_ref().map(|head| head.status), Some(404));
            assert!(!client.is_open());
        });
    }
}
