//! One simulated connection: a pipe in each direction, and the state of each end.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use super::service::SimDial;
use crate::base::{TcpFacts, Tick};

/// Names a connection of a world; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// The `Server` is the driver's side, and the `Client` that of an [`Endpoint`](super::Endpoint): of a dialled connection,
/// it is the service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    Client,
    Server,
}

/// The state of the driver's end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerEnd {
    /// In a listener's queue, or on the way there.
    Queued,
    /// Accepted by this driver, not attached yet.
    Accepted {
        driver: u32,
    },
    Attached {
        driver: u32,
        slot: u32,
    },
    Gone,
}

pub(super) struct SimLink {
    pub peer: SocketAddr,
    /// Exempt from every fault that loses bytes: resets, and clients that stop reading.
    pub is_calm: bool,
    /// The bytes are ciphertext: the seed decides their number, but not their values.
    pub is_opaque: bool,
    /// Client to server.
    pub up: Pipe,
    /// Server to client.
    pub down: Pipe,
    pub server: ServerEnd,
    pub is_client_gone: bool,
    /// Set once that end has noticed that the connection is broken.
    pub client_broken: Option<io::ErrorKind>,
    pub server_broken: Option<io::ErrorKind>,
    /// The client does not read before this time.
    pub stalled_until: Tick,
    /// Of a connection that the driver has dialled.
    pub dial: Option<Box<SimDial>>,
    /// The connection breaks after so many more bytes.
    pub breaks_after: Option<u64>,
    /// The facts that TCP would have about the link; the bytes are counted by the pipes.
    pub path: TcpFacts,
}

