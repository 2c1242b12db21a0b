//! The client's end of a simulated connection, or the service's end of a dialled one.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::history::WorldEvent;
use super::link::{LinkId, ServerEnd, Side};
use super::service;
use super::world::{Due, World, WorldState};
use crate::base::TcpFacts;

/// A client's socket, never blocking; dropping it closes it.
pub struct Endpoint {
    world: World,
    link: LinkId,
}

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// So many bytes were appended, at least one.
    Bytes(usize),
    /// Nothing has arrived; there may be more at a later time.
    Pending,
    /// The gateway has ended its direction, and everything before that has been read.
    End,
    Broken(io::ErrorKind),
}

impl Endpoint {
    pub(super) fn new(world: World, link: LinkId) -> Endpoint {
        Endpoint { world, link }
    }

    pub fn id(&self) -> LinkId {
        self.link
    }

    /// The address that the gateway sees.
    pub fn address(&self) -> SocketAddr {
        self.world.state().client(self.link).peer
    }

    /// The source address that a dial named.
    pub fn source(&self) -> Option<IpAddr> {
        self.world.state().client(self.link).dial.as_ref().and_then(|dial| dial.from)
    }

    /// Sends what fits, and returns how much that was; nothing, once this direction has ended or the connection broke.
    pub fn write(&self, bytes: &[u8]) -> usize {
        self.world.state().client_write(self.link, bytes)
    }

    /// Appends what has arrived, or a part of it, to `into`.
    pub fn read(&self, into: &mut Vec<u8>) -> ReadOutcome {
        self.read_at_most(usize::MAX, into)
    }

    /// The same for a client that takes no more than so much at a time.
    pub fn read_at_most(&self, count_max: usize, into: &mut Vec<u8>) -> ReadOutcome {
        self.world.state().client_read(self.link, count_max, into)
    }

    /// What moves here is ciphertext, whose bytes come from real chance: the history counts how many they are, and holds
    /// what they mean as far as the client tells it ([`Endpoint::note`]).
    pub fn conceal(&self) {
        self.world.state().client(self.link).is_opaque = true;
    }

    /// Decides what TCP says of the way to this end: its time, and the segments that were sent again. Nothing is unsent.
    pub fn set_path(&self, rtt_us: u32, retransmits: u32) {
        self.world.state().client(self.link).path = TcpFacts { rtt_us, retransmits, ..TcpFacts::default() };
    }

    /// Makes `meaning` a part of what happened.
    pub fn note(&self, meaning: &[u8]) {
        self.world.state().history.record_bytes(meaning);
    }

    /// Ends this direction; the other one goes on.
    pub fn shutdown_write(&self) {
        self.world.state().client_finish(self.link);
    }

    /// Aborts the connection: what is in flight may be lost.
    pub fn reset(self) {
        self.world.state().client_leave(self.link, true);
    }

    /// True until the connection breaks or the gateway's end of stream has been read.
    pub fn is_open(&self) -> bool {
        let mut state = self.world.state();
        let now = state.now;
        let link = state.client(self.link);
        link.client_broken.is_none() && !link.down.is_ended(now)
    }

    /// Why the connection broke, once this end has noticed.
    pub fn broken(&self) -> Option<io::ErrorKind> {
        self.world.state().client(self.link).client_broken
    }

    /// True if the world never breaks this connection; see [`World::connect_calm`].
    pub fn is_calm(&self) -> bool {
        self.world.state().client(self.link).is_calm
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some(mut state) = self.world.state_if_free() {
            state.client_leave(self.link, false);
        }
    }
}

impl Read for &Endpoint {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = Vec::new();
        match self.world.state().client_read(self.link, buffer.len(), &mut bytes) {
            ReadOutcome::Bytes(count) => {
                buffer[..count].copy_from_slice(&bytes);
                Ok(count)
            }
            ReadOutcome::Pending => Err(io::ErrorKind::WouldBlock.into()),
            ReadOutcome::End => Ok(0),
            ReadOutcome::Broken(kind) => Err(kind.into()),
        }
    }
}

