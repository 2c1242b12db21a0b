//! Routes whose clients speak Centrifugo's protocol.

use super::super::{CentrifugeTarget, TokenKey};
use super::reach::pattern_covers;
use super::{ConfigBuilder, Section};

impl ConfigBuilder<'_> {
    pub(super) fn centrifuge(
        &mut self,
        section: &Section<'_>,
        path: Option<&str>,
        has_auth: bool,
    ) -> Option<CentrifugeTarget> {
        for name in ["channel", "publish", "control", "subprotocols", "headers"] {
            self.belongs_to(section, name, "raw");
        }
        let token = section.table("token");
        let token_auth = token.as_ref().and_then(|token| token.text("auth"));
        let target = CentrifugeTarget {
            service: section.text("service"),
            user: section.table("user").and_then(|user| self.user(&user)),
            token: token.as_ref().filter(|_| token_auth.is_none()).and_then(|token| self.token(token)),
            token_auth,
            channels: section.texts("channels"),
            publish_to: section.texts("publish_to"),
            server_side: section.texts("server_side"),
        };
        for name in ["channels", "publish_to"] {
            self.no_parameters(section, name);
            self.repetitions(section, name, pattern_covers);
        }
        self.repetitions(section, "server_side", |one, other| one == other);
        for channel in &target.server_side {
            self.parameters(section, "server_side", channel, path, &[]);
        }
        if let (Some(token), Some(name)) = (&token, &target.token_auth) {
            check_token_auth(self, token, name);
        }
        if (target.token.is_some() || target.token_auth.is_some()) && target.user.is_some() {
            self.conflict(section, "user", "is set beside a token, which names the user; expected one of them");
        }
        let keys = ["service", "user", "token", "channels", "publish_to", "server_side"];
        let is_ruled = has_auth || self.has_permissions;
        if !is_ruled && keys.iter().all(|name| section.value(name).is_none()) {
            let words = "websocket has no target; expected at least one of channels, publish_to, server_side, service, \
                         user and token";
            self.missing(section, words);
        }
        Some(target)
    }

    fn token(&mut self, section: &Section<'_>) -> Option<TokenKey> {
        let key = |name: &str| section.text(name).map(|file| self.path(section, name, &file));
        let (rsa, ecdsa) = (key("rsa_public_key"), key("ecdsa_public_key"));
        match (section.text("hmac_secret"), rsa, ecdsa) {
            (Some(secret), None, None) => Some(TokenKey::Hmac(secret)),
            (None, Some(file), None) => Some(TokenKey::Rsa(file)),
            (None, None, Some(file)) => Some(TokenKey::Ecdsa(file)),
            _ => {
                self.missing(
                    section,
                    "token needs one key; expected auth, hmac_secret, rsa_public_key or ecdsa_public_key",
                );
                None
            }
        }
    }

    /// An error if a key has no meaning with the protocol of its route.
    pub(super) fn belongs_to(&mut self, section: &Section<'_>, name: &str, protocol: &str) {
        if section.value(name).is_some() {
            let words =
                format!("needs protocol = \"{protocol}\"; expected that protocol, or the route without this key");
            self.conflict(section, name, &words);
        }
    }
}

/// Errors about the auth that takes the tokens of `connect`.
fn check_token_auth(builder: &mut ConfigBuilder<'_>, section: &Section<'_>, name: &str) {
    if let Some(other) =
        ["hmac_secret", "rsa_public_key", "ecdsa_public_key"].into_iter().find(|key| section.value(key).is_some())
    {
        builder.conflict(section, other, "is set beside auth, which has keys of its own; expected one of them");
    }
    if !builder.auth_names.iter().any(|known| known == name) {
        builder.conflict(section, "auth", "is the name of no [[auth]]; expected the name of one");
    } else if builder.tokenless_auths.iter().any(|known| known == name) {
        builder.conflict(
            section,
            "auth",
            "is an auth without tokens; set it as route.auth, which decides about the handshake",
        );
    }
}
