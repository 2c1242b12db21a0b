//! Strangers: each does one thing that any client may do, as much of it as it can.
//!
//! ```text
//! Stranger --rules, shards, descriptors--> the gateway that it attacks
//!          --attack--> rooms, unfinished, requests            with sockets and HTTP
//!                      protocol: tokens, presence, names      with the client protocol
//!                      keys, hellos                           with TLS
//!                      crowd                                  with connections alone
//!                      hoard                                  with all of these
//! ```

mod crowd;
mod hellos;
mod hoard;
mod keys;
mod names;
mod presence;
mod protocol;
mod requests;
mod rooms;
pub mod socket;
mod tokens;
mod unfinished;

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use tidegate_bench::certificate::Certificate;
use tidegate_bench::options::Transport;
use tidegate_bench::process::Process;

pub use names::PREFIX as KEPT_PREFIX;

const LOOK_INTERVAL: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stranger {
    Flood,
    Tokens,
    Crowd,
    Presence,
    Bodies,
    Names,
    Requests,
    Fragments,
    Keys,
    Handshakes,
    Hellos,
    Hoard,
}

impl Stranger {
    pub const ALL: [Stranger; 12] = [
        Stranger::Flood,
        Stranger::Tokens,
        Stranger::Crowd,
        Stranger::Presence,
        Stranger::Bodies,
        Stranger::Names,
        Stranger::Requests,
        Stranger::Fragments,
        Stranger::Keys,
        Stranger::Handshakes,
        Stranger::Hellos,
        Stranger::Hoard,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Stranger::Flood => "flood",
            Stranger::Tokens => "tokens",
            Stranger::Crowd => "crowd",
            Stranger::Presence => "presence",
            Stranger::Bodies => "bodies",
            Stranger::Names => "names",
            Stranger::Requests => "requests",
            Stranger::Fragments => "fragments",
            Stranger::Keys => "keys",
            Stranger::Handshakes => "handshakes",
            Stranger::Hellos => "hellos",
            Stranger::Hoard => "hoard",
        }
    }

    /// Connections that it needs to be noticed.
    pub fn connections(self) -> usize {
        match self {
            Stranger::Flood | Stranger::Fragments | Stranger::Hoard => 2_000,
            Stranger::Tokens => 50,
            Stranger::Crowd => 9_000,
            Stranger::Presence | Stranger::Names => 60,
            Stranger::Bodies | Stranger::Hellos => 500,
            Stranger::Requests | Stranger::Keys => 8,
            Stranger::Handshakes => 1_000,
        }
    }

    /// Lines that this stranger adds to the gateway's configuration, after the routes that every run has.
    pub fn rules(self, certificate: &Certificate) -> String {
        match self {
            Stranger::Bodies | Stranger::Requests => {
                "[[route]]\npath = \"/jobs\"\nmethod = \"POST\"\naccept = { service = \"jobs\" }\n".to_owned()
            }
            Stranger::Tokens => tokens::rules(certificate),
            Stranger::Presence => presence::RULES.to_owned(),
            Stranger::Names => names::RULES.to_owned(),
            Stranger::Crowd => crowd::RULES.to_owned(),
            Stranger::Hoard => hoard::rules(),
            Stranger::Flood | Stranger::Fragments | Stranger::Keys | Stranger::Handshakes | Stranger::Hellos => {
                String::new()
            }
        }
    }

    /// The fewest shards with which it can be noticed: there is no mail within one.
    pub fn shards_min(self) -> u32 {
        if self == Stranger::Presence { 2 } else { 1 }
    }

    /// The shortest attack in which it can do all that it does.
    pub fn attack_min(self) -> Duration {
        if self == Stranger::Hoard { hoard::FILL_TIME } else { Duration::ZERO }
    }

    /// The limit on open files of the gateway, if it is to be lower than usual.
    pub fn descriptors(self) -> Option<u32> {
        (self == Stranger::Crowd).then_some(crowd::DESCRIPTORS)
    }

    /// Attacks with so many connections, holds them until the phase is over, and leaves. A gateway that refuses or ends them has
    /// defended itself: that is no error.
    pub fn attack(
        self,
        process: &Process,
        certificate: &Certificate,
        connections: usize,
        is_over: &AtomicBool,
    ) -> Result<(), String> {
        let transport = match self {
            Stranger::Keys | Stranger::Handshakes | Stranger::Hellos => Transport::Tls,
            _ => Transport::Plain,
        };
        let address = process.front(transport)?;
        let begun = match self {
            Stranger::Flood => rooms::flood(address, connections, is_over),
            Stranger::Crowd => crowd::crowd(address, connections, is_over),
            Stranger::Bodies => unfinished::hold(address, connections, is_over, &unfinished::unfinished_request()),
            Stranger::Fragments => rooms::fragments(address, connections, is_over),
            Stranger::Handshakes => {
                unfinished::hold(address, connections, is_over, &unfinished::unfinished_handshake())
            }
            Stranger::Tokens => return tokens::tokens(address, certificate, connections, is_over),
            Stranger::Presence => return presence::presence(address, connections, is_over),
            Stranger::Names => return names::names(address, connections, is_over),
            Stranger::Requests => return requests::requests(address, connections, is_over),
            Stranger::Keys => return keys::keys(address, certificate, connections, is_over),
            Stranger::Hellos => return hellos::hellos(address, certificate, connections, is_over),
            Stranger::Hoard => return hoard::hoard(process, certificate, connections, is_over),
        };
        let held: Vec<TcpStream> = begun.map_err(|error| format!("{} did not begin: {error}", self.name()))?;
        wait(is_over);
        drop(held);
        Ok(())
    }
}

fn wait(is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        thread::sleep(LOOK_INTERVAL);
    }
}

/// So many at once, each on a thread of its own, which begins again when the gateway has ended it. `begin` gets the number of the
/// thread. An error is the first beginning that failed: later ones may be refused.
fn keep_at_it<S>(
    connections: usize,
    is_over: &AtomicBool,
    begin: impl Fn(usize) -> Result<S, String> + Sync,
    go_on: impl Fn(&mut S, &AtomicBool) -> Result<(), String> + Sync,
) -> Result<(), String> {
    let attack = |number| -> Result<(), String> {
        let mut session = begin(number)?;
        while !is_over.load(Ordering::Relaxed) {
            _ = go_on(&mut session, is_over);
            match begin(number) {
                Ok(next) => session = next,
                Err(_) => thread::sleep(LOOK_INTERVAL),
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let attack = &attack;
        let threads: Vec<_> = (0..connections).map(|number| scope.spawn(move || attack(number))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })
}
