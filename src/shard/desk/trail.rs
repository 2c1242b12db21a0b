//! The places that publications have gone to since the last PING. Its PONG comes after all of them (`barrier`).

use crate::base::Place;
use crate::hub::PlaceSet;
use crate::mesh::{Lane, Mail, Publisher};

use super::Desk;

pub(in crate::shard) struct Trail {
    own: Place,
    /// The places that this shard has sent its own connections' publications to since the last round, by lane.
    pub asked: PlaceSet,
    pub told: PlaceSet,
    /// By origin: the places that this shard has passed on publications to since the origin's last mark, as an owner or
    /// because a member had left.
    pub relayed: Vec<PlaceSet>,
    pub relayed_again: Vec<PlaceSet>,
}

impl Trail {
    pub(crate) fn new(own: Place, shards: u16) -> Trail {
        let relayed = vec![PlaceSet::default(); shards.into()];
        let relayed_again = relayed.clone();
        let (asked, told) = Default::default();
        Trail { own, asked, told, relayed, relayed_again }
    }

    /// Records a letter to the shard `to` about a publication of `origin`.
    fn sent_on(&mut self, origin: Place, to: Place, lane: Lane) {
        match lane {
            Lane::Ask if origin == self.own => self.asked.insert(to),
            Lane::Tell if origin == self.own => self.told.insert(to),
            _ => {
                if let Some(relayed) = self.relayed.get_mut(origin.index()) {
                    relayed.insert(to);
                }
            }
        }
    }

    /// The same for a letter that was sent because a member of a queue group had left; usually after a letter that was
    /// itself a tell.
    pub(crate) fn sent_on_again(&mut self, origin: Option<Place>, to: Place) {
        if origin == Some(self.own) {
            return self.told.insert(to);
        }
        let relayed = origin.and_then(|origin| self.relayed_again.get_mut(origin.index()));
        relayed.into_iter().for_each(|relayed| relayed.insert(to));
    }
}

impl Desk {
    /// Sends a letter about a publication, and records it.
    pub(crate) fn send_on(&mut self, from: Option<Publisher>, to: Place, mail: Mail) {
        if let Some(from) = from
            && to != self.place
            && self.post.mesh().is_shard(to)
        {
            self.trail.sent_on(from.address.place, to, mail.lane());
        }
        self.send(to, mail);
    }
}
