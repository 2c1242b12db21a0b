//! Deadlines of connections: each connection whose time has come is looked at, in pieces if they are many.
//!
//! ```text
//!  wheel --(all that are due, when the list is empty)--> work.due --(until the share is spent)--> Conn::on_deadline
//!                                                                                                 goes on | closes | ends
//! ```
//!
//! Clients that came in one moment are silent in one moment, too.

use crate::base::Key;
use crate::driver::Driver;
use crate::limits;
use crate::proto::CloseReason;

use super::Core;
use super::desk::Desk;

/// Handles connections whose deadline has come. Those that are left when the share is spent are the first of the next turn.
pub(super) fn expire(core: &mut Core, driver: &mut impl Driver) {
    let Desk { wheel, slots, work, now, .. } = &mut core.desk;
    if work.due.is_empty() {
        wheel.expire(*now, |slot| work.due.extend(slots.key_at(slot)));
    }
    if work.due.is_empty() {
        return;
    }
    core.desk.meter.begin_share();
    while let Some(key) = core.desk.work.due.pop_front() {
        look_at(core, key, |key| driver.taken(key));
        core.settle();
        core.desk.meter.spend(limits::PIECE_UNITS);
        if core.desk.meter.is_share_spent(|| driver.now()) {
            return;
        }
    }
}

fn look_at(core: &mut Core, key: Key, taken: impl FnOnce(Key) -> u32) {
    let Some(conn) = core.desk.slots.get_mut(key) else { return };
    if conn.link.deadline() <= core.desk.now {
        let taken = if conn.link.is_looked_at() { taken(key) } else { 0 };
        let was_paused = conn.is_paused();
        match conn.on_deadline(&core.desk.settings, core.desk.now, taken) {
            Ok(()) => {
                if was_paused && !conn.is_paused() {
                    // It has rested for as long as it was too fast.
                    core.desk.counters().rests.add(1);
                    core.desk.work.resume.push_back(key);
                }
                core.desk.drop_expired(key);
                core.features.services.count_late_calls(&mut core.desk, key);
                core.desk.mark_dirty(key);
            }
            Err(CloseReason::CloseTimeout) => core.desk.work.close.push(key),
            // Before the end of the handshake no last words can be sent.
            Err(CloseReason::TlsTooSlow) => core.desk.broken(key, CloseReason::TlsTooSlow),
            Err(reason) => core.end(key, reason),
        }
    }
    core.desk.schedule(key);
}
