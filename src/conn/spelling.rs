//! The spelling of paths in the configuration: unescaped, so that each segment equals the decoded segment of a request.
//!
//! ```text
//!  written           /café/a b
//!  asked for         /caf%C3%A9/a%20b     (the WHATWG URL standard, "path percent-encode set")
//!  compared          café, a b            (`proto::http::split_path`)
//! ```
//!
//! A path that no browser requests would never match. It is refused, and the error has the form that matches.

use crate::proto::http;

/// Whether requests can have a path that is written like this; the error is a clause that follows the path.
pub fn check(path: &str) -> Result<(), String> {
    match (fault(path), matching(path)) {
        (None, _) => Ok(()),
        (Some(words), Some(better)) => Err(format!("{words}; expected {better:?}")),
        (Some(words), None) => Err(format!("{words}; expected a path without it")),
    }
}

/// The first fault of the path.
fn fault(path: &str) -> Option<&'static str> {
    let mut but_last = path.split('/').skip(1).collect::<Vec<_>>();
    but_last.pop();
    let faults = [
        (path.contains(['?', '#']), "has a query or a fragment, which is no part of a path"),
        (path.contains('\\'), "has a backslash, which browsers read as a slash"),
        (path.chars().any(char::is_control), "has a control character, which browsers leave out"),
        (has_escape(path), "has an escape, and is compared with paths whose escapes are resolved"),
        (path.split('/').any(|segment| matches!(segment, "." | "..")), "has a dot segment, which browsers resolve"),
        (but_last.contains(&""), "has an empty segment, which is no name and may lead to another host"),
    ];
    faults.into_iter().find_map(|(is_so, words)| is_so.then_some(words))
}

fn has_escape(text: &str) -> bool {
    http::unescaped(text).ne(text.bytes())
}

/// The path that matches the requests of a browser that is given this path.
fn matching(path: &str) -> Option<String> {
    let path = path.split(['?', '#']).next()?.replace('\\', "/");
    let written = path.chars().filter(|character| !character.is_control()).collect::<String>();
    let segments = written.split('/').skip(1).map(unescaped).collect::<Option<Vec<_>>>()?;
    let mut kept: Vec<&str> = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        if segment == ".." {
            kept.pop();
        }
        match segment.as_str() {
            // The slash after a folder is kept.
            "" | "." | ".." if index + 1 == segments.len() => kept.push(""),
            "" | "." | ".." => {}
            segment => kept.push(segment),
        }
    }
    let path = format!("/{}", kept.join("/"));
    fault(&path).is_none().then_some(path)
}

/// A segment without its escapes, unless that changes its meaning.
fn unescaped(segment: &str) -> Option<String> {
    let text = String::from_utf8(http::unescaped(segment).collect()).ok()?;
    let is_the_same = !has_escape(segment) || !text.contains(['/', '\\', '{', '}', '?', '#']);
    is_the_same.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_as_people_read_them() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a b",
            "/caf\u{e9}",
            "/{room}/\u{540d}",
            "/100%",
            "/%zz",
            "/a+b",
            "/...",
            "/a:b@c;d=e,f",
            "/.well-known/x",
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn what_no_browser_asks_for_is_told_with_the_path_that_it_does_ask_for() {
        for (path, better) in [
            ("/a%20b", Some("/a b")),
            ("/caf%C3%A9", Some("/caf\u{e9}")),
            ("/%61", Some("/a")),
            ("/100%25", Some("/100%")),
            ("/a/../b", Some("/b")),
            ("/../a", Some("/a")),
            ("/a/./b", Some("/a/b")),
            ("/a/..", Some("/")),
            ("/a/b/..", Some("/a/")),
            ("/a/%2e%2E/b", Some("/b")),
            ("/a?b=c", Some("/a")),
            ("/a#b", Some("/a")),
            ("//a", Some("/a")),
            ("/a//b", Some("/a/b")),
            ("/a//", Some("/a/")),
            ("/a\\b", Some("/a/b")),
            ("/a\tb\n", Some("/ab")),
            ("/{a}//{b}", Some("/{a}/{b}")),
            ("/a%2Fb", None),
            ("/%7Bx%7D", None),
            ("/a%00", None),
            ("/%ff", None),
            ("/%2541", None),
        ] {
            let words = check(path).expect_err(path);
            match better {
                Some(better) => assert!(words.ends_with(&format!("; expected {better:?}")), "{path}: {words}"),
                None => assert!(words.ends_with("; expected a path without it"), "{path}: {words}"),
            }
        }
    }

    #[test]
    fn the_better_path_needs_no_better_one() {
        let parts = &["/", "a", "%2e", "%25", ".", "..", "\\", "?", "{b}", "\u{e9}", "\t", "%", "41"];
        let all = parts.iter().flat_map(|a| parts.iter().flat_map(move |b| parts.iter().map(move |c| [*a, *b, *c])));
        for path in all.map(|three| format!("/{}", three.concat())) {
            if let Some(better) = matching(&path) {
                assert_eq!(check(&better), Ok(()), "{path} {better}");
                assert_eq!(matching(&better), Some(better));
            }
        }
    }
}
