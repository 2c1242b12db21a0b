//! Shards in virtual time, on the simulator: nothing stalls, piles up, spins or leaks, whatever the peers do.

mod access;
mod answers;
mod arriving;
mod asking;
mod budget;
mod burst;
mod centrifuge;
mod commands;
mod confirmed;
mod drain;
mod duplicates;
mod forged;
mod forward;
mod heartbeats;
mod introduction;
mod keys;
mod long_answers;
mod operations;
mod order;
mod pace;
mod peer;
mod permissions;
mod positions;
mod presence;
mod progress;
mod proven;
mod proxy;
mod questions;
mod registrations;
mod replay;
mod reserves;
mod rest;
/// As whole gateways do it.
#[path = "../../tests/simulation/seeds.rs"]
mod seeds;
mod serving;
mod shares;
mod slow;
mod storm;
mod strangers;
mod stream;
mod table;
mod tokens;
mod trust;
mod unacked;
mod unfinished;
mod unread;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::base::ConnId;
use crate::conn::Door;
use crate::conn::hosts::Hosts;
use crate::conn::route::{ChannelTemplate, Route, RouteTarget, Service, UserField, WebSocketRoute};
use crate::conn::settings::{BusCredentials, Generation, Settings};
use crate::driver::Waker;
use crate::driver::sim::{Endpoint, Faults, ReadOutcome, SimDriver, World};
use crate::hub::owner_of;
use crate::mesh::drain::DrainMail;
use crate::mesh::{Mail, Threads};
use crate::proto::CloseReason;
use crate::proto::networks::Networks;
use crate::proto::tls::certificates::{read_chain, read_key, self_signed};
use crate::proto::tls::{Certificate, server_config};
use crate::proto::ws::{Opcode, frame};
use crate::worker::Worker;

use rustls::ServerConfig;

use peer::Peer;

const SECOND: Duration = Duration::from_secs(1);
const DOORS: [Door; 4] = [Door::Front, Door::Bus, Door::Admin, Door::Front];
const BUS: u16 = 1;
const ADMIN: u16 = 2;
/// The last of the doors speaks TLS.
const TLS: u16 = 3;

/// As workers name the connection.
fn conn_id(core: &Core, key: Key) -> ConnId {
    core.desk.settings.process.conn_id(core.desk.address(key))
}

/// Shards, and a scheduler that turns whichever can run.
struct Bench {
    world: World,
    mesh: Mesh,
    shards: Vec<Option<Shard<SimDriver>>>,
    /// For the lines of the access log, if there is one.
    log: Option<Mailbox>,
}

impl Bench {
    fn new(shards: u16, settings: Settings) -> Bench {
        Bench::within(World::new(1, Faults::none()), shards, settings)
    }

    fn within(world: World, shards: u16, settings: Settings) -> Bench {
        Bench::staffed(world, shards, 0, settings).0
    }

    /// With so many in-process workers.
    fn staffed(world: World, shards: u16, workers: u16, settings: Settings) -> (Bench, Vec<Worker>) {
        let payload_bytes_max = settings.generation.payload_bytes_max;
        let (bench, mailboxes) = Bench::beside(world, shards, (0, workers), settings);
        let worker = |(place, mailbox)| Worker::new(place, bench.mesh.clone(), mailbox, payload_bytes_max);
        let workers = (shards..).map(Place).zip(mailboxes).map(worker).collect();
        (bench, workers)
    }

