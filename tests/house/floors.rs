//! Imports look down: no file of a floor names a module of a higher floor, or another one of its own.

use std::fs;
use std::path::{Path, PathBuf};

/// The floors of src/lib.rs, from the ground.
const FLOORS: &[&[&str]] = &[
    &["base", "limits"],
    &["proto", "driver"],
    &["conn", "hub"],
    &["mesh"],
    &["shard", "worker", "outbound"],
    &["gateway"],
    &["cli"],
];

/// Which modules may look sideways, and where. A shard's tests have in-process workers among their peers, as they have clients.
const SIDEWAYS: &[(&str, &str)] = &[("base", "limits"), ("shard::tests", "worker")];

/// Files of the crate's root, which see everything.
const ROOT: &[&str] = &["lib.rs", "main.rs"];

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// What a module may not name, in words.
fn objection(module: &[String], to: &str) -> Option<String> {
    let from = module[0].as_str();
    let Some(own) = floor_of(from) else { return Some(format!("{from} stands on no floor")) };
    let Some(other) = floor_of(to) else { return Some(format!("{from} names {to}, which stands on no floor")) };
    if other > own {
        return Some(format!("{from} (floor {own}) climbs to {to} (floor {other})"));
    }
    let is_below = |name: &str| name.split("::").eq(module.iter().map(String::as_str).take(name.split("::").count()));
    let is_allowed = SIDEWAYS.iter().any(|(name, aim)| *aim == to && is_below(name));
    let is_sideways = other == own && from != to && !is_allowed;
    is_sideways.then(|| format!("{from} looks sideways to {to} (both floor {own})"))
}

/// The objections to one file, `path` being relative to src.
fn objections(path: &Path, source: &str) -> Vec<String> {
    let module = module_of(path);
    let mut words: Vec<String> = top_level_names(&module, source)
        .iter()
        .filter_map(|name| objection(&module, name))
        .map(|words| format!("src/{}: {words}", path.display()))
        .collect();
    words.sort();
    words.dedup();
    words
}

