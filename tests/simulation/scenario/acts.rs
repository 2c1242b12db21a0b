//! What may happen in a scenario while it lasts: somebody comes, goes, says something, breaks a rule.

use std::time::Duration;

use tidegate::base::Tick;
use tidegate::conn::Door;

use super::{CLIENTS_MAX, ROOMS, Scenario, TRAVELLERS_MAX, USERS};
use crate::client::{Client, Kind};
use crate::clients::{Me, Room, Stream, whisper_channel};
use crate::deed::DEEDS;
use crate::ear::Pattern;
use crate::gateway::address;
use crate::line::Line;
use crate::poster::Poster;
use crate::traveller::Traveller;
use crate::worker::{Question, Worker};

type Act = fn(&mut Scenario);

/// What happens in a scenario, and how often in an ordinary one.
pub(super) const ACTS: [(u64, Act); 11] = [
    (50, Scenario::say_something),
    (14, Scenario::come),
    (6, Scenario::go),
    (6, Scenario::relieve),
    (16, Scenario::travel),
    (4, Scenario::fall_deaf),
    (6, Scenario::change_subscriptions),
    (8, Scenario::ask),
    (6, Scenario::whisper_or_command),
    (14, Scenario::misbehave),
    (6, Scenario::update_keys),
];
/// The last of them, which need clients with TLS.
pub(super) const TLS_ACTS: usize = 2;

impl Scenario {
    /// One of them, as this scenario is tempered.
    pub(super) fn act(&mut self) {
        let total: u64 = self.temper.iter().sum();
        let mut choice = self.stage.random.below(total);
        let chosen = self.temper.iter().position(|weight| match choice.checked_sub(*weight) {
            Some(rest) => {
                choice = rest;
                false
            }
            None => true,
        });
        ACTS[chosen.expect("a choice below the total")].1(self);
    }

    fn come(&mut self) {
        let is_calm = self.stage.random.chance(600);
        let (room, user, seed) =
            (self.stage.random.below(ROOMS), self.stage.random.below(USERS), self.stage.random.bits());
        let drift = self.workers_drift;
        match self.stage.random.below(100) {
            0..30 => self.enter_front(is_calm, |id, line| Kind::Room(Room::new(id, line, room, seed))),
            30..50 => self.enter_front(is_calm, |id, line| Kind::Me(Box::new(Me::new(id, line, user, seed, drift)))),
            50..70 => self.enter_front(is_calm, |id, line| Kind::Stream(Stream::new(id, line, room))),
            70..80 => self.enter(Door::Admin, is_calm, |id, endpoint| Kind::Poster(Poster::new(id, endpoint))),
            _ => {
                let choice = self.stage.random.bits();
                self.enter(Door::Bus, is_calm, |id, endpoint| {
                    Kind::Worker(Worker::of_some_kind(id, endpoint, room, drift, choice))
                });
            }
        }
    }

    /// Somebody who is not calm goes: with a proper end, or without a word.
    fn go(&mut self) {
        let Some(index) = self.pick(|client| !client.is_calm) else { return };
        let id = self.clients[index].id;
        match &mut self.clients[index].kind {
            Kind::Room(room) if self.stage.random.chance(500) => room.leave(),
            Kind::Me(me) if self.stage.random.chance(500) => me.leave(),
            _ => self.remove(index),
        }
        self.note(format!("{id} goes"));
    }

    /// One reader goes and another comes to the same room, at the same moment.
    fn relieve(&mut self) {
        let room = self.stage.random.below(ROOMS);
        let is_one = |client: &Client| matches!(&client.kind, Kind::Stream(stream) if stream.room == room);
        if let Some(index) = self.pick(|client| !client.is_calm && is_one(client)) {
            self.note(format!("{} is relieved", self.clients[index].id));
            self.remove(index);
        }
        self.enter_front(false, |id, line| Kind::Stream(Stream::new(id, line, room)));
    }

    /// Somebody who speaks TLS does something out of turn.
    fn misbehave(&mut self) {
        let deed = DEEDS[self.stage.random.below(DEEDS.len() as u64) as usize];
        let Some(index) = self.pick(|client| !client.is_calm && client.speaks_tls()) else { return };
        // An empty ping; and a stream's client may say what it likes, because nobody listens.
        const FILLER: &[u8] = b"\x89\x80mask";
        let client = &mut self.clients[index];
        if client.open_line().is_some_and(|line| line.act(deed, FILLER)) {
            let id = client.id;
            self.note(format!("{id} misbehaves: {deed:?}"));
        }
    }

