//! The configured auths in the form that connections use. Their keys are read from the files that they name.

use crate::conn::auth::{Auth, AuthKeys, Auths};
use crate::conn::route::AuthId;
use crate::gateway::config::{AuthKey, ClientAuth, Config};
use crate::outbound::KeySource;
use crate::proto::token::TokenPolicy;

pub(super) fn all(config: &Config) -> Result<Auths, String> {
    config.auths.iter().map(auth).collect::<Result<_, _>>().map(Auths::new)
}

/// The sources of the keys that issuers publish.
pub(super) fn key_sources(config: &Config) -> Result<Vec<KeySource>, String> {
    let source = |(auth, id): (&ClientAuth, u16)| {
        auth.key_source(AuthId(id)).map_err(|error| format!("auth {:?}: {error}", auth.name)).transpose()
    };
    config.auths.iter().zip(0..).filter_map(source).collect()
}

fn stale_s(auth: &ClientAuth) -> u64 {
    match &auth.key {
        AuthKey::Published(set) => set.stale_max_s,
        _ => u64::MAX,
    }
}

/// The auths of a route, by their names.
pub(super) fn ids(names: &[String], auths: &[ClientAuth]) -> Result<Box<[AuthId]>, String> {
    let id = |name: &String| {
        let index = auths.iter().position(|auth| auth.name == *name);
        let index = index.and_then(|index| u16::try_from(index).ok());
        index.map(AuthId).ok_or_else(|| format!("{name} is no auth"))
    };
    names.iter().map(id).collect()
}

fn auth(auth: &ClientAuth) -> Result<Auth, String> {
    let pairs = |pairs: &[(String, String)]| {
        pairs.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect()
    };
    let words = |error: String| format!("auth {:?}: {error}", auth.name);
    Ok(Auth {
        name: auth.name.as_str().into(),
        policy: TokenPolicy {
            issuer: auth.issuer.as_deref().map(Into::into),
            audience: auth.audience.as_deref().map(Into::into),
            required: pairs(&auth.required),
            leeway_s: auth.leeway_s,
            user: auth.user.as_str().into(),
            channels: auth.channels.as_deref().map(Into::into),
            told: pairs(&auth.headers),
        },
        keys: match auth.keys().map_err(words)? {
            Some(keys) => AuthKeys::Own(keys),
            None => AuthKeys::Published { stale_s: stale_s(auth) },
        },
        carriers: auth.carriers.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(words)?,
    })
}
