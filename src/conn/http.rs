//! A connection that speaks HTTP: one request after the other, until one of them begins a stream.
//!
//! ```text
//!  Idle --head--> front, admin: answered at once --> Idle
//!    |   '------> Body --whole--> Answering --published, answer, receipt, reading--> Idle
//!    '-- a stream: the phase changes, this is over
//! ```

use std::mem;

use super::accept::{self, Owed};
use super::admin::{self, Publication};
use super::centrifuge::Centrifuge;
use super::collect::{Collecting, Purpose};
use super::ending::retry_after_s;
use super::events::EventStream;
use super::front::{self, Arrival, Outcome};
use super::hosts::Hosts;
use super::origins::{Page, Sender};
use super::outbox::Outbox;
use super::routes::Routes;
use super::settings::{Readiness, Settings};
use super::turned_away::{TurnedAway, may_ask_for_events};
use super::websocket::WebSocket;
use super::{Conn, Door, Identity, Opening, Phase, Refused, Step};
use crate::base::{CoarseTick, Tick};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::close::Row;
use crate::proto::event::{Message, Position};
use crate::proto::http::{Body, Head, Reply, ReplyTo, go_on, next_head};
use crate::proto::presence::{Found, Whereabouts};
use crate::proto::request::{Reading, Receipt};
use crate::proto::subject::Subject;
use crate::proto::user::User;

/// The state between requests and within one.
pub(super) struct Http {
    state: State,
    /// Requests answered on this connection.
    answered: u32,
    listener: u16,
    /// There is no place for it: its first request is its last, and gets the answer of one that is turned away.
    is_surplus: bool,
}

#[derive(Default)]
enum State {
    /// Waits for the first byte of a head.
    #[default]
    Idle,
    /// Waits for the rest of it. `is_mute`: as far as it has come it may be that of an EventSource, which takes any refusal as
    /// final, but the end of the connection as a reason to come back.
    Begun { is_mute: bool },
    /// Collects a body.
    Body(Box<Collecting>),
    /// The shard owes the answer.
    Answering(ReplyTo, About),
    /// The last answer is written.
    Over,
}

/// What the answer will be about.
enum About {
    /// What the shard says in text.
    Text,
    /// The position of a message in this channel.
    Published(Subject),
    /// Where the request is to be found.
    Accepted(Box<Owed>),
    /// A request that was accepted earlier, or one that fails.
    Request(Option<Box<Page>>),
    /// Where a user is connected.
    User(Box<Whereabouts>),
}

impl About {
    /// Whether a page of another origin may read the answer.
    fn page(&self) -> Option<&Page> {
        match self {
            About::Text | About::Published(_) | About::User(_) => None,
            About::Accepted(owed) => owed.page.as_ref(),
            About::Request(page) => page.as_deref(),
        }
    }
}

impl Http {
    /// `listener`: the id of the one that it came in by.
    pub(super) fn new(listener: u16) -> Http {
        Http { listener, state: State::Idle, answered: 0, is_surplus: false }
    }