    /// With so many other threads: side threads and in-process workers, whose mailboxes the test has.
    fn beside(world: World, shards: u16, others: (u16, u16), settings: Settings) -> (Bench, Vec<Mailbox>) {
        let drivers: Vec<_> = (0..shards).map(|_| world.driver()).collect();
        let wakers = drivers.iter().map(Driver::waker).collect();
        let side_threads = (0..others.0).map(|_| Waker::in_memory()).collect();
        let has_log_writer = settings.generation.access.is_some();
        let threads = Threads { shards: wakers, side_threads, workers: others.1.into(), has_log_writer };
        let (mesh, mut mailboxes) = Mesh::new(threads, 2048);
        let log = if has_log_writer { mailboxes.pop() } else { None };
        let other_mailboxes = mailboxes.split_off(shards.into());
        let counters: Arc<[Counters]> = (0..shards).map(|_| Counters::of(&settings)).collect();
        let tls = tls();
        let entrances: Vec<_> = DOORS
            .iter()
            .zip(0..)
            .map(|(door, id)| Entrance {
                door: *door,
                tls: (id == TLS).then(|| tls.clone()),
                introduced_by: Networks::default(),
            })
            .collect();
        let shards = drivers.into_iter().zip(mailboxes).zip(0..).map(|((driver, mailbox), place)| {
            let parts = Parts {
                place: Place(place),
                settings: settings.clone(),
                entrances: entrances.clone(),
                mesh: mesh.clone(),
                mailbox,
                counters: counters.clone(),
                fold: Arc::default(),
                seed: 7,
                secret: [0; 32],
                budget: Budget::default(),
                now: world.now(),
            };
            let mut shard = Shard::new(driver, parts);
            for id in 0..DOORS.len() as u16 {
                shard.listen(ListenerId(id), world.listener(address(place, id))).unwrap();
            }
            Some(shard)
        });
        let shards = shards.collect();
        (Bench { world, mesh, shards, log }, other_mailboxes)
    }

    fn connect(&self, shard: u16, door: u16) -> Peer {
        Peer::new(self.world.connect_calm(address(shard, door)).expect("somebody listens"))
    }

    /// Opens a stream or a WebSocket, up to the end of the head.
    fn open(&mut self, shard: u16, path: &str) -> Peer {
        let mut peer = self.connect(shard, 0);
        peer.say(request(path));
        self.run_for(SECOND / 10);
        let heard = peer.hear();
        assert!(heard.contains("\r\n\r\n"), "{heard}");
        peer
    }

    fn turn(&mut self, shard: usize) {
        let Some(running) = &mut self.shards[shard] else { return };
        let before = running.units_done();
        let turn = running.turn().unwrap();
        let units = running.units_done() - before;
        assert!(units <= running.core.desk.meter.budget.turn_max(), "{units} units of work in one turn");
        if turn == Turn::Over {
            return self.shards[shard] = None;
        }
        let sums = &self.core(shard).desk.sums;
        let counted = (sums.arriving_bytes(), sums.handshaking_bytes());
        assert_eq!(counted, desk::sums::weighed_again(&self.core(shard).desk), "counted, and in the connections");
        if let Some(quotas) = &self.core(shard).desk.settings.generation.quotas {
            let of_shards = self.shards.iter().flatten().map(|shard| shard.census().limited as u64).sum::<u64>();
            assert_eq!(quotas.open(), of_shards, "counted, and open");
        }
        let desk = &self.core(shard).desk;
        if desk.work.dirty.is_empty() {
            assert_eq!(desk.sums.waiting_bytes(), desk::slow::waiting_again(desk), "counted, and in the connections");
        }
        // The simulator turns a shard once more than a kernel wakes it, which would hide a shard that oversleeps.
        let core = self.core(shard);
        let has_room = core.desk.post.has_room() && !core.desk.meter.is_behind(&core.desk.subscribers);
        let is_waited_for = !core.desk.parked.is_empty() && has_room;
        assert!(!is_waited_for || core.next_deadline() <= core.desk.now, "parked publishers wait for an event");
    }

    fn run_for(&mut self, time: Duration) {
        self.run_some_for(time, |_| true);
    }

