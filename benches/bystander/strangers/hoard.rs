//! As much of everything as a client may have, for as long as it may.
//!
//! ```text
//!  bodies without their last byte                  --> arriving       |
//!  TLS handshakes whose second flight does not end --> handshaking    |  each sum is filled until the gateway
//!  rooms that a member does not read               --> waiting        |- refuses or ends some; each connection is
//!  bodies for an accept route, from several homes  --> accepted       |  replaced after RENEWAL
//!  messages in channels that are kept              --> histories      |
//!  subscriptions, as many and as long as may be    --> subscriptions, presence, names of channels
//! ```
//!
//! Three items of the bound ([`tidegate::gateway::most`]) are out of its reach: only workers name their messages and ask for
//! acknowledgements, and one shard writes to no other. Two are in its reach in part: a quarter of what accepted requests may take
//! is for results, which workers make; and of the three lists of channels' names it fills the one for names without a message.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tidegate::limits;
use tidegate_bench::certificate::Certificate;
use tidegate_bench::load::{TEXT, write_client_frame};
use tidegate_bench::options::Transport;
use tidegate_bench::process::Process;
use tidegate_bench::promise::{HOARD_ACCEPTED_BYTES, HOARD_HISTORY_BYTES};

use super::LOOK_INTERVAL;
use super::hellos::hello;
use super::protocol::Client;
use super::socket::open_websocket;
use super::unfinished::{begun_handshake, unfinished_request};

const MIB: usize = 1024 * 1024;
const ARRIVING_BYTES: usize = 64 * MIB;
const HANDSHAKING_BYTES: usize = 16 * MIB;
const WAITING_BYTES: usize = 64 * MIB;
/// The least that is configurable besides none at all. Nothing fills it: only workers ask for acknowledgements.
const UNACKED_BYTES: usize = MIB;

/// Of each a quarter more than fit.
const BODIES: usize = ARRIVING_BYTES / MIB * 5 / 4;
const HANDSHAKES: usize = HANDSHAKING_BYTES / (16 * 1024 + limits::HANDSHAKE_STATE_BYTES) * 5 / 4;
const UNREAD: usize = SHARERS * WAITING_BYTES / (MIB / 4 * 3) * 5 / 4;
/// Members of a room that read nothing. All but one leave when the room is full of unread bytes: what counted as each one's share
/// is the last one's then.
const SHARERS: usize = 8;
/// Threads that connect, each for a part of the subscribers.
const SUBSCRIBERS: usize = 2;

/// Before the gateway pings a connection, and when it ends a handshake.
const RENEWAL: Duration = Duration::from_secs(10);
/// Until all sums are full, on two cores that others use too.
pub const FILL_TIME: Duration = Duration::from_secs(10);
/// Between two requests or publications when a sum is full.
const FULL_PAUSE: Duration = Duration::from_millis(100);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A message a little below `limits.message_bytes_max`.
const MESSAGE_BYTES: usize = 64_000;
/// As many as a client may leave unread (`limits.outbox_bytes_max`).
const MESSAGES_UNREAD: usize = limits::OUTBOX_BYTES_MAX / MESSAGE_BYTES;
/// Of each channel that is kept.
const MESSAGES_KEPT: usize = 8;
const CHANNELS_KEPT: usize = HOARD_HISTORY_BYTES / (MESSAGES_KEPT * MESSAGE_BYTES) * 5 / 4;
/// Of a request that is accepted. One of full length would leave much of the sum free.
const ACCEPTED_BODY_BYTES: usize = 128 * 1024;
/// Addresses that requests come from: one alone may have four fifths (`limits::ACCEPTED_OF_FREE_NETWORK`).
const HOMES: u8 = 8;
/// Of a channel's name, which may be a little longer (`limits::SUBJECT_BYTES_MAX`).
const NAME_BYTES: usize = limits::SUBJECT_BYTES_MAX - 16;

/// The bounds that it fills, and the routes that it needs for that.
pub fn rules() -> String {
    format!(
        r#"
[admin]
address = "127.0.0.1:0"

[limits]
arriving_bytes_max = {ARRIVING_BYTES}
handshaking_bytes_max = {HANDSHAKING_BYTES}
waiting_bytes_max = {WAITING_BYTES}
accepted_bytes_max = {HOARD_ACCEPTED_BYTES}
history_bytes_max = {HOARD_HISTORY_BYTES}
unacked_bytes_max = {UNACKED_BYTES}

[[channel]]
name = "kept.>"
history = {{ messages = {MESSAGES_KEPT} }}

[[channel]]
name = "own.>"
history = {{ messages = 1 }}
presence = true

[[route]]
path = "/kept/{{channel}}"
websocket = {{ channel = "kept.{{channel}}", publish = true }}

[[route]]
path = "/own"
websocket = {{ protocol = "centrifuge-json", channels = "own.>" }}

[[route]]
path = "/jobs"
method = "POST"
accept = {{ service = "jobs" }}
"#
    )
}

