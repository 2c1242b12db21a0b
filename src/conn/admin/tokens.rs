//! The tokens of the admin listener: what each allows.
//!
//! ```text
//!  Authorization: Bearer … --SHA-256--> each token's digest, all compared in constant time --> its scopes --> the endpoint's scope
//! ```
//!
//! Kept are digests, so no token is found in the memory or in a log.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;

use crate::proto::CloseReason;
use crate::proto::http::Head;

/// The scopes of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Publish,
    Read,
    Send,
    Subscribe,
    Close,
    Revoke,
    Upstreams,
    Metrics,
}

impl Scope {
    pub const ALL: [Scope; 8] = [
        Scope::Publish,
        Scope::Read,
        Scope::Send,
        Scope::Subscribe,
        Scope::Close,
        Scope::Revoke,
        Scope::Upstreams,
        Scope::Metrics,
    ];

    /// As the configuration and `WWW-Authenticate` write it.
    pub fn word(self) -> &'static str {
        match self {
            Scope::Publish => "publish",
            Scope::Read => "read",
            Scope::Send => "send",
            Scope::Subscribe => "subscribe",
            Scope::Close => "close",
            Scope::Revoke => "revoke",
            Scope::Upstreams => "upstreams",
            Scope::Metrics => "metrics",
        }
    }

    pub fn named(word: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.word() == word)
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// One token. Its text is not kept.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken {
    digest: [u8; digest::SHA256_OUTPUT_LEN],
    scopes: u16,
}

impl AdminToken {
    pub fn new(text: &[u8], scopes: impl IntoIterator<Item = Scope>) -> AdminToken {
        AdminToken { digest: sha256(text), scopes: scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()) }
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(..)")
    }
}

/// The tokens of the configuration. Without any, requests need none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminTokens(Box<[AdminToken]>);

impl FromIterator<AdminToken> for AdminTokens {
    fn from_iter<I: IntoIterator<Item = AdminToken>>(tokens: I) -> AdminTokens {
        AdminTokens(tokens.into_iter().collect())
    }
}

/// Why a request is refused, with the `WWW-Authenticate` of RFC 6750 section 3.
pub(super) struct TokenObjection {
    pub reason: CloseReason,
    pub challenge: String,
    pub words: String,
}

impl AdminTokens {
    /// Whether the request's token allows `scope`; `None`: any token does.
    pub(super) fn check(&self, head: &Head<'_>, scope: Option<Scope>) -> Result<(), TokenObjection> {
        if self.0.is_empty() {
            return Ok(());
        }
        let Some(text) = bearer(head) else {
            return Err(TokenObjection {
                reason: CloseReason::NoToken,
                challenge: "Bearer".to_owned(),
                words: "this wants a token: Authorization: Bearer …, with one of admin.tokens".to_owned(),
            });
        };
        let digest = sha256(text);
        // Each is compared, so the time tells nothing about which one it is.
        let scopes = self.0.iter().fold(None, |found, token| {
            let is_it = verify_slices_are_equal(&token.digest, &digest).is_ok();
            if is_it { Some(token.scopes | found.unwrap_or(0)) } else { found }
        });
        match (scopes, scope) {
            (None, _) => Err(TokenObjection {
                reason: CloseReason::InvalidToken,
                challenge: "Bearer error=\"invalid_token\"".to_owned(),
                words: "the token is none of admin.tokens".to_owned(),
            }),
            (Some(scopes), Some(scope)) if scopes & scope.bit() == 0 => Err(TokenObjection {
                reason: CloseReason::InsufficientScope,
                challenge: format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", scope.word()),
                words: format!("the token lacks the scope {:?}", scope.word()),
            }),
            (Some(_), _) => Ok(()),
        }
    }
}

fn sha256(text: &[u8]) -> [u8; digest::SHA256_OUTPUT_LEN] {
    let mut out = [0; digest::SHA256_OUTPUT_LEN];
    out.copy_from_slice(digest::digest(&digest::SHA256, text).as_ref());
    out
}

/// The token of the request (RFC 6750 section 2.1); `None` if there is none, or more than one.
fn bearer<'h>(head: &Head<'h>) -> Option<&'h [u8]> {
    let value = head.single_header("authorization").ok()??.trim();
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::next_head;

    fn asked(tokens: &AdminTokens, field: &str, scope: Option<Scope>) -> Result<(), (u16, String)> {
        let mut bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n").into_bytes();
        let mut input = &mut bytes[..];
        let head = next_head(&mut input).unwrap().expect("a whole head");
        tokens.check(&head, scope).map_err(|objection| (objection.reason.row().http_status, objection.challenge))
    }

    #[test]
    fn a_token_allows_its_scopes_and_nothing_else() {
        let tokens: AdminTokens = [
            AdminToken::new(b"reader-of-everything", [Scope::Read, Scope::Metrics]),
            AdminToken::new(b"publisher-of-orders", [Scope::Publish]),
        ]
        .into_iter()
        .collect();
        let no_token = Err((401, "Bearer".to_owned()));
        for field in ["", "Authorization: Basic eDp5\r\n", "Authorization: Bearer\r\n", "Authorization: Bearer \r\n"] {
            assert_eq!(asked(&tokens, field, Some(Scope::Read)), no_token, "{field}");
            assert_eq!(asked(&AdminTokens::default(), field, Some(Scope::Read)), Ok(()), "{field}");
        }
        let twice = "Authorization: Bearer reader-of-everything\r\n".repeat(2);
        assert_eq!(asked(&tokens, &twice, None), no_token);
        for (token, scope, status) in [
            ("reader-of-everything", Some(Scope::Read), 200),
            ("reader-of-everything", Some(Scope::Publish), 403),
            ("publisher-of-orders", Some(Scope::Publish), 200),
            ("publisher-of-orders", Some(Scope::Revoke), 403),
            ("publisher-of-orders", None, 200),
            ("publisher-of-order", Some(Scope::Publish), 401),
            ("publisher-of-orders2", Some(Scope::Publish), 401),
            ("x", None, 401),
        ] {
            for scheme in ["Bearer", "bearer"] {
                let got = asked(&tokens, &format!("Authorization: {scheme} {token}\r\n"), scope);
                let challenge = match status {
                    401 => "Bearer error=\"invalid_token\"".to_owned(),
                    _ => format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", scope.map_or("", Scope::word)),
                };
                assert_eq!(got, if status == 200 { Ok(()) } else { Err((status, challenge)) }, "{token} {scope:?}");
            }
        }
        assert!(!format!("{tokens:?}").contains("publisher"));
    }
}
