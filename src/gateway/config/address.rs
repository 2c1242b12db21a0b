//! Addresses to listen on: how they are spelled, and which of them cannot be listened on at once.

use std::net::{IpAddr, SocketAddr};

/// The address that a text spells.
pub(super) fn read(text: &str) -> Option<SocketAddr> {
    text.parse().ok().map(canonical)
}

/// An IPv4 address is IPv4 in every spelling. `[::ffff:127.0.0.1]` (RFC 4291 section 2.5.5.2) is how a socket for both
/// families names an IPv4 address. Our sockets are for one family (IPV6_V6ONLY), and Linux binds no IPv6 socket to such
/// an address (EINVAL).
pub(in crate::gateway) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => (ip, address.port()).into(),
        // With its scope.
        IpAddr::V6(_) => address,
    }
}

/// Multicast and broadcast: Linux lets TCP listen there, but no connection ever arrives (RFC 1122 section 4.2.3.10).
pub(super) fn is_of_many(address: SocketAddr) -> bool {
    let is_broadcast = matches!(address.ip(), IpAddr::V4(ip) if ip.is_broadcast());
    address.ip().is_multicast() || is_broadcast
}

/// Whether one connection could be for both. A listener on `[::]` does not take IPv4.
pub(super) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_one = is_same(one, other) || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && is_one
}

/// Each link has its own addresses below fe80::/10 (RFC 4007 section 6): there the scope names the link.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    let is_link = match (one, other) {
        (SocketAddr::V6(one), SocketAddr::V6(other)) if one.ip().is_unicast_link_local() => {
            one.scope_id() == other.scope_id()
        }
        _ => true,
    };
    one.ip() == other.ip() && is_link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_is_the_same_in_both_spellings() {
        for (text, address) in [
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
            ("[::FFFF:7f00:1]:80", "127.0.0.1:80"),
            ("[0:0:0:0:0:ffff:0.0.0.0]:80", "0.0.0.0:80"),
            ("[::1]:80", "[::1]:80"),
            ("[::]:80", "[::]:80"),
            ("[::127.0.0.1]:80", "[::7f00:1]:80"),
            ("[fe80::1%3]:80", "[fe80::1%3]:80"),
        ] {
            assert_eq!(read(text).map(|address| address.to_string()).as_deref(), Some(address));
        }
        for text in ["", "127.0.0.1", "::1:80", "[::ffff:127.0.0.1]", "[::ffff:127.1]:80", "localhost:80"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn what_could_be_for_both_overlaps() {
        for (one, other, is_both) in [
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80", true),
            ("127.0.0.1:80", "[::ffff:0.0.0.0]:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "[::]:80", false),
            ("[::]:80", "[::1]:80", true),
            ("[fe80::1%2]:80", "[fe80::1%2]:80", true),
            ("[fe80::1%2]:80", "[fe80::1%3]:80", false),
            ("[fe80::1%2]:80", "[::]:80", true),
        ] {
            let [one, other] = [one, other].map(|text| read(text).unwrap());
            assert_eq!((overlap(one, other), overlap(other, one)), (is_both, is_both), "{one} {other}");
        }
    }
}
