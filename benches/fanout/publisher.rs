//! Who publishes: a worker on the gateway's bus, or the floor's own.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use tidegate::proto::event::{Event, Message, Position};
use tidegate::proto::subject::Subject;

use crate::floor;
use crate::process::{Process, Target};

const CHANNEL: &str = "fanout";

pub enum Publisher {
    Bus(TcpStream),
    Floor(TcpStream, Subject),
}

impl Publisher {
    /// To be connected after all subscribers: the floor accepts nobody after it.
    pub fn connect(process: &Process) -> Result<Publisher, String> {
        let failed = |error: io::Error| format!("the publisher did not connect: {error}");
        let mut socket = TcpStream::connect(process.bus).map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        if process.target == Target::Floor {
            socket.write_all(&[floor::PUBLISHER]).map_err(failed)?;
            let subject = Subject::new(CHANNEL).map_err(|error| error.to_string())?;
            return Ok(Publisher::Floor(socket, subject));
        }
        socket.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").map_err(failed)?;
        let mut said = Vec::new();
        while !said.ends_with(b"PONG\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).map_err(failed)?;
            said.push(byte[0]);
        }
        Ok(Publisher::Bus(socket))
    }

    pub fn publish(&mut self, number: u64, payload: &[u8]) -> Result<(), String> {
        let written = match self {
            Publisher::Bus(socket) => {
                let verb = [format!("PUB {CHANNEL} {}\r\n", payload.len()).as_bytes(), payload, b"\r\n"].concat();
                socket.write_all(&verb)
            }
            // The very bytes that the gateway would send.
            Publisher::Floor(socket, subject) => {
                let message = Message { subject: subject.clone(), reply: None, headers: None, payload: payload.into() };
                let event = Event::new(message, Some(Position { epoch: 0, offset: number + 1 }));
                socket.write_all(&floor::message(event.websocket_frame(), event.sse_record()))
            }
        };
        written.map_err(|error| format!("the publisher was disconnected: {error}"))
    }
}
