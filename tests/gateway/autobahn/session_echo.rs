//! An echo server made of the protocol core alone: a thread, a blocking socket and a `WebSocketSession` per connection.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use tidegate::driver::socket::private_descriptor_table;
use tidegate::proto::CloseReason;
use tidegate::proto::ws::{Opcode, SessionLimits, WebSocketSession, WebSocketStep, frame, handshake};

/// Listens on a free port for as long as the process lives.
pub fn spawn(limits: SessionLimits) -> SocketAddr {
    let (tell, address) = std::sync::mpsc::channel();
    thread::spawn(move || {
        // A gateway that begins meanwhile does not copy its sockets.
        private_descriptor_table().expect("threads may have tables");
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        tell.send(listener.local_addr().expect("a bound listener has an address")).expect("the test waits");
        for socket in listener.incoming() {
            let socket = socket.expect("accept works on loopback");
            // The cases break connections on purpose: how one ended is judged by the client, not here.
            thread::spawn(move || serve(socket, limits));
        }
    });
    address.recv().expect("it listens")
}

fn serve(mut socket: TcpStream, limits: SessionLimits) -> io::Result<()> {
    converse(&mut socket, limits)?;
    linger(&socket)
}

/// Ends the server's direction first, and the socket once the client has ended its own: no reset overtakes what was sent.
fn linger(mut socket: &TcpStream) -> io::Result<()> {
    socket.shutdown(Shutdown::Write)?;
    io::copy(&mut socket, &mut io::sink()).map(|_| ())
}

/// Takes the upgrade, then echoes messages until the conversation is over.
fn converse(stream: &mut TcpStream, limits: SessionLimits) -> io::Result<()> {
    let mut bytes = Vec::new();
    let head_len = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        receive(stream, &mut bytes)?;
    };
    let head = String::from_utf8_lossy(&bytes[..head_len]).into_owned();
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
    let answer = handshake::accept(key);
    let head =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
    write!(stream, "{head}{}\r\n\r\n", answer.as_str())?;
    bytes.drain(..head_len);

    let mut session = WebSocketSession::server();
    loop {
        let mut out = Vec::new();
        let mut input = &mut bytes[..];
        let is_over = echo(&mut session, limits, &mut input, &mut out);
        let rest_len = input.len();
        bytes.drain(..bytes.len() - rest_len);
        stream.write_all(&out)?;
        if is_over {
            return Ok(());
        }
        receive(stream, &mut bytes)?;
    }
}

/// Answers all that `input` holds; whether the conversation is over.
fn echo(session: &mut WebSocketSession, limits: SessionLimits, input: &mut &mut [u8], out: &mut Vec<u8>) -> bool {
    loop {
        match session.next(input, &limits) {
            Ok(Some(WebSocketStep::Message { opcode, payload })) => frame::write(out, opcode, &payload),
            Ok(Some(WebSocketStep::Ping(payload))) => frame::write(out, Opcode::Pong, payload),
            Ok(Some(WebSocketStep::Pong(_))) => {}
            Ok(Some(WebSocketStep::Close { code, .. })) => {
                frame::write_close(out, code, CloseReason::Normal.row().words);
                return true;
            }
            Ok(None) => return false,
            Err(reason) => {
                frame::write_close(out, Some(reason.row().websocket_code), reason.row().words);
                return true;
            }
        }
    }
}

fn receive(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut piece = [0; 32 * 1024];
    match stream.read(&mut piece)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        len => {
            bytes.extend_from_slice(&piece[..len]);
            Ok(())
        }
    }
}
