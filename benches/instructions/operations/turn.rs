//! Whole turns of a shard: what was received in, batches for the driver out.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tidegate::base::Key;
use tidegate::conn::Door;
use tidegate::conn::quota::{Quota, QuotaBy, Quotas};
use tidegate::conn::route::{ChannelTemplate, Route, RouteTarget, Service, WebSocketRoute};
use tidegate::conn::routes::Routes;
use tidegate::conn::settings::{Generation, Settings};
use tidegate::limits::TALLIES_MAX;
use tidegate::proto::networks::Networks;
use tidegate::proto::pace::Gcra;
use tidegate::proto::ws::{Opcode, frame};
use tidegate::shard::Entrance;

use super::payload;
use super::tls::{Ends, opened, sealed};
use crate::script::Gate;

/// Subscribers of the channel, half of them WebSockets, half event streams.
pub const PLAIN: u64 = 1000;
/// Fewer: each has to shake hands first, under valgrind.
pub const TLS: u64 = 100;

/// The entrances of the gate.
const FRONT: u16 = 0;
const BUS: u16 = 1;
const FRONT_TLS: u16 = 2;

const CHANNEL: &str = "room.1";
const MASK: [u8; 4] = [1, 2, 3, 4];
/// A client's close frame: 1000, masked with zeros.
const CLOSE: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];

fn gate(ends: Option<&Ends>) -> Gate {
    gate_within(ends, None)
}

fn gate_within(ends: Option<&Ends>, quotas: Option<Arc<Quotas>>) -> Gate {
    let plain = |door| Entrance { door, tls: None, introduced_by: Default::default() };
    let mut entrances = vec![plain(Door::Front), plain(Door::Bus)];
    entrances.extend(ends.map(|ends| Entrance {
        door: Door::Front,
        tls: Some(ends.server.clone()),
        introduced_by: Default::default(),
    }));
    let routes = Routes::new(routes()).expect("there are few");
    let generation = Generation { routes, quotas, ..Generation::default() }.into();
    Gate::new(Settings { generation, ..Settings::default() }, entrances)
}

fn routes() -> Vec<Route> {
    let channel = || ChannelTemplate::parse("room.{room}").expect("it is a template");
    let route = |path: &str, target| Route::new(path, target).expect("it is a template");
    let own = WebSocketRoute { channel: Some(channel()), publish: true, ..WebSocketRoute::default() };
    let room = WebSocketRoute { channel: Some(channel()), ..WebSocketRoute::default() };
    let echo =
        WebSocketRoute { service: Some(Service::new("echo").expect("it is a name")), ..WebSocketRoute::default() };
    vec![
        route("/sse/{room}", RouteTarget::Sse { channels: vec![channel()], retry: Duration::from_secs(1) }),
        route("/ws/{room}", RouteTarget::WebSocket(room)),
        route("/echo/{room}", RouteTarget::WebSocket(own)),
        route("/echo", RouteTarget::WebSocket(echo)),
    ]
}

/// The request that opens a WebSocket, or, under `/sse`, an event stream.
fn request(path: &str) -> String {
    let upgrade = if path.starts_with("/sse") {
        "Accept: text/event-stream\r\n"
    } else {
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    };
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n")
}

fn open(gate: &mut Gate, path: &str) -> Key {
    let key = gate.connect(FRONT);
    check_opened(&gate.ask(key, request(path).as_bytes()));
    key
}

fn check_opened(answer: &[u8]) {
    let is_opened = answer.starts_with(b"HTTP/1.1 101 ") || answer.starts_with(b"HTTP/1.1 200 ");
    assert!(is_opened, "{}", String::from_utf8_lossy(answer));
}

/// A worker that has said so, and whatever else it has to say.
fn worker(gate: &mut Gate, words: &str) -> Key {
    let key = gate.connect(BUS);
    let answer = gate.ask(key, format!("CONNECT {{\"verbose\":false,\"headers\":true}}\r\n{words}PING\r\n").as_bytes());
    assert!(answer.ends_with(b"PONG\r\n"), "{}", String::from_utf8_lossy(&answer));
    key
}

fn publication(subject: &str) -> Rc<[u8]> {
    let payload = payload();
    let line = format!("PUB {subject} {}\r\n", payload.len());
    [line.as_bytes(), &payload, b"\r\n"].concat().into()
}

/// Everybody who listens to the channel.
fn path_of(index: u64) -> &'static str {
    if index.is_multiple_of(2) { "/ws/1" } else { "/sse/1" }
}

