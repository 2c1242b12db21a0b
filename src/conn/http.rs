//! A connection that speaks HTTP: one request after the other, until one of them begins a stream.
//!
//! ```text
//!  Idle --head--> front, admin: answered at once --> Idle
//!    |   '------> Body --whole--> Answering --published, answer--> Idle
//!    '-- a stream: the phase changes, this is over
//! ```

use super::admin::{self, Publication};
use super::centrifuge::Centrifuge;
use super::events::EventStream;
use super::front::{self, Outcome};
use super::outbox::Outbox;
use super::settings::{Readiness, Settings};
use super::websocket::WebSocket;
use super::{Conn, Door, Opening, Phase, Step, retry_after_s};
use crate::base::{CoarseTick, Tick};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::close::Row;
use crate::proto::event::{Message, Position};
use crate::proto::http::{Body, BodyStep, Head, Refusal, Reply, ReplyTo, go_on, next_head};
use crate::proto::subject::Subject;

/// The state between requests and within one.
#[derive(Default)]
pub(super) struct Http {
    state: State,
    /// Requests answered on this connection.
    answered: u32,
}

#[derive(Default)]
enum State {
    /// Waits for the first byte of a head.
    #[default]
    Idle,
    /// Waits for the rest of it.
    Begun,
    /// Collects the body of a message to publish.
    Body(Box<Publishing>),
    /// The shard owes the answer; about the channel published to, if it was that.
    Answering(ReplyTo, Option<Subject>),
}

struct Publishing {
    publication: Publication,
    to: ReplyTo,
    body: Body,
    payload: Vec<u8>,
}

impl Http {
    pub fn is_answering(&self) -> bool {
        matches!(self.state, State::Answering(..))
    }

