//! A receiver, and what it has heard: the marks (`m1`, `m2`) that its messages bear.

use std::time::Instant;

use super::super::*;
use crate::worker::Received;

pub(super) struct Ear {
    /// What leads to it.
    pub subject: String,
    pub sound: Sound,
}

pub(super) enum Sound {
    /// Whatever it speaks: marks are found in what is framed, too.
    Peer(Peer),
    Thread(Worker),
}

impl Ear {
    /// What has come since it was asked last; of an in-process worker payloads alone.
    pub(super) fn hear(&mut self) -> String {
        match &mut self.sound {
            Sound::Peer(peer) => peer.hear(),
            Sound::Thread(worker) => {
                let mut heard = String::new();
                while let Received::Message(message) = worker.recv(Instant::now()) {
                    heard += &String::from_utf8_lossy(&message.payload);
                }
                heard
            }
        }
    }

    pub(super) fn marks(&mut self) -> Vec<String> {
        marks(&self.hear())
    }

    pub(super) fn peer(&mut self) -> &mut Peer {
        match &mut self.sound {
            Sound::Peer(peer) => peer,
            Sound::Thread(_) => panic!("an in-process worker has no connection"),
        }
    }
}

/// The beginnings of payloads: `"m1"`, or `"m1xxx…"`.
pub(super) fn marks(heard: &str) -> Vec<String> {
    let found = heard.match_indices("\"m").map(|(at, _)| {
        let digits = heard[at + 2..].split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        (!digits.is_empty()).then(|| format!("m{digits}"))
    });
    found.flatten().collect()
}
