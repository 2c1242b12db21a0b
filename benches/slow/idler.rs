//! A client that opens a stream and reads nothing of it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tidegate_bench::options::{Kind, Transport};
use tidegate_bench::process::Process;

/// The smallest that Linux allows, more or less: what it does not read is to wait in the gateway.
const RECEIVE_BYTES: usize = 4096;
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// How long nothing more may come before all has come.
const SILENCE: Duration = Duration::from_secs(1);

pub struct Idler {
    socket: TcpStream,
}

impl Idler {
    /// One that listens to the channel of all others.
    pub fn connect(process: &Process, kind: Kind) -> Result<Idler, String> {
        let address = process.front(Transport::Plain)?;
        let open = || -> io::Result<TcpStream> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_recv_buffer_size(RECEIVE_BYTES)?;
            socket.connect(&address.into())?;
            let mut socket = TcpStream::from(socket);
            socket.set_read_timeout(Some(ANSWER_WAIT))?;
            socket.write_all(request(kind).as_bytes())?;
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                socket.read_exact(&mut byte)?;
                head.push(byte[0]);
            }
            let is_open = head.starts_with(b"HTTP/1.1 101 ") || head.starts_with(b"HTTP/1.1 200 ");
            if is_open { Ok(socket) } else { Err(io::Error::other(String::from_utf8_lossy(&head).into_owned())) }
        };
        open().map(|socket| Idler { socket }).map_err(|error| format!("the slow reader did not connect: {error}"))
    }

    /// Reads everything at last: whether the gateway has closed the connection.
    pub fn was_closed(mut self) -> Result<bool, String> {
        let failed = |error: io::Error| format!("the slow reader cannot read: {error}");
        self.socket.set_read_timeout(Some(SILENCE)).map_err(failed)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(true),
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

fn request(kind: Kind) -> &'static str {
    match kind {
        Kind::Both | Kind::Ws => {
            "GET /ws/0 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        }
        Kind::Sse => "GET /sse/0 HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
    }
}