    /// A request has begun, and its answer is owed.
    pub fn is_asked(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// The answer to the request in hand says that no other is taken. (One whose head has not come hears it by its head.)
    pub fn make_last(&mut self) {
        match &mut self.state {
            State::Body(publishing) => publishing.to.keep_alive = false,
            State::Answering(to, _) => to.keep_alive = false,
            State::Idle | State::Begun => {}
        }
    }

    /// Answers a publication with the position that it got.
    pub fn published(&mut self, position: Option<Position>, outbox: &mut Outbox) -> Result<(), CloseReason> {
        let State::Answering(to, Some(channel)) = std::mem::take(&mut self.state) else { return Ok(()) };
        let body = serde_json::json!({
            "channel": channel.as_str(),
            "position": position.map(|position| position.to_string()),
        });
        self.reply(to, 200, "application/json", format!("{body}\n").as_bytes(), outbox)
    }

    pub fn answer(&mut self, content_type: &str, body: &[u8], outbox: &mut Outbox) -> Result<(), CloseReason> {
        let State::Answering(to, None) = std::mem::take(&mut self.state) else { return Ok(()) };
        self.reply(to, 200, content_type, body, outbox)
    }

    fn reply(
        &mut self,
        to: ReplyTo,
        status: u16,
        content_type: &str,
        body: &[u8],
        outbox: &mut Outbox,
    ) -> Result<(), CloseReason> {
        outbox.write(|out| {
            let reply = Reply::start(out, status, to).header("Content-Type", content_type);
            reply.header("Cache-Control", "no-store").body(body);
        });
        self.after(to.keep_alive)
    }

    /// The answer is written: another request may follow, or not.
    fn after(&mut self, keep_alive: bool) -> Result<(), CloseReason> {
        self.state = State::Idle;
        self.answered = self.answered.saturating_add(1);
        if keep_alive { Ok(()) } else { Err(CloseReason::Normal) }
    }

    /// Why a connection that made no progress ends.
    pub fn on_deadline(&self) -> CloseReason {
        match self.state {
            State::Idle if self.answered > 0 => CloseReason::KeepAliveOver,
            State::Answering(..) => CloseReason::Overload,
            _ => CloseReason::TooSlow,
        }
    }

    /// The last words: an answer to the request that failed, if there is one to give.
    pub fn end(&mut self, row: &Row, retry_after_s: u32, outbox: &mut Outbox) {
        let is_refusal = row.http_status >= 400;
        let to = match &self.state {
            State::Body(publishing) => publishing.to.closing(),
            State::Answering(to, _) => to.closing(),
            State::Idle | State::Begun => ReplyTo::UNREADABLE,
        };
        // Nobody has asked anything: the end of the connection says it all.
        let is_unasked = row.reason == CloseReason::Drain && matches!(self.state, State::Idle);
        if is_refusal && !is_unasked {
            let retry_after_s = (row.http_status == 503).then_some(retry_after_s);
            outbox.write(|out| {
                let _is_last = Refusal { retry_after_s, ..Refusal::new(row.reason) }.write(out, to);
            });
        }
    }
}

impl Conn {
    pub(super) fn next_request<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        settings: &Settings,
        now: Tick,
    ) -> Result<Option<Step<'a>>, CloseReason> {
        loop {
            // What has become of the connection takes what follows the request.
            let Phase::Http(http) = &mut self.phase else { return self.next(input, settings, now) };
            match &mut http.state {
                State::Answering(..) => return Ok(None),
                State::Body(_) => return self.next_body(input, now),
                State::Idle | State::Begun => {}
            }
            let Some(mut head) = next_head(input)? else {
                self.await_head(input, settings, now);
                return Ok(None);
            };
            if settings.readiness != Readiness::Ready {
                // Whatever else this client wants, it should ask somebody who stays.
                head.keep_alive = false;
            }
            let step = match self.door {
                Door::Front => self.front_request(&head, settings, now)?,
                Door::Admin => self.admin_request(&head, settings, now)?,
                Door::Bus => None,
            };
            if step.is_some() {
                return Ok(step);
            }
        }
    }

    /// A head that has begun has so long to become whole, whatever is done with it meanwhile.
    fn await_head(&mut self, input: &[u8], settings: &Settings, now: Tick) {
        let Phase::Http(http) = &mut self.phase else { return };
        if matches!(http.state, State::Idle) && !input.is_empty() {
            http.state = State::Begun;
            // The first head's time began with the accept.
            if http.answered > 0 {
                self.wait_until(now + settings.head_timeout);
            }
        }
    }

    fn front_request<'a>(
        &mut self,
        head: &Head<'_>,
        settings: &Settings,
        now: Tick,
    ) -> Result<Option<Step<'a>>, CloseReason> {
        let refusal = (settings.readiness == Readiness::Closing).then(|| retry_after_s(self.peer));
        let outcome = front::request(head, &settings.routes, refusal, &mut self.outbox);
        match outcome {
            Outcome::Answered { keep_alive, refused } => {
                self.refused = refused;
                self.answered(keep_alive && head.body.is_empty(), settings, now)?;
                Ok(None)
            }
            Outcome::EventStream { route, channels, last_id } => {
                self.route = route;
                self.wait_until(now + settings.sse_heartbeat);
                let (stream, opening) = EventStream::open(channels, last_id.as_deref(), &settings.channels);
                self.phase = Phase::EventStream(stream);
                Ok(Some(Step::Open(opening)))
            }
            Outcome::WebSocket { route, identity, channel } => {
                self.route = route;
                self.wait_until(now + settings.ping_interval);
                let user = identity.user().and_then(|user| Subject::new(&format!("tg.user.{user}")).ok());
                self.phase = Phase::WebSocket(identity, WebSocket::default());
                let channels = channel.into_iter().map(|channel| (channel, None)).collect();
                Ok(Some(Step::Open(Opening { channels, user })))
            }
            Outcome::Centrifuge { route, user, channels } => {
                self.route = route;
                let session = Centrifuge::new(user, channels, now + settings.head_timeout);
                self.wait_until(session.deadline());
                self.phase = Phase::Centrifuge(Box::new(session));
                Ok(None)
            }
        }
    }

    fn answered(&mut self, keep_alive: bool, settings: &Settings, now: Tick) -> Result<(), CloseReason> {
        let Phase::Http(http) = &mut self.phase else { return Ok(()) };
        self.deadline = CoarseTick::ceil(now + settings.keep_alive_timeout);
        http.after(keep_alive)
    }

    fn admin_request<'a>(
        &mut self,
        head: &Head<'_>,
        settings: &Settings,
        now: Tick,
    ) -> Result<Option<Step<'a>>, CloseReason> {
        let Phase::Http(http) = &mut self.phase else { return Ok(None) };
        let to = head.reply_to();
        match admin::request(head, settings.readiness, &mut self.outbox) {
            admin::Outcome::Answered { keep_alive, refused } => {
                self.refused = refused;
                self.answered(keep_alive && head.body.is_empty(), settings, now)?;
                Ok(None)
            }
            admin::Outcome::Metrics => {
                let keep_alive = to.keep_alive && head.body.is_empty();
                http.state = State::Answering(ReplyTo { keep_alive, ..to }, None);
                Ok(Some(Step::Metrics))
            }
            admin::Outcome::History { channel, since, bounds } => {
                let keep_alive = to.keep_alive && head.body.is_empty();
                http.state = State::Answering(ReplyTo { keep_alive, ..to }, None);
                self.wait_until(now + limits::ANSWER_TIMEOUT);
                Ok(Some(Step::History { tag: 0, channel, since, bounds }))
            }
            admin::Outcome::Publish(publication) => {
                let body = Body::new(head.body, settings.payload_bytes_max as u64)?;
                if head.expects_continue && !head.body.is_empty() {
                    self.outbox.write(go_on);
                }
                let publishing = Publishing { publication, to, body, payload: Vec::new() };
                http.state = State::Body(Box::new(publishing));
                self.wait_until(now + settings.body_timeout);
                Ok(None)
            }
        }
    }

    fn next_body<'a>(&mut self, input: &mut &'a mut [u8], now: Tick) -> Result<Option<Step<'a>>, CloseReason> {
        let Phase::Http(http) = &mut self.phase else { return Ok(None) };
        let State::Body(publishing) = &mut http.state else { return Ok(None) };
        loop {
            match publishing.body.next(input)? {
                BodyStep::Data(bytes) => publishing.payload.extend_from_slice(bytes),
                BodyStep::NeedMore => return Ok(None),
                BodyStep::End => break,
            }
        }
        let to = publishing.to;
        let State::Body(publishing) = std::mem::take(&mut http.state) else { return Ok(None) };
        let Publishing { publication: Publication { subject, headers }, payload, .. } = *publishing;
        http.state = State::Answering(to, Some(subject.clone()));
        self.wait_until(now + limits::ANSWER_TIMEOUT);
        Ok(Some(Step::Publish(Message { subject, reply: None, headers, payload: payload.into() })))
    }
}