    /// The hosts that its listener answers for; `None` if that is any.
    fn hosts<'s>(&self, settings: &'s Settings) -> Option<&'s Hosts> {
        settings.front_hosts.get(self.listener as usize)?.as_ref()
    }

    pub(super) fn is_answering(&self) -> bool {
        matches!(self.state, State::Answering(..))
    }

    /// A request has begun, and its answer is owed.
    pub(super) fn is_asked(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// The answer to the request in hand says that no other is taken. (One whose head has not come hears it by its head.)
    pub(super) fn make_last(&mut self) {
        match &mut self.state {
            State::Body(collecting) => collecting.to.keep_alive = false,
            State::Answering(to, _) => to.keep_alive = false,
            State::Idle | State::Begun { .. } | State::Over => {}
        }
    }

    /// Of what comes in by this connection nothing is begun.
    pub(super) fn turn_away(&mut self) {
        self.is_surplus = true;
    }

    /// Answers a publication with the position that it got.
    pub(super) fn published(&mut self, position: Option<Position>, outbox: &mut Outbox) -> Result<(), CloseReason> {
        let State::Answering(to, About::Published(channel)) = mem::take(&mut self.state) else { return Ok(()) };
        let body = serde_json::json!({
            "channel": channel.as_str(),
            "position": position.map(|position| position.to_string()),
        });
        self.reply(to, 200, "application/json", format!("{body}\n").as_bytes(), outbox)
    }

    pub(super) fn answer(&mut self, content_type: &str, body: &[u8], outbox: &mut Outbox) -> Result<(), CloseReason> {
        let State::Answering(to, About::Text) = mem::take(&mut self.state) else { return Ok(()) };
        self.reply(to, 200, content_type, body, outbox)
    }

    /// Answers with where a user is, once every shard has said so.
    pub(super) fn found(&mut self, found: Found, outbox: &mut Outbox) -> Result<(), CloseReason> {
        let State::Answering(to, About::User(whereabouts)) = &mut self.state else { return Ok(()) };
        if !whereabouts.add(found) {
            return Ok(());
        }
        let (to, body) = (*to, whereabouts.to_json());
        self.state = State::Idle;
        self.reply(to, 200, "application/json", body.as_bytes(), outbox)
    }

    /// Answers a request that was accepted.
    pub(super) fn accepted(&mut self, receipt: &Receipt, outbox: &mut Outbox) -> Result<(), CloseReason> {
        let State::Answering(to, About::Accepted(owed)) = mem::take(&mut self.state) else { return Ok(()) };
        accept::write_receipt(receipt, to, &owed, outbox);
        self.after(to.keep_alive)
    }

    /// Answers with what became of one.
    pub(super) fn read(&mut self, reading: &Reading, outbox: &mut Outbox) -> Result<(), CloseReason> {
        let State::Answering(to, About::Request(page)) = mem::take(&mut self.state) else { return Ok(()) };
        accept::write_reading(reading, to, page.as_deref(), outbox);
        self.after(to.keep_alive)
    }

    /// Answers that there will be neither.
    pub(super) fn refused(
        &mut self,
        reason: CloseReason,
        retry_after_s: u32,
        outbox: &mut Outbox,
    ) -> Result<(), CloseReason> {
        let State::Answering(to, about) = mem::take(&mut self.state) else { return Ok(()) };
        let keep_alive = accept::write_refusal(reason, retry_after_s, to, about.page(), outbox);
        self.after(keep_alive)
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
        self.state = if keep_alive { State::Idle } else { State::Over };
        self.answered = self.answered.saturating_add(1);
        match keep_alive {
            true => Ok(()),
            false if self.is_surplus => Err(CloseReason::TooManyConnections),
            false => Err(CloseReason::Normal),
        }
    }

    /// The head is not understood: the last words are an answer to what this was to be, which a page may be allowed to read.
    fn refuse_head(&mut self, input: &[u8], is_tls: bool, routes: &Routes) {
        let page = Sender::glimpsed(input, is_tls, routes.iter().map(|(_, route)| &route.origins));
        self.state = State::Answering(ReplyTo::UNREADABLE, About::Request(page.map(Box::new)));
    }

    /// Why a connection that made no progress ends.
    pub(super) fn on_deadline(&self) -> CloseReason {
        match self.state {
            State::Idle if self.answered > 0 => CloseReason::KeepAliveOver,
            State::Answering(..) => CloseReason::Overload,
            _ if self.is_surplus => CloseReason::TooManyConnections,
            _ => CloseReason::TooSlow,
        }
    }

    /// The last words: an answer to the request that failed, if there is one to give.
    pub(super) fn end(&mut self, row: &Row, retry_after_s: u32, outbox: &mut Outbox) {
        let is_refusal = row.http_status >= 400;
        let (to, page) = match &self.state {
            State::Body(collecting) => (collecting.to.closing(), collecting.page()),
            State::Answering(to, about) => (to.closing(), about.page()),
            State::Idle | State::Begun { .. } => (ReplyTo::UNREADABLE, None),
            State::Over => return,
        };
        // Where nothing has been asked, the end of the connection says it all. A browser opens connections before it needs them, and
        // would take what it finds there for the answer to its first request.
        let is_mute = matches!(self.state, State::Idle | State::Begun { is_mute: true });
        let is_for_later = matches!(
            row.reason,
            CloseReason::Drain | CloseReason::TooManyConnections | CloseReason::TooSlow | CloseReason::Overload
        );
        if is_refusal && !(is_mute && is_for_later) {
            accept::write_refusal(row.reason, retry_after_s, to, page, outbox);
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
                State::Answering(..) | State::Over => return Ok(None),
                State::Body(_) => return self.next_body(input, now),
                State::Idle | State::Begun { .. } => {}
            }
            let is_last = settings.readiness != Readiness::Ready || http.is_surplus;
            // Answers that are made at once may be long, and so many of them asked for in one packet.
            if self.outbox.len() > limits::OUTBOX_BYTES_PAUSE {
                return Ok(None);
            }
            let mut rest = &mut **input;
            let read = next_head(&mut rest).map(|head| {
                let mut head = head?;
                // Whatever else this client wants, it should ask where there is a place for it.
                head.keep_alive &= !is_last;
                Some(match self.door {
                    Door::Front => self.front_request(&head, settings, now),
                    Door::Admin => self.admin_request(&head, settings, now),
                    Door::Bus => Ok(None),
                })
            });
            let left = rest.len();
            let is_tls = self.transport.is_tls();
            if let (Err(_), Door::Front, Phase::Http(http)) = (&read, self.door, &mut self.phase) {
                http.refuse_head(input, is_tls, &settings.routes);
            }
            let Some(step) = read? else {
                self.await_head(input, settings, now);
                return Ok(None);
            };
            let taken = input.len() - left;
            *input = &mut mem::take(input)[taken..];
            if let Some(step) = step? {
                return Ok(Some(step));
            }
        }
    }

    /// A head that has begun has so long to become whole, whatever is done with it meanwhile.
    fn await_head(&mut self, input: &[u8], settings: &Settings, now: Tick) {
        let Phase::Http(http) = &mut self.phase else { return };
        if input.is_empty() {
            return;
        }
        let has_begun = matches!(http.state, State::Begun { .. });
        http.state = State::Begun { is_mute: self.door == Door::Front && may_ask_for_events(input, &settings.routes) };
        // The first head's time began with the accept.
        if !has_begun && http.answered > 0 {
            self.wait_until(now + settings.head_timeout);
        }
    }

    /// Why nothing new is begun.
    fn turned_away(&self, settings: &Settings) -> Option<TurnedAway> {
        let Phase::Http(http) = &self.phase else { return None };
        let reason = match settings.readiness {
            _ if http.is_surplus => CloseReason::TooManyConnections,
            Readiness::Closing => CloseReason::Drain,
            Readiness::Ready | Readiness::Leaving => return None,
        };
        Some(TurnedAway { reason, retry_after_s: retry_after_s(self.peer) })
    }

    fn front_request<'a>(
        &mut self,
        head: &Head<'_>,
        settings: &Settings,
        now: Tick,
    ) -> Result<Option<Step<'a>>, CloseReason> {
        let turned_away = self.turned_away(settings);
        let Phase::Http(http) = &self.phase else { return Ok(None) };
        let arrival = Arrival { is_tls: self.transport.is_tls(), hosts: http.hosts(settings) };
        match front::request(head, arrival, &settings.routes, turned_away, &mut self.outbox) {
            Outcome::Answered { keep_alive } => {
                self.answered(keep_alive && head.body.is_empty(), settings, now)?;
                Ok(None)
            }
            // What ends the connection is counted with its end.
            Outcome::Refused(Refused { reason: CloseReason::TooManyConnections, .. }) => {
                self.answered(false, settings, now).map(|()| None)
            }
            Outcome::Refused(refused) => Ok(Some(self.refused(refused, settings, now))),
            Outcome::EventStream { route, channels, last_id, streaming } => {
                self.route = route;
                self.wait_for_silence(settings.sse_heartbeat, now);
                let (stream, opening) = EventStream::open(channels, last_id.as_deref(), &settings.channels, streaming);
                self.phase = Phase::EventStream(stream);
                match turned_away {
                    Some(TurnedAway { reason, .. }) => Err(reason),
                    None => Ok(Some(Step::Open(opening))),
                }
            }
            Outcome::WebSocket { route, identity, channel } => {
                self.route = route;
                self.wait_for_silence(settings.ping_interval, now);
                let user = identity.user().and_then(User::subject);
                let identity = identity.begun((settings.unix_time)());
                self.phase = Phase::WebSocket(identity, WebSocket::default());
                let channels = channel.into_iter().map(|channel| {
                    let greeting = settings.channels.of(&channel).greeting();
                    (channel, greeting)
                });
                let channels = channels.collect();
                Ok(Some(Step::Open(Opening { channels, user })))
            }
            Outcome::Centrifuge { route, user, channels } => {
                self.route = route;
                let identity = Identity::new(user, None).begun((settings.unix_time)());
                let session = Centrifuge::new(identity, channels, now + settings.head_timeout);
                self.wait_until(session.deadline());
                self.phase = Phase::Centrifuge(Box::new(session));
                Ok(None)
            }
            Outcome::Accept(accepting) => {
                self.collect(head, Purpose::Accept(accepting), settings, now)?;
                Ok(None)
            }
            Outcome::Read { route, id, page } => {
                self.await_answer(head, About::Request(page.map(Box::new)), settings, now);
                Ok(Some(Step::Read { route, id }))
            }
        }
    }

    /// The shard has the answer to a request whose body, if there is one, is not read.
    fn await_answer(&mut self, head: &Head<'_>, about: About, settings: &Settings, now: Tick) {
        let Phase::Http(http) = &mut self.phase else { return };
        let to = head.reply_to();
        let is_last = !head.body.is_empty() || settings.readiness == Readiness::Closing;
        let to = if is_last { to.closing() } else { to };
        http.state = State::Answering(to, about);
        self.wait_until(now + limits::ANSWER_TIMEOUT);
    }

    /// The body follows, and is wanted.
    fn collect(
        &mut self,
        head: &Head<'_>,
        purpose: Purpose,
        settings: &Settings,
        now: Tick,
    ) -> Result<(), CloseReason> {
        let Phase::Http(http) = &mut self.phase else { return Ok(()) };
        let body = match Body::new(head.body, settings.payload_bytes_max as u64) {
            Ok(body) => body,
            Err(reason) => {
                // The last words are an answer to this request.
                http.state = State::Answering(head.reply_to().closing(), About::Request(purpose.into_page()));
                return Err(reason);
            }
        };
        let collecting = Collecting::new(head, purpose, body);
        if head.expects_continue {
            self.outbox.write(go_on);
        }
        http.state = State::Body(Box::new(collecting));
        self.wait_until(now + settings.body_timeout);
        Ok(())
    }

    fn answered(&mut self, keep_alive: bool, settings: &Settings, now: Tick) -> Result<(), CloseReason> {
        let Phase::Http(http) = &mut self.phase else { return Ok(()) };
        self.deadline = CoarseTick::ceil(now + settings.keep_alive_timeout);
        http.after(keep_alive)
    }

    /// The refusal is written; the shard ends the connection if that was its last answer.
    fn refused(&mut self, refused: Refused, settings: &Settings, now: Tick) -> Step<'static> {
        let ended = self.answered(!refused.is_last, settings, now);
        debug_assert_eq!(ended.is_err(), refused.is_last);
        Step::Refused(refused)
    }

    fn admin_request<'a>(
        &mut self,
        head: &Head<'_>,
        settings: &Settings,
        now: Tick,
    ) -> Result<Option<Step<'a>>, CloseReason> {
        match admin::request(head, &settings.admin_hosts, settings.readiness, &mut self.outbox) {
            admin::Outcome::Answered { keep_alive } => {
                self.answered(keep_alive && head.body.is_empty(), settings, now)?;
                Ok(None)
            }
            admin::Outcome::Refused(refused) => Ok(Some(self.refused(refused, settings, now))),
            admin::Outcome::Metrics => {
                self.await_answer(head, About::Text, settings, now);
                Ok(Some(Step::Metrics))
            }
            admin::Outcome::Presence { channel } => {
                self.await_answer(head, About::Text, settings, now);
                Ok(Some(Step::Presence { channel }))
            }
            admin::Outcome::User(user) => {
                self.await_answer(head, About::User(Box::new(Whereabouts::new(&user))), settings, now);
                Ok(user.subject().map(|user| Step::Find { user }))
            }
            admin::Outcome::History { channel, since, bounds } => {
                self.await_answer(head, About::Text, settings, now);
                Ok(Some(Step::History { tag: 0, channel, since, bounds }))
            }
            admin::Outcome::Publish(publication) => {
                self.collect(head, Purpose::Publish(publication), settings, now)?;
                Ok(None)
            }
        }
    }

    fn next_body<'a>(&mut self, input: &mut &'a mut [u8], now: Tick) -> Result<Option<Step<'a>>, CloseReason> {
        let Phase::Http(http) = &mut self.phase else { return Ok(None) };
        let State::Body(collecting) = &mut http.state else { return Ok(None) };
        if !collecting.take(input)? {
            return Ok(None);
        }
        let to = collecting.to;
        let State::Body(collecting) = mem::take(&mut http.state) else { return Ok(None) };
        let (about, step) = match collecting.finish() {
            (Purpose::Publish(Publication { subject, headers }), payload) => {
                let about = About::Published(subject.clone());
                (about, Step::Publish(Message::new(subject, None, headers, payload)))
            }
            (Purpose::Accept(accepting), payload) => {
                let (asked, owed) = accepting.finish(payload);
                (About::Accepted(Box::new(owed)), Step::Accept(Box::new(asked)))
            }
        };
        http.state = State::Answering(to, about);
        self.wait_until(now + limits::ANSWER_TIMEOUT);
        Ok(Some(step))
    }
}
