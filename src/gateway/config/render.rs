//! Texts for people from the table of keys: the annotated file of `tidegate config`, and the reference page.

use std::fmt::Write;

use super::table::{self, Fallback, Kind, Row, TABLE};

/// Columns of a comment.
const WIDTH: usize = 100;

const FILE_HEAD: &str = "\
Tidegate's configuration: every key with its default. Keys in comments have no default, or are examples.
Each key can be set from the environment as well: TIDEGATE_LIMITS_FRAGMENTS_MAX=64, TIDEGATE_LISTENER_0_ADDRESS=[::]:8080.
";

/// A file that is accepted as it is, with every key, its default and its help.
pub fn annotated() -> String {
    let mut out = String::new();
    comment(&mut out, FILE_HEAD);
    section(&mut out, "");
    out
}

/// The keys directly in the table at `path`, then the tables below it.
fn section(out: &mut String, path: &str) {
    for row in table::rows_below(path).filter(|row| row.variable().is_some()) {
        out.push('\n');
        comment(out, &with_doc(row));
        comment(out, &accepted(row));
        let _ = writeln!(out, "{}", assignment(row));
    }
    for row in table::rows_below(path).filter(|row| row.variable().is_none()) {
        out.push('\n');
        comment(out, &with_doc(row));
        match row.kind {
            Kind::Tables if row.path == ONLY_EXAMPLE => {
                let mut example = format!("[[{}]]\n", row.name());
                section(&mut example, &row.inside());
                for line in example.lines() {
                    let mark = if line.is_empty() || line.starts_with('#') { "" } else { "# " };
                    let _ = writeln!(out, "{mark}{line}");
                }
            }
            Kind::Tables => {
                let _ = writeln!(out, "[[{}]]", row.name());
                section(out, &row.inside());
            }
            Kind::Table if path.is_empty() => {
                let _ = writeln!(out, "[{}]", row.name());
                section(out, &row.inside());
            }
            _ => inline(out, row),
        }
    }
}

/// A route needs a target: the one whose example is not a comment.
const TARGET_SHOWN: &str = "route[].sse";

/// Tables that the file has as a comment only: an auth that no route has is probably a mistake.
const ONLY_EXAMPLE: &str = "auth";

/// A table within a table: its keys in words, and an example.
fn inline(out: &mut String, row: &Row) {
    let inside = format!("{}.", row.inside());
    for key in TABLE.iter() {
        if let Some(name) = key.path.strip_prefix(&inside) {
            comment(out, &format!("  {name}: {} {}", key.help, accepted(key)));
        }
    }
    let mark = if row.path == TARGET_SHOWN { "" } else { "# " };
    if let Fallback::Nothing(example) | Fallback::Required(example) = row.fallback {
        let _ = writeln!(out, "{mark}{} = {example}", row.name());
    }
}

/// Keys without a default that stand in the file all the same: a table without any of its kind would be refused.
const SHOWN: &[&str] = &["limit[].connections"];

/// `key = default`, commented out where there is no default.
fn assignment(row: &Row) -> String {
    let name = row.name();
    match row.fallback {
        Fallback::Whole(whole) => format!("{name} = {whole}"),
        Fallback::Switch(switch) => format!("{name} = {switch}"),
        Fallback::Text(text) => format!("{name} = \"{text}\""),
        Fallback::Required(example) => format!("{name} = {example}"),
        Fallback::Nothing(example) if SHOWN.contains(&row.path) => format!("{name} = {example}"),
        Fallback::Nothing(example) => format!("# {name} = {example}"),
    }
}

fn with_doc(row: &Row) -> String {
    if row.doc.is_empty() { row.help.to_owned() } else { format!("{} {}", row.help, row.doc) }
}

fn accepted(row: &Row) -> String {
    let mut expected = row.kind.expected();
    if let Some(first) = expected.get(..1) {
        expected = first.to_uppercase() + &expected[1..];
    }
    format!("{expected}.")
}