impl SimLink {
    pub(super) fn new(peer: SocketAddr, is_calm: bool, up_bytes: usize, down_bytes: usize) -> SimLink {
        SimLink {
            peer,
            is_calm,
            is_opaque: false,
            up: Pipe::new(up_bytes),
            down: Pipe::new(down_bytes),
            server: ServerEnd::Queued,
            is_client_gone: false,
            client_broken: None,
            server_broken: None,
            stalled_until: Tick::ZERO,
            dial: None,
            breaks_after: None,
            path: TcpFacts::default(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_client_gone && self.server == ServerEnd::Gone
    }

    /// The facts that TCP has at the driver's end; `None` if it was dialled at a path.
    pub(super) fn facts(&self) -> Option<TcpFacts> {
        let is_local = self.dial.as_ref().is_some_and(|dial| dial.is_local());
        let facts = TcpFacts { sent_bytes: self.down.taken, received_bytes: self.up.taken, ..self.path };
        (!is_local).then_some(facts)
    }

    /// How many of `count` bytes move before the connection breaks.
    pub(super) fn pass(&mut self, count: usize) -> usize {
        let Some(left) = &mut self.breaks_after else { return count };
        let passed = (count as u64).min(*left);
        *left -= passed;
        passed as usize
    }

    /// All bytes have moved that move before the connection breaks.
    pub(super) fn is_spent(&self) -> bool {
        self.breaks_after == Some(0)
    }

    /// Whether a receive at the server's end would return something now.
    pub(super) fn has_news_for_server(&mut self, now: Tick) -> bool {
        self.up.readable(now) > 0 || self.up.is_ended(now) || self.server_broken.is_some()
    }
}

/// One direction of a connection: bytes in order, each with the time of its arrival, bounded.
///
/// ```text
/// push --> [ in flight: segments with their time ][ arrived ] --> take
///            \______________ at most capacity _____________/
/// ```
pub(super) struct Pipe {
    capacity: usize,
    bytes: VecDeque<u8>,
    /// Bytes in flight, the oldest first; the bytes before them have arrived.
    segments: VecDeque<(Tick, usize)>,
    arrived: usize,
    /// Bytes taken since the beginning.
    taken: u64,
    last_arrival: Tick,
    end: Option<Tick>,
    /// The other end has noticed that the connection is broken: nothing arrives from now on.
    is_cut: bool,
}

impl Pipe {
    pub(super) fn new(capacity: usize) -> Pipe {
        Pipe {
            capacity,
            bytes: VecDeque::new(),
            segments: VecDeque::new(),
            arrived: 0,
            taken: 0,
            last_arrival: Tick::ZERO,
            end: None,
            is_cut: false,
        }
    }

    pub(super) fn room(&self) -> usize {
        self.capacity - self.bytes.len()
    }

    /// Bytes in flight or arrived.
    pub(super) fn held(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that were taken, modulo 2^32.
    pub(super) fn taken(&self) -> u32 {
        self.taken as u32
    }

    pub(super) fn last_arrival(&self) -> Tick {
        self.last_arrival
    }

    /// Appends bytes that arrive at `at`, or with the segment before if that is later. Returns the time. A cut pipe
    /// discards them.
    pub(super) fn push(&mut self, bytes: &[u8], at: Tick) -> Tick {
        assert!(bytes.len() <= self.room() && self.end.is_none(), "a pipe that is full or ended takes nothing");
        let at = at.max(self.last_arrival);
        self.last_arrival = at;
        if self.is_cut {
            return at;
        }
        self.bytes.extend(bytes);
        match self.segments.back_mut() {
            Some((time, count)) if *time == at => *count += bytes.len(),
            _ => self.segments.push_back((at, bytes.len())),
        }
        at
    }

    /// Ends the direction after its bytes. Returns when the end arrives, if it does.
    pub(super) fn finish(&mut self, at: Tick) -> Tick {
        self.last_arrival = at.max(self.last_arrival);
        let end = if self.is_cut { Tick::NEVER } else { self.last_arrival };
        self.last_arrival.min(*self.end.get_or_insert(end))
    }

    pub(super) fn is_finished(&self) -> bool {
        self.end.is_some()
    }

    pub(super) fn readable(&mut self, now: Tick) -> usize {
        while let Some(&(at, count)) = self.segments.front()
            && at <= now
        {
            self.arrived += count;
            self.segments.pop_front();
        }
        self.arrived
    }

    /// True if everything has been taken and the end has arrived.
    pub(super) fn is_ended(&self, now: Tick) -> bool {
        self.bytes.is_empty() && self.end.is_some_and(|at| at <= now)
    }

    /// Moves `count` of the readable bytes to the end of `into`.
    pub(super) fn take(&mut self, count: usize, into: &mut Vec<u8>) {
        assert!(count <= self.arrived, "what has not arrived cannot be taken");
        self.arrived -= count;
        self.taken += count as u64;
        into.extend(self.bytes.drain(..count));
    }

    /// Loses everything that has not arrived, including the end, and everything that is sent later.
    pub(super) fn cut(&mut self, now: Tick) {
        self.is_cut = true;
        let arrived = self.readable(now);
        self.bytes.truncate(arrived);
        self.segments.clear();
        if self.end.is_some_and(|at| at > now) {
            self.end = None;
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.segments.clear();
        self.arrived = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_and_not_before_their_time() {
        let mut pipe = Pipe::new(10);
        assert_eq!(pipe.push(b"abc", Tick::from_micros(5)), Tick::from_micros(5));
        assert_eq!(pipe.push(b"de", Tick::from_micros(3)), Tick::from_micros(5));
        assert_eq!(pipe.push(b"f", Tick::from_micros(9)), Tick::from_micros(9));
        assert_eq!(pipe.finish(Tick::from_micros(1)), Tick::from_micros(9));
        assert_eq!(pipe.readable(Tick::from_micros(4)), 0);
        assert_eq!(pipe.readable(Tick::from_micros(5)), 5);
        let mut taken = Vec::new();
        pipe.take(4, &mut taken);
        assert_eq!(pipe.readable(Tick::from_micros(9)), 2);
        assert!(!pipe.is_ended(Tick::from_micros(9)));
        pipe.take(2, &mut taken);
        assert_eq!(taken, b"abcdef");
        assert!(pipe.is_ended(Tick::from_micros(9)) && !pipe.is_ended(Tick::from_micros(8)));
        assert_eq!(pipe.room(), 10);
    }

    #[test]
    fn a_cut_keeps_what_has_arrived_and_nothing_arrives_behind_it() {
        let mut pipe = Pipe::new(10);
        pipe.push(b"abc", Tick::from_micros(5));
        pipe.push(b"def", Tick::from_micros(6));
        pipe.finish(Tick::from_micros(7));
        pipe.cut(Tick::from_micros(5));
        assert_eq!((pipe.held(), pipe.readable(Tick::from_micros(9))), (3, 3));
        assert!(!pipe.is_finished());
        assert_eq!(pipe.push(b"ghi", Tick::from_micros(10)), Tick::from_micros(10));
        assert_eq!(pipe.finish(Tick::from_micros(11)), Tick::from_micros(11));
        assert_eq!((pipe.held(), pipe.readable(Tick::from_micros(12))), (3, 3));
        pipe.take(3, &mut Vec::new());
        assert!(pipe.is_finished() && !pipe.is_ended(Tick::from_micros(12)));
    }
}
