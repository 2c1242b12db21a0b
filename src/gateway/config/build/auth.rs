//! `[[auth]]`, `[access]` and `route.auth`: which of their keys fit together, and the names that they use.

use std::path::PathBuf;
use std::time::Duration;

use super::super::auth::PUBLIC_KEYS;
use super::super::form::{self, UrlParts};
use super::super::tree::Content;
use super::super::{
    AuthKey, CertificateRules, ClientAuth, ClientProof, Config, ForwardRules, ForwardTo, PublishedKeySet, Route,
    Target, TokenRules, validate,
};
use super::reach::path_covers;
use super::upstreams::known_upstream;
use super::{ConfigBuilder, Section};
use crate::conn::certified::CertifiedName;
use crate::limits::{AUTHS_MAX, KEYS_STALE_MAX};
use crate::proto::upstream::{UpstreamRule, UpstreamTls};

/// Instead of the name of an auth: a route is open to everybody.
const NONE: &str = "none";

/// Upstreams that are named by a URL are added.
pub(super) fn all(
    builder: &mut ConfigBuilder<'_>,
    top: &Section<'_>,
    upstreams: &mut Vec<UpstreamRule>,
) -> Vec<ClientAuth> {
    let sections = top.tables("auth");
    if let Some(section) = sections.get(AUTHS_MAX) {
        builder.missing(section, &format!("there are too many [[auth]]; expected at most {AUTHS_MAX}"));
    }
    let mut auths: Vec<ClientAuth> = Vec::new();
    for section in &sections {
        let Some(auth) = auth(builder, section, upstreams) else { continue };
        if auths.iter().any(|other| other.name == auth.name) {
            builder.conflict(section, "name", "is the name of an earlier [[auth]]; expected another");
        }
        auths.push(auth);
    }
    auths
}

fn auth(
    builder: &mut ConfigBuilder<'_>,
    section: &Section<'_>,
    upstreams: &mut Vec<UpstreamRule>,
) -> Option<ClientAuth> {
    let name = builder.required(section, "name");
    let kinds = ["jwt", "forward", "certificate"];
    let mut set = kinds.into_iter().filter(|kind| section.value(kind).is_some());
    let (first, second) = (set.next(), set.next());
    if let (Some(first), Some(second)) = (first, second) {
        builder.conflict(section, second, &format!("is set beside {first}; expected one of them"));
        return None;
    }
    let Some(own) = first.map(|kind| section.table(kind)) else {
        builder.missing(section, "[[auth]] proves nothing; expected jwt, forward or certificate");
        return None;
    };
    let own = own?;
    let proof = match first {
        Some("jwt") => ClientProof::Token(Box::new(token(builder, section, &own)?)),
        Some("forward") => ClientProof::Forward(Box::new(forward(builder, section, &own, upstreams)?)),
        _ => {
            has_no_claims(builder, section, "certificate");
            let name = match own.text("user").as_deref() {
                Some("san_dns") => CertifiedName::Dns,
                Some("san_email") => CertifiedName::Email,
                Some("subject_cn") => CertifiedName::CommonName,
                _ => CertifiedName::Uri,
            };
            ClientProof::Certificate(CertificateRules { name, header: own.text("header") })
        }
    };
    Some(ClientAuth { name: name?, proof })
}

/// A server, or workers, that decide.
fn forward(
    builder: &mut ConfigBuilder<'_>,
    owner: &Section<'_>,
    section: &Section<'_>,
    upstreams: &mut Vec<UpstreamRule>,
) -> Option<ForwardRules> {
    has_no_claims(builder, owner, "forward");
    let user = builder.required(section, "user");
    let to = match (section.text("upstream"), section.text("service")) {
        (Some(upstream), None) => {
            let known = known_upstream(builder, (section, "upstream"), &upstream, upstreams)?;
            ForwardTo::Upstream { name: upstreams[known].name.to_string(), path: section.text("path")? }
        }
        (None, Some(service)) => {
            // A printed default is no mistake.
            if section.text("path").is_some_and(|path| path != "/") {
                builder.conflict(section, "path", "is about a server, and workers have none");
            }
            ForwardTo::Service(service)
        }
        (Some(_), Some(_)) => {
            builder.conflict(section, "service", "is set beside upstream; expected one of them");
            return None;
        }
        (None, None) => {
            if section.value("upstream").is_none() && section.value("service").is_none() {
                builder.missing(section, "forward asks nothing; expected upstream or service");
            }
            return None;
        }
    };
    Some(ForwardRules {
        to,
        send: section.texts("send"),
        copy: section.texts("copy"),
        user: user?,
        timeout: Duration::from_millis(section.whole("timeout_ms")),
        ttl_s: section.whole("ttl_s"),
    })
}

