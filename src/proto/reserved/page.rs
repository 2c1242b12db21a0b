//! The tables of docs/workers.md: subjects and headers.

use std::fmt::Write;

use super::headers::HEADERS;
use super::subjects::SUBJECTS;

/// Both tables, as Markdown.
pub fn markdown() -> String {
    let mut out = String::new();
    let subjects = SUBJECTS.iter().map(|row| [row.shape, row.published_by, row.meaning]);
    table(&mut out, ["subject", "published by", ""], subjects);
    out.push('\n');
    let headers = HEADERS.iter().map(|row| [row.name, row.carried_by, row.meaning]);
    table(&mut out, ["header", "in", ""], headers);
    out
}

/// The first column is code.
fn table<'a>(out: &mut String, [name, carrier, meaning]: [&str; 3], rows: impl Iterator<Item = [&'a str; 3]>) {
    let _ = writeln!(out, "| {name} | {carrier} | {meaning} |\n|---|---|---|");
    for [name, carrier, meaning] in rows {
        let _ = writeln!(out, "| `{name}` | {carrier} | {meaning} |");
    }
}
