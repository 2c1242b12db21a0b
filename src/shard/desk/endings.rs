//! Connections that have ended, as the metrics count them and as the log tells them.

use log::{Level, log, log_enabled};

use super::Desk;
use crate::base::{Address, Key, LeftOut};
use crate::conn::Peer;
use crate::proto::CloseReason;

/// What the log is to say of a connection that ends; `None` of most, when nothing is put into words.
pub(in crate::shard) struct Told {
    /// [`Conn::particulars`](crate::conn::Conn::particulars).
    particulars: String,
    left_out: LeftOut,
}

impl Told {
    /// Of `key`, if it ends for this: to be asked while the connection still knows.
    pub(in crate::shard) fn of(desk: &Desk, key: Key, reason: CloseReason) -> Option<Told> {
        let left_out = may_tell(desk, reason)?;
        let address = Address { place: desk.place, key };
        let particulars = desk.slots.get(key)?.particulars(address, &desk.settings);
        Some(Told { particulars, left_out })
    }

    /// Of a connection that is not let in: nothing is known of it.
    pub(in crate::shard) fn of_refused(desk: &Desk, reason: CloseReason) -> Option<Told> {
        may_tell(desk, reason).map(|left_out| Told { particulars: String::new(), left_out })
    }
}

impl Desk {
    /// A connection has ended, or was refused: counted, and said in the log.
    pub(in crate::shard) fn count_end(&self, reason: CloseReason, peer: Peer, told: Option<Told>) {
        let row = reason.row();
        self.counters().closed[reason as usize].add(1);
        if let Some(Told { particulars, left_out }) = told {
            log!(row.level, "{peer} ended: {} ({}){particulars}{left_out}", row.words, row.name);
        }
    }
}

/// Whether the log takes a line for this now. Strangers can cause it as often as they like, so the log folds it; at debug level it has
/// every line.
fn may_tell(desk: &Desk, reason: CloseReason) -> Option<LeftOut> {
    let row = reason.row();
    match row.level > Level::Info {
        true => log_enabled!(row.level).then_some(LeftOut::NONE),
        false => desk.fold.say(&("end", row.name), desk.now),
    }
}
