//! What proxies say of the client before them: `X-Forwarded-For`, `-Proto` and `-Host`, or `Forwarded` (RFC 7239).
//!
//! ```text
//!  X-Forwarded-For: 198.51.100.1, 203.0.113.7, 10.0.0.2        peer of the connection: 10.0.0.1
//!                   '--------------------'     '------'                              '------'
//!                   the client says what it    trusted, so it is believed about      trusted, so the last entry
//!                   likes: never read          the entry before it                   is believed
//!                                '--> the client: the first from the right that is not trusted
//! ```
//!
//! - Each proxy adds the address of its own peer at the right end. So an entry is worth what its writer is worth, and is
//!   read only if all writers to the right of it are trusted.
//! - An entry that cannot be read ends the walk at the last trusted hop: what is left of it is never used instead.
//! - The address of the peer decides, never the bytes: of a peer that is not trusted nothing is read.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::authority::Authority;
use super::fields::UNREADABLE;
use super::head::Head;
use crate::proto::networks::Networks;

/// The proxies that are believed, and the header in which they say what they know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    pub networks: Networks,
    pub header: ForwardedHeader,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    #[default]
    XForwarded,
    /// `Forwarded`.
    Forwarded,
}

/// What a trusted proxy says of one request. A part is `None` if the proxy does not say it, or unreadably.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarded<'a> {
    /// With the port of the client, or 0.
    pub client: Option<SocketAddr>,
    /// Whether the client came by https.
    pub is_secure: Option<bool>,
    /// The host that the client named: a valid authority.
    pub host: Option<&'a str>,
}

impl<'a> Forwarded<'a> {
    /// From the head of a request whose peer is trusted.
    pub fn of(head: &Head<'a>, trust: &TrustedProxies) -> Forwarded<'a> {
        match trust.header {
            ForwardedHeader::XForwarded => {
                let entries = from_the_right(head, "x-forwarded-for", between_commas);
                let last = |name| from_the_right(head, name, between_commas).next();
                Forwarded {
                    client: walk(entries.map(address), &trust.networks),
                    is_secure: last("x-forwarded-proto").and_then(is_secure),
                    host: last("x-forwarded-host").filter(|host| is_host(host)),
                }
            }
            ForwardedHeader::Forwarded => {
                let elements = || from_the_right(head, "forwarded", between_unquoted_commas);
                let last = elements().next().and_then(Element::parse).unwrap_or_default();
                let client = |element| Element::parse(element)?.client.and_then(address);
                Forwarded {
                    client: walk(elements().map(client), &trust.networks),
                    is_secure: last.proto.and_then(is_secure),
                    host: last.host.filter(|host| is_host(host)),
                }
            }
        }
    }
}

/// The elements of a list, over all fields of that name, the last one first. Empty ones do not count (RFC 9110 section
/// 5.6.1).
fn from_the_right<'a, L: Iterator<Item = &'a str>>(
    head: &Head<'a>,
    name: &'static str,
    split: impl Fn(&'a str) -> L,
) -> impl Iterator<Item = &'a str> {
    let fields = head.fields().iter().rev().filter(move |field| field.name.eq_ignore_ascii_case(name));
    let values = fields.map(|field| str::from_utf8(field.value).unwrap_or(UNREADABLE));
    values.flat_map(split).map(|element| element.trim_matches([' ', '\t'])).filter(|element| !element.is_empty())
}

fn between_commas(value: &str) -> impl Iterator<Item = &str> {
    value.rsplit(',')
}

/// The first address from the right that is not trusted. If there is none, the last trusted one before the list ends, or
/// before an entry that cannot be read.
fn walk(entries: impl Iterator<Item = Option<SocketAddr>>, trusted: &Networks) -> Option<SocketAddr> {
    let mut client = None;
    for entry in entries {
        let Some(address) = entry else { return client };
        client = Some(address);
        if !trusted.contain(address.ip()) {
            return client;
        }
    }
    client
}

/// An address, with or without a port; an IPv6 address with a port is in brackets.
fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some((ip, 0).into());
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(|ip| (ip, 0).into());
    }
    let (host, port) = text.rsplit_once(':')?;
    // A proxy may hide the port (RFC 7239 section 6.3).
    if port.starts_with('_') {
        return if host.ends_with(':') { None } else { address(host) };
    }
    text.parse().ok()
}

