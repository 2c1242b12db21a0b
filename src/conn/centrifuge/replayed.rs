//! Answers of channels' owners: to subscriptions, to `connect`, to questions about history.

use super::recovery::{self, Recovery};
use super::subscriptions::AskedBy;
use super::{Centrifuge, ClientSession, Stage, VERSION, reply, say};
use crate::conn::outbox::Outbox;
use crate::proto::centrifuge::{
    self, Code, ConnectResult, Expiry, HistoryResult, PresenceResult, PresenceStats, ReplyBody, ServerSubscriptions,
    SubscribeResult, Unsubscribed,
};
use crate::proto::event::Event;
use crate::proto::presence::Roster;
use crate::proto::replay::Excerpt;
use crate::proto::subject::Subject;
use crate::proto::ws::{Opcode, frame};

/// The command `connect`, until the owners of all its channels have answered.
pub(super) struct Connecting {
    pub id: u32,
    pub client: String,
    pub ttl: Option<u64>,
    pub ping_s: u64,
    /// By tag, for every channel; `None` if its owner was not asked.
    pub results: Vec<(u32, Subject, Option<Recovery>)>,
}

/// A command `history`, `presence` or `presence_stats`, until the channel's owner has answered.
#[derive(Clone, Copy)]
pub(super) struct PendingQuery {
    pub id: u32,
    pub about: Query,
}

#[derive(Clone, Copy)]
pub(super) enum Query {
    History {
        /// The newest messages first.
        is_reverse: bool,
        /// The client asks for messages after a position, and needs all of them.
        is_exact: bool,
    },
    Presence,
    PresenceStats,
}

impl Centrifuge {
    /// The owner of the channel `tag` has answered, or continues its answer.
    pub fn replayed(&mut self, tag: u32, channel: &Subject, excerpt: &Excerpt, outbox: &mut Outbox) {
        let Stage::Connected(session) = &mut self.stage else { return };
        let Some(asked) = session.subscriptions.answered(tag) else {
            if excerpt.gap.is_some() {
                // The client was too slow for the history. The protocol has no notice of a gap within a stream. After
                // this code the client resubscribes with its position, and is then told of the gap.
                return session.subscriptions.give_up(tag, Unsubscribed::INSUFFICIENT_STATE);
            }
            return push_messages(excerpt, outbox);
        };
        let recovery = Recovery::new(channel, excerpt, asked.was_recovering, asked.is_kept);
        if asked.by == AskedBy::Connect {
            return session.connect_answered(tag, recovery, excerpt, outbox);
        }
        match asked.by {
            AskedBy::Command { id, ttl } => {
                let publications = recovery.publications();
                let result = recovery.result(&publications);
                reply(outbox, id, &ReplyBody::Subscribe(SubscribeResult { expiry: Expiry::after(ttl), ..result }));
            }
            AskedBy::Worker | AskedBy::Connect => {
                say(outbox, |out| centrifuge::write_subscribe(out, channel.as_str(), &recovery.result(&[])));
                // The packages ignore publications in that push, so they follow as pushes of their own.
                push_messages(excerpt, outbox);
            }
        }
    }

    /// The answer to a question about a channel's history; `None` if the channel does not exist.
    pub fn history(&mut self, excerpt: Option<&Excerpt>, outbox: &mut Outbox) {
        let pending = self.session().and_then(|session| session.query.take());
        let Some(PendingQuery { id, about: Query::History { is_reverse, is_exact } }) = pending else { return };
        let Some(excerpt) = excerpt else {
            // The messages after that position belonged to a channel that no longer exists.
            if is_exact {
                return reply(outbox, id, &Code::UNRECOVERABLE_POSITION.into());
            }
            let nothing = HistoryResult { publications: &[], epoch: "", offset: 0 };
            return reply(outbox, id, &ReplyBody::History(nothing));
        };
        if is_exact && excerpt.gap.is_some() {
            return reply(outbox, id, &Code::UNRECOVERABLE_POSITION.into());
        }
        let events: Vec<Event> =
            excerpt.messages().map(|(position, message)| Event::new(message.clone(), Some(position))).collect();
        let mut publications: Vec<_> = events.iter().map(recovery::publication).collect();
        if is_reverse {
            publications.reverse();
        }
        let epoch = recovery::epoch(excerpt.latest);
        let answer = HistoryResult { publications: &publications, epoch: &epoch, offset: excerpt.latest.offset };
        reply(outbox, id, &ReplyBody::History(answer));
    }

