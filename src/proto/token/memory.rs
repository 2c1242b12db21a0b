//! Tokens that have been verified: the next request with the same token costs a comparison, no signature.
//!
//! ```text
//!  issuer, token --keyed hash--> a place --the same issuer, the same token--> its proof, if it is not over
//!                                   '-- none, or another one's --> the caller verifies the token, and `keep`s the proof
//!                                                     '-- too many, or too large together: the least recently used goes
//! ```
//!
//! **The token decides, not its hash**: a proof is found only by the bytes of the token that it was given to, all of them.
//! The hash says where to look. It need not resist a search for collisions, as a digest does: two tokens that share a place
//! drive each other out, and each is verified again. Nor does the comparison tell a stranger how much of a guess is right:
//! a guess is compared only with a token of the same hash of 64 bits, whose random key no peer knows.

use std::sync::Arc;

use ahash::RandomState;
use lru::LruCache;

use super::Proof;
use crate::limits;

/// See the module's picture. Only issuers fill it: a forged token has no proof.
pub struct ProofMemory {
    proofs: LruCache<u64, ProvenToken>,
    /// Places in `proofs`: a key of its own for each shard.
    hasher: RandomState,
    bytes: usize,
}

impl Default for ProofMemory {
    fn default() -> ProofMemory {
        ProofMemory { proofs: LruCache::unbounded(), hasher: RandomState::new(), bytes: 0 }
    }
}

struct ProvenToken {
    /// The issuer that has verified it.
    issuer: u16,
    token: Box<str>,
    proof: Arc<Proof>,
}

impl ProvenToken {
    fn bytes(&self) -> usize {
        self.token.len() + self.proof.bytes()
    }
}

impl ProofMemory {
    /// The proof of a token that this issuer has verified before, if it has not ended.
    pub fn find(&mut self, issuer: u16, token: &str, unix_now: u64) -> Option<Arc<Proof>> {
        let place = self.place(issuer, token);
        let known = self.proofs.get(&place)?;
        if known.issuer != issuer || *known.token != *token {
            return None;
        }
        if !known.proof.is_over(unix_now) {
            return Some(known.proof.clone());
        }
        self.forget(place);
        None
    }

    pub fn keep(&mut self, issuer: u16, token: &str, proof: &Arc<Proof>) {
        let place = self.place(issuer, token);
        self.forget(place);
        let proven = ProvenToken { issuer, token: token.into(), proof: proof.clone() };
        self.bytes += proven.bytes();
        self.proofs.put(place, proven);
        while self.proofs.len() > limits::PROOFS_MAX || self.bytes > limits::PROOFS_BYTES_MAX {
            let Some((_, oldest)) = self.proofs.pop_lru() else { return };
            self.bytes -= oldest.bytes();
        }
    }

    fn place(&self, issuer: u16, token: &str) -> u64 {
        self.hasher.hash_one((issuer, token))
    }

    /// Forgets the tokens of one issuer: each is verified again when it comes again.
    pub fn forget_issuer(&mut self, issuer: u16) {
        let own = self.proofs.iter().filter(|(_, proven)| proven.issuer == issuer).map(|(place, _)| *place);
        let own: Vec<u64> = own.collect();
        own.into_iter().for_each(|place| self.forget(place));
    }

    fn forget(&mut self, place: u64) {
        if let Some(proven) = self.proofs.pop(&place) {
            self.bytes -= proven.bytes();
        }
    }

    pub fn len(&self) -> usize {
        self.proofs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.proofs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::user::User;

    fn proof(user: &str, until_s: u64, id_bytes: usize) -> Arc<Proof> {
        let user = User::new(user).unwrap();
        let id = Some("x".repeat(id_bytes).into());
        Arc::new(Proof { id, ..Proof::of(user, until_s) })
    }

    #[test]
    fn a_proof_is_found_by_its_issuer_and_token_until_it_ends() {
        let mut memory = ProofMemory::default();
        memory.keep(0, "a.b.c", &proof("ann", 100, 0));
        for (issuer, token, now, is_found) in
            [(0, "a.b.c", 99, true), (1, "a.b.c", 99, false), (0, "a.b.d", 99, false), (0, "a.b.c", 100, false)]
        {
            let found = memory.find(issuer, token, now);
            assert_eq!(found.is_some(), is_found, "{issuer} {token} {now}");
        }
        assert!(memory.is_empty() && memory.bytes == 0, "what has ended is forgotten");
    }

    #[test]
    fn the_tokens_of_one_issuer_are_forgotten_and_no_others() {
        let mut memory = ProofMemory::default();
        for issuer in 0..3 {
            (0..5).for_each(|number| memory.keep(issuer, &number.to_string(), &proof("ann", 100, 10)));
        }
        let bytes = memory.bytes;
        memory.forget_issuer(1);
        assert_eq!((memory.len(), memory.bytes), (10, bytes / 3 * 2));
        assert!(memory.find(1, "0", 0).is_none() && memory.find(2, "0", 0).is_some());
    }

    #[test]
    fn the_memory_has_a_bound_in_number_and_in_bytes() {
        let mut memory = ProofMemory::default();
        for number in 0..limits::PROOFS_MAX + 10 {
            memory.keep(0, &number.to_string(), &proof("ann", 100, 0));
        }
        assert_eq!(memory.len(), limits::PROOFS_MAX);
        assert!(memory.find(0, "9", 0).is_none() && memory.find(0, "10", 0).is_some());
        for number in 0..2_000 {
            memory.keep(1, &number.to_string(), &proof("ann", 100, 8_000));
            assert!(memory.bytes <= limits::PROOFS_BYTES_MAX);
        }
        let summed: usize = memory.proofs.iter().map(|(_, proven)| proven.bytes()).sum();
        assert_eq!(summed, memory.bytes);
        memory.keep(1, "1999", &proof("ann", 100, 10));
        assert!(memory.bytes < summed, "kept again, a token counts once");
    }
    #[test]
    fn a_token_that_shares_its_place_with_another_has_no_proof_of_that() {
        let mut memory = ProofMemory::default();
        memory.keep(0, "a.b.c", &proof("ann", 100, 0));
        // As if both had the same hash.
        let place = memory.place(0, "a.b.d");
        let known = memory.proofs.pop(&memory.place(0, "a.b.c")).unwrap();
        memory.proofs.put(place, known);
        assert!(memory.find(0, "a.b.d", 99).is_none());
        memory.keep(0, "a.b.d", &proof("bob", 100, 0));
        assert_eq!(memory.find(0, "a.b.d", 99).unwrap().user, User::new("bob").unwrap());
        assert_eq!(memory.bytes, "a.b.d".len() + proof("bob", 100, 0).bytes(), "the other one is not counted any more");
    }
}