fn is_secure(scheme: &str) -> Option<bool> {
    let is = |other: &str| scheme.eq_ignore_ascii_case(other);
    match () {
        () if is("https") || is("wss") => Some(true),
        () if is("http") || is("ws") => Some(false),
        () => None,
    }
}

fn is_host(text: &str) -> bool {
    Authority::parse(text).is_ok()
}

/// The elements of `Forwarded`, from the right: commas in quotes separate nothing. A client can leave a quote open; as the
/// quotes are paired from the right, that spoils its own elements and none of those that proxies have added.
struct ElementsFromTheRight<'a> {
    rest: Option<&'a str>,
}

fn between_unquoted_commas(value: &str) -> ElementsFromTheRight<'_> {
    ElementsFromTheRight { rest: Some(value) }
}

impl<'a> Iterator for ElementsFromTheRight<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let bytes = rest.as_bytes();
        let mut is_quoted = false;
        for at in (0..bytes.len()).rev() {
            match bytes[at] {
                b'"' => is_quoted = !is_quoted,
                b',' if !is_quoted => {
                    self.rest = Some(&rest[..at]);
                    return Some(&rest[at + 1..]);
                }
                _ => {}
            }
        }
        self.rest = None;
        Some(rest)
    }
}

/// `for=192.0.2.43;proto=https;host=gate.example`: what is used of one element.
#[derive(Clone, Copy, Debug, Default)]
struct Element<'a> {
    client: Option<&'a str>,
    proto: Option<&'a str>,
    host: Option<&'a str>,
}

