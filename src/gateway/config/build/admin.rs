//! `[admin]`: which of its keys fit together.

use super::super::address;
use super::super::admin::{Admin, ApiSecret, ApiToken};
use super::super::tree::Content;
use super::{ConfigBuilder, Section};
use crate::conn::admin::Scope;
use crate::limits::ADMIN_TOKENS_MAX;

pub(super) fn read(builder: &mut ConfigBuilder<'_>, section: &Section<'_>) -> Option<Admin> {
    let tokens = tokens(builder, section);
    let tls = builder.certificates(section);
    let socket = section.text("socket").map(|path| builder.path(section, "socket", &path));
    let address = match &socket {
        Some(_) if section.value("address").is_none() => None,
        _ => Some(address::read(&section.text("address")?)?),
    };
    if address.is_some_and(|address| !address.ip().is_loopback()) {
        if !section.switch("allow_remote") {
            let words = "can be reached from other machines; expected a loopback address, or admin.allow_remote = true";
            builder.conflict(section, "address", words);
        } else if tokens.is_empty() {
            let words = "lets every machine that reaches it publish and disconnect; expected admin.token or admin.tokens beside it";
            builder.conflict(section, "allow_remote", words);
        }
    }
    Some(Admin { address, socket, hosts: section.texts("hosts"), tls, tokens })
}

fn tokens(builder: &mut ConfigBuilder<'_>, section: &Section<'_>) -> Vec<ApiToken> {
    let own = secret(builder, section).map(|secret| ApiToken { secret, scopes: Scope::ALL.into() });
    let sections = section.tables("tokens");
    if section.value("tokens").is_some_and(|list| matches!(&list.content, Content::List(items) if items.is_empty())) {
        builder.conflict(section, "tokens", "is an empty list; expected a table, or a list of tables");
    }
    if let Some(section) = sections.get(ADMIN_TOKENS_MAX) {
        builder.missing(section, &format!("there are too many tokens; expected at most {ADMIN_TOKENS_MAX}"));
    }
    let mut tokens: Vec<ApiToken> = own.into_iter().collect();
    for section in &sections {
        let scopes = builder.required_texts(section, "scopes", "a scope, or a list of scopes");
        builder.repetitions(section, "scopes", |one, other| one == other);
        match secret(builder, section) {
            Some(secret) => {
                let scopes = scopes.iter().filter_map(|word| Scope::named(word)).collect();
                tokens.push(ApiToken { secret, scopes });
            }
            None => builder.missing(section, "a token has no text; expected token or token_file"),
        }
    }
    tokens
}

/// Of `token` or `token_file`, if one is set.
fn secret(builder: &mut ConfigBuilder<'_>, section: &Section<'_>) -> Option<ApiSecret> {
    let (text, file) = (section.text("token"), section.text("token_file"));
    if text.is_some() && file.is_some() {
        builder.conflict(section, "token_file", "is set beside token; expected one or the other");
    }
    text.map(ApiSecret::Text).or_else(|| file.map(|file| ApiSecret::File(builder.path(section, "token_file", &file))))
}

/// Legal settings that are probably mistakes.
pub(super) fn doubts(builder: &mut ConfigBuilder<'_>, section: &Section<'_>, admin: &Admin) {
    let is_private = admin.address.is_none_or(|address| address.ip().is_loopback());
    if section.switch("allow_remote") && is_private {
        builder.doubt(section, "allow_remote", "has no effect on a loopback address");
    }
    if admin.address.is_none() && admin.tls.is_some() {
        builder.doubt(section, "tls", "has no effect without admin.address: a socket needs no TLS");
    }
    if !is_private && admin.tls.is_none() {
        let words = "can be reached from other machines without TLS: tokens go over the network as they are; expected admin.tls";
        builder.doubt(section, "address", words);
    }
}