/// The cost of every turn: the bookkeeping of all features when they idle.
pub fn nothing() -> Box<dyn FnMut()> {
    let mut gate = gate(None);
    for index in 0..2 {
        open(&mut gate, path_of(index));
    }
    worker(&mut gate, "SUB tg.service.echo workers 1\r\n");
    gate.stop_listening();
    Box::new(move || assert_eq!(gate.settle(), 0, "nothing is sent"))
}

pub fn fanout() -> Box<dyn FnMut()> {
    let mut gate = gate(None);
    for index in 0..PLAIN {
        open(&mut gate, path_of(index));
    }
    publish_to(gate, PLAIN)
}

pub fn fanout_tls() -> Box<dyn FnMut()> {
    let ends = Ends::new();
    let mut gate = gate(Some(&ends));
    for index in 0..TLS {
        let key = gate.connect(FRONT_TLS);
        let mut client = ends.client(|wire| gate.ask(key, wire));
        let answer = gate.ask(key, &sealed(&mut client, request(path_of(index)).as_bytes()));
        check_opened(&opened(&mut client, &answer));
    }
    publish_to(gate, TLS)
}

fn publish_to(mut gate: Gate, subscribers: u64) -> Box<dyn FnMut()> {
    let worker = worker(&mut gate, "");
    let publication = publication(CHANNEL);
    gate.stop_listening();
    Box::new(move || {
        gate.say(worker, &publication);
        assert_eq!(gate.settle() as u64, subscribers, "everybody is sent to once");
    })
}

pub fn dispatch() -> Box<dyn FnMut()> {
    let mut gate = gate(None);
    worker(&mut gate, "SUB tg.service.echo workers 1\r\n");
    let client = open(&mut gate, "/echo");
    gate.settle();
    let mut bytes = Vec::new();
    frame::write_masked(&mut bytes, true, Opcode::Text, &payload(), MASK);
    let frame: Rc<[u8]> = bytes.into();
    gate.stop_listening();
    Box::new(move || {
        gate.say(client, &frame);
        assert_eq!(gate.settle(), 1, "the worker gets it");
    })
}

pub fn answer() -> Box<dyn FnMut()> {
    let mut gate = gate(None);
    let worker = worker(&mut gate, "SUB tg.service.echo workers 1\r\n");
    open(&mut gate, "/echo");
    let opened = String::from_utf8(gate.hear(worker)).expect("headers are text");
    let address = opened.split("Tg-Conn: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let publication = publication(&format!("tg.conn.{}", address.expect("the worker was told of the client")));
    gate.stop_listening();
    Box::new(move || {
        gate.say(worker, &publication);
        assert_eq!(gate.settle(), 1, "the client gets it");
    })
}

/// Of one's own room, with nobody else in it.
pub fn echo() -> Box<dyn FnMut()> {
    let mut gate = gate(None);
    let client = open(&mut gate, "/echo/1");
    let mut bytes = Vec::new();
    frame::write_masked(&mut bytes, true, Opcode::Text, &payload(), MASK);
    let frame: Rc<[u8]> = bytes.into();
    gate.stop_listening();
    Box::new(move || {
        gate.say(client, &frame);
        assert_eq!(gate.settle(), 1, "it comes back");
    })
}

pub fn connection() -> Box<dyn FnMut()> {
    connections(gate(None))
}

/// With a limit of connections and requests for each address.
pub fn connection_limited() -> Box<dyn FnMut()> {
    let quota = Quota {
        name: "address".into(),
        by: QuotaBy::Network { ipv4_prefix: 32, ipv6_prefix: 128 },
        connections: Some(1_000_000),
        handshake_rate: None,
        request_rate: Some(Gcra::new(1_000_000, Duration::from_secs(1), 1_000_000)),
        message_rate: None,
        routes: Vec::new(),
        except: Networks::default(),
        closes: false,
    };
    let quotas = Quotas::new(vec![quota], TALLIES_MAX, [1, 2, 3, 4]).expect("there is one");
    connections(gate_within(None, Some(quotas.into())))
}

fn connections(mut gate: Gate) -> Box<dyn FnMut()> {
    // The channel has others: it does not come and go with this one.
    open(&mut gate, "/ws/1");
    let request: Rc<[u8]> = request("/ws/1").into_bytes().into();
    let close: Rc<[u8]> = CLOSE.into();
    gate.stop_listening();
    Box::new(move || {
        let key = gate.connect(FRONT);
        gate.say(key, &request);
        assert_eq!(gate.settle(), 1, "it is answered");
        gate.say(key, &close);
        assert_eq!(gate.settle(), 1, "it is told goodbye");
    })
}
