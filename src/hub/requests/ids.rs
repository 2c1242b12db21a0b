//! Ids that cannot be guessed, without a system call for each.

use aws_lc_rs::hmac;

use crate::base::{NodeId, Place, RequestId};

/// Draws ids: the n-th is a pseudo-random function of n, under a key that only this shard has.
pub(crate) struct Ids {
    key: hmac::Key,
    node: Option<NodeId>,
    own: Place,
    drawn: u64,
}

impl Ids {
    /// `secret` is random, and differs in every process.
    pub(crate) fn new(secret: &[u8; 32], node: Option<NodeId>, own: Place) -> Ids {
        Ids { key: hmac::Key::new(hmac::HMAC_SHA256, secret), node, own, drawn: 0 }
    }

    /// The next id, for a request that `owner` keeps.
    pub(crate) fn draw(&mut self, owner: Place) -> RequestId {
        self.drawn += 1;
        // Includes the drawing shard's number: shards may share one secret.
        let number = u128::from(self.own.0) << 64 | u128::from(self.drawn);
        let tag = hmac::sign(&self.key, &number.to_be_bytes());
        let (secret, _) = tag.as_ref().split_first_chunk().expect("a tag of SHA-256 has 32 bytes");
        RequestId::new(self.node, owner, u128::from_be_bytes(*secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same_and_each_names_its_owner() {
        let mut shards = [0, 1].map(|place| Ids::new(&[7; 32], None, Place(place)));
        let mut drawn = std::collections::HashSet::new();
        for _ in 0..100 {
            for ids in &mut shards {
                let id = ids.draw(Place(3));
                assert_eq!(id.place, Place(3));
                assert!(drawn.insert(id));
            }
        }
        assert!(!drawn.contains(&Ids::new(&[8; 32], None, Place(0)).draw(Place(3))), "another process has other ids");
    }
}
