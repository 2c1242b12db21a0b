//! A client that opens a stream and reads nothing of it.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tidegate_bench::blocking::{self, websocket_request};
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
            blocking::open(&mut socket, &request(kind))?;
            Ok(socket)
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

fn request(kind: Kind) -> String {
    match kind {
        Kind::Both | Kind::Ws => websocket_request("/ws/0"),
        Kind::Sse => "GET /sse/0 HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".to_owned(),
    }
}
