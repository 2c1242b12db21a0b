//! A worker's connection: the server's side of the NATS client protocol.
//!
//! ```text
//!  INFO -->           CONNECT (credentials, options)            SUB UNSUB PUB HPUB  --> WorkerStep, carried out by the shard
//!  greeting --------> connected ------------------------------> MSG HMSG            <-- event, by the tag of its sub
//!                                                               PING <-> PONG
//! ```

use ahash::AHashMap;
use slab::Slab;

use super::outbox::Outbox;
use super::peer::Peer;
use super::settings::{BusCredentials, BusSettings, Settings};
use crate::base::Key;
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::bus::{self, BusError, ConnectOptions, WorkerVerb};
use crate::proto::event::{Addressed, Event};
use crate::proto::reserved::destination::Destination;
use crate::proto::reserved::headers::EVENT_HEADER;
use crate::proto::reserved::is_own_event;
use crate::proto::reserved::subjects::{self, Family};
use crate::proto::subject::{Pattern, Subject};

/// Boxed in the phase of its connection.
pub struct BusWorker {
    options: ConnectOptions,
    is_connected: bool,
    subs: Slab<WorkerSubscription>,
    by_sid: AHashMap<Box<str>, u32>,
    /// Unanswered pings.
    pings_out: u8,
    /// It has published since its last PING.
    has_published: bool,
    /// Its PING waits until its publications have been passed on; until then it is not read.
    owes_pong: bool,
    /// Its error, for the log: the verb, and the words that it was sent. Set if the error ends the connection.
    fault: Option<Box<str>>,
}

struct WorkerSubscription {
    sid: Box<str>,
    pattern: Pattern,
    /// The key in the hub; set by [`BusWorker::subscribed`].
    hub: Option<Key>,
    delivered: u64,
    /// The number of deliveries after which it ends.
    deliveries_max: Option<u64>,
}

/// A task for the shard.
pub enum WorkerStep<'a> {
    Subscribe {
        tag: u32,
        pattern: Pattern,
        queue: Option<&'a str>,
    },
    Unsubscribe(Key),
    Publish(WorkerPublication<'a>),
    /// Answer with PONG after all earlier publications.
    Ping,
    /// A publication that reaches no subscriber: its subject is invalid or not permitted, or its headers name an event that
    /// only the gateway may send. `reply`: the subject for "no responders", if the worker wants that.
    Unroutable {
        reply: Option<Subject>,
    },
}

pub struct WorkerPublication<'a> {
    pub to: Addressed,
    pub reply: Option<Subject>,
    pub headers: Option<&'a [u8]>,
    pub payload: &'a [u8],
    pub wants_no_responders: bool,
    pub is_silent: bool,
}

impl BusWorker {
    /// Sends INFO to the worker.
    pub fn new(settings: &Settings, client_id: u64, peer: Peer, outbox: &mut Outbox) -> BusWorker {
        let bus = &settings.generation.bus;
        let info = bus::Info {
            server_id: settings.process.name.server_id(),
            address: settings.process.bus_address,
            client_id,
            client_ip: peer.ip(),
            max_payload: bus.limits.payload_bytes_max,
            auth_required: bus.credentials.is_some(),
        };
        outbox.write(|out| bus::write_info(out, &info));
        BusWorker {
            options: ConnectOptions::default(),
            is_connected: bus.credentials.is_none(),
            subs: Slab::new(),
            by_sid: AHashMap::new(),
            pings_out: 0,
            has_published: false,
            owes_pong: false,
            fault: None,
        }
    }

    /// Its PING is a barrier; the shard decides when to answer it ([`BusWorker::pong`]).
    pub fn owe_pong(&mut self) {
        self.owes_pong = true;
    }

    pub fn owes_pong(&self) -> bool {
        self.owes_pong
    }

    pub fn pong(&mut self, outbox: &mut Outbox) {
        self.owes_pong = false;
        outbox.push(b"PONG\r\n");
    }

    /// Whether CONNECT with credentials is still awaited.
    pub fn is_waiting_for_credentials(&self) -> bool {
        !self.is_connected
    }

