//! Authorities: host and port, as `Host`, absolute targets and origins write them; equal however they are spelled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::target::unescaped;
use crate::proto::CloseReason;

/// `host [":" port]` (RFC 9110 section 7.2). User names are refused, as section 4.2.4 advises, and so are commas, which
/// would come from lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    pub host: Host<'a>,
    /// `None` if it is missing or empty, which means the scheme's default (RFC 9110 section 4.2.3).
    pub port: Option<u16>,
}

/// A name, or an address in the notation of RFC 3986 section 3.2.2.
#[derive(Clone, Copy, Debug)]
pub enum Host<'a> {
    /// As it was sent: letters of either case, some perhaps escaped.
    Name(&'a str),
    Address(IpAddr),
}

impl<'a> Authority<'a> {
    pub fn parse(text: &'a str) -> Result<Authority<'a>, CloseReason> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest.split_once(']').ok_or(CloseReason::MalformedRequest)?;
                let address: Ipv6Addr = address.parse().map_err(|_| CloseReason::MalformedRequest)?;
                (Host::Address(address.into()), rest)
            }
            None => {
                let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
                (Host::named(name).ok_or(CloseReason::MalformedRequest)?, rest)
            }
        };
        let port = match rest.strip_prefix(':') {
            Some(digits) => port(digits)?,
            None if rest.is_empty() => None,
            None => return Err(CloseReason::MalformedRequest),
        };
        Ok(Authority { host, port })
    }
}

/// Five digits at most: a longer text is not a port, whatever its value.
fn port(digits: &str) -> Result<Option<u16>, CloseReason> {
    let is_number = digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        _ if digits.is_empty() => Ok(None),
        Ok(port) if is_number => Ok(Some(port)),
        _ => Err(CloseReason::MalformedRequest),
    }
}

impl<'a> Host<'a> {
    fn named(name: &'a str) -> Option<Host<'a>> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(&byte);
        let is_valid = !name.is_empty() && name.bytes().all(is_name);
        let host = || name.parse::<Ipv4Addr>().map_or(Host::Name(name), |address| Host::Address(address.into()));
        is_valid.then(host)
    }
}

/// Names are equal in any case and with any escapes (RFC 3986 section 6.2.2). A dot at the end makes a different name:
/// with it a resolver appends no domain.
impl PartialEq for Host<'_> {
    fn eq(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Host::Name(own), Host::Name(other)) => letters(own).eq(letters(other)),
            (Host::Address(own), Host::Address(other)) => own == other,
            _ => false,
        }
    }
}

impl Eq for Host<'_> {}

fn letters(name: &str) -> impl Iterator<Item = u8> {
    unescaped(name).map(|byte| byte.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_and_addresses_with_and_without_a_port() {
        for good in ["a", "a.b-c_d~", "1.2.3.4:80", "a:", "[::ffff:1.2.3.4]:65535", "xn--bcher-kva.example", "a:00080"]
        {
            assert!(Authority::parse(good).is_ok(), "{good}");
        }
        let bad = [
            "",
            ":80",
            "a b",
            "a,b",
            "a/b",
            "a@b",
            "a:b",
            "a:123456",
            "a:65536",
            "a:+80",
            "a:80:80",
            "[",
            "[]",
            "[::1",
            "[::1]x",
            "[g]",
            "[1.2.3.4]",
            "[1::2::3]",
            "[fe80::1%25eth0]",
            "::1",
        ];
        for bad in bad {
            assert_eq!(Authority::parse(bad), Err(CloseReason::MalformedRequest), "{bad}");
        }
    }

    #[test]
    fn one_host_has_many_spellings() {
        let host = |text| Authority::parse(text).unwrap().host;
        for (own, other) in [
            ("gate.example", "GATE.Example"),
            ("gate.example", "%67ate%2eexample"),
            ("gate.example", "gate.example:443"),
            ("[::1]", "[0:0:0:0:0:0:0:1]"),
            ("[2001:DB8::a]", "[2001:db8:0::A]"),
            ("a%zz", "A%ZZ"),
        ] {
            assert_eq!(host(own), host(other));
        }
        for (own, other) in [
            ("gate.example", "gate.example."),
            ("gate.example", "gate.example.evil"),
            ("gate.example", "gate%2Eexample%00"),
            ("127.0.0.1", "[::ffff:127.0.0.1]"),
            ("127.0.0.1", "127.1"),
            ("::1", "[::1]"),
            ("a", "a%"),
        ] {
            let [own, other] = [own, other].map(|text| Authority::parse(text).map(|authority| authority.host));
            assert_ne!(own, other);
        }
    }
}