impl Write for &Endpoint {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match Endpoint::write(self, bytes) {
            0 if bytes.is_empty() => Ok(0),
            0 => Err(self.world.state().why_not_written(self.link).into()),
            count => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Endpoint {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut &*self, buffer)
    }
}

impl Write for Endpoint {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut &*self, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WorldState {
    /// A connection lives at least as long as its endpoint.
    fn client(&mut self, id: LinkId) -> &mut super::link::SimLink {
        self.links.get_mut(&id).expect("an endpoint has a connection")
    }

    fn client_write(&mut self, id: LinkId, bytes: &[u8]) -> usize {
        let at = self.arrival();
        let link = self.client(id);
        if link.client_broken.is_some() || link.up.is_finished() || bytes.is_empty() {
            return 0;
        }
        if link.server == ServerEnd::Gone {
            // This has no reader; the answer is a reset.
            self.plan_reset(id, Side::Client);
            return bytes.len();
        }
        let count = link.pass(link.up.room().min(bytes.len()));
        if count > 0 {
            let at = link.up.push(&bytes[..count], at);
            let is_opaque = link.is_opaque;
            let is_spent = link.is_spent();
            self.plan(at, Due::Look(id));
            if is_spent {
                service::plan_both_resets(self, id);
            }
            self.record(WorldEvent::Wrote { link: id, count: count as u64 });
            if !is_opaque {
                self.history.record_bytes(&bytes[..count]);
            }
        }
        count
    }

    fn why_not_written(&mut self, id: LinkId) -> io::ErrorKind {
        let link = self.client(id);
        match link.client_broken {
            Some(kind) => kind,
            None if link.up.is_finished() => io::ErrorKind::BrokenPipe,
            None => io::ErrorKind::WouldBlock,
        }
    }

    fn client_read(&mut self, id: LinkId, count_max: usize, into: &mut Vec<u8>) -> ReadOutcome {
        let now = self.now;
        let WorldState { links, random, faults, .. } = self;
        let link = links.get_mut(&id).expect("an endpoint has a connection");
        let most = link.down.readable(now).min(count_max);
        if most == 0 {
            return match link.client_broken {
                _ if link.down.is_ended(now) => ReadOutcome::End,
                Some(kind) => ReadOutcome::Broken(kind),
                None => ReadOutcome::Pending,
            };
        }
        if link.stalled_until > now {
            return ReadOutcome::Pending;
        }
        if !link.is_calm && random.chance(faults.stall) {
            let until = now + Duration::from_micros(random.within(&faults.stall_us));
            link.stalled_until = until;
            self.plan(until, Due::Look(id));
            return ReadOutcome::Pending;
        }
        let count = if random.chance(faults.partial_read) { random.some_of(most) } else { most };
        link.down.take(count, into);
        let is_opaque = link.is_opaque;
        self.record(WorldEvent::Read { link: id, count: count as u64 });
        if !is_opaque {
            let start = into.len() - count;
            self.history.record_bytes(&into[start..]);
        }
        self.look(id);
        ReadOutcome::Bytes(count)
    }

    fn client_finish(&mut self, id: LinkId) {
        let at = self.arrival();
        let link = self.client(id);
        if link.client_broken.is_none() && !link.up.is_finished() {
            let at = link.up.finish(at);
            self.plan(at, Due::Look(id));
            self.record(WorldEvent::ClientFinished { link: id });
        }
    }

    /// The client closes its socket; unread bytes turn the end into a reset, as on the server's side.
    pub(super) fn client_leave(&mut self, id: LinkId, aborts: bool) {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.is_client_gone) else { return };
        let with_reset = aborts || link.down.held() > 0;
        // Unread bytes keep their room until the driver's end hears of the reset.
        link.is_client_gone = true;
        if link.is_over() {
            self.links.remove(&id);
        } else if link.client_broken.is_none() {
            if with_reset {
                self.plan_reset(id, Side::Server);
            } else {
                self.client_finish(id);
            }
        }
        self.record(WorldEvent::ClientLeft { link: id, with_reset });
    }
}
