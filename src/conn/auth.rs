//! Proof of identity: the token of a request, checked by the `[[auth]]` of its route, and what the token proves.
//!
//! ```text
//!  head --the carriers of each auth, in order--> token --remembered by this shard?--> Arc<Proof>
//!                                                  |            '--no--> TokenPolicy::verify: a signature is checked
//!                                                  |                         '-- its key is not known: Inquiry, and the request waits
//!                                                  '-- none, two, not valid, too little --> Denial: 401, 400, 401, 403
//! ```
//!
//! The first auth whose carriers have a token decides; no other one is asked after it.

use std::cell::RefCell;
use std::sync::Arc;

use super::certified::{CertificateAuth, CertificateFault};
use super::forward_auth::{ForwardAuth, ForwardVerdict, RelayedAnswer};
use super::inquiry::{Inquiry, InquiryAnswer};
use super::published::{KnownKeys, PublishedKeys};
use super::route::{AuthId, Route};
use crate::proto::CloseReason;
use crate::proto::http::{ForwardedCredentials, Head, query_without};
use crate::proto::tls::clients::ClientCertificate;
use crate::proto::token::carrier::{self, Carrier};
use crate::proto::token::memory::ProofMemory;
use crate::proto::token::revocation::{Revocation, RevokedTokens};
use crate::proto::token::{KeySet, Proof, TokenFault, TokenPolicy, TokenRefusal};

/// One `[[auth]]`.
#[derive(Clone, Debug)]
pub struct Auth {
    pub name: Box<str>,
    pub by: AuthBy,
}

/// The kind of proof.
#[derive(Clone, Debug)]
pub enum AuthBy {
    Token(Box<TokenAuth>),
    /// A server says so.
    Forward(Box<ForwardAuth>),
    Certificate(CertificateAuth),
}

/// The proofs of a client besides its request.
#[derive(Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// The answer for which the request has waited, if it has.
    pub answer: Option<&'a InquiryAnswer>,
    /// The client's certificate.
    pub certificate: Option<&'a ClientCertificate>,
}

/// A signed token.
#[derive(Clone, Debug)]
pub struct TokenAuth {
    pub policy: TokenPolicy,
    pub keys: AuthKeys,
    pub carriers: Vec<Carrier>,
}

/// The keys of a [`TokenAuth`].
#[derive(Clone, Debug)]
pub enum AuthKeys {
    /// As the configuration has them.
    Own(KeySet),
    /// As the issuer publishes them; no token passes with keys that are older than so many seconds.
    Published { stale_s: u64 },
}

impl Auth {
    fn token(&self) -> Option<&TokenAuth> {
        match &self.by {
            AuthBy::Token(token) => Some(token),
            AuthBy::Forward(_) | AuthBy::Certificate(_) => None,
        }
    }

    fn takes_cookies(&self) -> bool {
        match &self.by {
            AuthBy::Token(token) => token.carriers.iter().any(|carrier| matches!(carrier, Carrier::Cookie(_))),
            AuthBy::Forward(forward) => forward.send.iter().any(|name| name.eq_ignore_ascii_case("cookie")),
            AuthBy::Certificate(_) => false,
        }
    }

    /// The header fields that it tells servers.
    fn fields(&self) -> Vec<&str> {
        match &self.by {
            AuthBy::Token(token) => token.policy.told.iter().map(|(name, _)| &**name).collect(),
            AuthBy::Forward(forward) => forward.told().collect(),
            AuthBy::Certificate(certificate) => certificate.field.as_deref().into_iter().collect(),
        }
    }

    /// Whether the server of this auth decides about the request: it has something for it, or no other auth is left.
    fn is_for_server(forward: &ForwardAuth, head: &Head<'_>, is_last: bool) -> bool {
        is_last || forward.send.iter().any(|name| head.values(name).next().is_some())
    }
}

impl AuthKeys {
    fn are_published(&self) -> bool {
        matches!(self, AuthKeys::Published { .. })
    }
}

/// All of a configuration, by [`AuthId`].
#[derive(Clone, Debug, Default)]
pub struct Auths {
    all: Box<[Auth]>,
    /// The header fields that one of them tells servers: no value of a client passes, on any route.
    fields: Box<[Box<str>]>,
}

