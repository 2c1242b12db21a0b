//! The server behind the proxies: one thread that answers each request at once.
//!
//! ```text
//!  GET  /…/N       --> 200, N bytes; N is one of the sizes that it was started with
//!  POST /…         --> its body is read, then 200 without a body
//!  GET  /…/events  --> an event stream: each event is the time at which it was sent
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use memchr::memmem;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use tidegate::driver::socket::private_descriptor_table;

const LISTENER: Token = Token(usize::MAX);
const EVENTS: usize = 1024;
const BUFFER_BYTES: usize = 256 * 1024;
/// Of each stream, a second.
pub const EVENTS_PER_SECOND: u32 = 20;

/// The bytes of each answer, by the last segment of the path that asks for it.
type Answers = BTreeMap<String, Vec<u8>>;

/// The last segment of the path of event streams.
const STREAM: &str = "events";
/// nginx passes its answer on as it comes.
const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Accel-Buffering: no\r\n\
    Transfer-Encoding: chunked\r\n\r\n";

struct Connection {
    socket: TcpStream,
    /// The head of a request, as far as it has come.
    head: Vec<u8>,
    /// Bytes of its body that are to come.
    unread: usize,
    /// The request in hand, if its answer is not sent: the name of the answer, and how much of that was sent.
    answering: Option<(String, usize)>,
    is_stream: bool,
}

/// Starts it; ends with the process. Events say the time since `origin_of_time`. It has a descriptor table of its own before this
/// returns: otherwise it would hold open the stdin of a proxy that starts meanwhile.
pub fn start(sizes: impl IntoIterator<Item = usize>, origin_of_time: Instant) -> Result<SocketAddr, String> {
    let failed = |error: io::Error| format!("the server did not start: {error}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let answer = |size: usize| {
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n");
        (size.to_string(), [head.into_bytes(), vec![b'x'; size]].concat())
    };
    let answers: Answers = sizes.into_iter().chain([0]).map(answer).collect();
    let (tell, has_begun) = channel();
    thread::spawn(move || {
        let own_table = private_descriptor_table();
        _ = tell.send(());
        if let Err(error) = own_table.and_then(|()| run(&listener, &answers, origin_of_time)) {
            eprintln!("the server ended: {error}");
            std::process::exit(1);
        }
    });
    _ = has_begun.recv();
    Ok(address)
}

fn run(listener: &TcpListener, answers: &Answers, origin_of_time: Instant) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut SourceFd(&listener.as_raw_fd()), LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(EVENTS);
    let mut connections: Slab<Connection> = Slab::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let interval = Duration::from_secs(1) / EVENTS_PER_SECOND;
    let mut tick = Instant::now();
    loop {
        let has_streams = connections.iter().any(|(_, connection)| connection.is_stream);
        let patience = has_streams.then(|| tick.saturating_duration_since(Instant::now()));
        match poll.poll(&mut events, patience) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            match event.token() {
                LISTENER => accept_all(listener, &poll, &mut connections)?,
                Token(key) => {
                    let connection = connections.get_mut(key);
                    if connection.is_some_and(|connection| connection.go_on(answers, &mut buffer).is_err()) {
                        connections.remove(key);
                    }
                }
            }
        }
        if has_streams && tick <= Instant::now() {
            connections.retain(|_, connection| !connection.is_stream || connection.tell(origin_of_time).is_ok());
            tick = Instant::now() + interval;
        }
    }
}

fn accept_all(listener: &TcpListener, poll: &Poll, connections: &mut Slab<Connection>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((socket, _)) => {
                socket.set_nonblocking(true)?;
                socket.set_nodelay(true)?;
                let entry = connections.vacant_entry();
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(entry.key()), interest)?;
                entry.insert(Connection { socket, head: Vec::new(), unread: 0, answering: None, is_stream: false });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}

impl Connection {
    /// Reads and answers as far as it goes. An error is the connection's end.
    fn go_on(&mut self, answers: &Answers, buffer: &mut [u8]) -> io::Result<()> {
        self.answer(answers)?;
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.take(&buffer[..count])?;
                    self.answer(answers)?;
                    if count < buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Bytes of one request; the next one comes after its answer.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.unread > 0 {
            self.unread = self.unread.checked_sub(bytes.len()).ok_or(io::ErrorKind::InvalidData)?;
            return Ok(());
        }
        self.head.extend_from_slice(bytes);
        let Some(end) = memmem::find(&self.head, b"\r\n\r\n").map(|at| at + 4) else { return Ok(()) };
        let head = std::mem::take(&mut self.head);
        let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        self.unread = length.unwrap_or(0).checked_sub(head.len() - end).ok_or(io::ErrorKind::InvalidData)?;
        let name = if text.starts_with("get ") { text.split(' ').nth(1).unwrap_or_default() } else { "0" };
        let name = name.rsplit('/').next().unwrap_or_default();
        self.is_stream = name == STREAM;
        match self.is_stream {
            true => self.socket.write_all(STREAM_HEAD)?,
            false => self.answering = Some((name.to_owned(), 0)),
        }
        Ok(())
    }

    fn answer(&mut self, answers: &Answers) -> io::Result<()> {
        let Some((name, sent)) = &mut self.answering else { return Ok(()) };
        if self.unread > 0 {
            return Ok(());
        }
        let answer = answers.get(name).ok_or(io::ErrorKind::NotFound)?;
        while *sent < answer.len() {
            match self.socket.write(&answer[*sent..]) {
                Ok(count) => *sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.answering = None;
        Ok(())
    }

    /// Sends an event. A stream that does not take it ends.
    fn tell(&mut self, origin_of_time: Instant) -> io::Result<()> {
        let event = format!("data: {:020}\n\n", origin_of_time.elapsed().as_nanos());
        self.socket.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
    }
}
