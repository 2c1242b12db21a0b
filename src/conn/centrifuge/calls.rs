//! Commands that are answered by others: calls by workers, publications by the owners of their channels.

use smallvec::SmallVec;

use crate::base::Tick;
use crate::limits::CALLS_PER_CONNECTION_MAX;

/// Commands of one kind. Most connections have none, and few have several.
#[derive(Default)]
pub(super) struct Calls {
    waiting: SmallVec<[Call; 1]>,
    /// The last serial number. Workers answer to it instead of the command's id: a client may reuse an id, and a late
    /// answer would then be taken for the answer to another command.
    serial: u32,
    /// Calls that timed out and are not counted yet.
    late: u32,
}

struct Call {
    serial: u32,
    /// The id of the command.
    id: u32,
    until: Tick,
}

impl Calls {
    /// The serial number of a new call; `None` if too many are open.
    pub(super) fn begin(&mut self, id: u32, until: Tick) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        self.serial = self.serial.wrapping_add(1);
        self.waiting.push(Call { serial: self.serial, id, until });
        Some(self.serial)
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= CALLS_PER_CONNECTION_MAX
    }

    /// Ends a call and returns the id of its command; `None` if no such call is open.
    pub(super) fn end(&mut self, serial: u32) -> Option<u32> {
        let index = self.waiting.iter().position(|call| call.serial == serial)?;
        Some(self.waiting.remove(index).id)
    }

    /// The id of a command whose call has timed out.
    pub(super) fn take_late(&mut self, now: Tick) -> Option<u32> {
        let index = self.waiting.iter().position(|call| call.until <= now)?;
        self.late = self.late.saturating_add(1);
        Some(self.waiting.remove(index).id)
    }

    /// How many calls have timed out since the last call of this method.
    pub(super) fn take_late_count(&mut self) -> u64 {
        u64::from(std::mem::take(&mut self.late))
    }

    pub(super) fn deadline(&self) -> Tick {
        self.waiting.iter().map(|call| call.until).min().unwrap_or(Tick::NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_ends_once() {
        let mut calls = Calls::default();
        let first = calls.begin(7, Tick::from_millis(5)).unwrap();
        let second = calls.begin(7, Tick::from_millis(9)).unwrap();
        assert_eq!((calls.end(first), calls.end(first), calls.end(99)), (Some(7), None, None));
        assert_eq!(calls.deadline(), Tick::from_millis(9));
        assert_eq!(calls.take_late(Tick::from_millis(8)), None);
        assert_eq!(calls.take_late(Tick::from_millis(9)), Some(7));
        assert_eq!((calls.take_late_count(), calls.take_late_count()), (1, 0));
        assert_eq!((calls.end(second), calls.deadline()), (None, Tick::NEVER));
    }

    #[test]
    fn only_so_many_wait() {
        let mut calls = Calls::default();
        for id in 1..=CALLS_PER_CONNECTION_MAX as u32 {
            assert!(calls.begin(id, Tick::NEVER).is_some());
        }
        assert_eq!(calls.begin(1, Tick::NEVER), None);
        calls.end(1);
        assert!(calls.begin(1, Tick::NEVER).is_some());
    }
}
