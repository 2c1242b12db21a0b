//! A connection that speaks HTTP: one request after the other, until one of them begins a stream.
//!
//! ```text
//!  Idle --head--> front, admin: answered at once --> Idle
//!    |   '------> Body --whole--> Answering --published, answer, receipt, reading--> Idle
//!    |                                '--a long answer--> Replying --its last piece--> Idle
//!    '-- a stream: the phase changes, this is over
//! ```

use super::about::About;
use super::accept;
use super::collect::Collect;
use super::history::HistoryText;
use super::hosts::Hosts;
use super::incoming::Incoming;
use super::origins::Sender;
use super::outbox::Outbox;
use super::outgoing::Outgoing;
use super::routes::Routes;
use super::settings::Settings;
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::close::CloseRow;
use crate::proto::event::Position;
use crate::proto::http::{Reply, ReplyTo};
use crate::proto::request::{Reading, Receipt};

/// What becomes of a connection once an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Another request may follow, or the answer is not whole yet.
    KeepOpen,
    /// That was the last answer.
    Close,
}

/// The state between requests and within one.
pub(super) struct Http {
    pub(super) state: HttpState,
    /// Requests answered on this connection.
    pub(super) answered: u32,
    listener: u16,
    /// There is no place for it: its first request is its last, and gets the answer of one that is turned away.
    pub(super) is_surplus: bool,
}

#[derive(Default)]
pub(super) enum HttpState {
    /// Waits for the first byte of a head.
    #[default]
    Idle,
    /// Waits for the rest of it. `is_mute`: as far as it has come it may be that of an EventSource, which takes any refusal as
    /// final, but the end of the connection as a reason to come back.
    Begun { is_mute: bool },
    /// A body arrives.
    Body(Box<Incoming<Collect>>),
    /// The shard owes the answer.
    Answering(ReplyTo, About),
    /// A long answer has begun.
    Replying(Box<Outgoing>),
    /// The last answer is written.
    Over,
}

impl Http {
    /// `listener`: the id of the one that it came in by.
    pub(super) fn new(listener: u16) -> Http {
        Http { listener, state: HttpState::Idle, answered: 0, is_surplus: false }
    }

