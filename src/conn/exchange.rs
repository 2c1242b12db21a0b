//! Requests of an HTTP connection: some are answered at once, the others are steps of the shard.

use std::mem;

use super::about::About;
use super::access;
use super::admin;
use super::admission::request::{Arrival, ClientRequest, Naming};
use super::admission::{Admission, Run, Waiting};
use super::affinity::affinity;
use super::asked_client;
use super::auth::Evidence;
use super::centrifuge::Centrifuge;
use super::checking::{Checking, ClientCheck, ForwardCheck};
use super::client;
use super::collect::{Collect, Purpose};
use super::events::EventStream;
use super::forward_auth::{ForwardBy, ForwardVerdict};
use super::forwarding::{self, RequestFacts};
use super::front::AdmissionOutcome;
use super::http::{After, Http, HttpState};
use super::incoming::{Incoming, Progress};
use super::inquiry::{Inquiry, InquiryAnswer};
use super::link::apart;
use super::origins::Page;
use super::passed::PassedFields;
use super::peer::retry_after_s;
use super::proxying::{PageRule, ProxyStep, Proxying};
use super::quota::{Allowance, CountedStream};
use super::rights::RightRules;
use super::route::{AuthId, Route, RouteTarget};
use super::session::{Phase, Session};
use super::settings::{Readiness, Settings};
use super::turned_away::{TurnedAway, may_ask_for_events};
use super::websocket::WebSocket;
use super::{Door, Identity, Link, Opening, Refused, Step};
use crate::base::{Address, RouteId, Tick};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::http::{Body, ForwardedCredentials, Head, Streaming, go_on, is_looping, next_head};
use crate::proto::reserved::headers::{HTTP_ID_HEADER, TRACE_HEADER};
use crate::proto::subject::Subject;
use crate::proto::upstream::UpstreamId;
use crate::proto::user::User;
use crate::proto::ws::handshake::Accept;

/// The parts that a request changes: the session, which may become a stream, and the link, which takes an immediate
/// answer.
pub(super) struct Exchange<'c> {
    pub session: &'c mut Session,
    pub link: &'c mut Link,
    pub address: Address,
    pub settings: &'c Settings,
    pub now: Tick,
}

