//! Event streams that a server behind the gateway serves.

use tidegate::base::Tick;

use super::book::Book;
use crate::line::Line;
use crate::sse::EventStream;

/// A client that listens to a server's events.
pub struct Listener {
    pub tag: u64,
    pub deaf_until: Tick,
    pub stream: EventStream,
    heard: u64,
}

impl Listener {
    pub fn new(line: Line, tag: u64) -> Listener {
        let stream = EventStream::new(line, &format!("/api/events/{tag}"), "");
        Listener { tag, deaf_until: Tick::ZERO, stream, heard: 0 }
    }

    pub fn poll(&mut self, now: Tick, book: &mut Book) {
        if now < self.deaf_until {
            return;
        }
        self.stream.poll();
        for event in std::mem::take(&mut self.stream.received) {
            self.heard += 1;
            let expected = (format!("e{}:{}", self.tag, self.heard), self.heard.to_string());
            assert_eq!((event.data, event.id), expected, "of another stream, twice, lost, or out of order");
            book.counts.events += 1;
        }
    }

    fn is_servers(&self) -> bool {
        self.stream.head.as_ref().is_some_and(|head| head.field("x-tag").is_some())
    }

    /// Everything has come to rest.
    pub fn assert_settled(&self, book: &mut Book, is_draining: bool) {
        let (stream, talk) = (&self.stream, book.talk(self.tag));
        if stream.end().is_none() && !stream.has_ended_cleanly() {
            assert!(self.is_servers(), "stream {} is neither opened nor refused", self.tag);
            assert!(!talk.is_server_gone, "PAIRED: stream {} is open to nobody", self.tag);
            assert_eq!(self.heard, talk.by_server, "stream {}: not all is heard", self.tag);
        } else if !self.is_servers() {
            // Where no server can be had, the stream is empty and its client comes back (`event_stream_errors`).
            assert!(self.heard == 0 && (!stream.is_open() || stream.retry_ms.is_some()), "stream {}", self.tag);
        } else if stream.has_ended_cleanly() {
            let is_whole = talk.is_finished && self.heard == talk.by_server;
            assert!(is_whole || is_draining, "stream {} looks as if the server had ended it", self.tag);
            book.counts.streams_finished += u64::from(is_whole);
        } else {
            book.counts.streams_cut += 1;
        }
    }
}

/// The server's end.
pub struct Source {
    pub tag: u64,
    pub is_chunked: bool,
}

impl Source {
    pub fn open(line: &mut Line, tag: u64, is_chunked: bool) -> Source {
        let framing = if is_chunked { "Transfer-Encoding: chunked" } else { "Connection: close" };
        let kind = "Content-Type: text/event-stream";
        line.say(format!("HTTP/1.1 200 OK\r\nX-Tag: {tag}\r\n{kind}\r\n{framing}\r\n\r\n").as_bytes());
        Source { tag, is_chunked }
    }

    pub fn say(&self, line: &mut Line, book: &mut Book) {
        let talk = book.talk(self.tag);
        talk.by_server += 1;
        let (tag, number) = (self.tag, talk.by_server);
        self.put(line, &format!("id: {number}\ndata: e{tag}:{number}\n\n"));
    }

    pub fn finish(&self, line: &mut Line, book: &mut Book) {
        book.talk(self.tag).is_finished = true;
        if self.is_chunked {
            line.say(b"0\r\n\r\n");
        }
    }

    fn put(&self, line: &mut Line, text: &str) {
        let whole = if self.is_chunked { format!("{:x}\r\n{text}\r\n", text.len()) } else { text.to_owned() };
        line.say(whole.as_bytes());
    }
}