    /// The hosts that its listener answers for; `None` if that is any.
    pub(super) fn hosts<'s>(&self, settings: &'s Settings) -> Option<&'s Hosts> {
        settings.generation.front_hosts.get(self.listener as usize)?.as_ref()
    }

    /// What the shard owes an answer about.
    pub(super) fn about(&mut self) -> Option<&mut About> {
        match &mut self.state {
            HttpState::Answering(_, about) => Some(about),
            _ => None,
        }
    }

    /// Whether nothing more may be taken off its input now.
    pub(super) fn is_waiting(&self) -> bool {
        match &self.state {
            HttpState::Body(incoming) => !incoming.has_room(),
            HttpState::Answering(..) | HttpState::Replying(_) => true,
            HttpState::Idle | HttpState::Begun { .. } | HttpState::Over => false,
        }
    }

    /// The end of a body whose last piece was a step of its own.
    pub(super) fn has_unread(&self) -> bool {
        matches!(&self.state, HttpState::Body(incoming) if incoming.is_whole())
    }

    /// An answer has begun, and more of it follows as the peer takes it.
    pub(super) fn is_replying(&self) -> bool {
        matches!(self.state, HttpState::Replying(_))
    }

    /// A request has begun, and its answer is owed, or some of it.
    pub(super) fn is_asked(&self) -> bool {
        !matches!(self.state, HttpState::Idle)
    }

    /// The answer to the request in hand says that no other is taken. (One whose head has not come hears it by its head.)
    pub(super) fn make_last(&mut self) {
        match &mut self.state {
            HttpState::Body(incoming) => incoming.to.keep_alive = false,
            HttpState::Answering(to, _) => to.keep_alive = false,
            HttpState::Replying(outgoing) => outgoing.to.keep_alive = false,
            HttpState::Idle | HttpState::Begun { .. } | HttpState::Over => {}
        }
    }

    /// Of what comes in by this connection nothing is begun.
    pub(super) fn turn_away(&mut self) {
        self.is_surplus = true;
    }

    /// Answers a publication with the position that it got.
    pub(super) fn published(&mut self, position: Option<Position>, outbox: &mut Outbox) -> After {
        let HttpState::Answering(to, About::Published(channel)) = &self.state else { return After::KeepOpen };
        let to = *to;
        let body = serde_json::json!({
            "channel": channel.as_str(),
            "position": position.map(|position| position.to_string()),
        });
        self.reply(to, 200, "application/json", format!("{body}\n").as_bytes(), outbox)
    }

    pub(super) fn answer(&mut self, content_type: &str, body: &[u8], outbox: &mut Outbox) -> After {
        let HttpState::Answering(to, About::Text | About::User(_)) = self.state else { return After::KeepOpen };
        self.reply(to, 200, content_type, body, outbox)
    }

    /// Answers with a text that may be long: whole if it is one piece, otherwise with the first of several.
    pub(super) fn answer_in_pieces(&mut self, content_type: &str, mut text: HistoryText, outbox: &mut Outbox) -> After {
        let HttpState::Answering(to, About::Text) = self.state else { return After::KeepOpen };
        let mut first = Vec::new();
        text.write(&mut first, limits::REPLY_PIECE_BYTES);
        if text.is_written() {
            return self.reply(to, 200, content_type, &first, outbox);
        }
        let outgoing = Outgoing::begin(to, content_type, &first, text, outbox);
        self.state = HttpState::Replying(Box::new(outgoing));
        self.replied()
    }

    /// Goes on with the answer that has begun, as far as there is room.
    pub(super) fn go_on(&mut self, outbox: &mut Outbox) -> After {
        let HttpState::Replying(outgoing) = &mut self.state else { return After::KeepOpen };
        outgoing.go_on(outbox);
        self.replied()
    }

    /// A piece of an answer is written.
    fn replied(&mut self) -> After {
        match &self.state {
            HttpState::Replying(outgoing) if outgoing.is_whole() => self.after(outgoing.to.keep_alive),
            _ => After::KeepOpen,
        }
    }

    /// Answers a request that was accepted.
    pub(super) fn accepted(&mut self, receipt: &Receipt, outbox: &mut Outbox) -> After {
        let HttpState::Answering(to, About::Accepted(owed)) = &self.state else { return After::KeepOpen };
        let to = *to;
        accept::write_receipt(receipt, to, owed, outbox);
        self.after(to.keep_alive)
    }

    /// Answers with what became of one.
    pub(super) fn read(&mut self, reading: &Reading, outbox: &mut Outbox) -> After {
        let HttpState::Answering(to, About::Request(page)) = &self.state else { return After::KeepOpen };
        let to = *to;
        accept::write_reading(reading, to, page.as_deref(), outbox);
        self.after(to.keep_alive)
    }

    /// Answers that there will be neither.
    pub(super) fn refused(&mut self, reason: CloseReason, retry_after_s: u32, outbox: &mut Outbox) -> After {
        let HttpState::Answering(to, about) = &self.state else { return After::KeepOpen };
        let keep_alive = accept::write_refusal(reason, retry_after_s, *to, about.page(), outbox);
        self.after(keep_alive)
    }

    fn reply(&mut self, to: ReplyTo, status: u16, content_type: &str, body: &[u8], outbox: &mut Outbox) -> After {
        outbox.write(|out| {
            let reply = Reply::start(out, status, to).header("Content-Type", content_type);
            reply.header("Cache-Control", "no-store").body(body);
        });
        self.after(to.keep_alive)
    }

    /// The answer is written: another request may follow, or not.
    pub(super) fn after(&mut self, keep_alive: bool) -> After {
        self.answered = self.answered.saturating_add(1);
        if keep_alive {
            self.state = HttpState::Idle;
            After::KeepOpen
        } else {
            self.state = HttpState::Over;
            After::Close
        }
    }

    /// The head is not understood: the last words are an answer to what this was to be, which a page may be allowed to read.
    pub(super) fn refuse_head(&mut self, input: &[u8], is_tls: bool, routes: &Routes) {
        let page = Sender::glimpsed(input, is_tls, routes.iter().map(|(_, route)| &route.origins));
        self.state = HttpState::Answering(ReplyTo::UNREADABLE, About::Request(page.map(Box::new)));
    }

    /// Why a connection that made no progress ends.
    pub(super) fn on_deadline(&self) -> CloseReason {
        match self.state {
            HttpState::Idle if self.answered > 0 => CloseReason::KeepAliveOver,
            HttpState::Answering(..) => CloseReason::Overload,
            _ if self.is_surplus => CloseReason::TooManyConnections,
            _ => CloseReason::TooSlow,
        }
    }

    /// The last words: an answer to the request that failed, if there is one to give.
    pub(super) fn end(&mut self, row: &CloseRow, retry_after_s: u32, outbox: &mut Outbox) {
        let is_refusal = row.http_status >= 400;
        let (to, page) = match &self.state {
            HttpState::Body(incoming) => (incoming.to.closing(), incoming.page()),
            HttpState::Answering(to, about) => (to.closing(), about.page()),
            HttpState::Idle | HttpState::Begun { .. } => (ReplyTo::UNREADABLE, None),
            // What has begun is not followed by another answer.
            HttpState::Replying(_) | HttpState::Over => return,
        };
        // Where nothing has been asked, the end of the connection says it all. A browser opens connections before it needs them, and
        // would take what it finds there for the answer to its first request.
        let is_mute = matches!(self.state, HttpState::Idle | HttpState::Begun { is_mute: true });
        let is_for_later = matches!(
            row.reason,
            CloseReason::Drain | CloseReason::TooManyConnections | CloseReason::TooSlow | CloseReason::Overload
        );
        if is_refusal && !(is_mute && is_for_later) {
            accept::write_refusal(row.reason, retry_after_s, to, page, outbox);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_something_else_leaves_the_request_as_it_is() {
        let to = ReplyTo { is_head: false, minor_version: 1, keep_alive: true };
        let (mut http, mut outbox) = (Http::new(0), Outbox::default());
        http.state = HttpState::Answering(to, About::Text);
        assert_eq!(http.published(None, &mut outbox), After::KeepOpen);
        assert!(http.is_asked() && outbox.is_empty());
        assert_eq!(http.answer("text/plain", b"the metrics", &mut outbox), After::KeepOpen);
        assert!(!http.is_asked() && !outbox.is_empty());
        assert_eq!(http.answer("text/plain", b"again", &mut outbox), After::KeepOpen);
        assert_eq!(http.answered, 1);
    }
}
