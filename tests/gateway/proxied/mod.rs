//! Servers behind the gateway: those that people have (`real`), and those that break every rule, one after the other (`bad`).
//! Those that are known by name, or probed: `watched`; over TLS: `secured`. Requests that two servers could read differently:
//! `smuggling`. In front of the gateway: `nginx`. Pages of other origins: `pages`. While a bad one has its turn, a bystander goes on being served.

mod bad;
mod nginx;
mod pages;
pub mod programs;
mod real;
mod secured;
mod smuggling;
mod sockets;
mod watched;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use tidegate::driver::socket::private_descriptor_table;
use tidegate::gateway::Gateway;

use crate::support::*;

/// A server of this process: what each connection of it does is up to a function. It lives until the process ends.
struct Server {
    address: SocketAddr,
}

impl Server {
    /// Its sockets are in a table of its own: a gateway that begins meanwhile does not copy them.
    fn start(serve: impl Fn(TcpStream) + Copy + Send + 'static) -> Server {
        let (tell, address) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            private_descriptor_table().expect("threads may have tables");
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            tell.send(listener.local_addr().expect("it is bound")).expect("the test waits");
            for socket in listener.incoming() {
                let socket = socket.expect("a connection");
                socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
                std::thread::spawn(move || serve(socket));
            }
        });
        Server { address: address.recv().expect("it listens") }
    }

    /// A route below `/name/` to this server alone.
    fn route(&self, name: &str, keys: &str) -> String {
        route(name, self.address, keys)
    }
}

/// Its idle connections end soon.
fn route(name: &str, address: SocketAddr, keys: &str) -> String {
    format!(
        "[[upstream]]\nname = \"{name}\"\nservers = \"{address}\"\nkeep_alive_s = 1\n\
         [[route]]\npath = \"/{name}/*\"\nproxy = {{ upstream = \"{name}\", strip = \"/{name}\"{keys} }}\n"
    )
}

/// The head of the next request on a connection; empty at its end.
fn next_request(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return String::new(),
        }
    }
    String::from_utf8(head).expect("a head is text")
}

/// Answers every request.
fn serve_well(mut socket: TcpStream) {
    while !next_request(&mut socket).is_empty() {
        if socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell").is_err() {
            return;
        }
    }
}

/// A client of a good server and of a channel, before, during and after whatever happens to others.
struct Bystander {
    requests: Raw,
    room: tungstenite::WebSocket<Raw>,
    number: u32,
}

impl Bystander {
    /// Wants a route `good`.
    fn new(gateway: &Gateway) -> Bystander {
        let mut bystander =
            Bystander { requests: Raw::connect(front(gateway)), room: websocket(gateway, "/ws/bystander"), number: 0 };
        bystander.expect_service();
        bystander
    }

    fn expect_service(&mut self) {
        self.number += 1;
        let text = self.number.to_string();
        self.room.send(tungstenite::Message::text(text.clone())).expect("the room is open");
        assert_eq!(self.room.read().expect("the room is open").into_text().expect("a text").as_str(), text);
        let answer = self.requests.send("GET /good/a HTTP/1.1\r\nHost: a\r\n\r\n").read_until("well");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    fn leave(self) {
        let Bystander { requests, mut room, .. } = self;
        requests.leave();
        let _ = room.close(None);
        room.get_mut().0.shutdown(std::net::Shutdown::Both).expect("it was open");
    }
}
