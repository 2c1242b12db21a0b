//! The request target: its forms (RFC 9112 section 3.2), and the path and query in it (RFC 3986).

use std::borrow::Cow;

use smallvec::SmallVec;

use super::authority::Authority;
use crate::proto::CloseReason;

/// A target taken apart; everything is still escaped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TargetParts<'a> {
    pub path: &'a str,
    pub query: Option<&'a str>,
    /// Only from the absolute form.
    pub host: Option<&'a str>,
}

/// Splits the target of a request: origin form, absolute form, or `*` for `OPTIONS`. This is no forward proxy, so
/// `CONNECT` and its authority form are refused.
pub(super) fn parse<'a>(method: &str, target: &'a str) -> Result<TargetParts<'a>, CloseReason> {
    // A fragment is never sent, and characters that are not ASCII must be escaped (RFC 3986 section 2).
    if method == "CONNECT" || !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(CloseReason::MalformedRequest);
    }
    if target == "*" && method == "OPTIONS" {
        return Ok(TargetParts { path: target, query: None, host: None });
    }
    if target.starts_with('/') {
        let (path, query) = split_query(target)?;
        return Ok(TargetParts { path, query, host: None });
    }
    let rest = without_scheme(target).ok_or(CloseReason::MalformedRequest)?;
    let (host, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if host.is_empty() {
        return Err(CloseReason::MalformedRequest);
    }
    Authority::parse(host)?;
    let (path, query) = split_query(rest)?;
    let path = match path {
        "" if method == "OPTIONS" && query.is_none() => "*",
        "" => "/",
        path => path,
    };
    Ok(TargetParts { path, query, host: Some(host) })
}

/// A backslash is not allowed in a path (RFC 3986 section 3.3). Browsers read it as a slash, so a Location that begins
/// with `/\` would lead them to another host.
fn split_query(target: &str) -> Result<(&str, Option<&str>), CloseReason> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    if path.contains('\\') { Err(CloseReason::MalformedRequest) } else { Ok((path, query)) }
}

fn without_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")).then_some(rest)
}

/// The segments of a path, unescaped: `/a/b%20c/` is `a`, `b c` and an empty one.
///
/// An escaped slash stays inside its segment. Dot segments are refused in every spelling: a router and an upstream that
/// resolve them differently would disagree about the request.
pub fn split_path(path: &str) -> Result<SmallVec<[Cow<'_, str>; 8]>, CloseReason> {
    let relative = path.strip_prefix('/').ok_or(CloseReason::MalformedRequest)?;
    relative
        .split('/')
        .map(|segment| match unescape(segment, false)? {
            segment if segment == "." || segment == ".." => Err(CloseReason::MalformedRequest),
            segment => Ok(segment),
        })
        .collect()
}

/// The only value of that name in a query of `name=value` pairs, unescaped, with `+` as a space (the WHATWG URL
/// standard, application/x-www-form-urlencoded). A name without `=` has the empty value.
///
/// `None` if it is missing; `Err` if it is malformed or repeated, in any spelling: a proxy in front of the gateway may
/// have checked the other one. Malformed names are other names.
pub fn query_parameter<'a>(query: Option<&'a str>, name: &str) -> Result<Option<Cow<'a, str>>, CloseReason> {
    let mut found = None;
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (candidate, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_it = unescape(candidate, true).is_ok_and(|candidate| candidate == name);
        if is_it && found.replace(unescape(value, true)?).is_some() {
            return Err(CloseReason::MalformedRequest);
        }
    }
    Ok(found)
}

/// The query without the parameters of these names, in any spelling. Borrows if it has none of them; `None` if nothing is left.
pub fn query_without<'a>(query: &'a str, is_left_out: impl Fn(&str) -> bool) -> Option<Cow<'a, str>> {
    if !query.split('&').any(|pair| has_name(pair, &is_left_out)) {
        return Some(Cow::Borrowed(query));
    }
    let left = query.split('&').filter(|pair| !has_name(pair, &is_left_out)).collect::<Vec<_>>().join("&");
    (!left.is_empty()).then_some(Cow::Owned(left))
}

/// The query with `***` for the values of these parameters, in any spelling. Borrows if it has none of them.
pub fn query_masked<'a>(query: &'a str, is_masked: impl Fn(&str) -> bool) -> Cow<'a, str> {
    if !query.split('&').any(|pair| has_name(pair, &is_masked)) {
        return Cow::Borrowed(query);
    }
    let masked = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if has_name(pair, &is_masked) => Cow::Owned(format!("{name}=***")),
        _ => Cow::Borrowed(pair),
    });
    Cow::Owned(masked.collect::<Vec<_>>().join("&"))
}

/// Whether a `name=value` pair of a query has such a name. A malformed name is another one.
fn has_name(pair: &str, is_it: impl Fn(&str) -> bool) -> bool {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    unescape(name, true).is_ok_and(|name| is_it(&name))
}

/// Resolves `%XX` (RFC 3986 section 2.1); borrows if there are no escapes.
fn unescape(text: &str, plus_is_space: bool) -> Result<Cow<'_, str>, CloseReason> {
    if !text.bytes().any(|byte| byte == b'%' || (plus_is_space && byte == b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = bytes.next().zip(bytes.next());
                digits.and_then(|(high, low)| hex_byte(high, low)).ok_or(CloseReason::MalformedRequest)?
            }
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| CloseReason::MalformedRequest)
}

