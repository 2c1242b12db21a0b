//! Performs a play: each speaks when it is its turn, and PING tells when all that it caused has been said.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::plays::Play;
use crate::nats::bus::{PASSWORD, PATIENCE, USER};

/// What one connection has heard, and whether it is still open.
#[derive(Debug, PartialEq, Eq)]
pub struct Heard {
    said: String,
    is_open: bool,
}

struct Peer {
    stream: TcpStream,
    heard: Vec<u8>,
    is_open: bool,
}

pub fn perform(play: &Play, address: &str) -> Vec<Heard> {
    let mut peers: Vec<Peer> = play.cast.iter().map(|keys| Peer::connect(address, keys)).collect();
    for (who, words) in play.turns {
        peers[*who].say(words);
    }
    // Everybody has said what it had to: now nothing is on its way to anybody.
    peers.iter_mut().for_each(|peer| peer.say(b""));
    let heard =
        peers.into_iter().map(|peer| Heard { said: peer.heard.escape_ascii().to_string(), is_open: peer.is_open });
    heard.collect()
}

impl Peer {
    fn connect(address: &str, keys: &str) -> Peer {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut peer = Peer { stream, heard: Vec::new(), is_open: true };
        peer.read_until(b"\r\n");
        peer.heard.clear();
        let options = format!("CONNECT {{\"user\":\"{USER}\",\"pass\":\"{PASSWORD}\",\"verbose\":false{keys}}}\r\n");
        peer.say(options.as_bytes());
        peer
    }

    /// Says this, and hears what comes of it.
    fn say(&mut self, words: &[u8]) {
        if !self.is_open {
            return;
        }
        // A peer that has closed may say so by a reset; then nothing more is to be heard.
        let is_sent = self.stream.write_all(&[words, b"PING\r\n"].concat()).is_ok();
        self.is_open = is_sent && self.read_until(b"PONG\r\n");
    }

    /// False if the connection ends before that.
    fn read_until(&mut self, end: &[u8]) -> bool {
        let mut chunk = [0; 4096];
        let from = self.heard.len();
        while !self.heard[from..].ends_with(end) {
            match self.stream.read(&mut chunk) {
                Ok(count) if count > 0 => self.heard.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("neither an answer nor an end after {:?}", self.heard.escape_ascii().to_string())
                }
                _ => return false,
            }
        }
        true
    }
}