impl Exchange<'_> {
    /// Takes requests off the front of `input`, until one is a step of the shard.
    pub(super) fn next_request<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Step<'a>>, CloseReason> {
        let (address, settings, now) = (self.address, self.settings, self.now);
        loop {
            // The bytes after the request belong to the new phase of the connection.
            let Phase::Http(http) = &mut self.session.phase else {
                return self.session.next(self.link, input, address, settings, now);
            };
            match &mut http.state {
                HttpState::Answering(..) | HttpState::Replying(_) | HttpState::Over => return Ok(None),
                HttpState::Body(_) => return self.next_body(input),
                HttpState::Proxying(proxying) => return Ok(proxying.next(input)?.map(Step::Proxy)),
                HttpState::Checking(checking) if !checking.is_answered() => return Ok(None),
                HttpState::Checking(_) | HttpState::Idle | HttpState::Begun { .. } => {}
            }
            let is_last = settings.readiness != Readiness::Ready || http.surplus.is_some();
            // Immediate answers may be long, and one packet may request many of them.
            if self.link.is_full() {
                return Ok(None);
            }
            client::forget(http, self.link);
            if matches!(http.state, HttpState::Checking(_)) {
                match self.checked_request(is_last)? {
                    Some(step) => return Ok(Some(step)),
                    None => continue,
                }
            }
            let mut rest = &mut **input;
            let read = next_head(&mut rest).map(|head| {
                let mut head = head?;
                // This client should send further requests to a process that has room.
                head.keep_alive &= !is_last;
                Some(match self.link.door {
                    Door::Front => self.front_request(&head, Admission::default(), None),
                    Door::Admin => self.admin_request(&head),
                    Door::Bus | Door::Upstream => Ok(None),
                })
            });
            let left = rest.len();
            let is_tls = self.link.transport.is_tls();
            if let (Err(_), Door::Front, Phase::Http(http)) = (&read, self.link.door, &mut self.session.phase) {
                http.refuse_head(input, is_tls, &settings.generation.routes);
                access::begin((http, self.link), None, address, settings, now);
            }
            let Some(step) = read? else {
                self.await_head(input);
                return Ok(None);
            };
            let taken = input.len() - left;
            if let Phase::Http(http) = &mut self.session.phase
                && let HttpState::Checking(checking) = &mut http.state
            {
                // The one copy: the bytes are lent for this call.
                checking.keep(&input[..taken]);
            }
            *input = &mut mem::take(input)[taken..];
            if let Some(step) = step? {
                return Ok(Some(step));
            }
        }
    }

    /// From its first byte on, a head has a deadline, whatever else happens.
    fn await_head(&mut self, input: &[u8]) {
        let Phase::Http(http) = &mut self.session.phase else { return };
        if input.is_empty() {
            return;
        }
        let has_begun = matches!(http.state, HttpState::Begun { .. });
        http.state = HttpState::Begun {
            is_mute: self.link.door == Door::Front && may_ask_for_events(input, &self.settings.generation.routes),
        };
        // The time for the first head began with the accept.
        if !has_begun && http.answered > 0 {
            self.link.wait_until(self.now + self.settings.generation.head_timeout);
        }
    }

    /// The reason why nothing new is begun, if there is one.
    fn turned_away(&self) -> Option<TurnedAway> {
        let Phase::Http(http) = &self.session.phase else { return None };
        let reason = match (http.surplus, self.settings.readiness) {
            (Some(reason), _) => reason,
            (None, Readiness::Closing) => CloseReason::Drain,
            (None, Readiness::Ready | Readiness::Leaving) => return None,
        };
        Some(TurnedAway { reason, retry_after_s: retry_after_s(self.link.peer) })
    }

    /// The answer is there for which a request has waited: it is read again, and goes on.
    fn checked_request<'a>(&mut self, is_last: bool) -> Result<Option<Step<'a>>, CloseReason> {
        let Phase::Http(http) = &mut self.session.phase else { return Ok(None) };
        let HttpState::Checking(checking) = mem::take(&mut http.state) else { return Ok(None) };
        let is_last = is_last || checking.is_last;
        let (mut bytes, stage, answer) = checking.into_parts();
        let Some(mut head) = next_head(&mut &mut bytes[..])? else { return Ok(None) };
        head.keep_alive &= !is_last;
        self.front_request(&head, stage, answer.as_ref())
    }

    /// A stage waits for an answer. The caller keeps the head.
    fn wait<'a>(&mut self, request: &ClientRequest<'_, '_>, waiting: Waiting) -> Option<Step<'a>> {
        let Waiting { mut inquiry, stage, route, page } = waiting;
        let mut checking = Checking::new(stage, request.head.reply_to(), page);
        checking.decided = request.evidence.answer.map_or(&[][..], InquiryAnswer::decided).to_vec();
        if let Inquiry::Forward(auth) = inquiry {
            match self.begin_check(request, (auth, route)) {
                Ok(ClientCheck::Server(check)) => checking.forward = Some(check),
                Ok(ClientCheck::Workers(document)) => inquiry = Inquiry::Client(auth, document),
                // The request leads back here, or nowhere: the stage that asks says so.
                Err(_) => checking.answer(InquiryAnswer::Judged(ForwardVerdict::Unclear)),
            }
        }
        let is_answered = checking.is_answered();
        let Phase::Http(http) = &mut self.session.phase else { return None };
        http.state = HttpState::Checking(Box::new(checking));
        self.link.wait_until(self.now + limits::ANSWER_TIMEOUT);
        (!is_answered).then_some(Step::Check(inquiry))
    }

    /// Passes the stages of the admission, from this one on.
    fn front_request<'a>(
        &mut self,
        head: &Head<'_>,
        stage: Admission,
        answer: Option<&InquiryAnswer>,
    ) -> Result<Option<Step<'a>>, CloseReason> {
        let (settings, now) = (self.settings, self.now);
        let Phase::Http(http) = &mut self.session.phase else { return Ok(None) };
        let called = client::recognize(http, self.link, head, &settings.generation.trust);
        let (quotas, peer, standing) = (&settings.generation.quotas, self.link.peer, self.session.counted.standing());
        let allowance = quotas.as_deref().map(|quotas| Allowance { quotas, peer, standing, now });
        let (certificate, surplus) = (http.certificate.clone(), http.surplus);
        let arrival = Arrival {
            node: settings.process.node,
            called,
            naming: naming(http, self.address, settings),
            hosts: http.hosts(settings),
            allowance,
            check: settings.check(),
            evidence: Evidence { answer, certificate: certificate.as_deref() },
            rules: RightRules::of(settings, answer.map_or(&[], InquiryAnswer::decided), now),
        };
        let turned_away = self.turned_away();
        let request = ClientRequest::new(head, arrival, &settings.generation.routes, turned_away);
        let outcome = match self.admit(stage, &request) {
            Run::Over(outcome) => outcome,
            Run::Waits(waiting) => return Ok(self.wait(&request, *waiting)),
        };
        match outcome {
            AdmissionOutcome::Answered { keep_alive } => Ok(self.answered(keep_alive && head.body.is_empty())),
            // A refusal that ends the connection is counted with its end.
            AdmissionOutcome::Refused(Refused { reason, .. }) if surplus == Some(reason) => Ok(self.answered(false)),
            AdmissionOutcome::Refused(refused) => Ok(Some(self.refused(refused))),
            AdmissionOutcome::EventStream { route, client, channels, last_id, streaming } => {
                self.session.route = route;
                self.session.counted.set_stream(counted(allowance.is_some(), client.user()));
                let opening = self.open_events(client, channels, last_id.as_deref(), streaming);
                match turned_away {
                    Some(TurnedAway { reason, .. }) => Err(reason),
                    None => Ok(Some(Step::Open(opening))),
                }
            }
            AdmissionOutcome::WebSocket { route, identity, channel, subprotocol } => {
                self.session.route = route;
                self.link.wait_until(self.now + apart(self.link.peer(), settings.generation.ping_interval));
                self.session.counted.set_stream(counted(allowance.is_some(), identity.user()));
                let user = identity.user().and_then(User::subject);
                let identity = identity.begun(settings.process.unix_time, now);
                self.session.phase = Phase::WebSocket(identity, WebSocket::speaking(subprotocol));
                let channels = channel.into_iter().map(|channel| {
                    let greeting = settings.generation.channels.of(&channel).greeting();
                    (channel, greeting)
                });
                let fields = fields_for_workers(&request, route);
                Ok(Some(Step::Open(Opening { channels: channels.collect(), user, fields })))
            }
            AdmissionOutcome::Centrifuge { route, client, channels } => {
                self.session.route = route;
                self.session.counted.set_stream(counted(allowance.is_some(), client.user()));
                let identity = client.begun(settings.process.unix_time, now);
                let centrifuge = Centrifuge::new(identity, channels, self.now + settings.generation.head_timeout);
                self.link.wait_until(centrifuge.deadline());
                self.session.phase = Phase::Centrifuge(Box::new(centrifuge));
                Ok(None)
            }
            AdmissionOutcome::Accept(accepting) => {
                self.collect(head, Purpose::Accept(accepting))?;
                Ok(None)
            }
            AdmissionOutcome::Proxy { route, client, page, accept } => {
                self.forward(&request, (route, accept), client, page.map(Box::new))
            }
            AdmissionOutcome::Read { route, id, page } => {
                self.await_answer(head, About::Request(page.map(Box::new)));
                Ok(Some(Step::Read { route, id }))
            }
        }
    }

    /// The stages of admission from this one on, with what the access log notes of them.
    fn admit(&mut self, stage: Admission, request: &ClientRequest<'_, '_>) -> Run {
        let (settings, now, key) = (self.settings, self.now, self.address.key);
        if settings.generation.access.is_none() {
            return stage.run(request, &mut self.link.outbox);
        }
        if let Phase::Http(http) = &self.session.phase {
            access::begin((http, self.link), Some(request), self.address, settings, now);
        }
        let from = self.link.outbox.written().len();
        let run = stage.run(request, &mut self.link.outbox);
        if let Run::Over(outcome) = &run {
            access::admitted(request, outcome, (self.link.outbox.written(), from), key, settings, now);
        }
        run
    }

    /// The connection becomes a stream of events.
    fn open_events(
        &mut self,
        client: Identity,
        channels: Vec<Subject>,
        last_id: Option<&str>,
        streaming: Streaming,
    ) -> Opening {
        let Settings { generation, process, .. } = self.settings;
        self.link.wait_until(self.now + apart(self.link.peer(), generation.sse_heartbeat));
        let (stream, opening) = EventStream::open(channels, last_id, &generation.channels, streaming);
        let user = client.user().and_then(User::subject);
        self.session.phase = Phase::EventStream(client.begun(process.unix_time, self.now), stream);
        Opening { user, ..opening }
    }

    /// The request goes to an upstream.
    fn forward<'a>(
        &mut self,
        request: &ClientRequest<'_, '_>,
        target: (RouteId, Option<Accept>),
        client: Identity,
        page: Option<Box<Page>>,
    ) -> Result<Option<Step<'a>>, CloseReason> {
        let client = client.begun(self.settings.process.unix_time, self.now);
        let begun = self.begin_forward(request, target, &client);
        if target.1.is_some() {
            self.session.route = target.0;
            self.session.counted.set_stream(counted(request.allowance.is_some(), client.user()));
        }
        let Phase::Http(http) = &mut self.session.phase else { return Ok(None) };
        match begun {
            Ok(mut proxying) => {
                proxying.page = page;
                proxying.client = client;
                http.state = HttpState::Proxying(Box::new(proxying));
                self.link.wait_until(self.now + self.settings.generation.send_timeout);
                Ok(Some(Step::Proxy(ProxyStep::Seek)))
            }
            Err(reason) => {
                // The last words are the answer to this request.
                http.state = HttpState::Answering(request.head.reply_to().closing(), About::Request(page));
                Err(reason)
            }
        }
    }

    fn begin_forward(
        &self,
        request: &ClientRequest<'_, '_>,
        (id, accept): (RouteId, Option<Accept>),
        client: &Identity,
    ) -> Result<Proxying, CloseReason> {
        let route = request.route(id);
        let RouteTarget::Proxy(target) = &route.target else { return Err(CloseReason::NotFound) };
        let facts = self.facts(request, route, target.upstream)?;
        let credentials = request.check.map(|check| check.forwarded(route, client.proof().map(|proof| &**proof)));
        let page_rule = match route.checks_origins() {
            true => PageRule::Route { is_for_all: route.origins.are_all() },
            false => PageRule::Server,
        };
        let arrived = RequestFacts { accept, credentials: credentials.unwrap_or_default(), page_rule, ..facts };
        forwarding::forward(request.head, target, arrived, self.now)
    }

    /// The half of the question to a server whether the client is let in.
    fn begin_check(
        &self,
        request: &ClientRequest<'_, '_>,
        (auth, route): (AuthId, RouteId),
    ) -> Result<ClientCheck, CloseReason> {
        let forward = request.check.and_then(|check| check.forward(auth)).ok_or(CloseReason::AuthUnavailable)?;
        let ForwardBy::Server { upstream, path } = &forward.by else {
            let document = asked_client::document(request, forward, route, self.link.peer().ip())?;
            return Ok(ClientCheck::Workers(document.into()));
        };
        let facts = self.facts(request, request.route(route), *upstream)?;
        let half = forwarding::check(request.head, (forward, *upstream, path), facts, self.now)?;
        Ok(ClientCheck::Server(Box::new(ForwardCheck::new(auth, half))))
    }

    /// The facts of a request that goes on to this upstream.
    fn facts<'r>(
        &'r self,
        request: &'r ClientRequest<'_, '_>,
        route: &'r Route,
        upstream: UpstreamId,
    ) -> Result<RequestFacts<'r>, CloseReason> {
        let (settings, peer) = (self.settings, self.link.peer());
        let pseudonym = settings.process.name.pseudonym();
        if is_looping(request.head, pseudonym) {
            return Err(CloseReason::LoopDetected);
        }
        let rule = settings.generation.upstreams.get(usize::from(upstream.0)).ok_or(CloseReason::NoUpstream)?;
        Ok(RequestFacts {
            peer,
            is_from_proxy: request.naming.is_from_proxy,
            id: request.id(),
            trace: request.trace(),
            pseudonym,
            is_secure: request.is_secure,
            host: request.host,
            affinity: affinity(request, route, rule, peer.ip()),
            accept: None,
            query: request.query(route),
            credentials: ForwardedCredentials::default(),
            page_rule: PageRule::Server,
        })
    }

    /// The shard owes the answer. A body, if there is one, is not read.
    fn await_answer(&mut self, head: &Head<'_>, about: About) {
        let Phase::Http(http) = &mut self.session.phase else { return };
        let to = head.reply_to();
        let is_last = !head.body.is_empty() || self.settings.readiness == Readiness::Closing;
        let to = if is_last { to.closing() } else { to };
        self.link.wait_until(self.now + about.patience());
        http.state = HttpState::Answering(to, about);
    }

    /// The body follows, and is collected.
    fn collect(&mut self, head: &Head<'_>, purpose: Purpose) -> Result<(), CloseReason> {
        let Phase::Http(http) = &mut self.session.phase else { return Ok(()) };
        let body = match Body::new(head.body, self.settings.generation.payload_bytes_max as u64) {
            Ok(body) => body,
            Err(reason) => {
                // The last words are the answer to this request.
                http.state = HttpState::Answering(head.reply_to().closing(), About::Request(purpose.into_page()));
                return Err(reason);
            }
        };
        let until = self.now + self.settings.generation.body_timeout;
        let incoming = Incoming::new(head.reply_to(), body, Collect::new(purpose, head.body), until);
        if head.expects_continue {
            self.link.outbox.write(go_on);
        }
        http.state = HttpState::Body(Box::new(incoming));
        self.link.wait_until(until);
        Ok(())
    }

    /// The answer is written; the shard ends the connection if it was the last one.
    fn answered<'a>(&mut self, keep_alive: bool) -> Option<Step<'a>> {
        let surplus = match &self.session.phase {
            Phase::Http(http) => http.surplus,
            _ => None,
        };
        let reason = surplus.unwrap_or(CloseReason::Normal);
        match self.after(keep_alive) {
            After::KeepOpen => None,
            After::Close => Some(Step::Close(reason)),
        }
    }

    /// The refusal is written; the shard ends the connection if it was the last answer.
    fn refused<'a>(&mut self, refused: Refused) -> Step<'a> {
        let after = self.after(!refused.is_last);
        debug_assert_eq!(after == After::Close, refused.is_last);
        Step::Refused(refused)
    }

    fn after(&mut self, keep_alive: bool) -> After {
        let Phase::Http(http) = &mut self.session.phase else { return After::KeepOpen };
        self.link.wait_until(self.now + self.settings.generation.keep_alive_timeout);
        http.after(keep_alive)
    }

    fn admin_request<'a>(&mut self, head: &Head<'_>) -> Result<Option<Step<'a>>, CloseReason> {
        let settings = self.settings;
        match admin::request(head, settings, &mut self.link.outbox) {
            admin::AdminRequest::Answered { keep_alive } => Ok(self.answered(keep_alive && head.body.is_empty())),
            admin::AdminRequest::Refused(refused) => Ok(Some(self.refused(refused))),
            admin::AdminRequest::Asked(about, step) => {
                self.await_answer(head, about);
                Ok(Some(step))
            }
            admin::AdminRequest::Collect(purpose) => {
                self.collect(head, purpose)?;
                Ok(None)
            }
        }
    }

    /// Takes the bytes of a body that have arrived.
    fn next_body<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Step<'a>>, CloseReason> {
        let Phase::Http(http) = &mut self.session.phase else { return Ok(None) };
        let HttpState::Body(incoming) = &mut http.state else { return Ok(None) };
        match incoming.next(input)? {
            Progress::Waits => Ok(None),
            Progress::Step(step) => Ok(Some(step)),
            Progress::Whole => {
                let HttpState::Body(incoming) = mem::take(&mut http.state) else { return Ok(None) };
                let to = incoming.to;
                let (about, step) = incoming.finish();
                self.link.wait_until(self.now + about.patience());
                http.state = HttpState::Answering(to, about);
                Ok(Some(step))
            }
        }
    }
}

/// The fields of a handshake that a worker gets, and its names in logs elsewhere.
fn fields_for_workers(request: &ClientRequest<'_, '_>, route: RouteId) -> PassedFields {
    let RouteTarget::WebSocket(target) = &request.route(route).target else { return PassedFields::default() };
    if target.service.is_none() {
        return PassedFields::default();
    }
    let (id, trace) = (request.id(), request.trace().text());
    PassedFields::of(request.head, &target.headers).with([(HTTP_ID_HEADER, &id), (TRACE_HEADER, trace.as_str())])
}

/// The facts that the request in hand is named after.
fn naming(http: &Http, address: Address, settings: &Settings) -> Naming {
    Naming {
        connection: settings.process.conn_id(address),
        count: http.answered,
        is_from_proxy: http.proxy.is_some(),
        seed: settings.process.name.seed(),
    }
}

/// The marks with which a stream of this user is counted.
fn counted(has_limits: bool, user: Option<&User>) -> CountedStream {
    match (has_limits, user) {
        (false, _) => CountedStream::No,
        (true, None) => CountedStream::ByRoute,
        (true, Some(_)) => CountedStream::ByRouteAndUser,
    }
}
