//! The configured auths in the form that connections use. Their keys are read from the files that they name.

use super::upstream;
use crate::conn::auth::{Auth, AuthBy, AuthKeys, Auths, TokenAuth};
use crate::conn::certified::CertificateAuth;
use crate::conn::forward_auth::{ForwardAuth, ForwardBy};
use crate::conn::route::AuthId;
use crate::gateway::config::{
    AuthKey, ClientAuth, ClientProof, Config, DeciderRules, ForwardRules, ForwardTo, TokenRules,
};
use crate::outbound::{DeciderSource, KeySource};
use crate::proto::permission::{DeciderId, Permissions};
use crate::proto::reserved::subjects;
use crate::proto::token::TokenPolicy;
use crate::proto::upstream::UpstreamRule;

pub(super) fn all(config: &Config, permissions: &Permissions) -> Result<Auths, String> {
    config.auths.iter().map(|own| auth(own, config, permissions)).collect::<Result<_, _>>().map(Auths::new)
}

/// The sources of the keys that issuers publish.
pub(in crate::gateway) fn key_sources(config: &Config) -> Result<Vec<KeySource>, String> {
    let source = |(auth, id): (&ClientAuth, u16)| {
        auth.key_source(AuthId(id)).map_err(|error| format!("auth {:?}: {error}", auth.name)).transpose()
    };
    config.auths.iter().zip(0..).filter_map(source).collect()
}

/// The deciders that are asked by URL.
pub(in crate::gateway) fn decider_sources(config: &Config) -> Result<Vec<DeciderSource>, String> {
    let source = |(rules, id): (&DeciderRules, u8)| {
        let source = rules.source(DeciderId(id)).map_err(|error| format!("permission.ask: {error}"));
        source.transpose()
    };
    config.deciders.iter().zip(0..).filter_map(source).collect()
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

fn auth(auth: &ClientAuth, config: &Config, permissions: &Permissions) -> Result<Auth, String> {
    let by = match &auth.proof {
        ClientProof::Token(rules) => token(rules, permissions).map(|token| AuthBy::Token(Box::new(token))),
        ClientProof::Forward(rules) => {
            forward(rules, &config.upstreams).map(|forward| AuthBy::Forward(Box::new(forward)))
        }
        ClientProof::Certificate(rules) => Ok(AuthBy::Certificate(CertificateAuth {
            name: rules.name,
            field: rules.header.as_deref().map(Into::into),
        })),
    };
    let words = |error: String| format!("auth {:?}: {error}", auth.name);
    Ok(Auth { name: auth.name.as_str().into(), by: by.map_err(words)? })
}

fn token(rules: &TokenRules, permissions: &Permissions) -> Result<TokenAuth, String> {
    let pairs = |pairs: &[(String, String)]| {
        pairs.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect()
    };
    Ok(TokenAuth {
        policy: TokenPolicy {
            issuer: rules.issuer.as_deref().map(Into::into),
            audience: rules.audience.as_deref().map(Into::into),
            required: pairs(&rules.required),
            leeway_s: rules.leeway_s,
            user: rules.user.as_str().into(),
            channels: rules.channels.as_deref().map(Into::into),
            publish: rules.publish.as_deref().map(Into::into),
            members: permissions.claims().to_vec(),
            conditions: permissions.conditions().to_vec(),
            told: pairs(&rules.headers),
        },
        keys: match (rules.keys()?, &rules.key) {
            (Some(keys), _) => AuthKeys::Own(keys),
            (None, AuthKey::Published(set)) => AuthKeys::Published { stale_s: set.stale_max_s },
            (None, _) => return Err("it has no key".to_owned()),
        },
        carriers: rules.carriers.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
    })
}

fn forward(rules: &ForwardRules, upstreams: &[UpstreamRule]) -> Result<ForwardAuth, String> {
    let names = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    let send = match rules.send.is_empty() {
        true => ["Cookie", "Authorization"].map(Box::from).into(),
        false => names(&rules.send),
    };
    Ok(ForwardAuth {
        by: match &rules.to {
            ForwardTo::Upstream { name, path } => {
                ForwardBy::Server { upstream: upstream(name, upstreams)?, path: path.as_str().into() }
            }
            ForwardTo::Service(service) => {
                ForwardBy::Workers(subjects::authorize(service).map_err(|error| format!("forward.service: {error}"))?)
            }
        },
        send,
        copy: names(&rules.copy),
        user: rules.user.as_str().into(),
        timeout: rules.timeout,
        ttl_s: rules.ttl_s,
    })
}
