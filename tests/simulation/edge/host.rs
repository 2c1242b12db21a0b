//! A server behind the gateway, with a mood for each request: it answers, early, late, in any framing or not at all, closes at a
//! byte, is reset, or says what is no answer. A calm one only answers.
//!
//! ```text
//!  dial --> Guest: a request --> its body, held to its tag --> an answer, a Seat of a WebSocket, a Source of events
//!             ^---- the same connection, only if all that is whole: CLEAN REUSE ----'
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use tidegate::base::Tick;
use tidegate::driver::sim::{Random, SimService, World};

use super::book::{Book, content, framed};
use super::stream::Source;
use super::tunnel::Seat;
use crate::http::{Body, RequestHead};
use crate::line::Line;
use crate::websocket::accept_for;

/// More than a request waits for its answer.
const LATE_US_MAX: u64 = 8_000_000;

pub struct Host {
    at: SocketAddr,
    is_calm: bool,
    /// None while it is down.
    service: Option<SimService>,
    guests: Vec<Guest>,
}

/// A connection of the gateway.
struct Guest {
    line: Line,
    is_calm: bool,
    exchange: Option<Exchange>,
    seat: Option<Seat>,
    source: Option<Source>,
    served: u32,
    /// Why no other request may come, if none may.
    spoiled: Option<&'static str>,
    /// Once all is said it closes, or is reset.
    leaving: Option<Leaving>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Closed,
    Reset,
}

/// A request in hand.
struct Exchange {
    tag: u64,
    what: What,
    body: Body,
    content: Vec<u8>,
    /// Set once it is known when it is answered; never, if it is not.
    answer_at: Option<Tick>,
    is_answered: bool,
}

enum What {
    Request {
        is_head: bool,
    },
    /// With its key.
    Tunnel(String),
    Stream,
}

impl Host {
    pub fn new(world: &World, at: SocketAddr, is_calm: bool) -> Host {
        let mut host = Host { at, is_calm, service: None, guests: Vec::new() };
        host.come_up(world);
        host
    }

    pub fn come_up(&mut self, world: &World) {
        if self.service.is_none() {
            self.service = Some(if self.is_calm { world.serve_calm(self.at) } else { world.serve(self.at) });
        }
    }

    /// Its process ends: its connections close, or are reset.
    pub fn go_down(&mut self, is_reset: bool, book: &mut Book) {
        self.service = None;
        for guest in self.guests.drain(..) {
            guest.go(is_reset, book);
        }
    }

    pub fn poll(&mut self, now: Tick, random: &mut Random, book: &mut Book) {
        let accepted = std::iter::from_fn(|| self.service.as_ref()?.accept());
        self.guests.extend(accepted.map(|endpoint| Guest::new(Line::new(endpoint), self.is_calm)));
        let mut staying = Vec::new();
        for mut guest in self.guests.drain(..) {
            match guest.poll(now, random, book) {
                None => staying.push(guest),
                Some(leaving) => guest.go(leaving == Leaving::Reset, book),
            }
        }
        self.guests = staying;
    }

    /// When the first late answer is due.
    pub fn next_due(&self) -> Tick {
        self.guests.iter().filter_map(Guest::due).min().unwrap_or(Tick::NEVER)
    }

    /// A guest that has a WebSocket or a stream says something there, or ends it.
    pub fn speak(&mut self, ends: bool, random: &mut Random, book: &mut Book) {
        let mut talking: Vec<&mut Guest> = self.guests.iter_mut().filter(|guest| guest.is_talking()).collect();
        if !talking.is_empty() {
            let index = random.below(talking.len() as u64) as usize;
            talking[index].speak(ends, random, book);
        }
    }

    /// A guest is left without a word, whatever it does.
    pub fn leave_one(&mut self, random: &mut Random, book: &mut Book) {
        if !self.guests.is_empty() {
            let index = random.below(self.guests.len() as u64) as usize;
            self.guests.swap_remove(index).go(random.chance(500), book);
        }
    }

    /// Everything has come to rest: each connection that is still open here has two ends.
    pub fn assert_settled(&self, book: &mut Book) {
        for tag in self.guests.iter().filter_map(Guest::talk) {
            assert!(!book.talk(tag).is_client_gone, "PAIRED: the server of {tag} speaks to nobody");
        }
    }
}

impl Guest {
    fn new(line: Line, is_calm: bool) -> Guest {
        Guest { line, is_calm, exchange: None, seat: None, source: None, served: 0, spoiled: None, leaving: None }
    }

