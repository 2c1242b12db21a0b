//! From step to effect: the gateway's table of contents.

use crate::base::Key;
use crate::conn::centrifuge::CentrifugeStep;
use crate::conn::inquiry::Inquiry;
use crate::conn::proxying::ProxyStep;
use crate::conn::route::{RouteTarget, WebSocketRoute};
use crate::conn::settings::Readiness;
use crate::conn::tunnel::Frames;
use crate::conn::websocket::ClientMessage;
use crate::conn::worker::{WorkerPublication, WorkerStep};
use crate::conn::{Step, TAG_ADDED};
use crate::hub::{Registration, SubKey, Withdrawal};
use crate::limits;
use crate::mesh::memberships::MembershipMail;
use crate::mesh::{Mail, Publish, Publisher};
use crate::proto::CloseReason;
use crate::proto::bus::HeaderBlock;
use crate::proto::control::Said;
use crate::proto::event::Message;
use crate::proto::replay::{ExcerptBounds, Since};
use crate::proto::reserved::headers::OPCODE_HEADER;
use crate::proto::subject::{Pattern, Subject};
use crate::proto::ws::Opcode;

use super::Core;
use super::counters;
use super::desk::catch_up_sub;
use super::features::replays;
use super::operations;

impl Core {
    pub(super) fn dispatch(&mut self, key: Key, step: Step<'_>) {
        let backlog = self.desk.post.backlog();
        match step {
            Step::Open(opening) => {
                for (tag, (channel, since)) in (0..).zip(opening.channels) {
                    self.join_channel(key, tag, channel, since);
                }
                if let Some(user) = opening.user {
                    self.subscribe(key, TAG_ADDED, &user);
                    self.features.acks.client_came(&mut self.desk, key, user);
                }
                self.features.expiry.opened(&self.desk, key);
                // Confirmations from this shard itself arrive here.
                self.settle();
                self.features.services.client_opened(&mut self.desk, key, opening.fields);
                if self.desk.settings.readiness == Readiness::Closing {
                    self.end(key, CloseReason::Drain);
                }
            }
            Step::Centrifuge(CentrifugeStep::Ask(rights)) | Step::Check(Inquiry::Rights(rights)) => {
                self.features.asking.ask(&mut self.desk, key, rights);
            }
            Step::Message(_) | Step::Centrifuge(_) if !self.features.limiter.takes_message(&mut self.desk, key) => {}
            Step::Proxy(ProxyStep::Frames(Frames { is_message: true, .. }))
                if !self.features.limiter.takes_message(&mut self.desk, key) => {}
            Step::Message(message) => self.client_message(key, message),
            Step::Centrifuge(step) => self.client_step(key, step),
            Step::Worker(WorkerStep::Subscribe { tag, pattern, queue }) => {
                self.subscribe_worker(key, tag, &pattern, queue);
            }
            Step::Worker(WorkerStep::Ping) => self.features.order.ping(&mut self.desk, key),
            Step::Worker(WorkerStep::Unsubscribe(sub)) => self.withdraw(sub),
            Step::Worker(WorkerStep::Publish(publish)) => self.worker_message(key, publish),
            Step::Worker(WorkerStep::Unroutable { reply }) => unroutable(self, key, reply.as_ref()),
            Step::Publish(message) => self.admin_message(key, message),
            Step::Operate(operation) => operations::operate(self, key, *operation),
            Step::History { tag, channel, since, bounds } => {
                self.ask_history(key, (tag, channel), since, bounds);
            }
            Step::Revoke(text) => self.features.revocations.revoke(&mut self.desk, key, &text),
            Step::Check(Inquiry::Forward(_)) => self.features.proxy.check(&mut self.desk, key),
            Step::Check(Inquiry::Client(auth, document)) => {
                self.features.asking.identify(&mut self.desk, key, auth, &document)
            }
            Step::Check(Inquiry::Keys(auth)) => self.features.key_sets.wait(&mut self.desk, key, auth),
            Step::Accept(asked) => self.features.requests.accept(&mut self.desk, key, *asked),
            Step::Read { route, id } => self.features.requests.look_up(&mut self.desk, key, id, route),
            Step::Presence { channel } => self.features.presence.ask(&mut self.desk, key, channel),
            Step::Find { user } => self.features.presence.find(&mut self.desk, key, user),
            Step::Proxy(step) => {
                if matches!(step, ProxyStep::Seek) {
                    self.features.expiry.opened(&self.desk, key);
                }
                self.features.proxy.step(&mut self.desk, key, step);
            }
            Step::Close(reason) => self.end(key, reason),
            Step::Refused(refused) => self.refused(key, refused),
            Step::Drain { server, is_drained } => {
                self.features.proxy.ask_to_drain(&mut self.desk, key, server, is_drained)
            }
            Step::Upstreams => {
                let text = counters::upstreams::list(&self.desk.counters);
                self.answer(key, "application/json", text.as_bytes());
            }
            Step::Metrics => {
                let text = counters::render(self.desk.counters.iter(), &self.desk.settings.generation.channels);
                self.answer(key, "text/plain; version=0.0.4", text.as_bytes());
            }
        }
        self.settle();
        // The one place for all steps: whatever makes mail, or large fan-outs, waits while there is too much of it.
        if self.desk.post.backlog() > backlog || self.desk.meter.has_caused() {
            self.desk.park_if_crowded(key);
        }
    }

