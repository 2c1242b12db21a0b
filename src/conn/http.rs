//! A connection that speaks HTTP: one request after the other, until one of them begins a stream.
//!
//! ```text
//!  Idle --head--> front, admin: answered at once --> Idle
//!    |   '------> Body --whole--> Answering --published, answer, receipt, reading--> Idle
//!    |                                '--a long answer--> Replying --its last piece--> Idle
//!    |------> Checking --its stage has its answer--> front, once more
//!    |------> Proxying --its answer, or a refusal--> Idle
//!    '-- a stream: the phase changes, this is over
//! ```

use std::sync::Arc;

use super::about::About;
use super::accept;
use super::checking::Checking;
use super::collect::Collect;
use super::history::HistoryText;
use super::hosts::Hosts;
use super::incoming::Incoming;
use super::life::LastAnswer;
use super::origins::Sender;
use super::outbox::Outbox;
use super::outgoing::Outgoing;
use super::peer::Peer;
use super::proxying::Proxying;
use super::routes::Routes;
use super::settings::Settings;
use super::{Identity, Lasting};
use crate::base::Tick;
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::close::CloseRow;
use crate::proto::event::Position;
use crate::proto::http::{Reply, ReplyTo};
use crate::proto::request::{Reading, Receipt};
use crate::proto::tls::clients::ClientCertificate;

/// The state of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Another request may follow, or the answer is incomplete.
    KeepOpen,
    /// That was the last answer.
    Close,
}

/// How a connection has come to its listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Direct,
    /// By a load balancer that has sent a PROXY header: over TLS or not, if it says so.
    Introduced {
        is_secure: Option<bool>,
    },
}

/// The state between requests and within one.
pub(super) struct Http {
    pub(super) state: HttpState,
    /// Requests answered on this connection.
    pub(super) answered: u32,
    listener: u16,
    pub(super) way: Way,
    /// The client's certificate, if it has shown one.
    pub(super) certificate: Option<Arc<ClientCertificate>>,
    /// The peer, once it has sent a request as a trusted proxy (`client`).
    pub(super) proxy: Option<Peer>,
    /// The reason why there is no room for the connection: its first request is its last, and is refused.
    pub(super) surplus: Option<CloseReason>,
}

const _: () =
    assert!(size_of::<Http>() <= 64, "a class of the allocator: each connection between two requests has one");

#[derive(Default)]
pub(super) enum HttpState {
    /// Waits for the first byte of a head.
    #[default]
    Idle,
    /// Waits for the rest of a head. `is_mute`: so far it may be that of an EventSource, which gives up after any
    /// refusal, but reconnects after the end of the connection.
    Begun { is_mute: bool },
    /// A stage of the admission waits for an answer.
    Checking(Box<Checking>),
    /// A body arrives.
    Body(Box<Incoming<Collect>>),
    /// The shard owes the answer.
    Answering(ReplyTo, About),
    /// A long answer has begun.
    Replying(Box<Outgoing>),
    /// An upstream gets the request, and answers.
    Proxying(Box<Proxying>),
    /// The last answer is written.
    Over,
}

impl Http {
    /// `listener` is the id of the listener that accepted the connection.
    pub(super) fn new(listener: u16) -> Http {
        Http {
            listener,
            state: HttpState::Idle,
            answered: 0,
            way: Way::Direct,
            certificate: None,
            proxy: None,
            surplus: None,
        }
    }

    pub(super) fn listener(&self) -> u16 {
        self.listener
    }

