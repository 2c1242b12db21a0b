//! A program at the admin door: it publishes over HTTP, several requests behind each other on one connection.

use std::collections::VecDeque;

use tidegate::driver::sim::Endpoint;

use crate::http::Answers;
use crate::ledger::{Ledger, Position};
use crate::line::{End, Line};

pub struct Poster {
    pub id: u32,
    answers: Answers,
    /// Payloads whose position is awaited, in order.
    posted: VecDeque<String>,
}

impl Poster {
    pub fn new(id: u32, endpoint: Endpoint) -> Poster {
        Poster { id, answers: Answers::new(Line::new(endpoint)), posted: VecDeque::new() }
    }

    pub fn end(&self) -> Option<End> {
        self.answers.line.end
    }

    pub fn say(&mut self, ledger: &mut Ledger, channel: &str, padding: usize) {
        let payload = ledger.say(channel, self.id, padding);
        let head =
            format!("POST /api/channels/{channel} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", payload.len());
        self.answers.line.say(head.as_bytes());
        self.answers.line.say(payload.as_bytes());
        self.posted.push_back(payload);
    }

    pub fn poll(&mut self, ledger: &mut Ledger) {
        self.answers.line.poll();
        while let Some((head, body)) = self.answers.take() {
            self.on_answer(ledger, head.status, &body);
        }
    }

    fn on_answer(&mut self, ledger: &mut Ledger, status: u16, body: &[u8]) {
        // Nothing more came for a while, or the gateway goes away.
        if status != 200 {
            assert!(matches!(status, 408 | 503), "{status}: {}", String::from_utf8_lossy(body));
            return;
        }
        let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
        let payload = self.posted.pop_front().expect("an answer to nothing");
        let message = ledger.recognize(payload.as_bytes());
        assert_eq!(body["channel"], message.voice.channel);
        ledger.place(&message, Position::parse(body["position"].as_str().expect("a position")));
    }

    /// Everything has come to rest: all that was posted has its position.
    pub fn assert_settled(&self) {
        assert!(self.answers.line.end.is_some() || self.posted.is_empty(), "poster {} waits for answers", self.id);
    }
}
