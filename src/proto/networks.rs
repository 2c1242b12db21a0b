//! Sets of IP addresses, as networks spell them.

use std::net::IpAddr;

/// Networks in one set: sorted ranges that do not touch each other, so a look-up takes a few comparisons however many
/// networks are listed. IPv4 addresses are in it as the IPv6 addresses that stand for them (RFC 4291 section 2.5.5.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// First and last address of each.
    ranges: Box<[(u128, u128)]>,
}

impl Networks {
    /// `None` if one of the texts is no network ([`Networks::is_network`]).
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Option<Networks> {
        let mut all = Vec::new();
        for text in texts {
            all.extend(without_ipv4(range(text)?));
        }
        all.sort_unstable();
        let mut ranges: Vec<(u128, u128)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match ranges.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => ranges.push((first, last)),
            }
        }
        Some(Networks { ranges: ranges.into() })
    }

    /// An address, or the first address of a network and the length of its prefix, such as `10.0.0.0/8`. Bits behind the
    /// prefix are refused: `10.0.0.1/8` is either an address or a network.
    pub fn is_network(text: &str) -> bool {
        range(text).is_some()
    }

    pub fn contain(&self, ip: IpAddr) -> bool {
        let bits = bits(ip);
        let after = self.ranges.partition_point(|(first, _)| *first <= bits);
        after > 0 && bits <= self.ranges[after - 1].1
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether every address of a family is in it.
    pub fn have_all_of_a_family(&self) -> bool {
        let has = |first: u128, last: u128| self.ranges.iter().any(|range| range.0 <= first && last <= range.1);
        has(IPV4.0, IPV4.1) || has(IPV4.1 + 1, u128::MAX)
    }
}

/// The network of an address: its first bits, of which IPv4 and IPv6 have so many, and zeros. IPv4 addresses are the IPv6
/// addresses that stand for them.
pub fn prefix(ip: IpAddr, ipv4_prefix: u8, ipv6_prefix: u8) -> u128 {
    let bits = bits(ip);
    let is_ipv4 = (IPV4.0..=IPV4.1).contains(&bits);
    let free = if is_ipv4 { 32_u8.saturating_sub(ipv4_prefix) } else { 128_u8.saturating_sub(ipv6_prefix) };
    bits & u128::MAX.checked_shl(free.into()).unwrap_or(0)
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// IPv4 as IPv6 addresses: `::ffff:0:0/96`.
const IPV4: (u128, u128) = (0xffff_0000_0000, 0xffff_ffff_ffff);

/// A network of IPv6 around those addresses, such as `::/0`, has none of IPv4 in it.
fn without_ipv4((first, last): (u128, u128)) -> impl Iterator<Item = (u128, u128)> {
    let is_around = first < IPV4.0 && last > IPV4.1;
    let parts = if is_around { [(first, IPV4.0 - 1), (IPV4.1 + 1, last)] } else { [(first, last); 2] };
    parts.into_iter().take(if is_around { 2 } else { 1 })
}

fn range(text: &str) -> Option<(u128, u128)> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let ip: IpAddr = address.parse().ok()?;
    let longest: u8 = if ip.is_ipv4() { 32 } else { 128 };
    let length = match prefix {
        None => longest,
        Some(digits) => {
            let is_number =
                digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
            digits.parse().ok().filter(|length| is_number && *length <= longest)?
        }
    };
    let free = u128::MAX.checked_shr(128 - u32::from(longest - length)).unwrap_or(0);
    let first = bits(ip);
    (first & free == 0).then_some((first, first | free))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_networks_that_contain_it() {
        let networks = Networks::parse([
            "10.0.0.0/8",
            "192.0.2.7",
            "192.0.2.8/31",
            "2001:db8::/32",
            "::1",
            "::ffff:198.51.100.0/120",
        ]);
        let networks = networks.unwrap();
        for inside in [
            "10.0.0.0",
            "10.255.255.255",
            "::ffff:10.1.2.3",
            "192.0.2.7",
            "192.0.2.9",
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "::1",
            "198.51.100.9",
        ] {
            assert!(networks.contain(inside.parse().unwrap()), "{inside}");
        }
        for outside in
            ["9.255.255.255", "11.0.0.0", "192.0.2.6", "192.0.2.10", "2001:db9::", "::", "::2", "0.0.0.1", "::a00:1"]
        {
            assert!(!networks.contain(outside.parse().unwrap()), "{outside}");
        }
        assert_eq!(networks.ranges.len(), 5, "neighbours are one range");
        let ipv6 = Networks::parse(["::/0"]).unwrap();
        assert!(ipv6.contain("::1".parse().unwrap()) && ipv6.contain("ff::".parse().unwrap()));
        assert!(!ipv6.contain("10.0.0.1".parse().unwrap()), "another family");
        assert!(!Networks::default().contain("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn addresses_of_one_network_have_one_prefix() {
        let of = |text: &str, ipv4_prefix, ipv6_prefix| prefix(text.parse().unwrap(), ipv4_prefix, ipv6_prefix);
        assert_eq!(of("2001:db8:0:1::1", 32, 64), of("2001:db8:0:1:ffff::", 32, 64));
        assert_ne!(of("2001:db8:0:1::1", 32, 64), of("2001:db8:0:2::1", 32, 64));
        assert_eq!(of("2001:db8:0:1::1", 32, 48), of("2001:db8:0:2::1", 32, 48));
        assert_eq!(of("192.0.2.1", 24, 64), of("::ffff:192.0.2.255", 24, 64));
        assert_ne!(of("192.0.2.1", 32, 64), of("192.0.2.2", 32, 64));
        assert_ne!(of("192.0.2.1", 24, 64), of("192.0.3.1", 24, 64));
        assert_ne!(of("0.0.0.0", 0, 0), of("::", 0, 0), "families stay apart");
        assert_eq!(of("1.2.3.4", 0, 0), of("255.2.3.4", 0, 0));
    }

    #[test]
    fn a_whole_family_is_recognized() {
        let all = |texts: &[&str]| Networks::parse(texts.iter().copied()).unwrap().have_all_of_a_family();
        assert!(all(&["0.0.0.0/0"]) && all(&["::/0"]) && all(&["0.0.0.0/1", "128.0.0.0/1"]));
        assert!(all(&["::ffff:0:0/96"]) && all(&["0.0.0.0/0", "::/0"]));
        assert!(!all(&["10.0.0.0/8", "::/1"]));
    }

    #[test]
    fn only_addresses_and_first_addresses_of_networks_are_networks() {
        for good in ["0.0.0.0/0", "::/0", "10.0.0.0/8", "10.1.2.3", "10.1.2.3/32", "fe80::/10", "::1/128"] {
            assert!(Networks::is_network(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.1/8",
            "10/8",
            "10.0.0/8",
            "::/129",
            "2001:db8::1/64",
            "fe80::1%eth0",
            "localhost",
            "10.0.0.0/8/8",
            "10.0.0.0/8 ",
            "*",
        ] {
            assert!(!Networks::is_network(bad), "{bad}");
        }
    }
}
