//! `[[permission]]`: which of its keys fit together.

use std::time::Duration;

use super::super::form::{self, UrlParts};
use super::super::{ClientProof, Config, DeciderBy, DeciderRules, DeciderUrl};
use super::{ConfigBuilder, Section};
use crate::limits::{DECIDERS_MAX, PERMISSION_NAMES_MAX, PERMISSIONS_MAX};
use crate::proto::permission::{DeciderId, PermissionText, Permissions, Right};
use crate::proto::upstream::{UpstreamRule, UpstreamTls};

/// The permissions, and the deciders that they ask: each is there once.
pub(super) fn all(builder: &mut ConfigBuilder<'_>, top: &Section<'_>) -> (Vec<PermissionText>, Vec<DeciderRules>) {
    let sections = top.tables("permission");
    if let Some(section) = sections.get(PERMISSIONS_MAX) {
        builder.missing(section, &format!("there are too many [[permission]]; expected at most {PERMISSIONS_MAX}"));
    }
    let (mut permissions, mut deciders) = (Vec::new(), Vec::new());
    for section in &sections {
        let channels = builder.required_texts(section, "channels", "a pattern, or a list of patterns");
        let rights = builder.required_texts(section, "allow", "what is allowed, or a list of that");
        for name in ["channels", "allow"] {
            builder.repetitions(section, name, |one, other| one == other);
        }
        let rights = rights.iter().filter_map(|word| Right::named(word)).collect();
        let rules = section.table("ask").and_then(|ask| decider(builder, &ask));
        let decider = rules.and_then(|rules| known(builder, section, &mut deciders, rules));
        permissions.push(PermissionText { channels, rights, required: section.pairs("require"), decider });
        let all = Permissions::new(&permissions);
        if all.is_ok_and(|all| all.claims().len().max(all.conditions().len()) > PERMISSION_NAMES_MAX) {
            let words = format!("[[permission]] have too many claims; expected at most {PERMISSION_NAMES_MAX}");
            builder.missing(section, &words);
            permissions.pop();
        }
    }
    (permissions, deciders)
}

fn decider(builder: &mut ConfigBuilder<'_>, section: &Section<'_>) -> Option<DeciderRules> {
    let ca = section.text("ca").map(|file| builder.path(section, "ca", &file));
    let by = match (section.text("service"), section.text("url").as_deref().and_then(form::url_parts)) {
        (Some(service), None) => {
            if ca.is_some() {
                builder.conflict(section, "ca", "has no effect unless url is set");
            }
            DeciderBy::Service(service)
        }
        (None, Some(UrlParts { server: (text, at), path, is_tls })) => {
            if ca.is_some() && !is_tls {
                builder.conflict(section, "ca", "has no effect on a URL without https");
            }
            let tls = is_tls.then(|| UpstreamTls { ca, ..UpstreamTls::default() });
            let server = UpstreamRule { tls, ..UpstreamRule::new("decider") }.with(&text, at);
            DeciderBy::Url(Box::new(DeciderUrl { url: section.text("url")?, server, path }))
        }
        (Some(_), Some(_)) => {
            builder.conflict(section, "url", "is set beside service; expected one of them");
            return None;
        }
        (None, None) => {
            if section.value("url").is_none() && section.value("service").is_none() {
                builder.missing(section, "permission.ask asks nothing; expected service or url");
            }
            return None;
        }
    };
    let (timeout_ms, cache_s) = (section.whole("timeout_ms"), section.whole("cache_s"));
    Some(DeciderRules { by, timeout: Duration::from_millis(timeout_ms), kept: Duration::from_secs(cache_s) })
}

/// The id of a decider, which is added if it is new.
fn known(
    builder: &mut ConfigBuilder<'_>,
    section: &Section<'_>,
    deciders: &mut Vec<DeciderRules>,
    rules: DeciderRules,
) -> Option<DeciderId> {
    let index = deciders.iter().position(|other| *other == rules).unwrap_or(deciders.len());
    if index == DECIDERS_MAX {
        builder.missing(section, &format!("[[permission]] ask too many places; expected at most {DECIDERS_MAX}"));
        return None;
    }
    if index == deciders.len() {
        deciders.push(rules);
    }
    u8::try_from(index).ok().map(DeciderId)
}

/// Legal settings that are probably mistakes.
pub(super) fn doubts(builder: &mut ConfigBuilder<'_>, top: &Section<'_>, config: &Config) {
    if config.auths.iter().any(|auth| matches!(auth.proof, ClientProof::Token(_))) {
        return;
    }
    for section in top.tables("permission") {
        let texts = PermissionText {
            channels: section.texts("channels"),
            rights: Vec::new(),
            required: section.pairs("require"),
            decider: None,
        };
        let wants_claims = Permissions::new(&[texts]);
        if wants_claims.is_ok_and(|own| !own.claims().is_empty() || !own.conditions().is_empty()) {
            builder.doubt(
                &section,
                "channels",
                "allows nothing: its claims are those of tokens, and there is no [[auth]] with jwt",
            );
        }
    }
}