    /// Takes verbs off `input` until one concerns the shard. While it `is_registering` (earlier subscriptions are not
    /// in force), only further subscriptions are taken.
    pub fn next<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        is_registering: bool,
        settings: &BusSettings,
        outbox: &mut Outbox,
    ) -> Result<Option<WorkerStep<'a>>, CloseReason> {
        loop {
            if is_registering && !is_subscription(input) {
                return Ok(None);
            }
            if !self.is_connected && !may_come_first(input) {
                // Checked before its payload has arrived, which would otherwise have to be held for a stranger.
                self.object(&BusError::AuthorizationViolation, bus::verb_at(input), outbox)?;
            }
            let verb = match bus::next(input, &settings.limits) {
                Ok(Some(verb)) => verb,
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.object(&error, bus::verb_at(input), outbox)?;
                    continue;
                }
            };
            let is_too_early = !self.is_connected && !matches!(verb, WorkerVerb::Connect(_));
            let answer =
                if is_too_early { Err(BusError::AuthorizationViolation) } else { self.act(verb, settings, outbox) };
            match answer {
                Ok(Some(step)) => return Ok(Some(step)),
                Ok(None) => {}
                // Of the complete verbs, only CONNECT can end the connection.
                Err(error) => self.object(&error, if is_too_early { "" } else { "CONNECT" }, outbox)?,
            }
        }
    }

    fn act<'a>(
        &mut self,
        verb: WorkerVerb<'a>,
        settings: &BusSettings,
        outbox: &mut Outbox,
    ) -> Result<Option<WorkerStep<'a>>, BusError> {
        match verb {
            WorkerVerb::Connect(json) => {
                let options = ConnectOptions::parse(json)?;
                if !settings.credentials.as_ref().is_none_or(|wanted| is_authorized(wanted, &options)) {
                    return Err(BusError::AuthorizationViolation);
                }
                self.options = options;
                self.is_connected = true;
                self.acknowledge(outbox);
                Ok(None)
            }
            WorkerVerb::Ping if std::mem::take(&mut self.has_published) => Ok(Some(WorkerStep::Ping)),
            WorkerVerb::Ping => {
                outbox.push(b"PONG\r\n");
                Ok(None)
            }
            WorkerVerb::Pong => {
                self.pings_out = 0;
                Ok(None)
            }
            WorkerVerb::Sub { subject, queue, sid } => self.subscribe(subject, queue, sid, outbox),
            WorkerVerb::Unsub { sid, max } => {
                self.acknowledge(outbox);
                Ok(self.unsubscribe(sid, max).map(WorkerStep::Unsubscribe))
            }
            WorkerVerb::Pub { subject, reply, headers, payload } => {
                Ok(Some(self.publish(subject, reply, headers, payload, outbox)))
            }
            WorkerVerb::Idle => Ok(None),
        }
    }

    fn subscribe<'a>(
        &mut self,
        subject: &str,
        queue: Option<&'a str>,
        sid: &str,
        outbox: &mut Outbox,
    ) -> Result<Option<WorkerStep<'a>>, BusError> {
        let pattern = Pattern::new(subject).map_err(|error| match error.is_of_nats() {
            true => BusError::InvalidSubject,
            false => BusError::SubscribeNotAllowed(subject.to_owned()),
        })?;
        if self.subs.len() >= limits::WORKER_SUBSCRIPTIONS_MAX {
            return Err(BusError::TooManySubscriptions);
        }
        if is_unaddressable(pattern.as_str()) {
            return Err(BusError::SubscribeNotAllowed(subject.to_owned()));
        }
        // Like nats-server, ignores a sid that is in use.
        if self.by_sid.contains_key(sid) {
            self.acknowledge(outbox);
            return Ok(None);
        }
        let sub = WorkerSubscription {
            sid: sid.into(),
            pattern: pattern.clone(),
            hub: None,
            delivered: 0,
            deliveries_max: None,
        };
        let tag = self.subs.insert(sub) as u32;
        self.by_sid.insert(sid.into(), tag);
        self.acknowledge(outbox);
        Ok(Some(WorkerStep::Subscribe { tag, pattern, queue }))
    }

    /// The key in the hub of the subscription `tag`.
    pub fn subscribed(&mut self, tag: u32, hub: Key) {
        self.subs[tag as usize].hub = Some(hub);
    }

    /// Returns the hub's key of a subscription that ends at once; one with a limit ahead does not end yet.
    fn unsubscribe(&mut self, sid: &str, max: Option<u64>) -> Option<Key> {
        let tag = *self.by_sid.get(sid)?;
        let sub = &mut self.subs[tag as usize];
        match max {
            Some(max) if sub.delivered < max => {
                sub.deliveries_max = Some(max);
                None
            }
            _ => self.forget(tag),
        }
    }

    fn forget(&mut self, tag: u32) -> Option<Key> {
        let sub = self.subs.remove(tag as usize);
        self.by_sid.remove(&sub.sid);
        sub.hub
    }

    /// As in nats-server, an invalid subject only loses that message: most packages give up for good when they are told
    /// of it.
    fn publish<'a>(
        &mut self,
        subject: &str,
        reply: Option<&str>,
        headers: Option<&'a [u8]>,
        payload: &'a [u8],
        outbox: &mut Outbox,
    ) -> WorkerStep<'a> {
        let wants_no_responders = reply.is_some() && self.options.no_responders && self.options.headers;
        let checked = Subject::new(subject).map(Addressed::from);
        let refused = match &checked {
            Err(error) if !error.is_of_nats() => Some(BusError::PublishNotAllowed(subject.to_owned())),
            Err(_) => self.options.pedantic.then_some(BusError::InvalidPublishSubject),
            Ok(checked) => {
                let is_allowed = checked.destination().takes_publications() && !headers.is_some_and(names_own_event);
                let of_another = reply.filter(|reply| subjects::is_reply(reply));
                let refused = (!is_allowed).then_some(subject).or(of_another);
                refused.map(|name| BusError::PublishNotAllowed(name.to_owned()))
            }
        };
        match (checked, refused) {
            (Ok(to), None) => {
                self.acknowledge(outbox);
                self.has_published = true;
                let reply = reply.and_then(|reply| read_reply(reply, to.destination()));
                let is_silent = !self.options.echo;
                WorkerStep::Publish(WorkerPublication { to, reply, headers, payload, wants_no_responders, is_silent })
            }
            (_, refused) => {
                if let Some(error) = &refused {
                    outbox.write(|out| bus::write_error(out, error));
                }
                // nats-server acknowledges every publication, except one that is not permitted.
                if !matches!(refused, Some(BusError::PublishNotAllowed(_))) {
                    self.acknowledge(outbox);
                }
                WorkerStep::Unroutable { reply: reply.filter(|_| wants_no_responders).map(Subject::unread) }
            }
        }
    }

    fn acknowledge(&self, outbox: &mut Outbox) {
        if self.options.verbose {
            outbox.push(b"+OK\r\n");
        }
    }

    /// Sends the worker the error of this verb, and returns whether it ends the connection.
    fn object(&mut self, error: &BusError, verb: &str, outbox: &mut Outbox) -> Result<(), CloseReason> {
        outbox.write(|out| bus::write_error(out, error));
        if !error.closes() {
            return Ok(());
        }
        self.fault = Some(if verb.is_empty() { error.to_string() } else { format!("{verb}: {error}") }.into());
        match error {
            BusError::AuthorizationViolation | BusError::AuthenticationTimeout => Err(CloseReason::BusAuthorization),
            _ => Err(CloseReason::BusProtocol),
        }
    }

    /// Its error, if the connection ends for it.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Frames one event for the subscription `tag`. Returns the subscription's key in the hub if this was its last
    /// message.
    pub fn push_event(&mut self, tag: u32, event: &Event, outbox: &mut Outbox) -> Option<Key> {
        let sub = self.subs.get_mut(tag as usize)?;
        let message = &event.message;
        let (subject, sid) = (message.subject.as_str(), &*sub.sid);
        let reply = message.reply.as_ref().map(Subject::as_str);
        match message.headers.as_deref().filter(|_| self.options.headers) {
            Some(headers) => {
                let total = headers.len() + message.payload.len();
                outbox.write(|out| bus::write_hmsg(out, subject, sid, reply, headers.len(), total));
                outbox.push_shared(event.bus_body());
            }
            None => {
                outbox.write(|out| bus::write_msg(out, subject, sid, reply, message.payload.len()));
                outbox.push_shared(event.bus_body_bare());
            }
        }
        sub.delivered += 1;
        if sub.deliveries_max == Some(sub.delivered) { self.forget(tag) } else { None }
    }

    /// Sends the worker the status 503 for its request, on the subscription that waits for the answer.
    pub fn push_no_responders(&mut self, reply: &Subject, outbox: &mut Outbox) -> Option<Key> {
        let (tag, sub) = self.subs.iter_mut().find(|(_, sub)| sub.pattern.matches(reply.as_str()))?;
        let status = bus::NO_RESPONDERS;
        outbox.write(|out| {
            bus::write_hmsg(out, reply.as_str(), &sub.sid, None, status.len(), status.len());
            out.extend_from_slice(status);
            out.extend_from_slice(b"\r\n");
        });
        sub.delivered += 1;
        let is_last = sub.deliveries_max == Some(sub.delivered);
        if is_last { self.forget(tag as u32) } else { None }
    }

    /// Takes the hub's keys of all subscriptions, as the connection ends.
    pub fn take_subs(&mut self) -> Vec<Key> {
        self.by_sid.clear();
        self.subs.drain().filter_map(|sub| sub.hub).collect()
    }

    pub fn heard(&mut self) {
        self.pings_out = 0;
    }

    /// Sends a PING, or gives up.
    pub fn on_silence(&mut self, outbox: &mut Outbox) -> Result<(), CloseReason> {
        const PINGS_OUT_MAX: u8 = 2;
        if !self.is_connected {
            outbox.write(|out| bus::write_error(out, &BusError::AuthenticationTimeout));
            return Err(CloseReason::BusTooSlow);
        }
        if self.pings_out == PINGS_OUT_MAX {
            outbox.write(|out| bus::write_error(out, &BusError::StaleConnection));
            return Err(CloseReason::BusStale);
        }
        self.pings_out += 1;
        outbox.push(b"PING\r\n");
        Ok(())
    }
}

