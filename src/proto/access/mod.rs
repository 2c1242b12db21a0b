//! One line of the access log: what a client has asked for, and what became of it.
//!
//! ```text
//! AccessLine --Json------> {"time":"2026-11-30T22:45:01.123Z","id":"0000000100000000-0","kind":"request", …}
//!            '--Combined-> 192.0.2.1 - ann [30/Nov/2026:22:45:01 +0000] "GET /a HTTP/1.1" 200 12 "-" "curl/8.5.0"
//! ```
//!
//! A line is one line, whatever a client writes: control characters and bytes that are no UTF-8 are escaped (`text`).

mod stamp;
mod text;

use std::net::IpAddr;
use std::time::Duration;

use crate::base::{TcpFacts, push_ip};

use stamp::Stamp;
use text::{push_json, push_quoted, push_word};

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineFormat {
    /// An object of JSON.
    #[default]
    Json,
    /// The "combined" format of Apache and nginx.
    Combined,
}

/// The event that a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// A request was answered, or will not be.
    Request,
    /// A stream has begun.
    Open,
    /// A stream has ended.
    End,
}

impl LineKind {
    fn word(self) -> &'static str {
        match self {
            LineKind::Request => "request",
            LineKind::Open => "open",
            LineKind::End => "end",
        }
    }
}

/// The parts of a request's head that a line shows, as the client has sent them; an absent field is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineHead<'a> {
    pub host: &'a [u8],
    pub method: &'a [u8],
    /// With the query, in which secrets are masked.
    pub path: &'a [u8],
    pub agent: &'a [u8],
    /// The same for its query.
    pub referer: &'a [u8],
    pub minor_version: u8,
}

/// The part of servers behind the gateway in a request.
#[derive(Clone, Copy, Debug)]
pub struct LineProxied<'a> {
    pub upstream: &'a str,
    /// The last one that it was given to.
    pub server: Option<&'a str>,
    /// Servers that it was given to, one after the other.
    pub attempts: u8,
    /// Its connection had carried others before.
    pub is_reused: bool,
    /// From the head of the request to a connection with the server.
    pub connect: Option<Duration>,
    /// From then on to the head of the answer.
    pub answer: Option<Duration>,
}

/// See the module's picture. What is not known is left out.
#[derive(Clone, Copy, Debug)]
pub struct AccessLine<'a> {
    /// When the line is written: milliseconds of Unix time.
    pub unix_ms: u64,
    pub kind: LineKind,
    pub id: &'a str,
    /// Of the W3C's Trace Context: 32 hexadecimal digits.
    pub trace: Option<&'a str>,
    pub client: IpAddr,
    /// The other end of the connection, where that is a proxy.
    pub peer: Option<IpAddr>,
    pub listener: &'a str,
    pub is_tls: bool,
    /// `None`: the head could not be read.
    pub head: Option<LineHead<'a>>,
    pub route: Option<&'a str>,
    /// Of the answer; 0: there was none.
    pub status: u16,
    /// Why it was refused or ended.
    pub reason: Option<&'a str>,
    pub user: Option<&'a str>,
    pub auth: Option<&'a str>,
    /// Since the head was read.
    pub lasted: Duration,
    /// Of the bodies.
    pub request_bytes: Option<u64>,
    pub response_bytes: Option<u64>,
    pub proxied: Option<LineProxied<'a>>,
    /// Bytes that the client of a stream has not taken.
    pub queued: Option<u64>,
    /// Events that a stream's client did not get; 0 where none is known to be lost.
    pub lost: u64,
    pub tcp: Option<TcpFacts>,
}