/// `conn/route.rs` is `conn::route`, `conn/mod.rs` is `conn`.
fn module_of(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        path.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    if parts.len() > 1 && parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// The names directly below the crate's root that the code reaches through `crate::` and `super::`.
fn top_level_names(module: &[String], source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let mut names = Vec::new();
    // Inline modules deepen what `super` starts from; each open brace is one, or not.
    let mut braces: Vec<bool> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].as_str() {
            "{" => braces.push(at >= 2 && tokens[at - 2] == "mod"),
            "}" => _ = braces.pop(),
            start @ ("crate" | "super")
                if tokens.get(at + 1).is_some_and(|next| next == "::") && !continues(&tokens, at) =>
            {
                let inline = braces.iter().filter(|is_module| **is_module).count();
                let mut depth = if start == "crate" { 0 } else { (module.len() + inline).saturating_sub(1) };
                at += 2;
                while tokens.get(at).is_some_and(|word| word == "super")
                    && tokens.get(at + 1).is_some_and(|next| next == "::")
                {
                    depth = depth.saturating_sub(1);
                    at += 2;
                }
                if depth == 0 {
                    names.extend(heads(&tokens[at..]));
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    names
}

/// Whether the word is in the middle of a path, or of `pub(crate)`.
fn continues(tokens: &[String], at: usize) -> bool {
    at > 0 && tokens[at - 1] == "::"
}

/// The first words of a path, or of each path of a `{group}`.
fn heads(tokens: &[String]) -> Vec<String> {
    match tokens.first().map(String::as_str) {
        Some("{") => {
            let mut heads = Vec::new();
            let mut depth = 0usize;
            let mut is_head = false;
            for token in tokens {
                match token.as_str() {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    "," => {}
                    word if is_head && depth == 1 && word != "self" => heads.push(word.to_owned()),
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                is_head = depth == 1 && matches!(token.as_str(), "{" | ",");
            }
            heads
        }
        Some(word) => vec![word.to_owned()],
        None => Vec::new(),
    }
}

/// Words, `::` and single signs; without comments, texts and characters.
fn tokens(source: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = text_length(rest) {
            length
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of the text or character that stands here: `"…"`, `r#"…"#`, `b"…"`, `'c'`.
fn text_length(source: &str) -> Option<usize> {
    let prefix = source.find(|c| !matches!(c, 'b' | 'c' | 'r')).filter(|at| *at <= 2)?;
    let is_raw = source[..prefix].contains('r');
    let body = &source[prefix..];
    if is_raw {
        let hashes = body.bytes().take_while(|byte| *byte == b'#').count();
        let inner = body[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(prefix + hashes + 1 + inner.find(&end).map_or(inner.len(), |at| at + end.len()));
    }
    let quote = body.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut is_escaped = false;
    for (at, c) in body.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return Some(prefix + at + 1),
            // A lifetime: no quote after one character.
            _ if quote == '\'' && !body.starts_with("'\\") && at > 1 => return None,
            _ => {}
        }
        if quote == '\'' && at > 12 {
            return None;
        }
    }
    None
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src can be listed") {
        let path = entry.expect("src can be listed").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn imports_look_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 20, "the sources are found");
    let mut all = Vec::new();
    for file in files {
        let path = file.strip_prefix(&src).expect("below src");
        if path.components().count() > 1 || !ROOT.contains(&path.to_string_lossy().as_ref()) {
            all.extend(objections(path, &fs::read_to_string(&file).expect("a source can be read")));
        }
    }
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

fn said(path: &str, source: &str) -> Vec<String> {
    objections(Path::new(path), source)
}

#[test]
fn objects_to_an_import_that_climbs() {
    let expected = ["src/proto/sse.rs: proto (floor 1) climbs to conn (floor 2)"];
    assert_eq!(said("proto/sse.rs", "use crate::conn::Conn;"), expected);
    assert_eq!(said("proto/sse.rs", "fn f() { crate::conn::run() }"), expected);
    assert_eq!(said("proto/sse.rs", "use crate::{base::Key, conn::{self, Conn}};"), expected);
    assert_eq!(said("proto/sse.rs", "use super::super::conn::Conn;"), expected);
    assert_eq!(said("proto/sse.rs", "mod tests { use super::super::super::conn::Conn; }"), expected);
    assert_eq!(
        said("base/mod.rs", "use super::mesh::Mail;"),
        ["src/base/mod.rs: base (floor 0) climbs to mesh (floor 3)"]
    );
}

#[test]
fn objects_to_an_import_that_goes_sideways() {
    assert_eq!(
        said("hub/mod.rs", "use crate::conn::X;"),
        ["src/hub/mod.rs: hub looks sideways to conn (both floor 2)"]
    );
    assert_eq!(
        said("worker.rs", "use crate::shard::X;"),
        ["src/worker.rs: worker looks sideways to shard (both floor 4)"]
    );
    assert_eq!(said("shard/tests/table.rs", "use crate::worker::Worker;"), [""; 0]);
    assert_eq!(
        said("shard/testsuite.rs", "use crate::worker::Worker;"),
        ["src/shard/testsuite.rs: shard looks sideways to worker (both floor 4)"]
    );
    assert_eq!(
        said("limits.rs", "use super::base::X;"),
        ["src/limits.rs: limits looks sideways to base (both floor 0)"]
    );
}

#[test]
fn objects_to_what_stands_on_no_floor() {
    assert_eq!(
        said("conn/mod.rs", "use crate::util::X;"),
        ["src/conn/mod.rs: conn names util, which stands on no floor"]
    );
    assert_eq!(said("util/mod.rs", "use crate::base::X;"), ["src/util/mod.rs: util stands on no floor"]);
}

#[test]
fn accepts_imports_that_look_down_or_stay_inside() {
    for (path, source) in [
        ("base/key.rs", "use crate::limits::SHARDS_MAX;"),
        ("proto/ws/mod.rs", "use crate::proto::close::CloseReason; use super::sse; use crate::{base, limits};"),
        ("proto/ws/frame.rs", "mod tests { use super::*; use super::super::conn; }"),
        ("cli/serve.rs", "use crate::gateway::Gateway;"),
        (
            "base/key.rs",
            "// crate::conn::X\n/* crate::hub::Y */ const A: &str = \"crate::mesh::\"; pub(crate) struct B;",
        ),
        ("base/key.rs", "const A: char = '\"'; fn f<'a>(x: &'a str) {} const B: &str = r#\"crate::conn::\"#;"),
        ("base/key.rs", "const A: char = '\\''; const B: u8 = b'\"'; const C: &str = \"\\\"crate::conn::X\";"),
    ] {
        assert_eq!(said(path, source), Vec::<String>::new(), "{source}");
    }
}
