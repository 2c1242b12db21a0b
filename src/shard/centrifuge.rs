//! Commands of the client protocol, from step to effect.

use log::info;

use crate::base::Key;
use crate::conn::TAG_ADDED;
use crate::conn::centrifuge::{CentrifugeStep, ChannelSubscription};
use crate::conn::passed::PassedFields;
use crate::limits;
use crate::mesh::{Publish, Publisher};
use crate::proto::CloseReason;
use crate::proto::control;
use crate::proto::reserved::subjects::Change;
use crate::proto::token::TokenRefusal;
use crate::proto::ws::Opcode;

use super::Core;

impl Core {
    pub(super) fn client_step(&mut self, key: Key, step: CentrifugeStep<'_>) {
        if matches!(
            step,
            CentrifugeStep::Open { .. } | CentrifugeStep::Subscribe(_) | CentrifugeStep::TokenRefused { .. }
        ) {
            self.desk.meter.spend(limits::TOKEN_UNITS);
        }
        match step {
            CentrifugeStep::Open { user, channels } => {
                if let Err(reason) = self.features.limiter.client_named(&mut self.desk, key) {
                    return self.end(key, reason);
                }
                if let Some(user) = user {
                    self.subscribe(key, TAG_ADDED, &user);
                    self.features.acks.client_came(&mut self.desk, key, user);
                }
                self.features.expiry.opened(&self.desk, key);
                channels.into_iter().for_each(|channel| self.open_channel(key, channel));
                self.settle();
                self.features.services.client_opened(&mut self.desk, key, PassedFields::default());
            }
            CentrifugeStep::Subscribe(channel) => self.open_channel(key, channel),
            CentrifugeStep::History { channel, since, bounds } => {
                self.ask_history(key, (0, channel), since, bounds);
            }
            CentrifugeStep::Presence { channel } => self.features.presence.ask(&mut self.desk, key, channel),
            CentrifugeStep::Unsubscribe(subs) => subs.into_iter().for_each(|sub| self.withdraw(sub)),
            CentrifugeStep::Publish { number, message } => {
                let from = Publisher {
                    address: self.desk.address(key),
                    wants_position: Some(number),
                    wants_no_responders: false,
                    wants_reach: false,
                    is_silent: false,
                };
                self.desk.counters().received.add(1);
                self.publish(Publish::new(message, Some(from)));
            }
            CentrifugeStep::Call { serial, method, payload } => {
                self.desk.counters().received.add(1);
                self.features.services.call(&mut self.desk, key, serial, &method, payload.into());
            }
            CentrifugeStep::TokenRefused { refused, end } => {
                self.log_refused_token(key, refused);
                self.features.key_sets.fetch_wanted(&mut self.desk);
                if let Some(reason) = end {
                    self.end(key, reason);
                }
            }
            CentrifugeStep::Answer { command, id, data } => {
                let answer = control::Answer { id, data: &data };
                let is_taken = self.features.questions.client_answers(&mut self.desk, key, answer);
                if let Some((session, outbox)) = self.desk.slots.get_mut(key).and_then(|conn| conn.centrifuge()) {
                    session.taken(command, is_taken, outbox);
                }
            }
            CentrifugeStep::Ack { command, id } => {
                let is_taken = self.features.acks.client_acks(&mut self.desk, key, id);
                if let Some((session, outbox)) = self.desk.slots.get_mut(key).and_then(|conn| conn.centrifuge()) {
                    session.taken(command, is_taken, outbox);
                }
            }
            CentrifugeStep::Send(payload) => {
                self.desk.counters().received.add(1);
                self.features.services.ask(&mut self.desk, key, Opcode::Text, payload.into());
            }
            CentrifugeStep::Denied => self.desk.counters().closed[CloseReason::NotPermitted as usize].add(1),
            // `dispatch` has done it.
            CentrifugeStep::Ask(_) | CentrifugeStep::Answered => {}
        }
    }

    /// Logs the reason, and nothing of the token itself.
    fn log_refused_token(&self, key: Key, refused: TokenRefusal) {
        let Some(route) = self.desk.slots.get(key).map(|conn| conn.session.route()) else { return };
        if let Some(left_out) = self.desk.fold.say(&("token", route, refused), self.desk.now) {
            let path = &self.desk.settings.generation.routes[route].template;
            info!("a token for {path} was refused: {refused}{left_out}");
        }
    }

    pub(super) fn open_channel(
        &mut self,
        key: Key,
        ChannelSubscription { tag, channel, since, is_watched }: ChannelSubscription,
    ) {
        if is_watched {
            // Subscribe before the owner answers: then no later announcement is missed.
            if let Some(changes) = Change::listened(&channel) {
                self.subscribe(key, tag, &changes);
            }
        }
        self.join_channel(key, tag, channel, since);
    }
}