/// Wrapped at word ends; a line that begins with blanks keeps them.
fn comment(out: &mut String, text: &str) {
    for line in text.lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        let mut column = 0;
        for word in line.split_whitespace() {
            if column == 0 || column + 1 + word.chars().count() > WIDTH {
                if column > 0 {
                    out.push('\n');
                }
                let _ = write!(out, "# {indent}{word}");
                column = 2 + indent.len() + word.chars().count();
            } else {
                let _ = write!(out, " {word}");
                column += 1 + word.chars().count();
            }
        }
        out.push('\n');
    }
}

const PAGE_HEAD: &str = "\
# Configuration

<!-- `tidegate config --markdown` writes this page from the table of keys; a test compares them. -->

The configuration is a TOML file, `tidegate.toml` by default. `tidegate config` prints one with every key, its default and
its help. `tidegate check` lists every mistake in a file, each with its line and the accepted values. A rule that can never
match or be reached is a mistake. A legal setting that is probably not meant, such as limits that contradict each other or a
certificate that has expired, is a warning: the exit code stays 0, and `tidegate serve` logs it.

Each key can also be set from the environment, which overrides the file. The variable's name is `TIDEGATE_` and the path of
the key in upper case. In a list, `N` is the index from 0; the index after the last one adds an entry. The index of `tls` may
be left out. Relative paths in the file begin at the file's folder, in variables at the working directory.

In variables, a switch may also be `yes`, `on` or `1`, and words may have any case. White space around a value is ignored,
except in secrets.

A variable that begins with `TIDEGATE_` and names no key is a mistake, so that a typing error is noticed. Exceptions, by name
and value, are the variables that Kubernetes sets for a Service named `tidegate` or `tidegate-…`, and Docker for a link, such as
`TIDEGATE_SERVICE_HOST=10.96.0.7` and `TIDEGATE_PORT=tcp://10.96.0.7:80`. `enableServiceLinks: false` prevents them.

```toml
[[listener]]
address = \"0.0.0.0:8443\"
tls = { certificate = \"cert.pem\", key = \"key.pem\" }

[bus]
address = \"127.0.0.1:4222\"

[admin]
address = \"127.0.0.1:9180\"

[[route]]
path = \"/api/sse/drivers/{driver}/location\"
sse = { channel = \"driver.location.{driver}\" }

[[route]]
path = \"/ws/rides\"
websocket = { service = \"rides\", user = { header = \"X-Driver-Id\", unverified = true } }

[[route]]
path = \"/ws/rooms/{room}\"
websocket = { channel = \"room.{room}\", publish = true }

[[route]]
path = \"/bookings\"
accept = { service = \"bookings\" }
```
";

/// The reference page.
pub fn markdown() -> String {
    let mut out = PAGE_HEAD.to_owned();
    out.push_str("\n## Top level\n");
    for row in TABLE.iter().filter(|row| row.parent().is_empty() && row.variable().is_some()) {
        entry(&mut out, row);
    }
    for row in TABLE.iter().filter(|row| row.parent().is_empty() && row.variable().is_none()) {
        let name = row.name();
        let heading = if matches!(row.kind, Kind::Tables) { format!("[[{name}]]") } else { format!("[{name}]") };
        let _ = write!(out, "\n## `{heading}`\n\n{}\n", with_doc(row));
        let inside = row.inside();
        for row in TABLE.iter().filter(|row| row.path.strip_prefix(&inside).is_some_and(|rest| rest.starts_with('.'))) {
            entry(&mut out, row);
        }
    }
    out
}

fn entry(out: &mut String, row: &Row) {
    let _ = write!(out, "\n### `{}`\n\n{}\n\n", row.spoken(), with_doc(row));
    let _ = writeln!(out, "- takes {}", row.kind.expected());
    match row.fallback {
        Fallback::Whole(whole) => _ = writeln!(out, "- default `{whole}`"),
        Fallback::Switch(switch) => _ = writeln!(out, "- default `{switch}`"),
        Fallback::Text(text) => _ = writeln!(out, "- default `\"{text}\"`"),
        Fallback::Required(_) => out.push_str("- must be set\n"),
        Fallback::Nothing("") => {}
        Fallback::Nothing(example) => _ = writeln!(out, "- no default; for example `{} = {example}`", row.name()),
    }
    if let Some(variable) = row.variable() {
        let _ = writeln!(out, "- from the environment `{variable}`");
    }
}
