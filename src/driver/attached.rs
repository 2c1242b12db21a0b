//! The connections that a kernel driver holds, by slot.
//!
//! The caller's slots are dense and low ([`crate::base::Slots`]), so the map is an array of segments of records.
//! Segments never move, and an unused one is freed.

use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::socket;
use crate::base::key::SEGMENT_SLOTS;
use crate::base::{Batch, Key};

/// A driver's record of one connection. A hundred thousand of them may be idle, so the record is small; the state of a
/// busy connection is behind one pointer.
pub(super) struct ConnectionRecord {
    /// `None` once the caller has closed it and the kernel holds nothing of it, if the kernel could not watch it, or if a
    /// dial has failed.
    pub socket: Option<OwnedFd>,
    /// The generation of the key; the upper byte has the flags.
    word: u32,
    /// The caller's, from `send` until `Sent` is delivered.
    pub batch: Option<Box<Batch>>,
}

const _: () = assert!(size_of::<ConnectionRecord>() <= 16);

/// One bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Flag {
    /// The record belongs to a connection.
    Attached = 1,
    /// A `recv` is outstanding. If the connection is both asked and readable, exactly one `Ready::Receive` is queued.
    Asked = 1 << 1,
    /// There may be bytes to read: since the kernel's report, no read has found the socket empty.
    Readable = 1 << 2,
    /// The peer ended its half or the connection broke: the socket stays readable without another event.
    Ended = 1 << 3,
    /// The kernel watches the socket, and will report when it stops watching.
    Watched = 1 << 4,
    /// `close` was called.
    Closing = 1 << 5,
    /// `shutdown` waits for the batch.
    ShutdownFollows = 1 << 6,
    /// The batch is finished: `Ready::Sent` is queued.
    Sent = 1 << 7,
}

/// `connect` was called and has not succeeded. The word has no bit left, and the two flags exclude each other: a
/// shutdown waits only until the batch is finished.
const UNCONNECTED: u32 = bit(Flag::ShutdownFollows) | bit(Flag::Sent);

impl ConnectionRecord {
    const fn vacant() -> ConnectionRecord {
        ConnectionRecord { socket: None, word: 0, batch: None }
    }

    fn new(socket: Option<OwnedFd>, key: Key) -> ConnectionRecord {
        let mut connection = ConnectionRecord { socket, word: key.generation, batch: None };
        connection.set(Flag::Attached);
        connection
    }

    pub(super) fn is(&self, flag: Flag) -> bool {
        self.word & bit(flag) != 0
    }

    pub(super) fn set(&mut self, flag: Flag) {
        self.word |= bit(flag);
    }

    pub(super) fn clear(&mut self, flag: Flag) {
        self.word &= !bit(flag);
    }

    /// A batch is with the kernel, or waits for it.
    pub(super) fn is_sending(&self) -> bool {
        self.batch.is_some() && !self.is(Flag::Sent)
    }

    /// Valid as long as there is a socket.
    pub(super) fn fd(&self) -> Option<RawFd> {
        self.socket.as_ref().map(OwnedFd::as_raw_fd)
    }

    /// The kernel has not connected it yet, or has refused to.
    pub(super) fn is_unconnected(&self) -> bool {
        self.word & UNCONNECTED == UNCONNECTED
    }

    /// Its connect is in progress.
    pub(super) fn is_dialling(&self) -> bool {
        self.is_unconnected() && self.socket.is_some()
    }

    pub(super) fn set_unconnected(&mut self) {
        self.word |= UNCONNECTED;
    }

    pub(super) fn set_connected(&mut self) {
        self.word &= !UNCONNECTED;
    }

    pub(super) fn may_receive(&self) -> bool {
        !self.is(Flag::Closing) && !self.is(Flag::Asked) && !self.is_unconnected()
    }

    pub(super) fn may_send(&self) -> bool {
        !self.is(Flag::Closing) && self.batch.is_none() && !self.is_unconnected()
    }

    /// The batch is finished, whole or failed. A shutdown that waited for it follows.
    pub(super) fn finish_sending(&mut self) {
        if let (true, Some(socket)) = (self.is(Flag::ShutdownFollows), &self.socket) {
            socket::shutdown(socket, Shutdown::Write);
        }
        self.word = self.word & !bit(Flag::ShutdownFollows) | bit(Flag::Sent);
    }