/// The rest of `connections` subscribes.
pub fn hoard(
    process: &Process,
    certificate: &Certificate,
    connections: usize,
    is_over: &AtomicBool,
) -> Result<(), String> {
    let (plain, tls) = (process.front(Transport::Plain)?, process.front(Transport::Tls)?);
    let subscribers = connections.saturating_sub(BODIES + HANDSHAKES + UNREAD) / SUBSCRIBERS;
    let (body, handshake) = (unfinished_request(), begun_handshake(&hello(certificate)?));
    let bodies = || keep(BODIES, is_over, |_| say(plain, &body));
    let handshakes = || keep(HANDSHAKES, is_over, |_| say(tls, &handshake));
    let unread = || keep(UNREAD, is_over, |number| leave_unread(plain, number));
    let accepted = || repeat(is_over, |number| ask(plain, number));
    let histories = || repeat(is_over, |number| publish(plain, number));
    thread::scope(|scope| {
        let mut parts = vec![
            scope.spawn(bodies),
            scope.spawn(handshakes),
            scope.spawn(unread),
            scope.spawn(accepted),
            scope.spawn(histories),
        ];
        for part in 0..SUBSCRIBERS {
            parts.push(
                scope.spawn(move || keep(subscribers, is_over, |number| subscribe(plain, number * SUBSCRIBERS + part))),
            );
        }
        let ends = parts.into_iter().map(|part| part.join().unwrap_or(Ok(())));
        ends.fold(Ok(()), Result::and).map_err(|error: io::Error| format!("the hoard did not begin: {error}"))
    })
}

/// Holds so many, and replaces each after [`RENEWAL`]. The gateway may have ended it by then: those that have waited longest go
/// first. An error is the first beginning that failed: later ones may be refused.
fn keep<T>(count: usize, is_over: &AtomicBool, begin: impl Fn(usize) -> io::Result<T>) -> io::Result<()> {
    let mut held = VecDeque::new();
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        if held.len() >= count {
            thread::sleep(RENEWAL / count.max(1) as u32);
            held.pop_front();
        }
        match begin(number) {
            Ok(one) => held.push_back(one),
            Err(error) if number == 0 => return Err(error),
            Err(_) => thread::sleep(LOOK_INTERVAL),
        }
        number += 1;
    }
    Ok(())
}

/// One after the other, with a pause after each that did not make the sum larger.
fn repeat(is_over: &AtomicBool, go_on: impl Fn(usize) -> io::Result<bool>) -> io::Result<()> {
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        match go_on(number) {
            Ok(true) => {}
            Err(error) if number == 0 => return Err(error),
            _ => thread::sleep(FULL_PAUSE),
        }
        number += 1;
    }
    Ok(())
}

fn say(address: SocketAddr, words: &[u8]) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(address)?;
    socket.write_all(words)?;
    Ok(socket)
}

/// A member of a room that reads nothing of what another one says there. The other one reads, and leaves with all others.
fn leave_unread(address: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let room = format!("/room/unread-{number}");
    let member = open_websocket(address, &room)?;
    let _others = (1..SHARERS).map(|_| open_websocket(address, &room)).collect::<io::Result<Vec<_>>>()?;
    speak(&mut open_websocket(address, &room)?, MESSAGES_UNREAD)?;
    Ok(member)
}

/// Messages into a channel that keeps them; true until each channel has some.
fn publish(address: SocketAddr, number: usize) -> io::Result<bool> {
    let mut socket = open_websocket(address, &format!("/kept/{}", number % CHANNELS_KEPT))?;
    speak(&mut socket, MESSAGES_KEPT)?;
    Ok(number < CHANNELS_KEPT)
}

/// Sends messages, each when the one before has come back.
fn speak(socket: &mut TcpStream, count: usize) -> io::Result<()> {
    /// Of a server's frame of this length (RFC 6455 section 5.2).
    const HEAD_BYTES: usize = 4;
    let mut frame = Vec::new();
    write_client_frame(&mut frame, TEXT, &[b'x'; MESSAGE_BYTES]);
    let mut echo = vec![0; HEAD_BYTES + MESSAGE_BYTES];
    (0..count).try_for_each(|_| {
        socket.write_all(&frame)?;
        socket.read_exact(&mut echo)
    })
}

/// A request that is accepted until a worker answers it, and there is none; false if it is refused.
fn ask(address: SocketAddr, number: usize) -> io::Result<bool> {
    let home = Ipv4Addr::new(127, 0, 1, 1 + (number % usize::from(HOMES)) as u8);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((home, 0)).into())?;
    socket.connect(&address.into())?;
    let mut socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE))?;
    let head = format!(
        "POST /jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {ACCEPTED_BODY_BYTES}\r\n\r\n"
    );
    socket.write_all(head.as_bytes())?;
    socket.write_all(&vec![b'x'; ACCEPTED_BODY_BYTES])?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 202 "))
}

/// A client with as many subscriptions as it may have, each to a channel that no other client knows.
fn subscribe(address: SocketAddr, number: usize) -> io::Result<Client> {
    let mut client = Client::connect(address, "/own", None).map_err(io::Error::other)?;
    let first = number * limits::CHANNELS_PER_CONNECTION_MAX;
    let names = (first..first + limits::CHANNELS_PER_CONNECTION_MAX)
        .map(|number| format!("own.{number:0>digits$}", digits = NAME_BYTES - "own.".len()));
    let commands: Vec<String> = names.map(|name| format!("\"subscribe\":{{\"channel\":\"{name}\"}}")).collect();
    client.ask(&commands).map_err(io::Error::other)?;
    Ok(client)
}
