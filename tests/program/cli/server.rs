//! A server of a test's own, for one client.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

/// Longer than anything here takes; a client that has not come by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers one connection, then ends; gives what `answer` gave.
pub fn serve_once<T: Send + 'static>(answer: impl FnOnce(TcpStream) -> T + Send + 'static) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    // accept(2) waits as long as a read would.
    SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    let serve = move || {
        let (stream, _) = listener.accept().expect("the client connects in time");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        answer(stream)
    };
    (port, thread::spawn(serve))
}

/// The head of a request and its body.
pub fn read_request(stream: &mut impl Read) -> (String, Vec<u8>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a line comes") > 0, "the head is whole");
    }
    let length =
        head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body comes");
    (head, body)
}

/// The head of an event stream, as far as all of them agree.
pub const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