    /// Shuts down the sending half, after the batch if there is one.
    pub(super) fn end_sending_half(&mut self) {
        assert!(!self.is_unconnected(), "shutdown of a connection that is not connected");
        if self.is_sending() {
            self.set(Flag::ShutdownFollows);
        } else if let Some(socket) = &self.socket {
            socket::shutdown(socket, Shutdown::Write);
        }
    }

    /// Makes a send end that io_uring has accepted. A cancellation alone may miss it: a send that the kernel is about
    /// to resume is in no list in which a cancellation looks (`io_req_task_queue`), and would continue.
    pub(super) fn end_sending(&self) {
        if let Some(socket) = &self.socket {
            socket::shutdown(socket, Shutdown::Both);
        }
    }

    /// The peer sees a reset once the socket is closed.
    pub(super) fn reset_at_close(&self) {
        if let Some(socket) = &self.socket {
            socket::reset_at_close(socket);
        }
    }

    /// Resets the connection now, and so makes a send end that io_uring has accepted. After a shutdown instead, the peer
    /// could see an end of the stream before the reset.
    pub(super) fn reset(&self) {
        if let Some(socket) = &self.socket
            && !socket::disconnect(socket)
        {
            socket::shutdown(socket, Shutdown::Both);
        }
    }

    /// The kernel cannot watch this socket. It is closed at once; the next receive or send reports that to the caller.
    pub(super) fn give_up(&mut self) {
        self.socket = None;
        self.set(Flag::Readable);
        self.set(Flag::Ended);
    }

    fn belongs_to(&self, key: Key) -> bool {
        self.word & (Key::GENERATION_MASK | bit(Flag::Attached)) == key.generation | bit(Flag::Attached)
    }
}

const fn bit(flag: Flag) -> u32 {
    (flag as u32) << Key::GENERATION_BITS
}

#[derive(Default)]
pub(super) struct Attached {
    segments: Vec<RecordSegment>,
}

#[derive(Default)]
struct RecordSegment {
    /// Empty, or all of them.
    connections: Box<[ConnectionRecord]>,
    len: usize,
}

impl Attached {
    pub(super) fn new() -> Attached {
        Attached::default()
    }

    /// Panics if the slot is in use: the caller attached it before `Closed`. Without a socket it is a dial that has failed.
    pub(super) fn insert(&mut self, key: Key, socket: impl Into<Option<OwnedFd>>) -> &mut ConnectionRecord {
        let (index, at) = place(key);
        if index >= self.segments.len() {
            self.segments.resize_with(index + 1, RecordSegment::default);
        }
        let segment = &mut self.segments[index];
        if segment.connections.is_empty() {
            segment.connections = std::iter::repeat_with(ConnectionRecord::vacant).take(SEGMENT_SLOTS).collect();
        }
        let connection = &mut segment.connections[at];
        assert!(!connection.is(Flag::Attached), "slot of {key:?} attached twice");
        *connection = ConnectionRecord::new(socket.into(), key);
        segment.len += 1;
        connection
    }

    /// The connection of a key that the caller has attached.
    pub(super) fn expect(&mut self, key: Key) -> &mut ConnectionRecord {
        match self.find(key) {
            Some(connection) => connection,
            None => panic!("{key:?} is not attached"),
        }
    }

    /// The connection of a key that an event names; `None` if it is gone.
    pub(super) fn find(&mut self, key: Key) -> Option<&mut ConnectionRecord> {
        let (index, at) = place(key);
        let connection = self.segments.get_mut(index)?.connections.get_mut(at)?;
        if connection.belongs_to(key) { Some(connection) } else { None }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<ConnectionRecord> {
        let removed = std::mem::replace(self.find(key)?, ConnectionRecord::vacant());
        let (index, _) = place(key);
        let segment = &mut self.segments[index];
        segment.len -= 1;
        // The first segment stays, as in the caller's slots.
        if segment.len == 0 && index > 0 {
            *segment = RecordSegment::default();
        }
        Some(removed)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &ConnectionRecord)> + '_ {
        self.segments.iter().enumerate().flat_map(|(index, segment)| {
            let attached =
                segment.connections.iter().enumerate().filter(|(_, connection)| connection.is(Flag::Attached));
            attached.map(move |(at, connection)| {
                let slot = (index * SEGMENT_SLOTS + at) as u32;
                (Key { slot, generation: connection.word & Key::GENERATION_MASK }, connection)
            })
        })
    }

