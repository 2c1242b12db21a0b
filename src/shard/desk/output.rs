//! The turn's submissions to the driver.

use crate::base::{Batch, Key};
use crate::conn::{Closure, Conn, ends, is_cut};

use super::Desk;
use super::slow::{may_weigh, weigh_waiting};

impl Desk {
    /// The batch that `key` sends in this turn.
    pub(crate) fn fill(&mut self, key: Key) -> Option<Box<Batch>> {
        let mut conn = self.slots.get_mut(key)?;
        if conn.session.is_behind() {
            self.frame_waiting(key);
            conn = self.slots.get_mut(key)?;
        }
        let filled = conn.fill(&mut self.sealing);
        if may_weigh(conn) {
            weigh_waiting(self, key);
        }
        match filled {
            Ok(batch) => batch,
            Err(reason) => {
                self.broken(key, reason);
                None
            }
        }
    }

    /// True once, when everything is sent and the sending half may be shut down. Closes at once if the peer has ended
    /// its half, too, or after a part of an answer.
    pub(crate) fn is_last_word_said(&mut self, key: Key) -> bool {
        let Some(conn) = self.slots.get_mut(key) else { return false };
        if !conn.link.is_flushed() {
            return ends::takes_fin(conn);
        }
        if conn.link.is_peer_finished() || is_cut(&conn.link) {
            self.work.close.push(key);
            return false;
        }
        conn.link.begin_linger(self.now)
    }

    /// Whether the driver should receive for `key`.
    pub(crate) fn begin_receive(&mut self, key: Key) -> bool {
        self.slots.get_mut(key).is_some_and(Conn::begin_receive)
    }

    /// How the driver should close `key`: `Some` once.
    pub(crate) fn begin_close(&mut self, key: Key) -> Option<Closure> {
        self.slots.get_mut(key)?.link.begin_close()
    }
}