/// The keys about tokens are not set beside another kind of proof.
fn has_no_claims(builder: &mut ConfigBuilder<'_>, section: &Section<'_>, kind: &str) {
    for name in ["channels", "require", "headers"] {
        if section.value(name).is_some() {
            builder.conflict(section, name, &format!("is about the claims of a token, and {kind} has none"));
        }
    }
    // A printed default is no mistake.
    for (name, default) in [("token", "header"), ("user", "sub")] {
        if section.value(name).is_some() && section.texts(name) != [default] {
            builder.conflict(section, name, &format!("is about tokens, and {kind} has none"));
        }
    }
}

/// Tokens.
fn token(builder: &mut ConfigBuilder<'_>, section: &Section<'_>, jwt: &Section<'_>) -> Option<TokenRules> {
    if let Some(Content::List(items)) = section.value("token").map(|value| &value.content)
        && items.is_empty()
    {
        builder.conflict(section, "token", "is an empty list; expected where a request carries its token");
    }
    builder.repetitions(section, "token", |one, other| one == other);
    let key = auth_key(builder, jwt);
    Some(TokenRules {
        issuer: jwt.text("issuer"),
        audience: jwt.text("audience"),
        algorithms: jwt.texts("algorithms"),
        leeway_s: u32::try_from(jwt.whole("leeway_s")).unwrap_or(u32::MAX),
        key: key?,
        carriers: section.texts("token"),
        user: section.text("user")?,
        channels: section.text("channels"),
        publish: section.text("publish"),
        required: section.pairs("require"),
        headers: section.pairs("headers"),
    })
}

fn auth_key(builder: &mut ConfigBuilder<'_>, section: &Section<'_>) -> Option<AuthKey> {
    let file = |name: &str| section.text(name).map(|file| builder.path(section, name, &file));
    let (public, ca) = (PUBLIC_KEYS.map(|name| Some(AuthKey::Public(name, file(name)?))), file("keys_ca"));
    let set = file("keys").map(AuthKey::Set);
    let secret_file = file("hmac_secret_file").map(AuthKey::SecretFile);
    let set = match section.text("keys").filter(|keys| keys.contains("://")) {
        Some(url) => Some(published(builder, section, url, ca)?),
        None => {
            if ca.is_some() {
                builder.conflict(section, "keys_ca", "has no effect unless keys is a URL");
            }
            // A printed default is no mistake.
            if section.whole("keys_stale_max_s") != KEYS_STALE_MAX.as_secs() {
                builder.doubt(section, "keys_stale_max_s", "has no effect unless keys is a URL");
            }
            set
        }
    };
    let others = [set, section.text("hmac_secret").map(AuthKey::Secret), secret_file];
    let mut all: Vec<AuthKey> = others.into_iter().chain(public).flatten().collect();
    if all.len() != 1 {
        let words = "jwt needs one key; expected keys, hmac_secret, hmac_secret_file, rsa_public_key, ecdsa_public_key or \
                     ed25519_public_key";
        builder.missing(section, words);
        return None;
    }
    all.pop()
}

/// A key set that its issuer publishes at this URL.
fn published(
    builder: &mut ConfigBuilder<'_>,
    section: &Section<'_>,
    url: String,
    ca: Option<PathBuf>,
) -> Option<AuthKey> {
    let UrlParts { server: (text, at), path, is_tls } = match form::keys_at(&url) {
        Ok(found) => found,
        Err(words) => {
            builder.conflict(section, "keys", words);
            return None;
        }
    };
    if ca.is_some() && !is_tls {
        builder.conflict(section, "keys_ca", "has no effect on a URL without https");
    }
    let tls = is_tls.then(|| UpstreamTls { ca, ..UpstreamTls::default() });
    let server = UpstreamRule { tls, ..UpstreamRule::new("keys") }.with(&text, at);
    let stale_max_s = section.whole("keys_stale_max_s");
    Some(AuthKey::Published(Box::new(PublishedKeySet { url, server, path, stale_max_s })))
}

