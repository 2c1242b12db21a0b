//! Tokens that have been verified: the next request with the same token costs a hash, no signature.
//!
//! ```text
//!  issuer, token --SHA-256--> found, and not over: its proof
//!                                '--not found--> the caller verifies it, and `keep`s the proof
//!                                                    '-- too many, or too large together: the least recently used goes
//! ```

use std::sync::Arc;

use aws_lc_rs::digest;
use lru::LruCache;

use super::Proof;
use crate::limits;

/// Which of the issuers has verified a token, and the token's hash: the memory holds no token.
type ProofKey = (u16, [u8; 32]);

/// See the module's picture. Only issuers fill it: a forged token has no proof.
pub struct ProofMemory {
    proofs: LruCache<ProofKey, Arc<Proof>>,
    bytes: usize,
}

impl Default for ProofMemory {
    fn default() -> ProofMemory {
        ProofMemory { proofs: LruCache::unbounded(), bytes: 0 }
    }
}

/// The name of a token of this issuer.
pub fn proof_key(issuer: u16, token: &str) -> ProofKey {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    (issuer, hash)
}

impl ProofMemory {
    /// The proof of a token that was verified before, if it has not ended.
    pub fn find(&mut self, key: &ProofKey, unix_now: u64) -> Option<Arc<Proof>> {
        let proof = self.proofs.get(key)?;
        if !proof.is_over(unix_now) {
            return Some(proof.clone());
        }
        self.forget(key);
        None
    }

    pub fn keep(&mut self, key: ProofKey, proof: &Arc<Proof>) {
        self.forget(&key);
        self.bytes += proof.bytes();
        self.proofs.put(key, proof.clone());
        while self.proofs.len() > limits::PROOFS_MAX || self.bytes > limits::PROOFS_BYTES_MAX {
            let Some((_, oldest)) = self.proofs.pop_lru() else { return };
            self.bytes -= oldest.bytes();
        }
    }

    /// Forgets the tokens of one issuer: each is verified again when it comes again.
    pub fn forget_issuer(&mut self, issuer: u16) {
        let own: Vec<ProofKey> = self.proofs.iter().map(|(key, _)| *key).filter(|key| key.0 == issuer).collect();
        own.iter().for_each(|key| self.forget(key));
    }

    fn forget(&mut self, key: &ProofKey) {
        if let Some(proof) = self.proofs.pop(key) {
            self.bytes -= proof.bytes();
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
        memory.keep(proof_key(0, "a.b.c"), &proof("ann", 100, 0));
        for (issuer, token, now, is_found) in
            [(0, "a.b.c", 99, true), (1, "a.b.c", 99, false), (0, "a.b.d", 99, false), (0, "a.b.c", 100, false)]
        {
            let found = memory.find(&proof_key(issuer, token), now);
            assert_eq!(found.is_some(), is_found, "{issuer} {token} {now}");
        }
        assert!(memory.is_empty() && memory.bytes == 0, "what has ended is forgotten");
    }

    #[test]
    fn the_tokens_of_one_issuer_are_forgotten_and_no_others() {
        let mut memory = ProofMemory::default();
        for issuer in 0..3 {
            (0..5).for_each(|number| memory.keep(proof_key(issuer, &number.to_string()), &proof("ann", 100, 10)));
        }
        let bytes = memory.bytes;
        memory.forget_issuer(1);
        assert_eq!((memory.len(), memory.bytes), (10, bytes / 3 * 2));
        assert!(memory.find(&proof_key(1, "0"), 0).is_none() && memory.find(&proof_key(2, "0"), 0).is_some());
    }

    #[test]
    fn the_memory_has_a_bound_in_number_and_in_bytes() {
        let mut memory = ProofMemory::default();
        for number in 0..limits::PROOFS_MAX + 10 {
            memory.keep(proof_key(0, &number.to_string()), &proof("ann", 100, 0));
        }
        assert_eq!(memory.len(), limits::PROOFS_MAX);
        assert!(memory.find(&proof_key(0, "9"), 0).is_none() && memory.find(&proof_key(0, "10"), 0).is_some());
        for number in 0..2_000 {
            memory.keep(proof_key(1, &number.to_string()), &proof("ann", 100, 8_000));
            assert!(memory.bytes <= limits::PROOFS_BYTES_MAX);
        }
        let summed: usize = memory.proofs.iter().map(|(_, proof)| proof.bytes()).sum();
        assert_eq!(summed, memory.bytes);
        memory.keep(proof_key(1, "1999"), &proof("ann", 100, 10));
        assert!(memory.bytes < summed, "kept again, a token counts once");
    }
}
