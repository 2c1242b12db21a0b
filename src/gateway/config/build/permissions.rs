//! `[[permission]]`: which of its keys fit together.

use super::super::{ClientProof, Config};
use super::{ConfigBuilder, Section};
use crate::limits::{PERMISSION_NAMES_MAX, PERMISSIONS_MAX};
use crate::proto::permission::{PermissionText, Permissions, Right};

pub(super) fn all(builder: &mut ConfigBuilder<'_>, top: &Section<'_>) -> Vec<PermissionText> {
    let sections = top.tables("permission");
    if let Some(section) = sections.get(PERMISSIONS_MAX) {
        builder.missing(section, &format!("there are too many [[permission]]; expected at most {PERMISSIONS_MAX}"));
    }
    let mut permissions = Vec::new();
    for section in &sections {
        let channels = builder.required_texts(section, "channels", "a pattern, or a list of patterns");
        let rights = builder.required_texts(section, "allow", "what is allowed, or a list of that");
        for name in ["channels", "allow"] {
            builder.repetitions(section, name, |one, other| one == other);
        }
        let rights = rights.iter().filter_map(|word| Right::named(word)).collect();
        permissions.push(PermissionText { channels, rights, required: section.pairs("require") });
        let all = Permissions::new(&permissions);
        if all.is_ok_and(|all| all.claims().len().max(all.conditions().len()) > PERMISSION_NAMES_MAX) {
            let words = format!("[[permission]] have too many claims; expected at most {PERMISSION_NAMES_MAX}");
            builder.missing(section, &words);
            permissions.pop();
        }
    }
    permissions
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