/// The bytes of a text with its escapes resolved; a `%` that begins no escape stays.
pub fn unescaped(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (byte, after) = match rest {
            [b'%', high, low, after @ ..] => match hex_byte(*high, *low) {
                Some(byte) => (byte, after),
                None => (b'%', &rest[1..]),
            },
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        rest = after;
        Some(byte)
    })
}

/// A path or a query in one spelling (RFC 3986 section 6.2.2): only necessary escapes, with upper-case digits.
pub fn normalized(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        normal.push_str(before);
        let escaped = after.as_bytes().first_chunk().and_then(|[high, low]| hex_byte(*high, *low));
        match escaped {
            Some(byte) if is_unreserved(byte) => normal.push(byte.into()),
            Some(byte) => normal.push_str(&format!("%{byte:02X}")),
            None => normal.push('%'),
        }
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    normal.push_str(rest);
    normal
}

/// Signs that need no escape anywhere (RFC 3986 section 2.3).
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// The byte of an escape with these digits.
pub(super) fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target<'a>(
        path: &'a str,
        query: Option<&'a str>,
        host: Option<&'a str>,
    ) -> Result<TargetParts<'a>, CloseReason> {
        Ok(TargetParts { path, query, host })
    }

    #[test]
    fn reads_origin_absolute_and_asterisk_form() {
        assert_eq!(parse("GET", "/"), target("/", None, None));
        assert_eq!(parse("GET", "//a/b?c?d"), target("//a/b", Some("c?d"), None));
        assert_eq!(parse("GET", "/?"), target("/", Some(""), None));
        assert_eq!(parse("GET", "http://a.b:80/c?d"), target("/c", Some("d"), Some("a.b:80")));
        assert_eq!(parse("GET", "HTTPS://[::1]:"), target("/", None, Some("[::1]:")));
        assert_eq!(parse("GET", "http://a?b=/c"), target("/", Some("b=/c"), Some("a")));
        assert_eq!(parse("GET", "/a?b\\c"), target("/a", Some("b\\c"), None));
        assert_eq!(parse("OPTIONS", "*"), target("*", None, None));
        assert_eq!(parse("OPTIONS", "http://a"), target("*", None, Some("a")));
    }

    #[test]
    fn refuses_other_targets() {
        let bad = [
            "*",
            "a",
            "a:80",
            "/#",
            "/\u{e9}",
            "ftp://a/",
            "http://",
            "http:///a",
            "http://u@a/",
            "http://a:x/",
            "a/",
            "/\\a",
            "http://a/b\\c",
            "\\\\a",
        ];
        for target in bad {
            assert_eq!(parse("GET", target), Err(CloseReason::MalformedRequest), "{target}");
        }
        assert_eq!(parse("CONNECT", "a:80"), Err(CloseReason::MalformedRequest));
        assert_eq!(parse("CONNECT", "/"), Err(CloseReason::MalformedRequest));
    }

    #[test]
    fn splits_and_unescapes_paths() {
        let segments = |path| split_path(path).map(|segments| segments.join("|"));
        assert_eq!(segments("/"), Ok(String::new()));
        assert_eq!(segments("/a//b/"), Ok("a||b|".into()));
        assert_eq!(segments("/a%2Fb/%c3%A9+/..."), Ok("a/b|\u{e9}+|...".into()));
        assert!(matches!(split_path("/plain").unwrap()[0], Cow::Borrowed("plain")));
    }

    #[test]
    fn refuses_dot_segments_and_bad_escapes() {
        let bad = ["", "*", "/.", "/a/../b", "/%2e", "/%2E./x", "/a/.%2e", "/%", "/%4", "/%zz", "/%+1", "/%ff", "/%c3"];
        for path in bad {
            assert_eq!(split_path(path).unwrap_err(), CloseReason::MalformedRequest, "{path}");
        }
    }

    #[test]
    fn writes_a_target_in_one_spelling() {
        for (text, normal) in [
            ("/a/b?c", "/a/b?c"),
            ("/%61%2d%7E", "/a-~"),
            ("/a%2fb", "/a%2Fb"),
            ("/caf%c3%a9%20", "/caf%C3%A9%20"),
            ("%", "%"),
            ("%2", "%2"),
            ("%zz%41", "%zzA"),
            ("%\u{e9}", "%\u{e9}"),
        ] {
            assert_eq!(normalized(text), normal);
        }
    }

    #[test]
    fn finds_the_one_parameter_of_a_name() {
        let query = Some("a=1&&b&%zz=2&c%20d=x+y%26&e=f=g&discount=50%");
        for (name, value) in [("a", "1"), ("b", ""), ("c d", "x y&"), ("e", "f=g")] {
            assert_eq!(query_parameter(query, name).unwrap().as_deref(), Some(value), "{name}");
        }
        assert_eq!(query_parameter(query, "z"), Ok(None));
        assert_eq!(query_parameter(None, "a"), Ok(None));
        for bad in ["a=%f", "a=%ff", "a=1&a=2", "a=1&a=1", "a&b&a", "a=1&%61=2", "a=1&%6", "a=1&a=%"] {
            let is_single = bad == "a=1&%6";
            assert_eq!(query_parameter(Some(bad), "a").is_ok(), is_single, "{bad}");
        }
    }
}
