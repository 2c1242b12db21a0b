//! The shard's answers to a connection's requests.

use serde_json::json;

use super::history::HistoryText;
use super::http::HttpState;
use super::inquiry::InquiryAnswer;
use super::peer::retry_after_s;
use super::session::Phase;
use super::settings::Settings;
use super::{After, Conn};
use crate::base::{Key, Tick};
use crate::proto::CloseReason;
use crate::proto::event::Position;
use crate::proto::presence::{Found, Roster};
use crate::proto::replay::Excerpt;
use crate::proto::request::{Reading, Receipt};
use crate::proto::subject::Subject;

impl Conn {
    /// The answer to [`Step::History`](super::Step::History); `None` if the channel does not exist.
    pub fn push_history(
        &mut self,
        channel: Subject,
        excerpt: Option<Excerpt>,
        settings: &Settings,
        now: Tick,
    ) -> After {
        match &mut self.session.phase {
            Phase::Centrifuge(centrifuge) => {
                let before = self.link.outbox.mark();
                centrifuge.history(excerpt.as_ref(), &mut self.link.outbox);
                self.link.outbox.answered(before);
                After::KeepOpen
            }
            Phase::Http(http) => {
                let is_kept = settings.generation.channels.of(&channel).history.is_some();
                let text = HistoryText::new(channel, is_kept, excerpt);
                let after = http.answer_in_pieces("application/json", text, &mut self.link.outbox);
                self.replied(settings, now);
                after
            }
            _ => After::KeepOpen,
        }
    }

    /// Continues a long answer, once the piece before has been sent.
    pub fn go_on(&mut self, settings: &Settings, now: Tick) -> After {
        let can_send = self.link.can_send();
        let Phase::Http(http) = &mut self.session.phase else { return After::KeepOpen };
        if !can_send {
            return After::KeepOpen;
        }
        let after = http.go_on(&mut self.link.outbox);
        self.replied(settings, now);
        after
    }

    /// A piece of an answer is written. While more follows, the peer must make progress; after the last piece, the next
    /// request is awaited.
    fn replied(&mut self, settings: &Settings, now: Tick) {
        self.session.is_behind = self.session.is_replying();
        let patience = match self.session.is_behind {
            true => settings.generation.send_timeout,
            false => settings.generation.keep_alive_timeout,
        };
        self.link.wait_until(now + patience);
    }

    /// The answer to [`Step::Presence`](super::Step::Presence); `None` for a channel without presence.
    pub fn push_presence(
        &mut self,
        channel: &Subject,
        roster: Option<&Roster>,
        settings: &Settings,
        now: Tick,
    ) -> After {
        match &mut self.session.phase {
            Phase::Centrifuge(centrifuge) => {
                let before = self.link.outbox.mark();
                centrifuge.presence(roster, &mut self.link.outbox);
                self.link.outbox.answered(before);
                After::KeepOpen
            }
            Phase::Http(_) => {
                let body = Roster::to_json(roster, channel);
                self.answer("application/json", body.as_bytes(), settings, now)
            }
            _ => After::KeepOpen,
        }
    }

    /// One shard's part of the answer to [`Step::Find`](super::Step::Find).
    pub fn found(&mut self, found: Found, settings: &Settings, now: Tick) -> After {
        let Phase::Http(http) = &mut self.session.phase else { return After::KeepOpen };
        let Some(body) = http.about().and_then(|about| about.found(found)) else { return After::KeepOpen };
        self.answer("application/json", body.as_bytes(), settings, now)
    }

    pub fn push_no_responders(&mut self, reply: &Subject) -> Option<Key> {
        match &mut self.session.phase {
            Phase::Worker(worker) => worker.push_no_responders(reply, &mut self.link.outbox),
            _ => None,
        }
    }

    /// All publications of a worker before its PING have been passed on.
    pub fn pong(&mut self) {
        if let Phase::Worker(worker) = &mut self.session.phase {
            worker.pong(&mut self.link.outbox);
        }
    }

    /// A publication of the connection has its position; `number` identifies it, if there may be several.
    pub fn published(&mut self, number: u32, position: Option<Position>, settings: &Settings, now: Tick) -> After {
        if let Some((centrifuge, outbox)) = self.centrifuge() {
            centrifuge.published(number, outbox);
        }
        let Phase::Http(http) = &mut self.session.phase else { return After::KeepOpen };
        self.link.wait_until(now + settings.generation.keep_alive_timeout);
        http.published(position, &mut self.link.outbox)
    }

