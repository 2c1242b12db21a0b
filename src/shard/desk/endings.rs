//! Connections that have ended: their counters and their log line.

use log::{Level, log, log_enabled};

use super::Desk;
use crate::base::{Address, Key, LeftOut};
use crate::conn::Peer;
use crate::proto::CloseReason;

/// The text of the log line about a connection that ends; `None` for most, when no line is logged.
pub(in crate::shard) struct Told {
    /// [`Conn::particulars`](crate::conn::Conn::particulars).
    particulars: String,
    left_out: LeftOut,
}

impl Told {
    /// The text for `key`, if it ends for this reason. Called while the connection still has its identity.
    pub(in crate::shard) fn of(desk: &Desk, key: Key, reason: CloseReason) -> Option<Told> {
        let left_out = may_tell(desk, reason)?;
        let address = Address { place: desk.place, key };
        let particulars = desk.slots.get(key)?.particulars(address, &desk.settings);
        Some(Told { particulars, left_out })
    }

    /// The text for a connection that is refused: nothing is known of it.
    pub(in crate::shard) fn of_refused(desk: &Desk, reason: CloseReason) -> Option<Told> {
        may_tell(desk, reason).map(|left_out| Told { particulars: String::new(), left_out })
    }
}

impl Desk {
    /// Counts and logs a connection that ended or was refused.
    pub(in crate::shard) fn count_end(&self, reason: CloseReason, peer: Peer, told: Option<Told>) {
        let row = reason.row();
        self.counters().closed[reason as usize].add(1);
        if let Some(Told { particulars, left_out }) = told {
            log!(row.level, "{peer} ended: {} ({}){particulars}{left_out}", row.words, row.name);
        }
    }
}

/// Whether a line is logged for this now. Clients can cause such lines at will, so the log folds them; the debug level
/// has every line.
fn may_tell(desk: &Desk, reason: CloseReason) -> Option<LeftOut> {
    let row = reason.row();
    match row.level > Level::Info {
        true => log_enabled!(row.level).then_some(LeftOut::NONE),
        false => desk.fold.say(&("end", row.name), desk.now),
    }
}