    /// Lets the shards of which `may_run` holds work for a while. A shard that finds something to do over and over spins.
    fn run_some_for(&mut self, time: Duration, may_run: impl Fn(usize) -> bool) {
        let end = self.world.now() + time;
        let turns_max = 1_000 + time.as_millis() * 2;
        let mut turns = 0;
        loop {
            let is_runnable = |shard: &usize| {
                let shard = self.shards[*shard].as_ref().filter(|_| may_run(*shard));
                shard.is_some_and(|shard| self.world.is_runnable(shard.driver().id()))
            };
            if let Some(shard) = (0..self.shards.len()).find(is_runnable) {
                self.turn(shard);
                turns += 1;
                assert!(turns < turns_max, "shard {shard} spins");
                continue;
            }
            // A shard that may not run is late, and does not hold up the time.
            let step = self.world.now() + Duration::from_micros(50);
            let next = self.world.next_event().max(step);
            if next >= end {
                return self.world.advance_to(end);
            }
            self.world.advance_to(next);
        }
    }

    /// As the gateway does when it is told to stop.
    fn drain(&self) {
        for place in (0..self.shards.len() as u16).map(Place) {
            self.mesh.try_send(place, Mail::Drain(DrainMail::Begin)).unwrap();
            self.mesh.wake(place);
        }
    }

    fn is_over(&self) -> bool {
        self.shards.iter().all(Option::is_none)
    }

    fn core(&self, shard: usize) -> &Core {
        &self.shards[shard].as_ref().expect("it runs").core
    }

    fn census(&self, shard: usize) -> Census {
        self.shards[shard].as_ref().expect("it runs").census()
    }

    fn closed(&self, shard: usize, reason: CloseReason) -> u64 {
        self.core(shard).desk.counters().closed[reason as usize].value()
    }
}

fn address(shard: u16, door: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1_000 * (shard + 1) + door))
}

/// Asks for a stream or a WebSocket.
fn request(path: &str) -> String {
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let upgrade = if path.starts_with("/sse") { "" } else { upgrade };
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n")
}

fn tls() -> Arc<ServerConfig> {
    let (chain, key) = self_signed(&["localhost".to_owned()]).unwrap();
    let certificate = Certificate::new(read_chain(chain.as_bytes()).unwrap(), read_key(key.as_bytes()).unwrap());
    server_config(vec![certificate.unwrap()]).unwrap()
}

fn route(path: &str, target: RouteTarget) -> Route {
    Route::new(path, target).unwrap()
}

fn settings() -> Settings {
    let room = || ChannelTemplate::parse("room.{room}").unwrap();
    let websocket = |channel, service: Option<&str>| {
        let has_user = service.is_some();
        let service = service.map(|name| Service::new(name).unwrap());
        let user = Some(UserField::Query("user".into())).filter(|_| has_user);
        RouteTarget::WebSocket(WebSocketRoute { channel, publish: true, service, user, ..WebSocketRoute::default() })
    };
    let routes = vec![
        route("/sse/{room}", RouteTarget::Sse { channels: vec![room()], retry: SECOND }),
        route("/ws/{room}", websocket(Some(room()), None)),
        route("/echo", websocket(None, Some("echo"))),
    ];
    let mut settings = Settings::default();
    settings.generation_mut().admin_hosts = Hosts::new(["a".into()]);
    add_routes(&mut settings, routes);
    settings
}

/// Settings of which something is otherwise.
fn with(mut settings: Settings, change: impl FnOnce(&mut Generation)) -> Settings {
    change(settings.generation_mut());
    settings
}

/// More routes behind those that are there.
fn add_routes(settings: &mut Settings, routes: impl IntoIterator<Item = Route>) {
    settings.generation_mut().routes =
        settings.generation.routes.followed_by(routes.into_iter().collect()).expect("there are few");
}

/// A room whose channel this shard owns.
fn room_of(shard: u16, shards: u16) -> String {
    let owned = |room: &String| owner_of(&format!("room.{room}"), shards) == Place(shard);
    (0..).map(|number| number.to_string()).find(owned).expect("names are spread")
}

/// A bystander in a room is served: its message comes back.
fn expect_echo(bench: &mut Bench, bystander: &mut Peer) {
    bystander.say(text(b"still there"));
    bench.run_for(SECOND / 10);
    assert!(bystander.hear().contains("still there"));
}

fn text(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write_masked(&mut bytes, true, Opcode::Text, payload, [1, 2, 3, 4]);
    bytes
}