    /// Answers the current request with text.
    pub fn answer(&mut self, content_type: &str, body: &[u8], settings: &Settings, now: Tick) -> After {
        let Phase::Http(http) = &mut self.session.phase else { return After::KeepOpen };
        self.link.wait_until(now + settings.generation.keep_alive_timeout);
        http.answer(content_type, body, &mut self.link.outbox)
    }

    /// The outcome of a [`Step::Accept`](super::Step::Accept).
    pub fn accepted(&mut self, outcome: Result<Receipt, CloseReason>, settings: &Settings, now: Tick) -> After {
        let Phase::Http(http) = &mut self.session.phase else { return After::KeepOpen };
        self.link.wait_until(now + settings.generation.keep_alive_timeout);
        match outcome {
            Ok(receipt) => http.accepted(&receipt, &mut self.link.outbox),
            Err(reason) => http.refused(reason, retry_after_s(self.link.peer), &mut self.link.outbox),
        }
    }

    /// The outcome of a [`Step::Read`](super::Step::Read); `None` if the request does not exist.
    pub fn read(&mut self, reading: Option<&Reading>, settings: &Settings, now: Tick) -> After {
        let Phase::Http(http) = &mut self.session.phase else { return After::KeepOpen };
        self.link.wait_until(now + settings.generation.keep_alive_timeout);
        match reading {
            Some(reading) => http.read(reading, &mut self.link.outbox),
            None => http.refused(CloseReason::UnknownRequest, retry_after_s(self.link.peer), &mut self.link.outbox),
        }
    }
}

/// One of so many shards' part of the answer to [`Step::Drain`](super::Step::Drain).
pub fn server_drained(conn: &mut Conn, of: u16, settings: &Settings, now: Tick) -> After {
    let Phase::Http(http) = &mut conn.session.phase else { return After::KeepOpen };
    let Some((id, is_drained)) = http.about().and_then(|about| about.drained(of)) else { return After::KeepOpen };
    let Some(rule) = settings.generation.upstreams.get(usize::from(id.upstream.0)) else { return After::KeepOpen };
    let server = rule.servers.get(usize::from(id.server)).map(|server| &*server.text);
    let body = json!({ "upstream": &*rule.name, "server": server, "drained": is_drained });
    conn.answer("application/json", body.to_string().as_bytes(), settings, now)
}

/// How many streams and requests a revocation has ended, as JSON.
pub fn revocation_answer(ended: u64) -> String {
    json!({ "closed": ended }).to_string()
}

/// One of so many shards' part of the answer to [`Step::Revoke`](super::Step::Revoke): how many streams have ended, or why the
/// tokens are not revoked.
pub fn revocation_done(
    conn: &mut Conn,
    (outcome, of): (Result<u32, CloseReason>, u16),
    settings: &Settings,
    now: Tick,
) -> After {
    let Phase::Http(http) = &mut conn.session.phase else { return After::KeepOpen };
    match outcome {
        Err(reason) => {
            let fields = [("Retry-After", retry_after_s(conn.link.peer).to_string())];
            let fields = fields.iter().filter(|_| reason == CloseReason::RevocationsFull);
            let fields: Vec<(&str, &str)> = fields.map(|(name, value)| (*name, &**value)).collect();
            let body = json!({ "error": reason.row().words }).to_string();
            conn.link.wait_until(now + settings.generation.keep_alive_timeout);
            http.operated(reason.row().http_status, &fields, body.as_bytes(), &mut conn.link.outbox)
        }
        Ok(ended) => {
            let Some(ended) = http.about().and_then(|about| about.revoked(ended, of)) else { return After::KeepOpen };
            conn.answer("application/json", revocation_answer(ended).as_bytes(), settings, now)
        }
    }
}

/// The answer to a request that waits in its admission, or to a command that waits for the application. False if none waits.
pub fn checked(conn: &mut Conn, answer: InquiryAnswer) -> bool {
    match (&mut conn.session.phase, answer) {
        (Phase::Http(http), answer) => {
            let HttpState::Checking(checking) = &mut http.state else { return false };
            let is_awaited = !checking.is_answered();
            checking.answer(answer);
            is_awaited
        }
        (Phase::Centrifuge(centrifuge), InquiryAnswer::Decided(decided)) => centrifuge.asked.answer(decided),
        _ => false,
    }
}
