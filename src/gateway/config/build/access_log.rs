//! The access log.

use super::super::{AccessLog, LineFormat, LogTarget};
use super::{ConfigBuilder, Section};

/// The log, if there is one.
pub(super) fn read(builder: &mut ConfigBuilder<'_>, top: &Section<'_>) -> Option<AccessLog> {
    let section = top.table("access_log")?;
    let target = match builder.required(&section, "file")? {
        text if text == "stdout" => LogTarget::Stdout,
        text => LogTarget::File(builder.path(&section, "file", &text)),
    };
    let format = match section.text("format").as_deref() {
        Some("combined") => LineFormat::Combined,
        _ => LineFormat::Json,
    };
    let tells_tcp = section.switch("tcp");
    if tells_tcp && format == LineFormat::Combined {
        builder.conflict(
            &section,
            "tcp",
            "is set beside format = \"combined\", which has no place for it; expected \"json\"",
        );
    }
    let tells_opens = section.text("streams").as_deref() == Some("both");
    Some(AccessLog { target, format, tells_opens, tells_tcp })
}