/// The names of the auths of a route: its own, or those of all.
pub(super) fn of_route(builder: &mut ConfigBuilder<'_>, section: &Section<'_>, top: &Section<'_>) -> Vec<String> {
    let own = names(builder, section);
    let all = own.or_else(|| top.table("access").map(|access| access.texts("auth")));
    all.unwrap_or_default().into_iter().filter(|name| name != NONE).collect()
}

/// Of `route.auth` or `access.auth`, if it is set.
pub(super) fn names(builder: &mut ConfigBuilder<'_>, section: &Section<'_>) -> Option<Vec<String>> {
    section.value("auth")?;
    let names = section.texts("auth");
    let known = builder.auth_names.clone();
    if let Some(name) = names.iter().find(|name| *name != NONE && !known.contains(name)) {
        let words = match validate::nearest(name, known.iter().map(String::as_str)) {
            Some(nearest) => format!("has {name:?}, which is no [[auth]]; did you mean {nearest:?}?"),
            None => {
                format!("has {name:?}, which is the name of no [[auth]]; expected the name of one, or \"none\"")
            }
        };
        builder.conflict(section, "auth", &words);
    }
    if names.len() > 1 && names.iter().any(|name| name == NONE) {
        builder.conflict(section, "auth", "has \"none\" beside others; expected one or the other");
    }
    if names.is_empty() {
        builder.conflict(section, "auth", "is an empty list; expected the name of an [[auth]], or \"none\"");
    }
    builder.repetitions(section, "auth", |one, other| one == other);
    Some(names)
}

pub(super) fn doubts(builder: &mut ConfigBuilder<'_>, top: &Section<'_>, config: &Config) {
    let takes_tokens = |route: &Route, name: &str| matches!(&route.target, Target::Centrifuge(target) if target.token_auth.as_deref() == Some(name));
    let is_used = |name: &str| {
        config.routes.iter().any(|route| route.auth.iter().any(|own| own == name) || takes_tokens(route, name))
    };
    for section in top.tables("auth") {
        if let Some(name) = section.text("name").filter(|name| !is_used(name)) {
            builder.doubt(&section, "name", &format!("protects nothing: no route has the auth {name:?}"));
        }
    }
    let of_certificates = |name: &str| {
        let auth = config.auths.iter().find(|auth| auth.name == name);
        auth.is_some_and(|auth| matches!(auth.proof, ClientProof::Certificate(_)))
    };
    if config.listeners.iter().all(|listener| listener.clients.is_none()) {
        for section in top.tables("auth") {
            if section.text("name").is_some_and(|name| of_certificates(&name)) {
                builder.doubt(
                    &section,
                    "certificate",
                    "lets no client in: no listener has clients, which show certificates",
                );
            }
        }
    }
    let sections = top.tables("route");
    // A route with a mistake is in `sections` alone.
    if sections.len() != config.routes.len() {
        return;
    }
    for (section, route) in sections.iter().zip(&config.routes) {
        if !route.auth.is_empty() || section.value("auth").is_some() {
            continue;
        }
        if let Some(wider) = wider_with_auth(route, &config.routes) {
            let words =
                format!("is open to everybody, and {:?} around it has auth; expected auth, or \"none\"", wider.path);
            builder.doubt(section, "path", &words);
        } else if let Some(narrower) = same_servers_with_auth(route, &config.routes) {
            let words = format!(
                "reaches the servers of {:?} without its auth; expected auth, or \"none\" if those check for themselves",
                narrower.path
            );
            builder.doubt(section, "path", &words);
        }
    }
}

/// A route with auth whose paths include those of this one.
fn wider_with_auth<'r>(route: &Route, routes: &'r [Route]) -> Option<&'r Route> {
    routes.iter().find(|other| !other.auth.is_empty() && path_covers(&other.path, &route.path))
}

/// A route with auth, to the same upstream, whose paths are included in those of this one.
fn same_servers_with_auth<'r>(route: &Route, routes: &'r [Route]) -> Option<&'r Route> {
    let upstream = |route: &Route| match &route.target {
        Target::Proxy(proxy) => Some(proxy.upstream.clone()),
        _ => None,
    };
    let own = upstream(route)?;
    routes.iter().find(|other| {
        !other.auth.is_empty() && upstream(other).as_ref() == Some(&own) && path_covers(&route.path, &other.path)
    })
}
