//! The program's log lines, to stderr: `[2026-11-30T03:47:20Z INFO  tidegate::gateway] words`, with colours on a terminal.

use std::io::Write;
use std::time::SystemTime;

use humantime::format_rfc3339_seconds;
use log::LevelFilter;

/// Other packages log only warnings and errors here.
pub(super) fn log_to_stderr(level: LevelFilter) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level.min(LevelFilter::Warn)).filter_module(env!("CARGO_PKG_NAME"), level);
    builder.format(|out, record| {
        let style = out.default_level_style(record.level());
        let (level, module, words) = (record.level(), record.target(), record.args());
        let now = format_rfc3339_seconds(SystemTime::now());
        writeln!(out, "[{now} {style}{level:<5}{style:#} {module}] {words}")
    });
    // A program that embeds the gateway may have its own logger.
    _ = builder.try_init();
}
