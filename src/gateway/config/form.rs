//! The accepted forms of texts: a path, a channel, an origin …

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::address;
use crate::base::Remote;
use crate::conn::admin::Scope;
use crate::conn::fixed::FixedField;
use crate::limits::{
    HEAD_BYTES_MAX, HOST_NAME_BYTES_MAX, LIMIT_RATE_MAX, SUBJECT_BYTES_MAX, TARGET_BYTES_MAX, UNIX_PATH_BYTES_MAX,
    UPSTREAM_NAME_BYTES_MAX,
};
use crate::proto::http::{Authority, Host, Origin, TRACE_FIELD, is_hop_by_hop, may_be_sent, may_be_told};
use crate::proto::networks::Networks;
use crate::proto::permission::{Permissions, Right};
use crate::proto::reserved::{RESULT_EVENT, is_own_event};
use crate::proto::subject::{Pattern, Subject, is_inbox, is_reserved, is_valid_token};
use crate::proto::token::carrier::of_subprotocol;
use crate::proto::token::{Algorithm, Carrier};
use crate::proto::upstream::{ServerAddress, ServerName};

pub(super) fn is_address(text: &str) -> bool {
    address::read(text).is_some()
}

pub(super) fn is_file(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

pub(super) fn is_user(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// Of the gateway's own event names, only that of a result is allowed.
pub(super) fn is_result_event(text: &str) -> bool {
    is_user(text) && (text == RESULT_EVENT || !is_own_event(text))
}

/// A token of RFC 9110 section 5.6.2.
pub(super) fn is_http_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() < HEAD_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// A header field of requests that workers may get by its own name.
pub(super) fn is_passed(text: &str) -> bool {
    const OWN: [&str; 3] = ["content-type", "x-request-id", TRACE_FIELD];
    let begins = |prefix: &str| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    is_http_token(text)
        && !OWN.iter().any(|own| own.eq_ignore_ascii_case(text))
        && !begins("tg-")
        && !begins("nats-")
        && !is_hop_by_hop(text)
}

/// A subprotocol of WebSocket, none that carries a token.
pub(super) fn is_subprotocol(text: &str) -> bool {
    is_http_token(text) && of_subprotocol(text).is_none()
}

/// Methods are case-sensitive (RFC 9110 section 9.1), and every registered one is in upper case.
pub(super) fn is_method(text: &str) -> bool {
    is_http_token(text) && !text.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// The name of a query parameter that needs no escapes in a URL.
pub(super) fn is_query_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// A host name or an address, without a port.
pub(super) fn is_host(text: &str) -> bool {
    let is_alone = |authority: &Authority| authority.port.is_none() && !text.ends_with(':');
    Authority::parse(text).ok().filter(is_alone).is_some_and(|authority| is_named(authority.host))
}

/// The same, or `*.` for one label in front of a name.
pub(super) fn is_host_pattern(text: &str) -> bool {
    match text.strip_prefix("*.") {
        Some(name) => is_host(name) && !matches!(Authority::parse(name), Ok(Authority { host: Host::Address(_), .. })),
        None => is_host(text),
    }
}

/// A text to be read.
pub(super) fn is_body(text: &str) -> bool {
    text.chars().all(|character| !character.is_control() || matches!(character, '\t' | '\r' | '\n'))
}

/// The name of an auth.
pub(super) fn is_auth_name(text: &str) -> bool {
    is_upstream_name(text) && text != "none"
}

/// The same, or none.
pub(super) fn is_auth_choice(text: &str) -> bool {
    is_upstream_name(text)
}

pub(super) fn is_algorithm(text: &str) -> bool {
    Algorithm::ALL.iter().any(|algorithm| algorithm.name() == text)
}

/// The channels of a permission.
pub(super) fn is_permission(text: &str) -> bool {
    Permissions::check(text).is_ok()
}

/// A use of a channel by a client.
pub(super) fn is_right(text: &str) -> bool {
    Right::named(text).is_some()
}

/// The path of a socket.
pub(super) fn is_socket(text: &str) -> bool {
    is_file(text) && is_text(text) && text.len() <= UNIX_PATH_BYTES_MAX
}

/// A scope of a token of the admin listener.
pub(super) fn is_scope(text: &str) -> bool {
    Scope::named(text).is_some()
}

/// Where a request carries a token.
pub(super) fn is_carrier(text: &str) -> bool {
    text.parse::<Carrier>().is_ok()
}

/// A claim and its value.
pub(super) fn is_claim(name: &str, value: &str) -> bool {
    is_text(name) && is_text(value)
}

/// A header field by which servers are told a claim.
pub(super) fn is_told(field: &str, claim: &str) -> bool {
    may_be_told(field) && is_text(claim)
}

/// A field of a request that a server which decides about clients may get.
pub(super) fn is_sent(field: &str) -> bool {
    may_be_sent(field)
}

/// A field of its answer that may be told to others.
pub(super) fn is_copied(field: &str) -> bool {
    may_be_told(field)
}

/// A text whose meaning is checked later, with its place.
pub(super) fn is_text(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

pub(super) fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok_and(|ip| !ip.is_multicast() && !ip.is_unspecified())
}

/// The name of an upstream; no URL and no server is one.
pub(super) fn is_upstream_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= UPSTREAM_NAME_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

pub(super) fn is_server(text: &str) -> bool {
    server(text).is_some()
}

/// The server that a text names: an address or a host name with a port, or `unix:` and an absolute path.
pub(super) fn server(text: &str) -> Option<ServerAddress> {
    if let Some(path) = text.strip_prefix("unix:") {
        let is_path = path.len() > 1 && path.starts_with('/') && path.len() <= UNIX_PATH_BYTES_MAX;
        return (is_path && is_text(path)).then(|| Remote::Unix(Path::new(path).into()).into());
    }
    if let Some(address) = address::read(text) {
        let is_one = address.port() != 0 && !address.ip().is_unspecified() && !address::is_of_many(address);
        return is_one.then_some(address.into());
    }
    let Authority { host: Host::Name(name), port: Some(port) } = Authority::parse(text).ok()? else { return None };
    let is_name = port != 0 && name.len() <= HOST_NAME_BYTES_MAX && is_named(Host::Name(name));
    is_name.then(|| ServerName { host: name.to_ascii_lowercase().into(), port }.into())
}

/// The path of a request, with its query.
pub(super) fn is_request_path(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    text.starts_with('/') && text.len() <= TARGET_BYTES_MAX && text.bytes().all(is_plain)
}

/// `200`, or `200-399`.
pub(super) fn statuses(text: &str) -> Option<RangeInclusive<u16>> {
    let status = |text: &str| {
        let is_short = text.len() == 3 && text.bytes().all(|digit| digit.is_ascii_digit());
        text.parse().ok().filter(|status| is_short && (200..=599).contains(status))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (status(first)?, status(last)?);
    (first <= last).then_some(first..=last)
}

pub(super) fn is_statuses(text: &str) -> bool {
    statuses(text).is_some()
}

/// The server of a URL without a path, and its text: `http://app:3000`, `unix:/run/app.sock`. The error is a clause.
pub(super) fn server_of_url(url: &str) -> Result<(String, ServerAddress), &'static str> {
    const WANTED: &str =
        "expected the name of an [[upstream]], or a URL such as \"http://127.0.0.1:3000\" or \"unix:/run/app.sock\"";
    if url.starts_with("unix:") {
        let socket = server(url).map(|at| (url.to_owned(), at));
        return socket.ok_or("has no absolute path of a socket; expected a URL such as \"unix:/run/app.sock\"");
    }
    let of = |scheme: &str, port: u16| Some((url.strip_prefix(scheme)?, port));
    let (authority, port) = of("http://", 80).or_else(|| of("https://", 443)).ok_or(WANTED)?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.contains(['/', '?', '#', '@']) {
        return Err(
            "has more than a host and a port; expected a URL such as \"http://127.0.0.1:3000\", and strip for the path",
        );
    }
    let named = |text: String| server(&text).map(|at| (text, at));
    let found = named(authority.to_owned()).or_else(|| named(format!("{authority}:{port}")));
    // An address has one text, however it is spelled.
    let found = found.map(|(text, at)| match &at {
        ServerAddress::Fixed(remote) => (remote.to_string(), at),
        ServerAddress::Named(_) => (text, at),
    });
    found.ok_or("names no server; expected a URL such as \"http://127.0.0.1:3000\" or \"http://app.internal:3000\"")
}

/// Segments at the beginning of a path.
/// The parts of the URL of a key set: its server, with the text of that, its path, and whether it is reached by TLS.
pub(super) struct UrlParts {
    pub server: (String, ServerAddress),
    pub path: String,
    pub is_tls: bool,
}

/// Reads the URL of a key set. The error is a clause.
pub(super) fn keys_at(url: &str) -> Result<UrlParts, &'static str> {
    const WANTED: &str = "expected a URL such as \"https://id.example/.well-known/jwks.json\"";
    const CLEAR: &str =
        "is fetched in clear, where others could put their own keys; expected https, or an address of this machine";
    let parts = url_parts(url).ok_or(WANTED)?;
    let is_here = match &parts.server.1 {
        ServerAddress::Fixed(Remote::Tcp(address)) => address.ip().is_loopback(),
        ServerAddress::Fixed(Remote::Unix(_)) => false,
        ServerAddress::Named(name) => &*name.host == "localhost",
    };
    if parts.is_tls || is_here { Ok(parts) } else { Err(CLEAR) }
}

/// Whether it is a URL with a path.
pub(super) fn is_url(text: &str) -> bool {
    url_parts(text).is_some()
}

/// The server of a URL, and its path.
pub(super) fn url_parts(url: &str) -> Option<UrlParts> {
    let scheme_len = url.find("://")? + 3;
    let path_at = url[scheme_len..].find(['/', '?', '#']).map_or(url.len(), |at| scheme_len + at);
    let path = if path_at == url.len() { "/" } else { &url[path_at..] };
    let server = server_of_url(&url[..path_at]).ok().filter(|_| is_request_path(path))?;
    Some(UrlParts { server, path: path.to_owned(), is_tls: url.starts_with("https://") })
}

pub(super) fn is_strip(text: &str) -> bool {
    text.len() > 1 && text.starts_with('/') && !text.ends_with('/') && is_text(text) && !text.contains(['{', '}', '*'])
}

/// The Host of a proxied request.
pub(super) fn is_proxy_host(text: &str) -> bool {
    Authority::parse(text).is_ok_and(|authority| is_named(authority.host)) && !text.ends_with(':')
}

/// A header field of a fixed answer.
pub(super) fn is_field(text: &str) -> bool {
    FixedField::parse(text).is_some()
}

pub(super) fn is_network(text: &str) -> bool {
    Networks::is_network(text)
}

/// An origin (RFC 6454 section 6.2): scheme, host and port, without a path. Opaque origins send `null`. A star stands for
/// the first label of a name; what follows has two labels at least, or is `localhost`.
pub(super) fn is_origin(text: &str) -> bool {
    text == "*" || text == "null" || Origin::parse(text).is_some_and(|origin| is_named(without_star(origin.host())))
}

fn without_star(host: Host<'_>) -> Host<'_> {
    let Host::Name(name) = host else { return host };
    let parent =
        name.strip_prefix("*.").filter(|parent| parent.contains('.') || parent.eq_ignore_ascii_case("localhost"));
    Host::Name(parent.unwrap_or(name))
}

/// Whether a browser would send this host name. It has no wildcards, and a name that ends in a number is an address,
/// which browsers write out in full (the WHATWG URL standard, "ends in a number").
fn is_named(host: Host<'_>) -> bool {
    let Host::Name(name) = host else { return true };
    let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_number = match last.strip_prefix("0x").or(last.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|digit| digit.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|digit| digit.is_ascii_digit()),
    };
    !is_number && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// One token of a subject.
pub(super) fn is_service(text: &str) -> bool {
    is_valid_token(text) && text.len() <= SUBJECT_BYTES_MAX / 2
}

/// A path whose segments are literal or one parameter each, with distinct parameter names, perhaps with a `*` at the end, and
/// short enough for a request line. `conn::spelling` checks whether requests can have it.
pub(super) fn is_path(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('/') else { return false };
    let rest = rest.strip_suffix('*').filter(|above| above.is_empty() || above.ends_with('/')).unwrap_or(rest);
    let mut names: Vec<&str> = Vec::new();
    let escaped_len: usize = text.bytes().map(|byte| if byte.is_ascii_graphic() { 1 } else { 3 }).sum();
    escaped_len < TARGET_BYTES_MAX
        && rest.split('/').all(|segment| match parameter_of(segment) {
            Some(name) => {
                is_name(name) && !names.contains(&name) && {
                    names.push(name);
                    true
                }
            }
            None => !segment.contains(['{', '}']) && segment != "*",
        })
}

fn parameter_of(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The parameters of a valid path.
pub(super) fn path_parameters(path: &str) -> Vec<&str> {
    path.split('/').filter_map(parameter_of).collect()
}

/// The parameters of a channel: each is a whole token.
pub(super) fn channel_parameters(template: &str) -> Vec<&str> {
    template.split('.').filter_map(parameter_of).collect()
}

/// A subject whose tokens are literal or one parameter each. Clients choose the values, so the first of several tokens
/// must be literal: then no value leads to a reserved subject.
pub(super) fn is_channel(template: &str) -> bool {
    let has_whole_parameters = |token: &str| match parameter_of(token) {
        Some(name) => is_name(name),
        None => !token.contains(['{', '}']),
    };
    let filled: Vec<&str> =
        template.split('.').map(|token| if parameter_of(token).is_some() { "x" } else { token }).collect();
    template.split('.').all(has_whole_parameters)
        && Subject::check(&filled.join(".")).is_ok()
        && !(template.starts_with('{') && template.contains('.'))
        && !is_reserved(template)
        && !is_inbox(template)
}

/// A pattern of channel names.
pub(super) fn is_pattern(text: &str) -> bool {
    Pattern::check(text).is_ok() && !is_reserved(text) && !is_inbox(text)
}

pub(super) fn is_age(text: &str) -> bool {
    age(text).is_some()
}

/// `30s`, `5m`, `12h`, `7d`: more than zero, and at most a year.
pub(super) fn age(text: &str) -> Option<Duration> {
    const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
    const SECONDS_MAX: u64 = 365 * 86_400;
    let (digits, seconds) = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, seconds)))?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = digits.parse().ok().filter(|_| is_number)?;
    count.checked_mul(*seconds).filter(|seconds| (1..=SECONDS_MAX).contains(seconds)).map(Duration::from_secs)
}

pub(super) fn is_rate(text: &str) -> bool {
    rate(text).is_some()
}

/// `20/s`, `300/m`, `1000/h`: the count, and the time.
pub(super) fn rate(text: &str) -> Option<(u32, Duration)> {
    let (digits, unit) = text.split_once('/')?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    let count: u32 = digits.parse().ok().filter(|_| is_number)?;
    (u64::from(count) <= u64::from(LIMIT_RATE_MAX) * seconds).then_some((count, Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ages_with_their_units() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("12h", 43_200), ("7d", 604_800), ("365d", 31_536_000)] {
            assert_eq!(age(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "m", "0s", "-1s", "+1s", "1.5h", "5 m", "5M", "366d", "99999999999999999999s", "1w", "5é"]
        {
            assert_eq!(age(text), None, "{text}");
        }
    }

    #[test]
    fn reads_rates_with_their_units() {
        for (text, count, seconds) in
            [("1/s", 1, 1), ("300/m", 300, 60), ("1000/h", 1_000, 3_600), ("1000000/s", 1_000_000, 1)]
        {
            assert_eq!(rate(text), Some((count, Duration::from_secs(seconds))), "{text}");
        }
        for text in
            ["", "5", "5/", "/s", "0/s", "05/s", "+5/s", "-5/s", "5 /s", "5/S", "5/d", "5/10s", "1000001/s", "0.5/s"]
        {
            assert_eq!(rate(text), None, "{text}");
        }
    }

    #[test]
    fn takes_patterns_of_channels() {
        for pattern in ["room", "room.*", "a.*.b", "a.>", ">", "*"] {
            assert!(is_pattern(pattern), "{pattern}");
        }
        for pattern in ["", "a..b", ">.a", "tg.>", "tg", "_INBOX.*", "a b"] {
            assert!(!is_pattern(pattern), "{pattern}");
        }
    }

    #[test]
    fn takes_literal_segments_and_whole_parameters_in_a_path() {
        for path in ["/", "/a", "/a/{b}/c", "/{x}/{y}", "/a/", "/a b", "/é"] {
            assert!(is_path(path), "{path}");
        }
        let long = format!("/{}", "é".repeat(TARGET_BYTES_MAX / 6 + 1));
        for path in ["", "a", "/{a}/{a}", "/x{a}", "/{}", "/{a-b}", "/{a", "/a}", &long] {
            assert!(!is_path(path), "{path}");
        }
        assert_eq!(path_parameters("/a/{b}/{c}"), ["b", "c"]);
    }

    #[test]
    fn takes_subjects_with_parameters_as_channels() {
        for channel in ["room", "room.{room}", "{room}", "a.{b}.c.{d}"] {
            assert!(is_channel(channel), "{channel}");
        }
        for channel in
            ["", "a..b", ".a", "a.", "a b", "a.*", "a.>", "a.{", "a.}", "a.{}", "{a}.b", "a.x{b}", "a\t", "a.{b-c}"]
        {
            assert!(!is_channel(channel), "{channel}");
        }
    }

    #[test]
    fn refuses_reserved_channels() {
        for channel in ["tg.conn.{id}", "tg", "_INBOX.{id}"] {
            assert!(!is_channel(channel), "{channel}");
        }
        assert!(is_channel("tgx.conn"));
    }

    #[test]
    fn takes_origins_without_a_path() {
        for origin in [
            "*",
            "null",
            "https://*.a.b",
            "http://*.localhost:80",
            "https://Example.com",
            "http://localhost:3000",
            "http://[::1]:80",
            "capacitor://localhost",
        ] {
            assert!(is_origin(origin), "{origin}");
        }
        for origin in [
            "",
            "example.com",
            "https://",
            "https://example.com/",
            "https://a:b",
            "://a",
            "https://a b",
            "https://*",
            "https://*.com",
            "https://*.*.a.b",
            "https://*a.example",
            "https://a.*.example",
            "https://*.1.2.3.4",
            "http://127.1",
            "http://2130706433",
            "http://0x7f.1.",
            "https://b\u{fc}cher.example",
            "**",
        ] {
            assert!(!is_origin(origin), "{origin}");
        }
    }

    #[test]
    fn takes_hosts_without_a_port() {
        for host in ["tidegate", "Tidegate.internal.", "a_b.example", "10.0.0.7", "[::1]", "xn--bcher-kva.example"] {
            assert!(is_host(host), "{host}");
        }
        for host in
            ["", "*", "*.example", "a:80", "a:", "http://a", "a/b", "a b", "127.1", "::1", "a%2eb", "b\u{fc}cher"]
        {
            assert!(!is_host(host), "{host}");
        }
    }
}
