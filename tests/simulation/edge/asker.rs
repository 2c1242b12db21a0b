//! A client with requests for servers behind the gateway, now and then several behind each other.

use std::collections::VecDeque;

use tidegate::base::Tick;
use tidegate::driver::sim::Random;

use super::book::{Book, content, framed};
use crate::http::{Body, Head};
use crate::line::{End, Line};

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"];
/// Requests that wait for their answers on one connection.
const ASKED_MAX: usize = 3;
/// Of the gateway's own: the body came too slowly; no server, none in time, or what it said was no answer.
const REFUSALS: [u16; 4] = [408, 502, 503, 504];

pub struct Asker {
    line: Line,
    /// `api` or `calm`, where one well-behaved server is.
    service: &'static str,
    /// Speaks HTTP/1.0, and has one request.
    is_old: bool,
    pub deaf_until: Tick,
    /// The oldest first.
    asked: VecDeque<Asked>,
    answer: Option<Answer>,
    has_asked: bool,
    /// An answer has said that the connection ends.
    is_told_the_end: bool,
}

struct Asked {
    tag: u64,
    is_head: bool,
    expects: bool,
}

struct Answer {
    asked: Asked,
    /// Otherwise the gateway's.
    is_servers: bool,
    body: Body,
    content: Vec<u8>,
}

impl Asker {
    pub fn new(line: Line, service: &'static str, is_old: bool) -> Asker {
        Asker {
            line,
            service,
            is_old,
            deaf_until: Tick::ZERO,
            asked: VecDeque::new(),
            answer: None,
            has_asked: false,
            is_told_the_end: false,
        }
    }

    pub fn is_ended(&self) -> bool {
        self.line.end.is_some()
    }

    pub fn reset(self) {
        self.line.reset();
    }

    pub fn ask(&mut self, random: &mut Random, book: &mut Book) {
        let has_room = self.asked.len() < ASKED_MAX && !(self.is_old && self.has_asked);
        if !has_room || self.is_told_the_end || self.is_ended() {
            return;
        }
        self.has_asked = true;
        let tag = book.next_tag();
        let method = METHODS[random.below(METHODS.len() as u64) as usize];
        let has_body = matches!(method, "POST" | "PUT" | "PATCH");
        let is_chunked = !self.is_old && random.chance(500);
        let (fields, body) = if has_body { framed(is_chunked, &content("q", tag)) } else { Default::default() };
        let expects = has_body && !self.is_old && random.chance(250);
        let expect = if expects { "Expect: 100-continue\r\n" } else { "" };
        let version = if self.is_old { "1.0" } else { "1.1" };
        let service = self.service;
        let head = format!("{method} /{service}/q/{tag} HTTP/{version}\r\nHost: a\r\n{expect}{fields}\r\n");
        self.line.say(head.as_bytes());
        self.line.say(&body);
        self.asked.push_back(Asked { tag, is_head: method == "HEAD", expects });
    }

    pub fn poll(&mut self, now: Tick, book: &mut Book) {
        if now < self.deaf_until {
            return;
        }
        self.line.poll();
        while self.hear_head(book) {
            self.hear_body(book);
            if self.answer.is_some() {
                break;
            }
        }
        if let Some(end) = self.line.end {
            self.hear_end(end, book);
        }
    }

    /// True if an answer is in hand.
    fn hear_head(&mut self, book: &mut Book) -> bool {
        while self.answer.is_none() {
            let Some(head) = Head::take(&mut self.line) else { return false };
            assert!(!self.is_told_the_end, "an answer after the last one: {head:?}");
            if head.status < 200 {
                let asked = self.asked.front_mut().expect("ONE ANSWER: an interim answer to nothing");
                // 100 is the gateway's word, and comes once to a client that waits for it.
                let is_meant = head.status == 103 || head.status == 100 && std::mem::take(&mut asked.expects);
                assert!(is_meant, "request {}: {head:?}", asked.tag);
                book.counts.interim += 1;
                continue;
            }
            let asked = self.asked.pop_front().expect("ONE ANSWER: an answer that no request has asked for");
            let tag = head.field("x-tag").map(str::to_owned);
            if let Some(tag) = &tag {
                assert_eq!(*tag, asked.tag.to_string(), "an answer to somebody else's request");
            } else {
                assert!(REFUSALS.contains(&head.status), "request {}: {head:?}", asked.tag);
                book.counts.refused += 1;
                self.note_failure(asked.tag, &head, book);
            }
            self.is_told_the_end = head.field("connection") == Some("close");
            let body = Body::of_answer(&head, asked.is_head);
            assert!(
                self.is_old || !matches!(body, Body::UntilClose),
                "HTTP/1.1 has a framing for every answer: {head:?}"
            );
            self.answer = Some(Answer { asked, is_servers: tag.is_some(), body, content: Vec::new() });
        }
        true
    }

    fn note_failure(&self, tag: u64, how: &dyn std::fmt::Debug, book: &mut Book) {
        if self.service == "calm" {
            book.failed.push(format!("{tag}: {how:?}"));
        }
    }

    fn hear_body(&mut self, book: &mut Book) {
        let Some(answer) = &mut self.answer else { return };
        answer.body.take(&mut self.line, &mut answer.content);
        answer.check();
        if answer.body.has_ended() {
            answer.check_whole(book);
            self.answer = None;
        }
    }

    /// A request without an answer now gets none.
    fn hear_end(&mut self, end: End, book: &mut Book) {
        assert!(self.line.incoming.is_empty() || end != End::Finished, "half of a head, or what is none");
        if let Some(answer) = self.answer.take() {
            if matches!(answer.body, Body::UntilClose) && end == End::Finished {
                answer.check_whole(book);
            } else {
                book.counts.cut += 1;
                self.note_failure(answer.asked.tag, &end, book);
            }
        }
        self.asked.clear();
    }

    /// Everything has come to rest.
    pub fn assert_settled(&self) {
        let waits: Vec<u64> = self.asked.iter().map(|asked| asked.tag).collect();
        let is_settled = self.is_ended() || waits.is_empty() && self.answer.is_none();
        assert!(is_settled, "ONE ANSWER: {waits:?} wait for ever, or for the rest of an answer");
    }
}

impl Answer {
    fn check(&self) {
        let said = content("a", self.asked.tag);
        let is_own = !self.is_servers || said.starts_with(&self.content);
        assert!(is_own, "request {}: other bytes than its own", self.asked.tag);
    }

    fn check_whole(&self, book: &mut Book) {
        if self.is_servers {
            let said = if self.asked.is_head { Vec::new() } else { content("a", self.asked.tag) };
            let (tag, heard) = (self.asked.tag, self.content.len());
            assert_eq!(heard, said.len(), "request {tag}: a part of the answer that looks like the whole");
            book.counts.answered += 1;
        }
    }
}