impl Auths {
    pub fn new(all: Vec<Auth>) -> Auths {
        let fields = all.iter().flat_map(Auth::fields).map(Box::from).collect();
        Auths { all: all.into(), fields }
    }

    pub fn name(&self, id: AuthId) -> Option<&str> {
        self.all.get(usize::from(id.0)).map(|auth| &*auth.name)
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The name of each, and whether its issuer publishes its keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, bool)> {
        self.all.iter().map(|auth| (&*auth.name, auth.token().is_some_and(|token| token.keys.are_published())))
    }
}

/// The outcome of a check of credentials: those of a request, or of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthOutcome {
    /// A signature was checked, and is the issuer's.
    Verified,
    /// The token was verified before.
    Remembered,
    /// There is no token.
    Missing,
    /// There are two tokens.
    Ambiguous,
    Expired,
    /// The token is not valid for another reason.
    Invalid,
    /// The token is valid and does not allow that.
    Forbidden,
    /// The token is valid, and revoked.
    Revoked,
    /// The issuer's keys are not known.
    Unavailable,
}

impl AuthOutcome {
    pub const ALL: [AuthOutcome; 9] = [
        AuthOutcome::Verified,
        AuthOutcome::Remembered,
        AuthOutcome::Missing,
        AuthOutcome::Ambiguous,
        AuthOutcome::Expired,
        AuthOutcome::Invalid,
        AuthOutcome::Forbidden,
        AuthOutcome::Revoked,
        AuthOutcome::Unavailable,
    ];

    /// As in metrics.
    pub fn word(self) -> &'static str {
        match self {
            AuthOutcome::Verified => "verified",
            AuthOutcome::Remembered => "remembered",
            AuthOutcome::Missing => "missing",
            AuthOutcome::Ambiguous => "ambiguous",
            AuthOutcome::Expired => "expired",
            AuthOutcome::Invalid => "invalid",
            AuthOutcome::Forbidden => "forbidden",
            AuthOutcome::Revoked => "revoked",
            AuthOutcome::Unavailable => "unavailable",
        }
    }
}

/// The reason why a request is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Denial {
    pub reason: CloseReason,
    /// The auth that has refused the token, and why.
    pub refused: Option<(AuthId, TokenRefusal)>,
}

impl Denial {
    fn new(reason: CloseReason) -> Denial {
        Denial { reason, refused: None }
    }
}

/// Why a request has no proof, or none yet.
pub(super) enum Unproven {
    Denied(Denial),
    /// A server has refused it.
    Refused(RelayedAnswer),
    /// The request has to wait for an answer.
    Asks(Inquiry),
}

impl From<Denial> for Unproven {
    fn from(denial: Denial) -> Unproven {
        Unproven::Denied(denial)
    }
}

/// The tokens that one shard has verified, and how often it was asked. Requests are read with shared settings, so it changes
/// inside: nothing else than [`CredentialCheck`] uses it, for the length of one call.
#[derive(Default)]
pub struct Proofs(RefCell<VerifiedTokens>);

#[derive(Default)]
struct VerifiedTokens {
    memory: ProofMemory,
    revoked: RevokedTokens,
    key_sets: KnownKeys,
    /// By auth, then by outcome.
    counts: Vec<[u64; AuthOutcome::ALL.len()]>,
}

impl Proofs {
    /// How often that was the outcome.
    pub fn count(&self, auth: usize, outcome: AuthOutcome) -> u64 {
        self.0
            .try_borrow()
            .ok()
            .and_then(|verified| Some(verified.counts.get(auth)?[outcome as usize]))
            .unwrap_or_default()
    }

    /// Takes these tokens no more. False if there is no place for another revocation.
    pub fn revoke(&self, revocation: &Revocation, unix_now: u64) -> bool {
        self.with(|verified| verified.revoked.keep(revocation, unix_now))
    }

    /// A fetch of an issuer's keys has ended.
    pub fn learn(&self, auth: AuthId, fetched: Option<&PublishedKeys>, unix_now: u64) {
        self.with(|verified| {
            if verified.key_sets.learn(auth, fetched, unix_now) {
                verified.memory.forget_issuer(auth.0);
            }
        });
    }