    // --- subscriptions -----------------------------------------------------------------------------------------------

    /// Subscribes a client, and informs the owner. The connection waits for the confirmation.
    pub(super) fn subscribe(&mut self, key: Key, tag: u32, subject: &Subject) -> Option<SubKey> {
        let conn = self.desk.slots.get_mut(key).filter(|conn| conn.is_open())?;
        let (sub, registration) = self.desk.subscribers.subscribe(key, tag, subject);
        match registration {
            Registration::Done => conn.session.subscribed(tag, sub, 0),
            Registration::Joining => conn.session.subscribed(tag, sub, 1),
            Registration::Join { subject, serial } => {
                conn.session.subscribed(tag, sub, 1);
                let (owner, from) = (self.desk.owner_of(&subject), self.desk.place);
                self.desk.send(owner, Mail::Join { subject, from, serial });
            }
        }
        self.features.subscription_began(&mut self.desk, sub);
        Some(sub)
    }

    /// Subscribes a client to a channel that it joins: it gets the messages that `since` asks for, if any, then the
    /// live ones.
    pub(super) fn join_channel(&mut self, key: Key, tag: u32, channel: Subject, since: Option<Since>) {
        match since {
            Some(since) => self.subscribe_since(key, tag, channel.clone(), since),
            None => _ = self.subscribe(key, tag, &channel),
        }
        self.features.channel_joined(&mut self.desk, key, &channel, since);
    }

    /// Subscribes a client to a channel: it gets the messages that `since` asks for, then the live ones.
    pub(super) fn subscribe_since(&mut self, key: Key, tag: u32, subject: Subject, since: Since) {
        if let Some(sub) = self.subscribe(key, tag, &subject) {
            self.features.replays.begin(&mut self.desk, key, sub, (tag, subject), since);
        }
    }

    pub(super) fn ask_history(
        &mut self,
        key: Key,
        (tag, channel): (u32, Subject),
        since: Since,
        bounds: ExcerptBounds,
    ) {
        replays::ask_history(&mut self.desk, key, (tag, channel), since, bounds);
    }

    /// Subscribes a worker, and informs every shard. The connection waits for all confirmations.
    fn subscribe_worker(&mut self, key: Key, tag: u32, pattern: &Pattern, queue: Option<&str>) {
        let Some(conn) = self.desk.slots.get_mut(key).filter(|conn| conn.is_open()) else { return };
        let (sub, membership) = self.desk.subscribers.subscribe_worker(key, tag, pattern, queue);
        conn.session.subscribed(tag, sub, self.desk.post.mesh().shards());
        let waiting = Some(self.desk.address(key));
        self.desk.send_all(|| Mail::Memberships(MembershipMail::Enlist { membership: membership.clone(), waiting }));
    }

    /// Ends a subscription, and informs every shard that knows it.
    pub(super) fn withdraw(&mut self, sub: SubKey) {
        catch_up_sub(&mut self.desk, sub);
        self.features.subscription_ends(&mut self.desk, sub);
        self.desk.forget_waiting(sub);
        match self.desk.subscribers.unsubscribe(sub) {
            Withdrawal::Nothing => {}
            Withdrawal::Leave(subject) => {
                let (owner, from) = (self.desk.owner_of(&subject), self.desk.place);
                self.desk.send(owner, Mail::Leave { subject, from });
            }
            Withdrawal::Resign(membership) => {
                self.desk.send_all(|| Mail::Memberships(MembershipMail::Resign { membership: membership.clone() }));
            }
        }
    }