/// Whether the verb at the front is SUB or UNSUB, judged by its first letter.
pub fn is_subscription(input: &[u8]) -> bool {
    matches!(input.first(), Some(b'S' | b's' | b'U' | b'u'))
}

/// Whether the bytes at the front may become CONNECT, or an error of their own when more have arrived.
fn may_come_first(input: &[u8]) -> bool {
    !matches!(input, [b'S' | b's' | b'U' | b'u' | b'H' | b'h', ..] | [b'P' | b'p', b'U' | b'u', ..])
}

/// Compares without stopping at the first difference, so that the time reveals nothing about the number of equal bytes.
fn is_authorized(wanted: &BusCredentials, options: &ConnectOptions) -> bool {
    let is_same = |wanted: &str, given: &Option<String>| {
        given.as_deref().is_some_and(|given| {
            let differences = wanted.bytes().zip(given.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
            wanted.len() == given.len() && differences == 0
        })
    };
    match wanted {
        BusCredentials::User { name, password } => is_same(name, &options.user) & is_same(password, &options.pass),
        BusCredentials::Token(token) => is_same(token, &options.auth_token),
    }
}

/// A reply subject for other peers. Below `tg.` the gateway itself answers, which needs a valid subject.
fn read_reply(reply: &str, to: Destination) -> Option<Subject> {
    match Subject::new(reply) {
        Ok(reply) => Some(reply),
        Err(_) => to.is_of_applications().then(|| Subject::unread(reply)),
    }
}

/// Whether the headers name an event that only the gateway may send.
fn names_own_event(headers: &[u8]) -> bool {
    bus::headers::lookup(headers, EVENT_HEADER).is_some_and(is_own_event)
}

/// Literal subjects of clients and their requests: a subscriber to them would read other workers' messages.
fn is_unaddressable(pattern: &str) -> bool {
    Family::of(pattern).is_some_and(|(family, _)| !family.takes_subscriptions())
}