    /// Somebody who speaks TLS 1.3 wants new keys.
    fn update_keys(&mut self) {
        let Some(index) = self.pick(Client::speaks_tls) else { return };
        let client = &mut self.clients[index];
        if client.open_line().is_some_and(Line::update_keys) {
            let id = client.id;
            self.note(format!("{id} updates its keys"));
        }
    }

    /// A traveller sets out, loses the connection, or comes back.
    fn travel(&mut self) {
        let travellers = self.clients.iter().filter(|client| matches!(client.kind, Kind::Traveller(_))).count();
        if travellers < TRAVELLERS_MAX && self.stage.random.chance(400) && self.clients.len() < CLIENTS_MAX {
            self.clients_made += 1;
            let id = self.clients_made;
            let first = self.stage.random.below(ROOMS);
            let rooms = [first, (first + 1 + self.stage.random.below(ROOMS - 1)) % ROOMS];
            let count = 1 + self.stage.random.below(2) as usize;
            let traveller = Traveller::new(id, &rooms[..count], self.shape.kept.clone());
            self.clients.push(Client { id, is_calm: false, deaf_until: Tick::ZERO, kind: Kind::Traveller(traveller) });
            self.note(format!("a traveller to {:?} sets out as {id}", &rooms[..count]));
        }
        let Some(index) = self.pick(|client| matches!(client.kind, Kind::Traveller(_))) else { return };
        let is_cut = self.stage.random.chance(500);
        let Kind::Traveller(traveller) = &mut self.clients[index].kind else { return };
        if !traveller.is_away() && is_cut {
            traveller.cut();
            let id = traveller.id;
            self.note(format!("{id} loses the connection"));
        }
        self.come_back(index, false);
    }

    /// The traveller at `index` comes back, if it is away.
    fn come_back(&mut self, index: usize, is_calm: bool) {
        let Kind::Traveller(traveller) = &mut self.clients[index].kind else { return };
        if !traveller.is_away() {
            return;
        }
        let is_tls = self.tls_left > 0 && self.stage.random.chance(200);
        let Some(endpoint) = self.stage.connect(address(Door::Front, is_tls), is_calm) else { return };
        let line = if is_tls {
            self.tls_left -= 1;
            Line::with_tls(endpoint, self.trust.client(self.stage.random.bits()))
        } else {
            Line::new(endpoint)
        };
        traveller.come(line, &mut self.stage.random);
        let id = traveller.id;
        self.note(format!("{id} comes, or comes back"));
    }

    /// Every traveller arrives, on a connection that does not break.
    pub(super) fn bring_back(&mut self) {
        for index in 0..self.clients.len() {
            self.clients[index].deaf_until = Tick::ZERO;
            if let Kind::Traveller(traveller) = &mut self.clients[index].kind {
                traveller.cut();
                self.come_back(index, true);
            }
        }
    }

    fn fall_deaf(&mut self) {
        let Some(index) = self.pick(|client| !client.is_calm) else { return };
        let until = self.stage.world.now() + Duration::from_micros(self.stage.random.below(8_000_000));
        self.clients[index].deaf_until = until;
    }

    fn change_subscriptions(&mut self) {
        let is_changeable = |client: &Client| matches!(client.kind, Kind::Worker(_)) && client.id > 5;
        let Some(index) = self.pick(is_changeable) else { return };
        let (room, choice) = (self.stage.random.below(ROOMS), self.stage.random.bits());
        let is_to_leave = self.stage.random.chance(400);
        let Kind::Worker(worker) = &mut self.clients[index].kind else { return };
        let subject = format!("room.{room}");
        match (is_to_leave, choice % 4) {
            (true, _) => worker.unsubscribe(choice >> 8, &mut self.ledger),
            (false, 0) => {
                worker.listen_to_some(&subject, Pattern::Channel(subject.clone()), 1 + (choice >> 8) as usize % 4)
            }
            (false, 1) => worker.listen_briefly(if choice & 256 == 0 { "room.*" } else { &subject }, None),
            (false, 2) => drop(worker.listen("room.>", Pattern::Below("room."), None)),
            (false, _) => drop(worker.listen(&subject, Pattern::Channel(subject.clone()), None)),
        }
        let id = worker.id;
        self.note(format!("{id} changes its subscriptions"));
    }