impl AccessLine<'_> {
    /// Appends the line, its end included.
    pub fn write(&self, format: LineFormat, out: &mut Vec<u8>) {
        match format {
            LineFormat::Json => self.write_json(out),
            LineFormat::Combined => self.write_combined(out),
        }
        out.push(b'\n');
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        out.reserve(JSON_BYTES_USUAL);
        out.extend_from_slice(b"{\"time\":\"");
        Stamp::of(self.unix_ms).write_iso(out);
        out.push(b'"');
        let mut members = Members(out);
        members.text(key!("id"), self.id.as_bytes());
        members.known(key!("trace"), self.trace);
        members.text(key!("kind"), self.kind.word().as_bytes());
        members.address(key!("client"), self.client);
        if let Some(peer) = self.peer {
            members.address(key!("peer"), peer);
        }
        members.text(key!("listener"), self.listener.as_bytes());
        members.switch(key!("tls"), self.is_tls);
        let head = self.head.unwrap_or_default();
        members.given(key!("host"), head.host);
        members.given(key!("method"), head.method);
        members.given(key!("path"), head.path);
        members.known(key!("route"), self.route);
        if self.status > 0 {
            members.number(key!("status"), self.status.into());
        }
        members.known(key!("reason"), self.reason);
        members.known(key!("user"), self.user);
        members.known(key!("auth"), self.auth);
        if self.kind == LineKind::End {
            let since = self.unix_ms.saturating_sub(u64::try_from(self.lasted.as_millis()).unwrap_or(u64::MAX));
            members.name(key!("since"));
            members.0.push(b'"');
            Stamp::of(since).write_iso(members.0);
            members.0.push(b'"');
        }
        if self.kind != LineKind::Open {
            members.ms(key!("duration_ms"), Some(self.lasted));
        }
        members.known_number(key!("request_bytes"), self.request_bytes);
        members.known_number(key!("response_bytes"), self.response_bytes);
        members.known_number(key!("queued"), self.queued);
        members.known_number(key!("lost"), Some(self.lost).filter(|lost| *lost > 0));
        if let Some(tcp) = &self.tcp {
            members.number(key!("rtt_us"), tcp.rtt_us.into());
            members.number(key!("retransmits"), tcp.retransmits.into());
            members.number(key!("unsent"), tcp.unsent_bytes.into());
            members.number(key!("sent_bytes"), tcp.sent_bytes);
            members.number(key!("received_bytes"), tcp.received_bytes);
        }
        if let Some(proxied) = &self.proxied {
            members.text(key!("upstream"), proxied.upstream.as_bytes());
            members.known(key!("server"), proxied.server);
            members.number(key!("attempts"), proxied.attempts.into());
            members.switch(key!("reused"), proxied.is_reused);
            members.ms(key!("connect_ms"), proxied.connect);
            members.ms(key!("answer_ms"), proxied.answer);
        }
        members.given(key!("agent"), head.agent);
        members.given(key!("referer"), head.referer);
        out.push(b'}');
    }

    fn write_combined(&self, out: &mut Vec<u8>) {
        push_ip(out, self.client);
        out.extend_from_slice(b" - ");
        push_word(out, self.user.unwrap_or_default().as_bytes());
        out.extend_from_slice(b" [");
        Stamp::of(self.unix_ms).write_common(out);
        out.extend_from_slice(b"] \"");
        match &self.head {
            Some(head) => {
                push_quoted(out, head.method);
                out.push(b' ');
                push_quoted(out, head.path);
                out.extend_from_slice(b" HTTP/1.");
                push_number(out, head.minor_version.into());
            }
            None => out.push(b'-'),
        }
        out.extend_from_slice(b"\" ");
        push_number(out, self.status.into());
        out.push(b' ');
        match self.response_bytes {
            Some(bytes) => push_number(out, bytes),
            None => out.push(b'-'),
        }
        let head = self.head.unwrap_or_default();
        for text in [head.referer, head.agent] {
            out.extend_from_slice(b" \"");
            push_quoted(out, if text.is_empty() { b"-" } else { text });
            out.push(b'"');
        }
    }
}

/// The name of a member behind another, as JSON: one text, because a line has twenty.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
use key;

/// Room for most lines.
const JSON_BYTES_USUAL: usize = 768;

/// The members of an object that has one already.
struct Members<'o>(&'o mut Vec<u8>);

impl Members<'_> {
    /// A name as [`key`] makes it.
    fn name(&mut self, name: &str) {
        self.0.extend_from_slice(name.as_bytes());
    }

    fn text(&mut self, name: &str, text: &[u8]) {
        self.name(name);
        push_json(self.0, text);
    }

    /// A text that a client may have left out.
    fn given(&mut self, name: &str, text: &[u8]) {
        if !text.is_empty() {
            self.text(name, text);
        }
    }

    fn known(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text.as_bytes());
        }
    }

    fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        push_number(self.0, number);
    }

    fn known_number(&mut self, name: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.number(name, number);
        }
    }

    fn switch(&mut self, name: &str, is_so: bool) {
        self.name(name);
        self.0.extend_from_slice(if is_so { b"true" } else { b"false" });
    }

    /// Milliseconds, with microseconds as digits behind the point.
    fn ms(&mut self, name: &str, time: Option<Duration>) {
        let Some(time) = time else { return };
        self.number(name, u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let micros = time.subsec_micros() % 1_000;
        self.0.push(b'.');
        self.0.extend([micros / 100, micros / 10 % 10, micros % 10].map(|digit| b'0' + digit as u8));
    }

    fn address(&mut self, name: &str, address: IpAddr) {
        self.name(name);
        self.0.push(b'"');
        push_ip(self.0, address);
        self.0.push(b'"');
    }
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests;
