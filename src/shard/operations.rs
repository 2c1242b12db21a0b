//! Operators' messages and commands to a user or a connection, over the admin listener. They go the same way as those of workers.
//!
//! ```text
//!  to a user, or a message to a connection --> its connections, on each shard --Reached: how many--> the request's answer
//!  a command to a connection, a question, a message to acknowledge --> its outcome --tg.reply.<id>--> the request's answer
//! ```

use crate::base::{Address, Key};
use crate::conn::admin::{self, AdminOperation, Expected};
use crate::mesh::{Mail, Publish, Publisher, ReportTo};
use crate::proto::event::Message;
use crate::proto::reserved::destination::Destination;
use crate::proto::reserved::subjects;

use super::Core;
use super::commands;
use super::desk::Desk;

/// Does what the request of `key` asks for, which gets the answer.
pub(super) fn operate(core: &mut Core, key: Key, operation: AdminOperation) {
    let AdminOperation { to, headers, payload, expected } = operation;
    let address = core.desk.address(key);
    let has_outcome = expected != Expected::Reach;
    let reply = has_outcome.then(|| subjects::reply(core.desk.settings.process.conn_id(address)));
    let from = Publisher {
        address,
        wants_position: None,
        wants_no_responders: has_outcome,
        wants_reach: !has_outcome,
        is_silent: false,
    };
    let message = Message::new(to, reply, headers, payload);
    core.desk.counters().received.add(1);
    match message.destination() {
        Destination::User { command: Some(command), .. } if commands::check(command, &message).is_err() => {
            core.desk.answer(key, admin::is_malformed);
        }
        _ => core.publish(Publish::new(message, Some(from))),
    }
}

/// The outcome of an operation; `None`: no connection is there.
pub(super) fn answer(desk: &mut Desk, key: Key, outcome: Option<&Message>) {
    desk.answer(key, |conn, settings, now| admin::concluded(conn, outcome, settings, now));
}

/// Tells a publisher that counts how many connections of this shard listen to the subject.
pub(super) fn tell_reach(desk: &mut Desk, asker: Option<ReportTo>, listened: &str) {
    let Some(ReportTo::Count { publisher, of }) = asker else { return };
    let (mut connections, slots) = (0, &desk.slots);
    desk.subscribers.for_each(listened, |subscriber, _| {
        connections += u32::from(slots.get(subscriber.key).is_some_and(|conn| conn.session.is_client()));
    });
    tell(desk, publisher, connections, of);
}

/// Tells the publisher of a message to a connection, if it counts, that it reaches so many.
pub(super) fn tell_reached(desk: &mut Desk, publish: &Publish, connections: u32) {
    if let Some(from) = publish.from.filter(|from| from.wants_reach) {
        tell(desk, from.address, connections, 1);
    }
}

fn tell(desk: &mut Desk, Address { place, key }: Address, connections: u32, of: u16) {
    desk.send(place, Mail::Reached { key, connections, of });
}
