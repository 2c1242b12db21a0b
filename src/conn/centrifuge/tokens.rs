//! The tokens of a client: the one place where they are verified. A verification costs a signature check, tens of
//! microseconds with a public key, so the client's pace pays for each.

use std::sync::Arc;

use super::Surroundings;
use super::pace::Pace;
use crate::limits::COMMANDS_PER_TOKEN;
use crate::proto::token::{ConnectionClaims, Proof, SubscriptionClaims, TokenFault, TokenRefusal, Verifier};
use crate::proto::user::User;

impl Surroundings<'_> {
    /// The rights that a token, or its absence, gives a client, and the proof if an auth has verified it.
    pub(super) fn admit(
        &self,
        pace: &mut Pace,
        token: &str,
    ) -> Result<(ConnectionClaims, Option<Arc<Proof>>), TokenRefusal> {
        let Some(auth) = self.target.token_auth else { return Ok((self.admit_by_key(pace, token)?, None)) };
        if token.is_empty() {
            return Err(TokenRefusal::Missing);
        }
        self.spend(pace, COMMANDS_PER_TOKEN);
        let check = self.settings.check().ok_or(TokenFault::NoKey)?;
        let (proof, ttl) = check.prove_by(auth, token)?;
        let claims = ConnectionClaims { user: Some(proof.user.clone()), ttl: Some(ttl), ..ConnectionClaims::default() };
        Ok((claims, Some(proof)))
    }

    fn admit_by_key(&self, pace: &mut Pace, token: &str) -> Result<ConnectionClaims, TokenRefusal> {
        match &self.target.token {
            None if token.is_empty() => Ok(ConnectionClaims::default()),
            // A client that sends a token relies on its being verified.
            None => Err(TokenFault::NoKey.into()),
            Some(_) if token.is_empty() => Err(TokenRefusal::Missing),
            Some(verifier) => self.verify(pace, |unix_now| verifier.connection(token, unix_now)),
        }
    }

    /// The claims of a token with which `user` may be subscribed to `channel`.
    pub(super) fn admit_to(
        &self,
        pace: &mut Pace,
        (verifier, token): (&Verifier, &str),
        user: Option<&User>,
        channel: &str,
    ) -> Result<SubscriptionClaims, TokenRefusal> {
        self.verify(pace, |unix_now| verifier.subscription(token, user, channel, unix_now))
    }

    fn verify<T>(
        &self,
        pace: &mut Pace,
        verify: impl FnOnce(u64) -> Result<T, TokenRefusal>,
    ) -> Result<T, TokenRefusal> {
        self.spend(pace, COMMANDS_PER_TOKEN);
        verify((self.settings.process.unix_time)())
    }

    /// The client has given work that costs as much as this many commands.
    pub(super) fn spend(&self, pace: &mut Pace, commands: u32) {
        pace.spend(commands, self.settings.generation.commands_per_second, self.now);
    }
}
