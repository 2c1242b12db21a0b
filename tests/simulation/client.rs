//! One of the clients, whatever it is, and how steady it is.

use tidegate::base::Tick;
use tidegate::driver::sim::Endpoint;

use crate::clients::{Me, Mercy, Room, Stream};
use crate::ledger::Ledger;
use crate::line::Line;
use crate::poster::Poster;
use crate::traveller::Traveller;
use crate::websocket::Phase;
use crate::worker::Worker;

pub struct Client {
    pub id: u32,
    /// It stays until the end, keeps reading, and its connection never breaks: what it misses was lost by the gateway.
    pub is_calm: bool,
    /// Until then it reads and writes nothing; calm ones never do that.
    pub deaf_until: Tick,
    pub kind: Kind,
}

pub enum Kind {
    Room(Room),
    Me(Box<Me>),
    Stream(Stream),
    Traveller(Traveller),
    Worker(Worker),
    Poster(Poster),
}

impl Client {
    /// One with an `endpoint` that is calm or not.
    pub fn new(id: u32, ledger: &mut Ledger, endpoint: Endpoint, make: impl FnOnce(Endpoint) -> Kind) -> Client {
        let is_calm = endpoint.is_calm();
        if !is_calm {
            ledger.distrust(id);
            ledger.retired.insert(id);
        }
        Client { id, is_calm, deaf_until: Tick::ZERO, kind: make(endpoint) }
    }

    pub fn poll(&mut self, now: Tick, ledger: &mut Ledger) {
        if self.deaf_until > now {
            return;
        }
        match &mut self.kind {
            Kind::Room(room) => room.poll(ledger),
            Kind::Me(me) => me.poll(ledger),
            Kind::Stream(stream) => stream.poll(ledger),
            Kind::Traveller(traveller) => traveller.poll(ledger),
            Kind::Worker(worker) => worker.poll(ledger),
            Kind::Poster(poster) => poster.poll(ledger),
        }
        if self.is_ended() {
            ledger.distrust(self.id);
        }
    }

    /// The room that it is in, once, when it has come in.
    pub fn just_came_to(&mut self) -> Option<String> {
        match &mut self.kind {
            Kind::Room(room) => room.has_just_come().then(|| room.channel.clone()),
            Kind::Stream(stream) => stream.has_just_come().then(|| format!("room.{}", stream.room)),
            Kind::Me(_) | Kind::Traveller(_) | Kind::Worker(_) | Kind::Poster(_) => None,
        }
    }

    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Room(_) => "socket in a room",
            Kind::Me(_) => "user's socket",
            Kind::Stream(_) => "stream",
            Kind::Traveller(_) => "traveller",
            Kind::Worker(_) => "worker",
            Kind::Poster(_) => "poster",
        }
    }

    pub fn is_stream(&self) -> bool {
        matches!(self.kind, Kind::Stream(_))
    }

    pub fn is_ended(&self) -> bool {
        let end = match &self.kind {
            Kind::Room(room) => room.socket.end(),
            Kind::Me(me) => me.socket.end(),
            Kind::Stream(stream) => stream.stream.end(),
            // It comes back.
            Kind::Traveller(_) => None,
            Kind::Worker(worker) => worker.bus.end(),
            Kind::Poster(poster) => poster.end(),
        };
        end.is_some()
    }

    /// The line of a client at the front door, where TLS may be spoken.
    pub fn front_line(&self) -> Option<&Line> {
        match &self.kind {
            Kind::Room(room) => Some(&room.socket.line),
            Kind::Me(me) => Some(&me.socket.line),
            Kind::Stream(stream) => Some(&stream.stream.line),
            Kind::Traveller(traveller) => traveller.line(),
            Kind::Worker(_) | Kind::Poster(_) => None,
        }
    }

    /// The same, if it is open: let in by the gateway, and left by nobody.
    pub fn open_line(&mut self) -> Option<&mut Line> {
        match &mut self.kind {
            Kind::Room(room) => Some(&mut room.socket.line).filter(|_| room.socket.phase == Phase::Open),
            Kind::Me(me) => Some(&mut me.socket.line).filter(|_| me.socket.phase == Phase::Open),
            Kind::Stream(stream) if stream.stream.is_open() => Some(&mut stream.stream.line),
            Kind::Stream(_) | Kind::Traveller(_) | Kind::Worker(_) | Kind::Poster(_) => None,
        }
    }

    pub fn speaks_tls(&self) -> bool {
        self.front_line().is_some_and(Line::is_tls)
    }

    /// It has what it came for, or has been refused.
    pub fn is_ready(&self) -> bool {
        match &self.kind {
            Kind::Stream(stream) => stream.stream.head.is_some(),
            Kind::Worker(worker) => worker.bus.is_settled(),
            Kind::Room(_) | Kind::Me(_) | Kind::Traveller(_) | Kind::Poster(_) => true,
        }
    }

    /// Everything has come to rest: nothing is missing, and nobody was sent away for nothing. Only calm clients can
    /// tell.
    pub fn assert_settled(&self, ledger: &Ledger, mercy: Mercy) {
        if !self.is_calm && !matches!(self.kind, Kind::Traveller(_)) {
            return;
        }
        match &self.kind {
            Kind::Room(room) => room.assert_settled(ledger, mercy),
            Kind::Me(me) => me.assert_settled(ledger, mercy),
            Kind::Stream(stream) => stream.assert_settled(ledger, mercy),
            // Its connections break, and it says itself what it has missed.
            Kind::Traveller(traveller) if !mercy.is_draining => traveller.assert_settled(ledger),
            Kind::Traveller(_) => {}
            Kind::Worker(worker) => worker.assert_settled(ledger, mercy.is_draining),
            Kind::Poster(poster) => poster.assert_settled(),
        }
    }
}