#[test]
fn a_handshake_that_stalls_is_closed_although_the_peer_stays() {
    let mut bench = Bench::new(1, settings());
    let mut silent = bench.connect(0, TLS);
    let mut half = bench.connect(0, TLS);
    half.say([22, 3, 1, 0, 200, 1, 0]);
    bench.run_for(limits::HANDSHAKE_TIMEOUT + SECOND);
    assert!(silent.is_at_end() && half.is_at_end());
    assert_eq!(bench.census(0), Census::default());
    assert_eq!(bench.closed(0, CloseReason::TlsTooSlow), 2);
}

#[test]
fn a_drain_does_not_wait_for_whoever_stalls() {
    let mut bench = Bench::new(2, settings());
    let _handshaking = bench.connect(0, TLS);
    let _idle = bench.connect(1, 0);
    let _worker = bench.connect(1, 1);
    let _stream = bench.open(0, "/sse/1");
    bench.drain();
    // Clients first, then workers.
    bench.run_for(2 * limits::CLOSE_TIMEOUT + SECOND);
    assert!(bench.is_over());
}

#[test]
fn a_connection_has_few_timers_however_often_its_deadline_moves() {
    let mut bench = Bench::new(1, settings());
    let mut peer = bench.connect(0, 0);
    for _ in 0..100 {
        peer.say("GET / HTTP/1.1\r\n");
        bench.run_for(2 * SECOND);
        peer.say("Host: a\r\n\r\n");
        bench.run_for(9 * SECOND);
        assert!(peer.hear().starts_with("HTTP/1.1 404 "));
    }
    assert!(bench.core(0).desk.wheel.len() <= 1, "{} timers", bench.core(0).desk.wheel.len());
}

#[test]
fn a_publisher_goes_on_when_the_crowded_mailbox_has_been_emptied() {
    const MESSAGES: usize = 3_100;
    let mut bench = Bench::new(2, settings());
    let room = room_of(1, 2);
    let mut listener = bench.open(1, &format!("/sse/{room}"));
    let publisher = bench.connect(0, 1);
    let mut all = &format!("PUB room.{room} 1\r\nx\r\n").repeat(MESSAGES).into_bytes()[..];
    // Only its own shard works: the mailbox of the other fills, and then what is kept for it.
    while bench.core(0).desk.parked.is_empty() {
        all = &all[publisher.end.write(all)..];
        bench.run_some_for(SECOND / 100, |shard| shard == 0);
    }
    while !all.is_empty() {
        all = &all[publisher.end.write(all)..];
        bench.run_for(SECOND / 100);
        listener.hear();
    }
    bench.run_for(SECOND);
    assert_eq!(bench.core(1).desk.counters().delivered.value(), MESSAGES as u64);
}

#[test]
fn a_turn_takes_many_asks_although_they_make_tells() {
    let mut bench = Bench::new(2, settings());
    let room = room_of(1, 2);
    let speaker = bench.open(0, &format!("/ws/{room}"));
    let before = bench.core(1).desk.counters().turns.value();
    speaker.say((0..500).flat_map(|_| text(b"x")).collect::<Vec<u8>>());
    bench.run_for(SECOND);
    assert_eq!(bench.core(0).desk.counters().delivered.value(), 500);
    assert!(bench.core(1).desk.counters().turns.value() - before < 50, "not one turn for each");
}

#[test]
fn a_subscription_that_is_given_up_at_once_leaves_no_confirmation_open() {
    let mut bench = Bench::new(2, settings());
    let room = room_of(1, 2);
    for rest in ["".to_owned(), format!("SUB room.{room} 2\r\n"), format!("SUB room.{room} 2\r\nUNSUB 2\r\n")] {
        let mut worker = bench.connect(0, 1);
        worker.say(format!("SUB room.{room} 1\r\nUNSUB 1\r\n{rest}PING\r\n"));
        bench.run_for(SECOND);
        assert!(worker.hear().ends_with("PONG\r\n"), "after {rest:?}");
    }
}

