//! Workers' commands to clients, by subject, and the outcome on the reply subject.
//!
//! ```text
//!  tg.conn.<id>.<command>    --> the connection's shard: command_conn --+--> obey
//!                                                                       '--> the outcome: done, or why not
//!  tg.user.<user>.<command>  --> the user's owner: command_user --------+--> each shard with its connections: obey_all --> obey
//!                                                                       '--> the outcome: passed on, or why not
//! ```
//!
//! Every command with a reply subject gets an outcome, so that no request runs into its time-out although the command
//! was obeyed. Called by `deliver`.

use smallvec::SmallVec;

use crate::base::Key;
use crate::conn::{TAG_ADDED, ends};
use crate::hub::PlaceSet;
use crate::limits;
use crate::mesh::{Mail, Publish, Reach};
use crate::proto::CloseReason;
use crate::proto::bus;
use crate::proto::centrifuge::Code;
use crate::proto::event::Message;
use crate::proto::reserved::destination::Destination;
use crate::proto::reserved::subjects::{self, ConnectionCommand};
use crate::proto::subject::Subject;

use super::Core;
use super::desk::Desk;

/// The status that says why a command is not obeyed.
type Refusal = &'static [u8];

impl Core {
    /// Obeys a command on a connection of this shard, and reports the outcome.
    pub(super) fn command_conn(&mut self, key: Key, command: ConnectionCommand, message: &Message) {
        let outcome = self.obey(key, command, message);
        let Some(answer) = answer(message, outcome) else { return };
        let has_owner = matches!(
            answer.destination(),
            Destination::Channel | Destination::Inbox | Destination::User { .. } | Destination::Reply(_)
        );
        match (command, channel_of(message)) {
            // The owner of the channel reports the outcome, after it has read `Join`: the client gets every message
            // that the worker publishes after the outcome.
            (ConnectionCommand::Subscribe, Ok(channel)) if has_owner => {
                let publish = Publish { reach: Reach::All, ..Publish::new(answer, None) };
                self.desk.send(self.desk.owner_of(&channel), Mail::Publish(Box::new(publish)));
            }
            _ => self.desk.publish(answer),
        }
    }

    /// Passes on a command to a user that this shard owns. There is one outcome for all connections of the user; each
    /// connection obeys if it can.
    pub(super) fn command_user(&mut self, mut publish: Publish, places: &PlaceSet) {
        // The outcome is reported here, so a shard whose connections have gone reports nothing.
        if let Some(from) = &mut publish.from {
            from.wants_no_responders = false;
        }
        let message = publish.message.clone();
        self.give_to_clients(publish, None, places);
        let outcome = match message.destination() {
            Destination::User { command: Some(command), .. } => check(command, &message),
            _ => Ok(()),
        };
        answer(&message, outcome).into_iter().for_each(|answer| self.desk.publish(answer));
    }

    /// Obeys a command on all of a user's connections on this shard. Returns their number.
    pub(super) fn obey_all(&mut self, command: ConnectionCommand, message: &Message) -> u64 {
        let mut keys: SmallVec<[Key; 4]> = SmallVec::new();
        self.desk.subscribers.for_each(&message.listened(), |subscriber, _| keys.push(subscriber.key));
        keys.retain(|key| self.desk.slots.get(*key).is_some_and(|conn| conn.session.is_client()));
        keys.iter().for_each(|key| _ = self.obey(*key, command, message));
        keys.len() as u64
    }

    /// Changes or ends a client's connection as a worker commands; the payload names the channel.
    fn obey(&mut self, key: Key, command: ConnectionCommand, message: &Message) -> Result<(), Refusal> {
        match command {
            ConnectionCommand::Close => {
                let reason = farewell_of(message)?;
                if !is_put_off(&mut self.desk, key, reason) {
                    self.end(key, reason);
                }
            }
            ConnectionCommand::Answer if answer_call(&mut self.desk, key, message) => {}
            ConnectionCommand::Answer => return Err(bus::GONE),
            ConnectionCommand::Subscribe => return self.add_channel(key, channel_of(message)?),
            ConnectionCommand::Unsubscribe => remove_channel(&mut self.desk, key, &channel_of(message)?),
        }
        Ok(())
    }