    fn talk(&self) -> Option<u64> {
        let seat = self.seat.as_ref().map(|seat| seat.tag);
        seat.or(self.source.as_ref().map(|source| source.tag))
    }

    fn is_talking(&self) -> bool {
        self.leaving.is_none() && self.talk().is_some()
    }

    fn due(&self) -> Option<Tick> {
        self.exchange.as_ref().filter(|exchange| !exchange.is_answered)?.answer_at
    }

    /// An answer that ends with its connection is cut by a reset alone: otherwise its end looks like that of the whole.
    fn go(self, is_reset: bool, book: &mut Book) {
        let is_reset = is_reset || !self.line.has_said_all();
        if let Some(tag) = self.talk() {
            let talk = book.talk(tag);
            talk.is_server_gone = true;
            talk.is_finished |= !is_reset && self.source.is_some_and(|source| !source.is_chunked);
        }
        if is_reset {
            self.line.reset();
        }
    }

    /// How it goes, if it does.
    fn poll(&mut self, now: Tick, random: &mut Random, book: &mut Book) -> Option<Leaving> {
        self.line.poll();
        if let Some(seat) = &mut self.seat {
            if seat.hear(&mut self.line, book) {
                self.leaving.get_or_insert(Leaving::Closed);
            }
        } else {
            while self.hear(now, random, book) {}
        }
        if self.due().is_some_and(|due| due <= now) {
            self.answer(random, book);
        }
        if self.line.end.is_some() {
            return Some(Leaving::Closed);
        }
        self.leaving.filter(|_| self.line.has_said_all())
    }

    /// True if a request is over, and there may be another.
    fn hear(&mut self, now: Tick, random: &mut Random, book: &mut Book) -> bool {
        if self.exchange.is_none() {
            let Some(head) = RequestHead::take(&mut self.line) else { return false };
            self.begin(&head, now, random, book);
        }
        let Some(exchange) = &mut self.exchange else { return false };
        let had_ended = exchange.body.has_ended();
        exchange.body.take(&mut self.line, &mut exchange.content);
        let (tag, said) = (exchange.tag, content("q", exchange.tag));
        assert!(said.starts_with(&exchange.content), "request {tag}: other bytes than its own");
        if !exchange.body.has_ended() {
            return false;
        }
        if !had_ended {
            assert_eq!(
                exchange.content.len(),
                said.len(),
                "request {tag}: a part of the body that looks like the whole"
            );
            book.counts.uploaded += 1;
        }
        if exchange.answer_at.is_none() {
            exchange.answer_at = Some(when(now, self.is_calm, random));
        }
        let is_over = exchange.is_answered && self.talk().is_none();
        if is_over {
            self.exchange = None;
        }
        is_over
    }

    fn begin(&mut self, head: &RequestHead, now: Tick, random: &mut Random, book: &mut Book) {
        let path: Vec<&str> = head.path.split('/').collect();
        let ["", _, kind, digits] = path[..] else { panic!("{:?} was never asked", head.path) };
        let tag = digits.parse().expect("a tag");
        assert_eq!(self.spoiled, None, "CLEAN REUSE: request {tag} comes behind it");
        for name in ["via", "host", "x-request-id", "x-forwarded-for"] {
            assert_eq!(head.count(name), 1, "request {tag}: {name}");
        }
        assert_eq!(head.count("expect"), 0, "request {tag}: the gateway answers it");
        let body = Body::of_request(head);
        let is_empty = body.has_ended();
        let may_be_repeated = is_empty && matches!(head.method.as_str(), "GET" | "HEAD" | "PUT" | "DELETE");
        book.seen(tag, may_be_repeated);
        book.counts.reused += u64::from(self.served > 0);
        self.served += 1;
        let what = match kind {
            "ws" => What::Tunnel(head.field("sec-websocket-key").expect("a key").to_owned()),
            "events" => What::Stream,
            _ => What::Request { is_head: head.method == "HEAD" },
        };
        let is_early = !self.is_calm && !is_empty && random.chance(100);
        book.counts.early += u64::from(is_early);
        let answer_at = is_early.then_some(now);
        self.exchange = Some(Exchange { tag, what, body, content: Vec::new(), answer_at, is_answered: false });
    }

    fn answer(&mut self, random: &mut Random, book: &mut Book) {
        let Some(exchange) = &mut self.exchange else { return };
        exchange.is_answered = true;
        let tag = exchange.tag;
        match &exchange.what {
            What::Request { is_head } => {
                let is_head = *is_head;
                self.answer_request(tag, is_head, random);
            }
            What::Tunnel(key) => {
                let key = key.clone();
                self.answer_handshake(tag, &key, random, book);
            }
            What::Stream => {
                self.source = Some(Source::open(&mut self.line, tag, random.chance(500)));
                self.spoiled = Some("an event stream");
            }
        }
    }

