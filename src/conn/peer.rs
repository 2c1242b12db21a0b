//! The address of the peer, stored compactly for every connection, and the pseudo-random values that follow from it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::limits;

/// An address and a port. IPv4 is kept as the IPv6 address that stands for it (RFC 4291 section 2.5.5.2), which no peer of a
/// v6 listener can have, because those leave IPv4 to others. Scope and flow label are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    octets: [u8; 16],
    port: u16,
}

const _: () = assert!(size_of::<Peer>() == 18 && align_of::<Peer>() == 2);

impl Peer {
    pub fn ip(self) -> IpAddr {
        Ipv6Addr::from(self.octets).to_canonical()
    }

    /// The network that the address is charged to: an IPv4 address, or the first half of an IPv6 address, of which one
    /// client may have any number.
    pub fn network(self) -> u64 {
        let [high, low] = [0, 8].map(|at| u64::from_be_bytes(std::array::from_fn(|index| self.octets[at + index])));
        if self.ip().is_ipv4() { low } else { high }
    }

    pub fn port(self) -> u16 {
        self.port
    }

    /// Without a scope.
    pub fn address(self) -> SocketAddr {
        (self.ip(), self.port).into()
    }

    /// A part of a time span that differs from peer to peer, so that connections that opened together are not written
    /// to together.
    pub fn part(self, span: Duration) -> Duration {
        // Without the multiplication, consecutive ports would stay in step (Knuth's multiplicative hash).
        let draw = u32::from(self.port).wrapping_mul(0x9e37_79b9) >> 16;
        span * draw / (1 << 16)
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Peer {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Peer { octets: ip.octets(), port: address.port() }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.ip(), self.port).fmt(f)
    }
}

/// The time after which a disconnected client should reconnect, spread so that clients do not reconnect at once.
pub fn return_after(peer: Peer) -> Duration {
    limits::RETURN_AFTER + peer.part(limits::RETURN_SPREAD)
}

/// The same for `Retry-After`, in whole seconds.
pub(super) fn retry_after_s(peer: Peer) -> u32 {
    return_after(peer).as_secs() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_it_was_made_of() {
        for text in ["127.0.0.1:80", "[2001:db8::1]:443", "[::1]:1", "0.0.0.0:0"] {
            assert_eq!(Peer::from(text.parse::<SocketAddr>().unwrap()).to_string(), text);
        }
    }

    #[test]
    fn one_household_is_one_network() {
        let network = |text: &str| Peer::from(text.parse::<SocketAddr>().unwrap()).network();
        assert_eq!(network("[2001:db8::1]:1"), network("[2001:db8::ffff:1]:2"));
        assert_ne!(network("[2001:db8::1]:1"), network("[2001:db8:0:1::1]:1"));
        assert_eq!(network("127.0.0.1:1"), network("127.0.0.1:2"));
        assert_ne!(network("127.0.0.1:1"), network("127.0.0.2:1"));
        assert_ne!(network("0.0.0.1:1"), network("[::1]:1"));
    }
}
