//! Who connects: where, how, and to which channels.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;

use super::opening::Hello;
use super::wire::Framing;
use crate::floor;
use crate::options::{Kind, Transport};
use crate::process::Process;

/// Where clients connect, and how.
#[derive(Clone)]
pub struct Front {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<Arc<ClientConfig>>,
    greeting: Greeting,
}

/// What clients say first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greeting {
    /// A request for a channel, below this path.
    Request {
        websocket: &'static str,
    },
    /// What the floors of a fan-out understand.
    Word,
    Nothing,
}

impl Front {
    /// `tls` is not used where the process is a floor.
    pub fn new(process: &Process, tls: Option<&Arc<ClientConfig>>) -> Result<Front, String> {
        let is_floor = process.target.is_floor();
        let transport = if tls.is_some() { Transport::Tls } else { Transport::Plain };
        let greeting = if is_floor { Greeting::Word } else { Greeting::Request { websocket: "/ws" } };
        Ok(Front { address: process.front(transport)?, tls: tls.filter(|_| !is_floor).cloned(), greeting })
    }

    /// The server behind a proxy that is as plain as a floor may be: it is greeted as a gateway is.
    pub fn through(process: &Process, tls: Option<&Arc<ClientConfig>>) -> Result<Front, String> {
        Ok(Front { greeting: Greeting::Request { websocket: "/ws" }, ..Front::new(process, tls)? })
    }

    /// WebSockets ask for channels below another path; floors are told nothing.
    pub fn below(self, websocket: &'static str) -> Front {
        let greeting = match self.greeting {
            Greeting::Request { .. } => Greeting::Request { websocket },
            Greeting::Word | Greeting::Nothing => Greeting::Nothing,
        };
        Front { greeting, ..self }
    }

    pub(super) fn hello(&self, framing: Framing, channel: u32) -> Hello {
        match (self.greeting, framing) {
            (Greeting::Nothing, _) => Hello::Word(Vec::new()),
            (Greeting::Word, _) => Hello::Word(floor::word(framing, channel)),
            (Greeting::Request { websocket }, Framing::WebSocket) => Hello::Request(format!(
                "GET {websocket}/{channel} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )),
            (Greeting::Request { .. }, Framing::EventStream) => Hello::Request(format!(
                "GET /sse/{channel} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
            )),
        }
    }
}

/// Who is to connect.
#[derive(Clone, Copy, Debug)]
pub struct Clients {
    pub count: usize,
    pub kind: Kind,
    /// How many share a channel.
    pub per_channel: usize,
}

impl Clients {
    pub fn channels(&self) -> usize {
        self.count.div_ceil(self.per_channel)
    }

    /// How many listen to each channel.
    pub(super) fn listeners(&self) -> Vec<u32> {
        let rest = |channel: usize| self.count - channel * self.per_channel;
        (0..self.channels()).map(|channel| rest(channel).min(self.per_channel) as u32).collect()
    }
}

/// One hand's share of some clients.
pub(super) struct Batch {
    pub(super) front: Front,
    pub(super) clients: Clients,
    pub(super) first: usize,
    pub(super) count: usize,
    /// Or closed as soon as it is open.
    pub(super) is_kept: bool,
}

impl Batch {
    pub(super) fn member(&self, index: usize) -> (Framing, u32) {
        let index = self.first + index;
        let framing = match self.clients.kind {
            Kind::Ws => Framing::WebSocket,
            Kind::Sse => Framing::EventStream,
            Kind::Both if index.is_multiple_of(2) => Framing::WebSocket,
            Kind::Both => Framing::EventStream,
        };
        (framing, (index / self.clients.per_channel) as u32)
    }
}
