//! The credentials in a proxied request: claims in header fields of the gateway's own, and no token where
//! the server has no business with one.

use smallvec::SmallVec;

use super::fields::Field;
use crate::proto::token::carrier::of_subprotocol;

/// The claims of a client that was proven, for servers.
#[derive(Clone, Copy, Default)]
pub struct ForwardedCredentials<'a> {
    /// Names of fields that only the gateway says, about the client of any route: no value of a client passes.
    pub stripped: &'a [Box<str>],
    /// Those of this client.
    pub told: &'a [(Box<str>, Box<str>)],
    /// Subprotocols that are tokens are left out.
    pub hides_subprotocols: bool,
}

/// Whether a field offers subprotocols.
pub(super) fn is_offer(name: &str) -> bool {
    name.eq_ignore_ascii_case("sec-websocket-protocol")
}

/// The offered subprotocols that are no tokens, if there are any.
pub(super) fn other_offers(field: &Field<'_>) -> Option<String> {
    let text = String::from_utf8_lossy(field.value);
    let offers = text.split(',').map(str::trim).filter(|offer| !offer.is_empty() && of_subprotocol(offer).is_none());
    let offers = offers.collect::<SmallVec<[&str; 4]>>();
    (!offers.is_empty()).then(|| offers.join(", "))
}

impl ForwardedCredentials<'_> {
    pub(super) fn strips(&self, name: &str) -> bool {
        self.stripped.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_not_offered_a_token_as_a_subprotocol() {
        for (offers, left) in [
            ("chat, bearer.a.b.c, news", Some("chat, news")),
            ("bearer.a.b.c", None),
            ("base64url.bearer.authorization.k8s.io.YS5iLmM,tidegate", Some("tidegate")),
        ] {
            let field = Field { name: "Sec-WebSocket-Protocol", value: offers.as_bytes() };
            assert!(is_offer(field.name));
            assert_eq!(other_offers(&field).as_deref(), left, "{offers}");
        }
    }
}