#[test]
fn whoever_asks_without_taking_answers_is_a_slow_consumer() {
    let mut settings = settings();
    settings.generation_mut().bus.outbox_bytes_max = 100_000;
    let mut bench = Bench::new(1, settings);
    let flooder = bench.connect(0, 1);
    for _ in 0..100 {
        flooder.end.write(&b"PING\r\n".repeat(1_000));
        bench.run_for(SECOND / 10);
    }
    assert_eq!(bench.closed(0, CloseReason::SlowConsumer), 1);
    bench.run_for(limits::CLOSE_TIMEOUT + SECOND);
    assert_eq!(bench.census(0), Census::default());
}

#[test]
fn a_slow_consumer_that_reads_again_hears_whole_messages_and_1013() {
    let mut bench = Bench::new(1, with(settings(), |generation| generation.outbox_bytes_max = 20_000));
    let slow = bench.open(0, "/ws/1");
    let worker = bench.connect(0, 1);
    for _ in 0..20 {
        worker.say(format!("PUB room.1 9000\r\n{}\r\n", "x".repeat(9_000)));
        bench.run_for(SECOND / 100);
    }
    assert_eq!(bench.closed(0, CloseReason::SlowConsumer), 1);
    let mut heard = Vec::new();
    while slow.end.is_open() {
        while matches!(slow.end.read(&mut heard), ReadOutcome::Bytes(_)) {}
        bench.run_for(SECOND / 100);
    }
    let mut frames = &heard[..];
    while let [0x81, 126, high, low, rest @ ..] = frames {
        frames = &rest[usize::from(u16::from_be_bytes([*high, *low]))..];
    }
    let [0x88, _, high, low, ..] = frames else { panic!("a close frame, not {frames:?}") };
    assert_eq!(u16::from_be_bytes([*high, *low]), 1013);
}

#[test]
fn one_message_makes_nobody_slow_however_long_it_is() {
    let mut bench = Bench::new(1, with(settings(), |generation| generation.outbox_bytes_max = 4_096));
    let mut listener = bench.open(0, "/sse/1");
    let worker = bench.connect(0, 1);
    worker.say(format!("PUB room.1 20000\r\n{}\r\n", "x".repeat(20_000)));
    bench.run_for(SECOND);
    assert!(listener.hear().len() > 20_000);
    assert_eq!(bench.closed(0, CloseReason::SlowConsumer), 0);
}

#[test]
fn a_worker_that_what_has_waited_is_too_much_for_leaves_no_subscription() {
    let mut settings = settings();
    settings.generation_mut().bus.outbox_bytes_max = 2_000;
    let mut bench = Bench::new(1, settings);
    let clients: Vec<_> = (0..5).map(|_| bench.open(0, "/echo?user=ann")).collect();
    clients.iter().for_each(|client| client.say(text(&[b'x'; 1_000])));
    bench.run_for(SECOND / 10);
    assert_eq!(bench.census(0).stranded, 5);
    let worker = bench.connect(0, 1);
    worker.say("SUB tg.service.echo workers 1\r\n");
    bench.run_for(SECOND / 10);
    drop(worker);
    bench.run_for(limits::CLOSE_TIMEOUT + SECOND);
    assert_eq!(bench.closed(0, CloseReason::SlowConsumer), 1);
    let census = bench.census(0);
    assert_eq!((census.subscriptions, census.members), (clients.len(), 0), "the clients' own, to their user");
}

#[test]
fn refusals_are_bounded_themselves() {
    let mut bench = Bench::new(1, with(settings(), |generation| generation.connections_max = 2));
    let mut peers: Vec<_> = (0..200).map(|_| bench.connect(0, 0)).collect();
    peers.iter().for_each(|peer| peer.say(request("/ws/1")));
    bench.run_for(SECOND);
    assert_eq!(bench.census(0).connections, 2 + limits::REFUSALS_OPEN_MAX);
    let refusals = peers.iter_mut().map(Peer::hear).filter(|heard| heard.starts_with("HTTP/1.1 503 "));
    assert_eq!(refusals.count(), limits::REFUSALS_OPEN_MAX);
    drop(peers);
    bench.run_for(SECOND);
    assert_eq!(bench.census(0), Census::default());
}