    fn ask(&mut self) {
        let has_responder = self.clients.iter().any(|client| match &client.kind {
            Kind::Worker(worker) => client.is_calm && worker.has_open_responder(),
            _ => false,
        });
        let Some(index) = self.pick(|client| matches!(client.kind, Kind::Worker(_))) else { return };
        let (subject, question) = match self.stage.random.below(3) {
            0 if has_responder => ("ask.responder", Question::Responder),
            1 => ("tg.conn.00ffffffffffffff", Question::Nobody),
            _ => ("ask.nobody", Question::Nobody),
        };
        let Kind::Worker(worker) = &mut self.clients[index].kind else { return };
        worker.ask(subject, question);
        let id = worker.id;
        self.note(format!("{id} asks {subject}"));
    }

    /// More than mailboxes and pipes hold.
    fn burst(&mut self) {
        let is_worker = |client: &Client| matches!(client.kind, Kind::Worker(_) | Kind::Poster(_));
        let Some(index) = self.pick(is_worker) else { return };
        let channel = format!("room.{}", self.stage.random.below(ROOMS));
        let most = if self.stage.random.chance(100) { 3_000 } else { 400 };
        let count = 50 + self.stage.random.below(most);
        let Scenario { clients, ledger, .. } = self;
        for _ in 0..count {
            match &mut clients[index].kind {
                Kind::Worker(worker) => worker.say(ledger, &channel, 8),
                Kind::Poster(poster) => poster.say(ledger, &channel, 8),
                _ => return,
            }
        }
        self.note(format!("{} bursts with {count}", self.clients[index].id));
    }

    fn whisper_or_command(&mut self) {
        let conns: Vec<(String, u32)> = self.ledger.conns().map(|(conn, client)| (conn.clone(), client)).collect();
        let Some(index) = self.pick(|client| matches!(client.kind, Kind::Worker(_))) else { return };
        if conns.is_empty() {
            return;
        }
        let (conn, client) = &conns[self.stage.random.below(conns.len() as u64) as usize];
        let channel = format!("room.{}", self.stage.random.below(ROOMS));
        let choice = self.stage.random.below(10);
        let Kind::Worker(worker) = &mut self.clients[index].kind else { return };
        let ledger = &mut self.ledger;
        let did = match choice {
            0 => {
                worker.kick(ledger, conn, *client);
                "kicks"
            }
            1 | 2 => {
                worker.subscribe_client(ledger, conn, *client, &channel);
                "subscribes"
            }
            3 => {
                worker.unsubscribe_client(conn, &channel);
                "unsubscribes"
            }
            _ => {
                worker.whisper(ledger, conn, &whisper_channel(*client), 20);
                "whispers to"
            }
        };
        let id = worker.id;
        self.note(format!("{id} {did} {client}"));
    }

    fn say_something(&mut self) {
        if self.stage.random.chance(self.bursts) {
            return self.burst();
        }
        let listens_only = |client: &Client| matches!(client.kind, Kind::Stream(_) | Kind::Traveller(_));
        let Some(index) = self.pick(|client| !listens_only(client)) else { return };
        let padding =
            if self.stage.random.chance(50) { self.stage.random.below(6_000) } else { self.stage.random.below(60) }
                as usize;
        let is_to_user = self.stage.random.chance(200);
        let (room, user) = (self.stage.random.below(ROOMS), self.stage.random.below(USERS));
        let channel = if is_to_user { format!("tg.user.u{user}") } else { format!("room.{room}") };
        let Scenario { clients, ledger, .. } = self;
        match &mut clients[index].kind {
            Kind::Room(client) => client.say(ledger, padding),
            Kind::Me(client) => client.say(ledger, padding),
            Kind::Worker(worker) => worker.say(ledger, &channel, padding),
            Kind::Poster(poster) => poster.say(ledger, &format!("room.{room}"), padding),
            Kind::Stream(_) | Kind::Traveller(_) => {}
        }
        self.note(format!("{} says something", self.clients[index].id));
    }
}
