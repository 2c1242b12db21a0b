//! The client's half of a proxied request.
//!
//! ```text
//!  Seeking --the shard picks a server--> Dialling --connected--> Asked --head of an answer--> Answering --its end--> the next request
//!     |                                                                             '--101--> a tunnel (`conn::tunnel`)
//!     '-----> Queued -----------------------^                      ^  '-- Forward, Forward .. Asked: the body goes on as it comes
//!                                           '-- a try that has failed before a byte was sent, or is safe to repeat
//! ```
//!
//! - **PAIRED**: the partner of a half's partner is that half, or there is none.
//! - **ONE ANSWER**: a request ends with exactly one final answer, or with the end of its connection.
//! - A half waits until its partner's outbox has room, and nothing else is buffered: the bytes of a body are copied once, from
//!   the input of one half to the outbox of the other.

use std::time::Duration;

use smallvec::SmallVec;

use super::Identity;
use super::accept;
use super::access::journey::Journey;
use super::origins::Page;
use super::outbox::Outbox;
use super::settings::Settings;
use super::tunnel::Frames;
use super::upstream::{AwaitedAnswer, UpstreamStep, Waits};
use crate::base::{Key, Tick};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::http::{Body, BodyStep, Framed, PageAccess, ReplyTo, Streaming, event_stream};
use crate::proto::sse;
use crate::proto::upstream::{Affinity, ServerId, UpstreamId};
use crate::proto::ws::handshake::Accept;