    fn answer_request(&mut self, tag: u64, is_head: bool, random: &mut Random) {
        let mood = if self.is_calm { u64::MAX } else { random.below(14) };
        if mood == 0 {
            return self.end_with(b"SSH-2.0-OpenSSH_9.2\r\n", Leaving::Closed);
        }
        if random.chance(250) {
            let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n";
            self.line.say(interim.repeat(1 + random.below(3) as usize).as_bytes());
        }
        let said = content("a", tag);
        let is_until_end = mood == 1;
        let is_last = is_until_end || mood == 2;
        let (mut fields, body) = match is_until_end {
            true => (String::new(), said),
            false => framed(random.chance(500), &said),
        };
        fields.push_str(if is_last { "Connection: close\r\n" } else { "" });
        let mut whole = format!("HTTP/1.1 200 OK\r\nX-Tag: {tag}\r\n{fields}\r\n").into_bytes();
        if !is_head {
            whole.extend(body);
        }
        match mood {
            1 => self.end_with(&whole, Leaving::Closed),
            // The server does not even close the connection.
            2 => {
                self.line.say(&whole);
                self.spoiled = Some("the last answer");
            }
            3 | 4 => {
                let count = random.below(whole.len() as u64) as usize;
                self.end_with(&whole[..count], if mood == 3 { Leaving::Closed } else { Leaving::Reset });
            }
            5 => {
                whole.extend(b"what nobody asked for");
                self.line.say(&whole);
            }
            _ => self.line.say(&whole),
        }
    }

    /// No more than these bytes, which are not whole, or say that they are the last.
    fn end_with(&mut self, bytes: &[u8], leaving: Leaving) {
        self.line.say(bytes);
        self.leaving = Some(leaving);
        self.spoiled = Some("the last answer");
    }

    fn answer_handshake(&mut self, tag: u64, key: &str, random: &mut Random, book: &mut Book) {
        assert!(self.line.incoming.is_empty(), "NOTHING BEFORE THE 101: {:?}", self.line.incoming);
        let mood = if self.is_calm { u64::MAX } else { random.below(8) };
        let accept = accept_for(if mood == 0 { "another key" } else { key });
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade";
        let switching =
            format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\nSec-WebSocket-Accept: {accept}\r\n\r\n");
        self.spoiled = Some("a handshake");
        match mood {
            // No tunnel comes of it: the answer proves nothing, is another one (then the connection is as good as before), or half
            // of one.
            0 => self.line.say(switching.as_bytes()),
            1 => {
                self.spoiled = None;
                let head = format!("HTTP/1.1 403 Forbidden\r\nX-Tag: {tag}\r\nContent-Length: 2\r\n\r\n");
                self.line.say(&[head.as_bytes(), b"no"].concat());
            }
            2 => {
                let count = random.below(switching.len() as u64) as usize;
                self.end_with(&switching.as_bytes()[..count], Leaving::Closed);
            }
            _ => {
                self.line.say(switching.as_bytes());
                let seat = Seat::new(tag);
                // A word may be in the same segment.
                if random.chance(500) {
                    seat.say(&mut self.line, book);
                }
                self.seat = Some(seat);
            }
        }
    }

    fn speak(&mut self, ends: bool, random: &mut Random, book: &mut Book) {
        if let Some(seat) = &self.seat {
            if ends {
                self.leaving = Some(if random.chance(500) { Leaving::Reset } else { Leaving::Closed });
            } else {
                (0..1 + random.below(5)).for_each(|_| seat.say(&mut self.line, book));
            }
        } else if let Some(source) = &self.source {
            if !ends {
                return (0..1 + random.below(5)).for_each(|_| source.say(&mut self.line, book));
            }
            let is_cut = random.chance(500);
            if !is_cut {
                source.finish(&mut self.line, book);
                self.spoiled = self.spoiled.filter(|_| !source.is_chunked);
            }
            self.leaving = Some(if is_cut { Leaving::Reset } else { Leaving::Closed });
        }
    }
}

/// At once, late, or never.
fn when(now: Tick, is_calm: bool, random: &mut Random) -> Tick {
    match if is_calm { 2 } else { random.below(14) } {
        0 => Tick::NEVER,
        1 => now + Duration::from_micros(random.below(LATE_US_MAX)),
        _ => now,
    }
}