    /// The host names that its listener answers for; `None`: any.
    pub(super) fn hosts<'s>(&self, settings: &'s Settings) -> Option<&'s Hosts> {
        settings.generation.front_hosts.get(self.listener as usize)?.as_ref()
    }

    /// The client of the request that a server has.
    pub(super) fn client(&self) -> Option<&Identity> {
        match &self.state {
            HttpState::Proxying(proxying) => Some(&proxying.client),
            _ => None,
        }
    }

    /// How long the request in hand may last.
    pub(super) fn lasting(&self) -> Lasting {
        match &self.state {
            HttpState::Proxying(proxying) if proxying.is_event_stream => Lasting::Stream,
            HttpState::Proxying(proxying) if !proxying.has_begun_answer() => Lasting::Unknown,
            _ => Lasting::Answer,
        }
    }

    /// What the answer is about that the shard owes.
    pub(super) fn about(&mut self) -> Option<&mut About> {
        match &mut self.state {
            HttpState::Answering(_, about) => Some(about),
            _ => None,
        }
    }

    /// Whether nothing more may be taken off the input now.
    pub(super) fn is_waiting(&self) -> bool {
        match &self.state {
            HttpState::Body(incoming) => !incoming.has_room(),
            HttpState::Answering(..) | HttpState::Replying(_) => true,
            HttpState::Proxying(proxying) => proxying.is_waiting(),
            HttpState::Checking(checking) => !checking.is_answered(),
            HttpState::Idle | HttpState::Begun { .. } | HttpState::Over => false,
        }
    }

    /// Whether the end of a body is still to be reported, because its last piece was a step of its own, or a request goes on
    /// that has waited for an answer.
    pub(super) fn has_unread(&self) -> bool {
        match &self.state {
            HttpState::Body(incoming) => incoming.is_whole(),
            HttpState::Checking(checking) => checking.is_answered(),
            _ => false,
        }
    }

    /// An answer has begun, and continues as its pieces are sent.
    pub(super) fn is_replying(&self) -> bool {
        matches!(self.state, HttpState::Replying(_))
    }

    /// The state in which the end of the connection finds its answer.
    pub(super) fn last_answer(&self) -> LastAnswer {
        let is_cut = match &self.state {
            HttpState::Replying(outgoing) => outgoing.ends_with_connection() && !outgoing.is_whole(),
            HttpState::Proxying(proxying) => proxying.ends_with_connection(),
            _ => false,
        };
        if is_cut { LastAnswer::Cut } else { LastAnswer::Whole }
    }

    /// A request has begun, and its answer is not complete.
    pub(super) fn is_asked(&self) -> bool {
        !matches!(self.state, HttpState::Idle)
    }

    /// The answer to the current request says that the connection closes. (A request whose head has not arrived is told
    /// when it has.)
    pub(super) fn make_last(&mut self) {
        match &mut self.state {
            HttpState::Body(incoming) => incoming.to.keep_alive = false,
            HttpState::Answering(to, _) => to.keep_alive = false,
            HttpState::Replying(outgoing) => outgoing.to.keep_alive = false,
            HttpState::Proxying(proxying) => proxying.make_last(),
            HttpState::Checking(checking) => checking.is_last = true,
            HttpState::Idle | HttpState::Begun { .. } | HttpState::Over => {}
        }
    }

    /// No request on this connection is served from now on.
    pub(super) fn turn_away(&mut self, reason: CloseReason) {
        self.surplus = Some(reason);
    }

    /// Answers a publication with its position.
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
        let HttpState::Answering(to, About::Text | About::User(_) | About::Drained { .. } | About::Revoked { .. }) =
            self.state
        else {
            return After::KeepOpen;
        };
        self.reply(to, 200, content_type, body, outbox)
    }

    /// Answers an operation of the admin listener, in JSON, with further fields.
    pub(super) fn operated(&mut self, status: u16, fields: &[(&str, &str)], body: &[u8], outbox: &mut Outbox) -> After {
        let HttpState::Answering(to, About::Reached { .. } | About::Outcome(_) | About::Revoked { .. }) = self.state
        else {
            return After::KeepOpen;
        };
        outbox.write(|out| {
            let reply = Reply::start(out, status, to).header("Content-Type", "application/json");
            let reply = fields.iter().fold(reply, |reply, (name, value)| reply.header(name, value));
            reply.header("Cache-Control", "no-store").body(body);
        });
        self.after(to.keep_alive)
    }

    /// Answers with a text that may be long: complete if it fits into one piece, otherwise with the first piece.
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

    /// Continues the answer that has begun, as far as there is room.
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

    /// Answers with the state of an accepted request.
    pub(super) fn read(&mut self, reading: &Reading, outbox: &mut Outbox) -> After {
        let HttpState::Answering(to, About::Request(page)) = &self.state else { return After::KeepOpen };
        let to = *to;
        accept::write_reading(reading, to, page.as_deref(), outbox);
        self.after(to.keep_alive)
    }

    /// Answers that there is no such request, or that it was refused.
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

    /// The answer is written: whether another request may follow.
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

    /// The head is malformed. The last words are an answer to it, which a page may be allowed to read.
    pub(super) fn refuse_head(&mut self, input: &[u8], is_tls: bool, routes: &Routes) {
        let page = Sender::glimpsed(input, is_tls, routes.iter().map(|(_, route)| &route.origins));
        self.state = HttpState::Answering(ReplyTo::UNREADABLE, About::Request(page.map(Box::new)));
    }

    /// When a body that arrives is late; in the past for anything else.
    pub(super) fn due(&self) -> Tick {
        match &self.state {
            HttpState::Body(incoming) => incoming.due(),
            _ => Tick::ZERO,
        }
    }

    /// The reason of a connection that ends for lack of progress.
    pub(super) fn on_deadline(&self) -> CloseReason {
        match self.state {
            HttpState::Idle if self.answered > 0 => CloseReason::KeepAliveOver,
            HttpState::Answering(..) | HttpState::Checking(_) => CloseReason::Overload,
            _ => self.surplus.unwrap_or(CloseReason::TooSlow),
        }
    }

    /// The last words: an answer to the request that failed, if an answer is possible.
    pub(super) fn end(&mut self, row: &CloseRow, retry_after_s: u32, outbox: &mut Outbox) {
        let is_refusal = row.http_status >= 400;
        let (to, page) = match &self.state {
            HttpState::Body(incoming) => (incoming.to.closing(), incoming.page()),
            HttpState::Answering(to, about) => (to.closing(), about.page()),
            HttpState::Checking(checking) => (checking.to.closing(), checking.page.as_ref()),
            HttpState::Proxying(proxying) if is_refusal && !proxying.has_begun_answer() => {
                proxying.refuse(row.reason, retry_after_s, true, outbox);
                return;
            }
            HttpState::Idle | HttpState::Begun { .. } => (ReplyTo::UNREADABLE, None),
            // An answer that has begun must not be followed by another.
            HttpState::Replying(_) | HttpState::Proxying(_) | HttpState::Over => return,
        };
        // Without a request, the end of the connection is enough. A browser opens connections in advance, and would
        // take any bytes on them for the answer to its first request.
        let is_mute = matches!(self.state, HttpState::Idle | HttpState::Begun { is_mute: true });
        let is_for_later = matches!(
            row.reason,
            CloseReason::Drain
                | CloseReason::TooManyConnections
                | CloseReason::ConnectionLimit
                | CloseReason::HandshakeLimit
                | CloseReason::TooSlow
                | CloseReason::Overload
                | CloseReason::ArrivingFull
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