impl<'a> Element<'a> {
    /// `None` for anything but `token "=" (token / quoted-string)`, separated by `;`, each name at most once. Escapes are
    /// refused: no address, scheme or host needs them.
    fn parse(text: &'a str) -> Option<Element<'a>> {
        let mut element = Element::default();
        // No value that is used has a semicolon.
        for pair in text.split(';') {
            let pair = pair.trim_matches([' ', '\t']);
            if pair.is_empty() {
                continue;
            }
            let (name, value) = pair.split_once('=')?;
            let value = match value.strip_prefix('"') {
                Some(quoted) => quoted.strip_suffix('"')?,
                None => value,
            };
            let is_plain = !name.is_empty() && !value.is_empty() && !pair.contains('\\') && !value.contains('"');
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            let slot = match () {
                () if !is_plain => return None,
                () if is("for") => &mut element.client,
                () if is("proto") => &mut element.proto,
                () if is("host") => &mut element.host,
                () => continue,
            };
            if slot.replace(value).is_some() {
                return None;
            }
        }
        Some(element)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::next_head;
    use super::*;

    fn proxies(header: ForwardedHeader) -> TrustedProxies {
        TrustedProxies { networks: Networks::parse(["10.0.0.0/8", "2001:db8::/32"]).unwrap(), header }
    }

    /// What a proxy says with these lines.
    fn said<T>(lines: &str, header: ForwardedHeader, look: impl FnOnce(Forwarded<'_>) -> T) -> T {
        let mut bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
        let mut input = &mut bytes[..];
        let head = next_head(&mut input).expect(lines).expect(lines);
        look(Forwarded::of(&head, &proxies(header)))
    }

    fn client(lines: &str, header: ForwardedHeader) -> Option<String> {
        said(lines, header, |forwarded| forwarded.client.map(|client| client.to_string()))
    }

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_not_trusted() {
        for (list, expected) in [
            ("203.0.113.7", Some("203.0.113.7:0")),
            ("203.0.113.7, 10.0.0.2", Some("203.0.113.7:0")),
            ("198.51.100.1, 203.0.113.7, 10.0.0.2,10.0.0.3", Some("203.0.113.7:0")),
            ("10.0.0.9, 203.0.113.7", Some("203.0.113.7:0")),
            ("203.0.113.7:4711, [2001:db8::1]:80", Some("203.0.113.7:4711")),
            ("[2001:470::1]:4711, 10.0.0.1:1", Some("[2001:470::1]:4711")),
            ("2001:470::1", Some("[2001:470::1]:0")),
            ("[2001:470::1]", Some("[2001:470::1]:0")),
            ("::ffff:203.0.113.7, ::ffff:10.0.0.1", Some("[::ffff:203.0.113.7]:0")),
            // All are trusted: the one that is farthest away.
            ("10.0.0.9, 10.0.0.2", Some("10.0.0.9:0")),
            // Unreadable: the last trusted hop, and never what is left of it.
            ("203.0.113.7, unknown", None),
            ("203.0.113.7, unknown, 10.0.0.2", Some("10.0.0.2:0")),
            ("203.0.113.7, \"10.0.0.2\"", None),
            ("203.0.113.7, 10.0.0.256", None),
            ("203.0.113.7, 10.0.0.02", None),
            ("203.0.113.7, 10.0.0.2:99999", None),
            ("203.0.113.7, 10.0.0.2:", None),
            ("203.0.113.7, fe80::1%eth0", None),
            ("203.0.113.7 10.0.0.2", None),
            ("203.0.113.7, ,", Some("203.0.113.7:0")),
            ("", None),
        ] {
            let lines = format!("X-Forwarded-For: {list}\r\n");
            assert_eq!(client(&lines, ForwardedHeader::XForwarded).as_deref(), expected, "{list}");
        }
        let lines = "x-forwarded-for: 198.51.100.1\r\nX-FORWARDED-FOR: 203.0.113.7\r\nX-Forwarded-For: 10.0.0.2\r\n";
        assert_eq!(client(lines, ForwardedHeader::XForwarded).as_deref(), Some("203.0.113.7:0"), "one list");
        assert_eq!(client(lines, ForwardedHeader::Forwarded), None, "the other header");
    }

    #[test]
    fn elements_of_forwarded_are_read_the_same_way() {
        for (list, expected) in [
            ("for=203.0.113.7", Some("203.0.113.7:0")),
            ("for=198.51.100.1, For=203.0.113.7;proto=https;by=10.0.0.1, for=10.0.0.2", Some("203.0.113.7:0")),
            ("for=\"[2001:470::1]:4711\";host=a, for=\"10.0.0.2:80\"", Some("[2001:470::1]:4711")),
            ("for=\"203.0.113.7:_secret\"", Some("203.0.113.7:0")),
            ("for=\"203.0.113.7\";note=\"a, for=10.0.0.9\"", Some("203.0.113.7:0")),
            ("proto=https; for=203.0.113.7;", Some("203.0.113.7:0")),
            // A client that leaves a quote open spoils its own element only.
            ("for=\"evil, for=203.0.113.7, for=10.0.0.2", Some("203.0.113.7:0")),
            ("for=203.0.113.7, for=\"evil", None),
            ("for=203.0.113.7, for=_hidden, for=10.0.0.2", Some("10.0.0.2:0")),
            ("for=203.0.113.7, for=unknown", None),
            ("for=203.0.113.7, for=10.0.0.2;for=198.51.100.1", None),
            ("for=203.0.113.7, for=\"10.0.0.\\2\"", None),
            ("for=203.0.113.7, by=10.0.0.2", None),
            ("for=203.0.113.7, for", None),
            ("203.0.113.7", None),
        ] {
            let lines = format!("Forwarded: {list}\r\nX-Forwarded-For: 192.0.2.9\r\n");
            assert_eq!(client(&lines, ForwardedHeader::Forwarded).as_deref(), expected, "{list}");
        }
    }

    #[test]
    fn scheme_and_host_are_those_of_the_last_proxy() {
        use ForwardedHeader::*;
        for (header, lines, is_secure, host) in [
            (
                XForwarded,
                "X-Forwarded-Proto: https\r\nX-Forwarded-Host: gate.example:8443\r\n",
                Some(true),
                Some("gate.example:8443"),
            ),
            (
                XForwarded,
                "X-Forwarded-Proto: https, http\r\nX-Forwarded-Host: evil.example, gate.example\r\n",
                Some(false),
                Some("gate.example"),
            ),
            (XForwarded, "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: WS\r\n", Some(false), None),
            (XForwarded, "X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a@b\r\n", None, None),
            (XForwarded, "Forwarded: proto=https;host=a\r\n", None, None),
            (
                Forwarded,
                "Forwarded: host=evil.example, proto=https;host=\"gate.example:8443\"\r\n",
                Some(true),
                Some("gate.example:8443"),
            ),
            (Forwarded, "Forwarded: proto=https;host=evil.example, for=1.2.3.4\r\n", None, None),
            (Forwarded, "X-Forwarded-Proto: https\r\n", None, None),
        ] {
            said(lines, header, |forwarded| {
                assert_eq!((forwarded.is_secure, forwarded.host), (is_secure, host), "{lines}")
            });
        }
    }

    #[test]
    fn a_list_as_long_as_a_head_costs_one_walk() {
        let many = "::,".repeat(5_000);
        assert_eq!(
            client(&format!("X-Forwarded-For: {many}10.0.0.1\r\n"), ForwardedHeader::XForwarded).as_deref(),
            Some("[::]:0")
        );
        let quotes = "\",".repeat(7_000);
        assert_eq!(client(&format!("Forwarded: {quotes}\r\n"), ForwardedHeader::Forwarded), None);
    }

    /// The rule, said with all entries at hand.
    fn by_the_book(entries: &[Option<SocketAddr>], trusted: &Networks) -> Option<SocketAddr> {
        let readable = entries.iter().rposition(Option::is_none).map_or(entries, |at| &entries[at + 1..]);
        let readable: Vec<SocketAddr> = readable.iter().flatten().copied().collect();
        let client = readable.iter().rev().find(|address| !trusted.contain(address.ip()));
        client.or(readable.first()).copied()
    }

    proptest! {
        #[test]
        fn any_list_in_any_lines_is_walked_by_the_rule(
            entries in prop::collection::vec(
                prop_oneof![Just("10.0.0.1"), Just("10.9.9.9:1"), Just("203.0.113.7"), Just("198.51.100.1:5"), Just("unknown"), Just("x")],
                0..12,
            ),
            cuts in prop::collection::vec(any::<bool>(), 12),
        ) {
            let trusted = proxies(ForwardedHeader::XForwarded).networks;
            let mut lines = String::from("X-Forwarded-For: ");
            for (entry, cut) in entries.iter().zip(&cuts) {
                lines.push_str(entry);
                lines.push_str(if *cut { "\r\nX-Forwarded-For: " } else { ", " });
            }
            lines.push_str("\r\n");
            let parsed: Vec<_> = entries.iter().map(|entry| address(entry)).collect();
            let expected = by_the_book(&parsed, &trusted).map(|client| client.to_string());
            prop_assert_eq!(client(&lines, ForwardedHeader::XForwarded), expected);
        }

        #[test]
        fn no_bytes_of_a_client_change_what_proxies_say_behind_them(garbage in "[ -~]{0,60}") {
            let behind = |header: &str, list: &str| format!("{header}: {garbage}, {list}\r\n");
            let forwarded = behind("Forwarded", "for=203.0.113.7, for=10.0.0.2");
            prop_assert_eq!(client(&forwarded, ForwardedHeader::Forwarded), Some("203.0.113.7:0".to_owned()));
            let forwarded = behind("X-Forwarded-For", "203.0.113.7, 10.0.0.2");
            prop_assert_eq!(client(&forwarded, ForwardedHeader::XForwarded), Some("203.0.113.7:0".to_owned()));
        }
    }
}