    /// The answer to a question about the clients of a channel; `None` for a channel without presence.
    pub fn presence(&mut self, roster: Option<&Roster>, outbox: &mut Outbox) {
        let Some(pending) = self.session().and_then(|session| session.query.take()) else { return };
        let Some(roster) = roster else { return reply(outbox, pending.id, &Code::NOT_AVAILABLE.into()) };
        let answer = match pending.about {
            Query::PresenceStats => {
                ReplyBody::PresenceStats(PresenceStats { num_clients: roster.clients, num_users: roster.users() })
            }
            Query::Presence | Query::History { .. } => ReplyBody::Presence(PresenceResult { presence: roster }),
        };
        reply(outbox, pending.id, &answer);
    }
}

impl ClientSession {
    /// One of the server-side channels is answered; after the last one, `connect` is answered.
    fn connect_answered(&mut self, tag: u32, mut recovery: Recovery, excerpt: &Excerpt, outbox: &mut Outbox) {
        let Some(connecting) = &mut self.connecting else { return };
        if !recovery.is_recovered() {
            // After a gap the packages ignore the publications in that answer, so they follow as pushes.
            recovery.leave_to_pushes();
            push_messages(excerpt, outbox);
        }
        if let Some((_, _, result)) = connecting.results.iter_mut().find(|(own, _, _)| *own == tag) {
            *result = Some(recovery);
        }
        self.settle(outbox);
    }

    /// The client is no longer subscribed to one of these channels.
    pub(super) fn forget(&mut self, channel: &Subject, outbox: &mut Outbox) {
        if let Some(connecting) = &mut self.connecting {
            connecting.results.retain(|(_, own, _)| own != channel);
        }
        self.settle(outbox);
    }

    /// Answers `connect` if every channel is answered. Until now the connection was sent nothing; messages that came in
    /// the meantime follow the answer.
    pub(super) fn settle(&mut self, outbox: &mut Outbox) {
        if !self.subscriptions.are_asked()
            && let Some(connecting) = self.connecting.take()
        {
            let mut json = Vec::new();
            connecting.write(&mut json);
            let mut framed = Vec::with_capacity(json.len() + 10);
            frame::write_header(&mut framed, Opcode::Text, json.len());
            framed.extend_from_slice(&json);
            outbox.put_first(framed.into());
        }
    }
}

impl Connecting {
    /// Bytes of the publications that have arrived.
    pub(super) fn bytes(&self) -> usize {
        self.results.iter().filter_map(|(_, _, recovery)| recovery.as_ref()).map(Recovery::len).sum()
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let publications = self.results.iter().map(|(_, _, recovery)| recovery.as_ref().map(Recovery::publications));
        let publications: Vec<_> = publications.map(Option::unwrap_or_default).collect();
        let results = self.results.iter().zip(&publications).map(|((_, channel, recovery), publications)| {
            let result = recovery.as_ref().map(|recovery| recovery.result(publications));
            (channel.as_str(), result.unwrap_or_default())
        });
        let answer = ConnectResult {
            client: &self.client,
            version: VERSION,
            expiry: Expiry::after(self.ttl),
            subs: ServerSubscriptions(results.collect()),
            ping: self.ping_s,
            pong: true,
        };
        centrifuge::write_reply(out, self.id, &ReplyBody::Connect(answer));
    }
}

fn push_messages(excerpt: &Excerpt, outbox: &mut Outbox) {
    for (position, message) in excerpt.messages() {
        outbox.push_shared(Event::new(message.clone(), Some(position)).centrifuge_frame());
    }
}