    // --- messages ----------------------------------------------------------------------------------------------------

    fn worker_message(&mut self, key: Key, publish: WorkerPublication<'_>) {
        let from = Publisher {
            address: self.desk.address(key),
            wants_position: None,
            wants_no_responders: publish.wants_no_responders,
            wants_reach: false,
            is_silent: publish.is_silent,
        };
        // The first of two copies (`Event` makes the other): from the lent bytes to a value that can cross threads.
        let message = Message::new(publish.to, publish.reply, publish.headers.map(Box::from), publish.payload.into());
        self.desk.counters().received.add(1);
        self.publish(Publish::new(message, Some(from)));
    }

    fn admin_message(&mut self, key: Key, message: Message) {
        let from = Publisher {
            address: self.desk.address(key),
            wants_position: Some(0),
            wants_no_responders: false,
            wants_reach: false,
            is_silent: false,
        };
        self.desk.counters().received.add(1);
        self.publish(Publish::new(message, Some(from)));
    }

    /// Sends a client's message to its channel or to a worker of its service, or refuses it.
    fn client_message(&mut self, key: Key, message: ClientMessage<'_>) {
        self.desk.counters().received.add(1);
        let Some((target, channel)) = self.websocket_target(key) else { return };
        if target.control
            && message.opcode == Opcode::Text
            && let Some(said) = Said::parse(&message.payload)
        {
            match said {
                Said::Answer(answer) => self.features.questions.client_answers(&mut self.desk, key, answer),
                Said::Ack(id) => self.features.acks.client_acks(&mut self.desk, key, id),
                Said::Token(token) => {
                    self.desk.meter.spend(limits::TOKEN_UNITS);
                    self.features.expiry.refresh(&mut self.desk, key, &token);
                    self.features.key_sets.fetch_wanted(&mut self.desk);
                    true
                }
            };
            return;
        }
        if channel.is_some() && message.opcode == Opcode::Text && self.desk.settings.is_forged(&message.payload) {
            return self.desk.counters().forged.add(1);
        }
        let has_service = target.service.is_some();
        if channel.is_none() && !has_service {
            return self.end(key, CloseReason::PolicyViolation);
        }
        let ClientMessage { opcode, payload } = message;
        let payload: Box<[u8]> = payload.into_vec().into();
        match channel {
            Some(subject) if has_service => {
                self.publish_to_channel(subject, opcode, payload.clone());
                self.features.services.ask(&mut self.desk, key, opcode, payload);
            }
            Some(subject) => self.publish_to_channel(subject, opcode, payload),
            None => self.features.services.ask(&mut self.desk, key, opcode, payload),
        }
    }

    fn publish_to_channel(&mut self, subject: Subject, opcode: Opcode, payload: Box<[u8]>) {
        let headers = (opcode == Opcode::Binary).then(|| {
            let mut headers = HeaderBlock::new();
            headers.push(OPCODE_HEADER, "binary");
            headers.finish()
        });
        let message = Message::new(subject, None, headers, payload);
        self.publish(Publish::new(message, None));
    }

    fn websocket_target(&self, key: Key) -> Option<(&WebSocketRoute, Option<Subject>)> {
        let (route, identity) = self.desk.slots.get(key)?.session.websocket()?;
        match &self.desk.settings.generation.routes[route].target {
            RouteTarget::WebSocket(target) => Some((target, identity.channel().cloned())),
            _ => None,
        }
    }

    // --- answers -----------------------------------------------------------------------------------------------------

    pub(super) fn answer(&mut self, key: Key, content_type: &str, body: &[u8]) {
        self.desk.answer(key, |conn, settings, now| conn.answer(content_type, body, settings, now));
    }
}

/// A worker has published where no message leads.
fn unroutable(core: &mut Core, key: Key, reply: Option<&Subject>) {
    core.desk.counters().received.add(1);
    core.desk.counters().unroutable.add(1);
    reply.into_iter().for_each(|reply| core.no_responders(key, reply));
}