    /// Auths with tokens whose key is not known, and which no request waits for.
    pub fn take_wanted(&self) -> Vec<AuthId> {
        self.with(|verified| verified.key_sets.take_wanted())
    }

    fn with<T: Default>(&self, work: impl FnOnce(&mut VerifiedTokens) -> T) -> T {
        let verified = self.0.try_borrow_mut();
        debug_assert!(verified.is_ok(), "one call at a time");
        verified.map_or_else(|_| T::default(), |mut verified| work(&mut verified))
    }
}

/// Another shard has verified nothing yet.
impl Clone for Proofs {
    fn clone(&self) -> Proofs {
        Proofs::default()
    }
}

impl std::fmt::Debug for Proofs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proofs(..)")
    }
}

/// The check of credentials: the auths of the configuration, and the tokens that the shard has verified, at a second of Unix time.
#[derive(Clone, Copy)]
pub struct CredentialCheck<'s> {
    pub auths: &'s Auths,
    pub proofs: &'s Proofs,
    pub unix_time: fn() -> u64,
}

impl<'s> CredentialCheck<'s> {
    pub(super) fn auth(&self, id: AuthId) -> Option<&'s Auth> {
        self.auths.all.get(usize::from(id.0))
    }

    /// The server that decides for this auth.
    pub fn forward(&self, id: AuthId) -> Option<&'s ForwardAuth> {
        match &self.auth(id)?.by {
            AuthBy::Forward(forward) => Some(forward),
            AuthBy::Token(_) | AuthBy::Certificate(_) => None,
        }
    }

    /// The proof that a request gives to one of the auths of its route, or its connection does.
    pub(super) fn prove(
        &self,
        head: &Head<'_>,
        route: &Route,
        Evidence { answer, certificate }: Evidence<'_>,
    ) -> Result<Arc<Proof>, Unproven> {
        if let Some(InquiryAnswer::Busy) = answer {
            return Err(Denial::new(CloseReason::AuthBusy).into());
        }
        for (id, auth) in route.auth.iter().filter_map(|id| Some((*id, self.auth(*id)?))) {
            let token_auth = match &auth.by {
                AuthBy::Token(token_auth) => token_auth,
                AuthBy::Forward(forward) if Auth::is_for_server(forward, head, route.auth.last() == Some(&id)) => {
                    return self.judged(id, answer);
                }
                AuthBy::Certificate(own) => match certificate {
                    Some(certificate) => return self.certified(id, own, certificate),
                    None => continue,
                },
                AuthBy::Forward(_) => continue,
            };
            match carrier::token(head, &token_auth.carriers) {
                Ok(None) => {}
                Ok(Some(token)) => return self.verify(id, token_auth, &token, answer.is_none()),
                Err(_) => {
                    self.note(id, AuthOutcome::Ambiguous);
                    return Err(Denial::new(CloseReason::AmbiguousToken).into());
                }
            }
        }
        route.auth.iter().for_each(|id| self.note(*id, AuthOutcome::Missing));
        Err(Denial::new(CloseReason::NoToken).into())
    }

    /// The proof of a certificate: the handshake has verified it.
    fn certified(
        &self,
        id: AuthId,
        auth: &CertificateAuth,
        certificate: &ClientCertificate,
    ) -> Result<Arc<Proof>, Unproven> {
        let proof = auth.proof(certificate, (self.unix_time)()).map_err(|fault| {
            let (reason, outcome) = match fault {
                CertificateFault::Nameless => (CloseReason::InsufficientScope, AuthOutcome::Forbidden),
                CertificateFault::Over => (CloseReason::NoToken, AuthOutcome::Expired),
            };
            self.note(id, outcome);
            Denial::new(reason)
        })?;
        self.unless_revoked(id, proof.into(), AuthOutcome::Verified)
    }

    /// The verdict of the server that decides, for which the request may have to wait.
    fn judged(&self, id: AuthId, answer: Option<&InquiryAnswer>) -> Result<Arc<Proof>, Unproven> {
        match answer {
            None => Err(Unproven::Asks(Inquiry::Forward(id))),
            Some(InquiryAnswer::Judged(ForwardVerdict::Admitted(proof))) => {
                self.unless_revoked(id, proof.clone(), AuthOutcome::Verified)
            }
            Some(InquiryAnswer::Judged(ForwardVerdict::Refused(relayed))) => {
                self.note(id, AuthOutcome::Forbidden);
                Err(Unproven::Refused(RelayedAnswer::clone(relayed)))
            }
            Some(_) => {
                self.note(id, AuthOutcome::Unavailable);
                Err(Denial::new(CloseReason::AuthUnavailable).into())
            }
        }
    }

    /// The auth of a route that decides about a request: it is shown a token or a certificate, or its server is asked.
    pub(super) fn deciding(&self, head: &Head<'_>, route: &Route, has_certificate: bool) -> Option<AuthId> {
        let decides = |id: AuthId, auth: &Auth| match &auth.by {
            AuthBy::Token(token_auth) => !matches!(carrier::token(head, &token_auth.carriers), Ok(None)),
            AuthBy::Forward(forward) => Auth::is_for_server(forward, head, route.auth.last() == Some(&id)),
            AuthBy::Certificate(_) => has_certificate,
        };
        route.auth.iter().copied().find(|id| self.auth(*id).is_some_and(|auth| decides(*id, auth)))
    }

    /// The proof that a token gives to one of the auths of a route, each asked in turn: the token came without a carrier.
    pub fn prove_token(&self, route: &Route, token: &str) -> Result<Arc<Proof>, TokenRefusal> {
        let mut refused = TokenRefusal::Missing;
        for (id, auth) in route.auth.iter().filter_map(|id| Some((*id, self.auth(*id)?))) {
            let Some(auth) = auth.token() else { continue };
            match self.verify(id, auth, token, true) {
                Ok(proof) => return Ok(proof),
                Err(unproven) => refused = self.refusal(unproven),
            }
        }
        Err(refused)
    }

    /// The proof that a token gives to this auth: the token came without a carrier. Also how many seconds its client has until it
    /// should show another one: the leeway for clocks is not among them.
    pub(super) fn prove_by(&self, id: AuthId, token: &str) -> Result<(Arc<Proof>, u64), TokenRefusal> {
        let auth = self.auth(id).and_then(Auth::token).ok_or(TokenFault::NoKey)?;
        let proof = self.verify(id, auth, token, true).map_err(|unproven| self.refusal(unproven))?;
        let left = proof.until_s.saturating_sub((self.unix_time)());
        Ok((proof, left.saturating_sub(auth.policy.leeway_s.into()).max(1)))
    }

    /// The refusal for a client that does not wait.
    fn refusal(&self, unproven: Unproven) -> TokenRefusal {
        match unproven {
            Unproven::Denied(denial) => denial.refused.map_or(TokenRefusal::Unsettled, |(_, refused)| refused),
            // Servers are asked about requests, not about tokens.
            Unproven::Refused(_) | Unproven::Asks(Inquiry::Forward(_) | Inquiry::Client(..) | Inquiry::Rights(_)) => {
                TokenRefusal::Missing
            }
            Unproven::Asks(Inquiry::Keys(auth)) => {
                self.proofs.with(|verified| verified.key_sets.want(auth));
                TokenRefusal::Unsettled
            }
        }
    }

    /// `may_ask`: the token may wait until its issuer's keys are fetched.
    fn verify(&self, id: AuthId, auth: &TokenAuth, token: &str, may_ask: bool) -> Result<Arc<Proof>, Unproven> {
        let unix_now = (self.unix_time)();
        let published;
        let keys = match &auth.keys {
            AuthKeys::Own(keys) => keys,
            AuthKeys::Published { stale_s } => {
                match self.proofs.with(|verified| verified.key_sets.find(id, unix_now, *stale_s)) {
                    Some(keys) => published = keys,
                    None => {
                        self.note(id, AuthOutcome::Unavailable);
                        return Err(Denial::new(CloseReason::AuthUnavailable).into());
                    }
                }
                &published
            }
        };
        if let Some(proof) = self.proofs.with(|verified| verified.memory.find(id.0, token, unix_now)) {
            return self.unless_revoked(id, proof, AuthOutcome::Remembered);
        }
        match auth.policy.verify(keys, token, unix_now) {
            Ok(proof) => {
                let proof = Arc::new(proof);
                self.proofs.with(|verified| verified.memory.keep(id.0, token, &proof));
                self.unless_revoked(id, proof, AuthOutcome::Verified)
            }
            Err(TokenRefusal::Invalid(TokenFault::UnknownKey))
                if may_ask
                    && auth.keys.are_published()
                    && self.proofs.with(|verified| verified.key_sets.may_ask(id, unix_now)) =>
            {
                Err(Unproven::Asks(Inquiry::Keys(id)))
            }
            Err(refused) => {
                let (reason, outcome) = match refused {
                    TokenRefusal::Invalid(TokenFault::Required) => {
                        (CloseReason::InsufficientScope, AuthOutcome::Forbidden)
                    }
                    TokenRefusal::Expired => (CloseReason::InvalidToken, AuthOutcome::Expired),
                    _ => (CloseReason::InvalidToken, AuthOutcome::Invalid),
                };
                self.note(id, outcome);
                Err(Denial { reason, refused: Some((id, refused)) }.into())
            }
        }
    }

    fn unless_revoked(&self, id: AuthId, proof: Arc<Proof>, outcome: AuthOutcome) -> Result<Arc<Proof>, Unproven> {
        let is_revoked = self.proofs.with(|verified| verified.revoked.forbid(&proof, (self.unix_time)()));
        self.note(id, if is_revoked { AuthOutcome::Revoked } else { outcome });
        let refused = Some((id, TokenFault::Revoked.into()));
        if is_revoked { Err(Denial { reason: CloseReason::InvalidToken, refused }.into()) } else { Ok(proof) }
    }

    /// A request whose token is valid asks for more than it allows.
    pub(super) fn forbid(&self, route: &Route) -> Denial {
        route.auth.iter().for_each(|id| self.note(*id, AuthOutcome::Forbidden));
        Denial::new(CloseReason::InsufficientScope)
    }

    fn note(&self, id: AuthId, outcome: AuthOutcome) {
        self.proofs.with(|verified| {
            let index = usize::from(id.0);
            if verified.counts.len() <= index {
                verified.counts.resize(self.auths.all.len().max(index + 1), Default::default());
            }
            verified.counts[index][outcome as usize] += 1;
        });
    }

    /// Whether a token of the route may come among the subprotocols of a WebSocket.
    pub(super) fn takes_subprotocols(&self, route: &Route) -> bool {
        self.carriers(route).any(|carrier| *carrier == Carrier::Subprotocol)
    }

    /// Whether a browser may send the proof by itself, with any request: in a cookie.
    pub(super) fn takes_cookies(&self, route: &Route) -> bool {
        route.auth.iter().filter_map(|id| self.auth(*id)).any(Auth::takes_cookies)
    }

    /// The claims of a request's client, as servers get them. Fields of all auths are stripped, on any route.
    pub(super) fn forwarded<'p>(&self, route: &Route, proof: Option<&'p Proof>) -> ForwardedCredentials<'p>
    where
        's: 'p,
    {
        let (stripped, told) = (&*self.auths.fields, proof.map_or(&[][..], |proof| &proof.told));
        ForwardedCredentials { stripped, told, hides_subprotocols: self.takes_subprotocols(route) }
    }

    /// The query of a request without the parameters that may carry a token: what workers and servers get.
    pub(super) fn query_without_tokens<'q>(
        &self,
        route: &Route,
        query: Option<&'q str>,
    ) -> Option<std::borrow::Cow<'q, str>> {
        let is_carrier =
            |name: &str| self.carriers(route).any(|carrier| matches!(carrier, Carrier::Query(own) if **own == *name));
        query_without(query?, is_carrier)
    }

    fn carriers<'r>(&self, route: &'r Route) -> impl Iterator<Item = &'s Carrier> + use<'_, 's, 'r> {
        let auths = route.auth.iter().filter_map(|id| self.auth(*id));
        auths.filter_map(Auth::token).flat_map(|auth| &auth.carriers)
    }
}