    /// Takes all connections out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = ConnectionRecord> + '_ {
        self.segments.drain(..).flat_map(|segment| segment.connections)
    }
}

/// The segment, and the record in it.
fn place(key: Key) -> (usize, usize) {
    (key.slot as usize / SEGMENT_SLOTS, key.slot as usize % SEGMENT_SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Key = Key { slot: 2, generation: 5 };
    const SECOND: Key = Key { slot: 2, generation: 6 };

    fn socket() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn a_key_of_an_earlier_tenant_finds_nothing() {
        let mut attached = Attached::new();
        attached.insert(FIRST, socket()).set(Flag::Ended);
        assert!(attached.remove(SECOND).is_none());
        assert!(attached.remove(FIRST).is_some_and(|connection| connection.is(Flag::Ended)));
        attached.insert(SECOND, socket());
        assert!(attached.find(FIRST).is_none());
        assert!(!attached.expect(SECOND).is(Flag::Ended), "flags end with their tenant");
    }

    #[test]
    fn flags_and_generation_do_not_touch() {
        let key = Key { slot: 0, generation: Key::GENERATION_MASK };
        let mut attached = Attached::new();
        let connection = attached.insert(key, socket());
        connection.set(Flag::Sent);
        connection.set(Flag::Asked);
        connection.clear(Flag::Sent);
        assert!(!connection.is(Flag::Sent));
        assert!(connection.is(Flag::Asked) && !connection.is(Flag::Closing));
        assert!(attached.find(key).is_some());
        assert!(attached.find(Key { generation: 0, ..key }).is_none());
    }

    #[test]
    fn a_finished_batch_is_no_dial_although_a_shutdown_waited_for_it() {
        let mut attached = Attached::new();
        let connection = attached.insert(FIRST, socket());
        connection.batch = Some(Box::new(Batch::new()));
        connection.end_sending_half();
        assert!(connection.is(Flag::ShutdownFollows));
        connection.finish_sending();
        assert!(connection.is(Flag::Sent) && !connection.is_unconnected());
    }

    #[test]
    fn a_dial_is_neither_read_nor_written_until_it_is_connected() {
        let mut attached = Attached::new();
        let connection = attached.insert(FIRST, socket());
        connection.set_unconnected();
        assert!(connection.is_dialling() && !connection.may_receive() && !connection.may_send());
        assert!(!connection.is_sending());
        connection.set_connected();
        assert!(!connection.is_dialling() && connection.may_receive() && connection.may_send());
        connection.set(Flag::Sent);
        assert!(connection.may_receive(), "one of the two flags is not a dial");
    }

    #[test]
    fn segments_that_nobody_uses_are_freed() {
        let key = |slot| Key { slot, generation: 1 };
        let mut attached = Attached::new();
        let slots = [0, SEGMENT_SLOTS as u32, 3 * SEGMENT_SLOTS as u32, 3 * SEGMENT_SLOTS as u32 + 1];
        slots.iter().for_each(|slot| _ = attached.insert(key(*slot), socket()));
        slots[..3].iter().for_each(|slot| _ = attached.remove(key(*slot)));
        let held = |attached: &Attached| attached.segments.iter().map(|segment| segment.connections.len()).sum();
        let records: usize = held(&attached);
        assert_eq!(records, 2 * SEGMENT_SLOTS, "the first, and the last, where one still lives");
        assert!(attached.find(key(slots[1])).is_none());
        assert!(attached.find(key(slots[3])).is_some());
        assert_eq!(attached.iter().map(|(key, _)| key).collect::<Vec<_>>(), [key(slots[3])]);
    }

    #[test]
    #[should_panic(expected = "attached twice")]
    fn a_taken_slot_is_not_attached() {
        let mut attached = Attached::new();
        attached.insert(FIRST, socket());
        attached.insert(SECOND, socket());
    }

    #[test]
    #[should_panic(expected = "not attached")]
    fn a_key_that_is_not_attached_is_a_bug() {
        Attached::new().expect(FIRST);
    }
}