#[test]
fn connections_are_bounded_over_all_shards_together() {
    let mut bench = Bench::new(2, with(settings(), |generation| generation.connections_max = 4));
    // Three and one are as many as two and two.
    let mut peers: Vec<_> = [0, 0, 0, 1, 1, 0].into_iter().map(|shard| bench.connect(shard, 0)).collect();
    peers.iter().for_each(|peer| peer.say(request("/ws/1")));
    bench.run_for(SECOND);
    let refused: Vec<bool> = peers.iter_mut().map(|peer| peer.hear().starts_with("HTTP/1.1 503 ")).collect();
    assert_eq!(refused.iter().filter(|is_refused| **is_refused).count(), 2, "{refused:?}");
}

#[test]
fn workers_and_operators_take_no_place_of_a_client() {
    let mut bench = Bench::new(1, with(settings(), |generation| generation.connections_max = 1));
    let _others: Vec<Peer> = [BUS, BUS, ADMIN].map(|door| bench.connect(0, door)).into();
    bench.run_for(SECOND / 10);
    let client = bench.open(0, "/ws/1");
    assert!(client.end.is_open());
    let mut second = bench.connect(0, 0);
    second.say(request("/ws/1"));
    bench.run_for(SECOND / 10);
    assert!(second.hear().starts_with("HTTP/1.1 503 "));
}

#[test]
fn a_websocket_that_ends_its_half_gets_what_was_on_its_way_and_a_close() {
    let mut bench = Bench::new(1, settings());
    let mut peer = bench.open(0, "/ws/1");
    peer.say(text(b"last words"));
    peer.end.shutdown_write();
    bench.run_for(SECOND / 10);
    let heard = peer.hear();
    let (echo, close) = heard.split_once("last words").expect("it had been published before the end was seen");
    assert!(!echo.is_empty() && close.contains("closed"), "{heard:?}");
    assert!(peer.is_at_end());
}

#[test]
fn a_stranger_on_the_bus_is_refused_before_its_payload_arrives() {
    let mut settings = settings();
    settings.generation_mut().bus.credentials = Some(BusCredentials::Token("secret".to_owned()));
    let mut bench = Bench::new(1, settings);
    for early in ["PUB a 1000000\r\nxxx", "hpub a 10 1000000\r\nxxx", "SUB a 1\r\n"] {
        let mut stranger = bench.connect(0, 1);
        stranger.say(early);
        bench.run_for(SECOND);
        assert!(stranger.hear().ends_with("-ERR 'Authorization Violation'\r\n"), "{early}");
        assert!(stranger.is_at_end());
    }
}

#[test]
fn a_stream_that_is_taken_slowly_is_alive_and_one_that_is_not_taken_is_slow() {
    let mut bench = Bench::new(1, settings());
    let mut slow = bench.open(0, "/ws/1");
    let _stuck = bench.open(0, "/ws/2");
    let _stuck_stream = bench.open(0, "/sse/2");
    let worker = bench.connect(0, 1);
    let payload = "x".repeat(30_000);
    let publish = |bench: &mut Bench, room| {
        worker.say(format!("PUB room.{room} 30000\r\n{payload}\r\n"));
        bench.run_for(Duration::from_millis(1));
    };
    for second in 0..120 {
        // More than 64 KiB wait for each of them all the time, so that nothing is read from them.
        if second < 12 {
            publish(&mut bench, 1);
            publish(&mut bench, 2);
        }
        if second % 3 == 0 {
            publish(&mut bench, 1);
            publish(&mut bench, 1);
            let _ = slow.end.read(&mut slow.heard);
        }
        bench.run_for(SECOND);
    }
    assert_eq!(bench.closed(0, CloseReason::SlowConsumer), 2, "those that took nothing");
    assert_eq!(bench.closed(0, CloseReason::NoPong), 0, "a ping would have waited behind the rest");
    assert!(slow.end.is_open());
}