    fn add_channel(&mut self, key: Key, channel: Subject) -> Result<(), Refusal> {
        let Some(conn) = self.desk.slots.get_mut(key) else { return Err(bus::GONE) };
        let rules = &self.desk.settings.generation.channels;
        if let Some((session, outbox)) = conn.centrifuge() {
            match session.subscribe_by_worker(channel, rules, outbox) {
                Ok(channel) => self.open_channel(key, channel),
                Err(Code::ALREADY_SUBSCRIBED) => {}
                Err(Code::LIMIT_EXCEEDED) => return Err(bus::TOO_MANY_CHANNELS),
                Err(_) => return Err(bus::GONE),
            }
            self.desk.mark_dirty(key);
            return Ok(());
        }
        let has_room = conn.session.subs().len() < limits::CHANNELS_PER_CONNECTION_MAX;
        let greeting = rules.of(&channel).greeting();
        if self.desk.sub_of(key, &channel).is_some() {
            return Ok(());
        }
        if !has_room {
            return Err(bus::TOO_MANY_CHANNELS);
        }
        self.join_channel(key, TAG_ADDED, channel, greeting);
        Ok(())
    }
}

/// A frame that a server is sending to the client becomes whole before the connection is closed.
fn is_put_off(desk: &mut Desk, key: Key, reason: CloseReason) -> bool {
    let until = desk.now + limits::CLOSE_TIMEOUT;
    let conn = desk.slots.get_mut(key);
    let is_put_off = conn.is_some_and(|conn| ends::is_put_off(conn, reason, until));
    if is_put_off {
        desk.schedule(key);
    }
    is_put_off
}

/// A worker's answer to a client's call. False if there is no such open call.
fn answer_call(desk: &mut Desk, key: Key, message: &Message) -> bool {
    let Some(serial) = subjects::call_serial(&message.subject) else { return false };
    let Some(conn) = desk.slots.get_mut(key) else { return false };
    if conn.is_overfull(&desk.settings) {
        desk.end(key, CloseReason::SlowConsumer);
        return false;
    }
    let Some((session, outbox)) = conn.centrifuge() else { return false };
    let before = outbox.mark();
    let is_taken = session.answered(serial, message, outbox);
    if is_taken {
        outbox.answered(before);
        desk.counters().delivered.add(1);
        desk.mark_dirty(key);
    }
    is_taken
}

/// A channel that the connection is not subscribed to counts as removed.
fn remove_channel(desk: &mut Desk, key: Key, channel: &Subject) {
    if let Some((session, outbox)) = desk.slots.get_mut(key).and_then(|conn| conn.centrifuge()) {
        let subs = session.unsubscribe_by_worker(channel, outbox);
        subs.into_iter().for_each(|sub| desk.withdraw(sub));
        return desk.mark_dirty(key);
    }
    let Some(sub) = desk.sub_of(key, channel) else { return };
    if let Some(conn) = desk.slots.get_mut(key) {
        conn.session.unsubscribed(sub);
    }
    desk.withdraw(sub);
}

/// The answer to a command that has a reply subject: an empty message for success, otherwise a status.
fn answer(message: &Message, outcome: Result<(), Refusal>) -> Option<Message> {
    let headers = outcome.err().map(Box::from);
    Some(Message::new(message.requester()?.clone(), None, headers, Box::default()))
}

/// Whether the payload of a command to a user is one.
pub(super) fn check(command: ConnectionCommand, message: &Message) -> Result<(), Refusal> {
    match command {
        ConnectionCommand::Subscribe | ConnectionCommand::Unsubscribe => channel_of(message).map(|_| ()),
        ConnectionCommand::Close => farewell_of(message).map(|_| ()),
        ConnectionCommand::Answer => Ok(()),
    }
}

/// The reason that the payload of `close` names.
fn farewell_of(message: &Message) -> Result<CloseReason, Refusal> {
    match &*message.payload {
        b"" => Ok(CloseReason::ClosedByWorker),
        b"reconnect" => Ok(CloseReason::SentBack),
        b"kick" => Ok(CloseReason::Kicked),
        _ => Err(bus::BAD_REQUEST),
    }
}

/// The channel that the payload of a command names.
fn channel_of(message: &Message) -> Result<Subject, Refusal> {
    let name = std::str::from_utf8(&message.payload).ok();
    let channel = name.and_then(|name| Subject::new(name).ok());
    channel.filter(|channel| !channel.is_reserved()).ok_or(bus::BAD_REQUEST)
}