/// A task for the shard's proxy.
pub enum ProxyStep<'a> {
    /// A request was admitted: it wants a server.
    Seek,
    /// A piece of its body; the last one, if the end has no bytes of its own.
    Forward { piece: &'a [u8], is_last: bool },
    /// Its end.
    Asked,
    /// A step of the server's answer.
    Upstream(UpstreamStep<'a>),
    /// One end of a tunnel has said this.
    Frames(Frames<'a>),
}

/// What a route wants for a request, and what the request allows.
pub struct ForwardedRequest {
    pub upstream: UpstreamId,
    pub affinity: Affinity,
    /// Further servers that it may be offered.
    pub retries: u8,
    pub waits: Waits,
    /// Between two events of a stream, or two words of a WebSocket.
    pub stream_idle: Duration,
    /// It opens a WebSocket, whose key has this answer.
    pub accept: Option<Accept>,
    /// The request may be sent twice (RFC 9110 section 9.2.2), and has no body that is gone.
    pub may_repeat: bool,
    /// It must not be sent on a connection that may be about to close.
    pub wants_fresh: bool,
    /// The client is an EventSource, which gives up for ever after any status but 200, and is to come back.
    pub wants_events: bool,
    /// Its client came by https.
    pub is_secure: bool,
    /// Its head lacks `Host`: it is the server's.
    pub names_server: bool,
    pub page_rule: PageRule,
    /// Fields that do not go on because of their names.
    pub left_out: u32,
}

/// The side that decides about pages of other origins that read the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageRule {
    /// The server.
    Server,
    /// The route, with its origins. `is_for_all`: with any.
    Route { is_for_all: bool },
}

/// See the module's picture.
pub struct Proxying {
    pub request: ForwardedRequest,
    pub(super) to: ReplyTo,
    pub(super) client: Identity,
    /// The page of another origin that may read a refusal.
    pub(super) page: Option<Box<Page>>,
    pub stage: ProxyStage,
    /// The upstream's half.
    pub partner: Option<Key>,
    /// The server in which it has a place.
    pub place: Option<ServerId>,
    /// Servers that have failed it.
    pub tried: SmallVec<[ServerId; 2]>,
    /// It was repeated once, because a connection closed on which others had been carried before it.
    pub is_repeated: bool,
    /// The client does not know its server: the answer says it.
    pub is_unmarked: bool,
    pub began: Tick,
    pub journey: Journey,
    /// The head as the server gets it, kept until an answer begins.
    pub(super) head: Vec<u8>,
    pub(super) body: Body,
    framed: Framed,
    /// The client waits for `100 Continue`.
    pub(super) is_expectant: bool,
    /// The body has been taken off the input, and the shard knows.
    pub(super) is_whole: bool,
    /// The server takes nothing: the body is not read.
    pub is_stopped: bool,
    arrived: u64,
    /// Of `arrived`, at the last look.
    seen: u64,
    /// How the answer's body is passed on.
    pub(super) answer: Framed,
    /// The answer is an event stream, which ends with its reader.
    pub(super) is_event_stream: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyStage {
    /// It has no server.
    Seeking,
    /// All servers have as many requests as they take.
    Queued,
    /// Its connection is being dialled.
    Dialling,
    /// The server gets it.
    Asked,
    /// The answer has begun.
    Answering,
}

impl Proxying {
    pub(super) fn new(
        request: ForwardedRequest,
        to: ReplyTo,
        head: Vec<u8>,
        (body, framed): (Body, Framed),
        is_expectant: bool,
        now: Tick,
    ) -> Proxying {
        Proxying {
            request,
            to,
            client: Identity::default(),
            page: None,
            stage: ProxyStage::Seeking,
            partner: None,
            place: None,
            tried: SmallVec::new(),
            is_repeated: false,
            is_unmarked: false,
            began: now,
            journey: Journey::default(),
            head,
            body,
            framed,
            is_expectant,
            is_whole: false,
            is_stopped: false,
            arrived: 0,
            seen: 0,
            answer: Framed::Bare,
            is_event_stream: false,
        }
    }

    /// The upstream's half is being dialled.
    pub fn dialling(&mut self, partner: Key) {
        (self.stage, self.partner) = (ProxyStage::Dialling, Some(partner));
    }

    /// The head as the server gets it; it comes [back](Proxying::put_head_back).
    pub fn take_head(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head)
    }

    pub fn put_head_back(&mut self, head: Vec<u8>) {
        if self.request.may_repeat && !self.is_repeated {
            self.head = head;
        }
    }

    pub fn awaited(&self) -> AwaitedAnswer {
        match self.request.accept {
            Some(accept) => AwaitedAnswer::WebSocket(accept),
            None if self.to.is_head => AwaitedAnswer::Bodiless,
            None => AwaitedAnswer::Any,
        }
    }

    /// The rights of pages to its answer.
    pub(super) fn access(&self) -> PageAccess<'_> {
        match self.request.page_rule {
            PageRule::Server => PageAccess::Server,
            PageRule::Route { is_for_all } => {
                PageAccess::Route { cors: self.page.as_deref().map(Page::cors), varies: !is_for_all }
            }
        }
    }

    /// Its server's half, and how the body is framed there; `None` if it has none.
    pub fn goes_to(&self) -> Option<(Key, Framed)> {
        Some((self.partner?, self.framed))
    }

    /// Takes the next piece of the body off `input`.
    pub(super) fn next<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<ProxyStep<'a>>, CloseReason> {
        if self.is_waiting() {
            return Ok(None);
        }
        Ok(match self.body.next(input)? {
            BodyStep::Data(piece) => {
                self.arrived += piece.len() as u64;
                // The end is no step of its own: it could wait for room, and the answer come before it.
                self.is_whole = self.body.is_over();
                Some(ProxyStep::Forward { piece, is_last: self.is_whole })
            }
            BodyStep::End => {
                self.is_whole = true;
                Some(ProxyStep::Asked)
            }
            BodyStep::NeedMore => None,
        })
    }

    /// Whether nothing more may be taken off the input now.
    pub(super) fn is_waiting(&self) -> bool {
        !self.has_server() || self.is_whole || self.is_stopped
    }

    /// A server gets the request, or has got it.
    fn has_server(&self) -> bool {
        matches!(self.stage, ProxyStage::Asked | ProxyStage::Answering)
    }

    /// Whether it waits for its server, and its client's end should be noticed.
    pub(super) fn awaits_server(&self) -> bool {
        self.is_waiting() && !self.is_stopped
    }

    /// Bytes of the body that were taken off the input.
    pub(super) fn arrived(&self) -> u64 {
        self.arrived
    }

    pub(super) fn has_begun_answer(&self) -> bool {
        self.stage == ProxyStage::Answering
    }

    /// Whether an answer has begun of which the reader learns from the end of the connection that it is whole. A stream of
    /// events never is.
    pub(super) fn ends_with_connection(&self) -> bool {
        let is_until_close = self.answer == Framed::Streamed(Streaming::UntilClose);
        self.has_begun_answer() && is_until_close && !self.is_event_stream
    }

    pub(super) fn make_last(&mut self) {
        self.to.keep_alive = false;
    }

    /// Writes a refusal, and returns whether the client's connection lives on. The rest of a body would be read as the next
    /// request. An EventSource whose server is away for a while gets an empty stream, and comes back.
    pub(super) fn refuse(&self, reason: CloseReason, retry_after_s: u32, is_last: bool, outbox: &mut Outbox) -> bool {
        let is_read = self.is_whole || self.body.is_over();
        let to = if is_read && !is_last { self.to } else { self.to.closing() };
        if !self.request.wants_events || !matches!(reason.row().http_status, 429 | 502..=504) {
            return accept::write_refusal(reason, retry_after_s, to, self.page.as_deref(), outbox);
        }
        outbox.write(|out| {
            let streaming = event_stream(out, to, self.page.as_deref().map(Page::cors));
            streaming.write(out, |out| sse::write_retry(out, Duration::from_secs(retry_after_s.into())));
            out.extend_from_slice(streaming.end());
        });
        false
    }

    /// Bytes of memory for the parts of the request that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.head.capacity()
    }

    /// Its deadline has come. `progress`: bytes that the client has taken of the batch in flight since the last look, if there is
    /// one. Returns how long to wait next.
    pub(super) fn on_deadline(
        &mut self,
        progress: Option<Option<u32>>,
        settings: &Settings,
    ) -> Result<Duration, CloseReason> {
        let body_timeout = settings.generation.body_timeout;
        match self.stage {
            ProxyStage::Queued => return Err(CloseReason::UpstreamBusy),
            ProxyStage::Answering if progress == Some(Some(0)) => return Err(CloseReason::SlowConsumer),
            ProxyStage::Asked | ProxyStage::Answering if !self.is_whole => {
                let arrived = self.arrived - std::mem::replace(&mut self.seen, self.arrived);
                let least = limits::PROXIED_BYTES_PER_SECOND_MIN * body_timeout.as_secs();
                // While the server takes nothing, that is no fault of the client.
                if arrived < least && !self.is_stopped {
                    return Err(CloseReason::TooSlow);
                }
                return Ok(body_timeout);
            }
            _ => {}
        }
        Ok(settings.generation.send_timeout)
    }
}
