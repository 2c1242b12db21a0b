//! The header of the PROXY protocol, versions 1 and 2 (HAProxy's `doc/proxy-protocol.txt`): what a load balancer says of its
//! client before the client's first byte.
//!
//! ```text
//!  v1  PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n
//!  v2  12 bytes of signature | version, command | family, transport | length: 2 | addresses | TLVs: type, length: 2, value ...
//!
//!  input --> read --> Ok(None)    a beginning: more is needed
//!                 |-> Ok(Some)    whole: so many bytes are the header's, the rest is the client's
//!                 '-> Err         no continuation is a header
//! ```
//!
//! The answer depends on the bytes, never on where they were cut: an error is an error for every continuation, and a whole
//! header is whole whatever follows. Everything that the specification lets a receiver refuse is refused. So is what would be
//! long: the header precedes every other bound.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits::PROXY_TLVS_BYTES_MAX;

/// The statement of a whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader<'a> {
    /// Bytes of the input that are the header.
    pub size: usize,
    /// The client; `None` if the header names none (LOCAL, UNKNOWN, a unix socket): then the peer of the connection counts.
    pub client: Option<SocketAddr>,
    pub said: Tlvs<'a>,
}

/// The facts in the TLVs of version 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tlvs<'a> {
    /// Whether the client came over TLS.
    pub is_secure: Option<bool>,
    /// The host that the client has named (SNI).
    pub authority: Option<&'a str>,
    /// The load balancer's name for the connection.
    pub unique_id: Option<&'a [u8]>,
}

/// No continuation of the input is a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoProxyHeader;

const SIGNATURE_V1: &[u8] = b"PROXY ";
const SIGNATURE_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;
/// The fixed part of version 2.
const FIXED_BYTES: usize = 16;
const UNIX_BYTES: usize = 216;
const UNIQUE_ID_BYTES_MAX: usize = 128;
const AUTHORITY_BYTES_MAX: usize = 255;

/// Reads the header off the front of `input`. `Ok(None)`: more bytes are needed.
pub fn read(input: &[u8]) -> Result<Option<ProxyHeader<'_>>, NoProxyHeader> {
    let begins = |signature: &[u8]| input.iter().zip(signature).all(|(byte, expected)| byte == expected);
    if begins(SIGNATURE_V2) {
        if input.len() < SIGNATURE_V2.len() { Ok(None) } else { read_v2(input) }
    } else if begins(SIGNATURE_V1) {
        if input.len() < SIGNATURE_V1.len() { Ok(None) } else { read_v1(input) }
    } else {
        Err(NoProxyHeader)
    }
}

// --- version 1 ----------------------------------------------------------------------------------------------------------

fn read_v1(input: &[u8]) -> Result<Option<ProxyHeader<'_>>, NoProxyHeader> {
    let within = &input[..input.len().min(LINE_BYTES_MAX)];
    let Some(end) = within.iter().position(|byte| !(b' '..=b'~').contains(byte)) else {
        // The shortest end is still to come.
        return if within.len() + 2 > LINE_BYTES_MAX { Err(NoProxyHeader) } else { Ok(None) };
    };
    if end + 2 > LINE_BYTES_MAX || input[end] != b'\r' {
        return Err(NoProxyHeader);
    }
    match input.get(end + 1) {
        None => return Ok(None),
        Some(b'\n') => {}
        Some(_) => return Err(NoProxyHeader),
    }
    let line = str::from_utf8(&input[SIGNATURE_V1.len()..end]).map_err(|_| NoProxyHeader)?;
    let client = if line == "UNKNOWN" || line.starts_with("UNKNOWN ") { None } else { Some(client_v1(line)?) };
    Ok(Some(ProxyHeader { size: end + 2, client, said: Tlvs::default() }))
}

/// `TCP4 203.0.113.7 192.0.2.1 4711 443`
fn client_v1(line: &str) -> Result<SocketAddr, NoProxyHeader> {
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or(NoProxyHeader);
    let (family, addresses, ports) = (word()?, [word()?, word()?], [word()?, word()?]);
    if words.next().is_some() {
        return Err(NoProxyHeader);
    }
    let ip = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let [client, _] = addresses.map(ip);
    let [port, own] = ports.map(port_v1);
    if ip(addresses[1]).is_none() || own.is_none() {
        return Err(NoProxyHeader);
    }
    Ok((client.ok_or(NoProxyHeader)?, port.ok_or(NoProxyHeader)?).into())
}

/// Decimal digits without a sign or leading zeros.
fn port_v1(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

// --- version 2 ----------------------------------------------------------------------------------------------------------

/// The kind of the addresses, and their length.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AddressKind {
    /// None that can be used: LOCAL, or not specified.
    None,
    V4,
    V6,
    Unix,
}

impl AddressKind {
    fn size(self) -> usize {
        match self {
            AddressKind::None => 0,
            AddressKind::V4 => 12,
            AddressKind::V6 => 36,
            AddressKind::Unix => UNIX_BYTES,
        }
    }
}

fn read_v2(input: &[u8]) -> Result<Option<ProxyHeader<'_>>, NoProxyHeader> {
    let Some(&command) = input.get(12) else { return Ok(None) };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(NoProxyHeader),
    };
    let Some(&family) = input.get(13) else { return Ok(None) };
    let family = match family {
        // The family of a LOCAL header is ignored.
        _ if is_local => AddressKind::None,
        0x00 => AddressKind::None,
        0x11 | 0x12 => AddressKind::V4,
        0x21 | 0x22 => AddressKind::V6,
        0x31 | 0x32 => AddressKind::Unix,
        _ => return Err(NoProxyHeader),
    };
    let (Some(&high), low) = (input.get(14), input.get(15)) else { return Ok(None) };
    let Some(&low) = low else {
        let least = usize::from(high) << 8;
        return if least > longest(family) { Err(NoProxyHeader) } else { Ok(None) };
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if !(family.size()..=longest(family)).contains(&length) {
        return Err(NoProxyHeader);
    }
    let size = FIXED_BYTES + length;
    let Some(header) = input.get(..size) else { return Ok(None) };
    let body = &header[FIXED_BYTES..];
    // Of a LOCAL or unspecified header, the receiver uses nothing.
    let said = if family == AddressKind::None { Tlvs::default() } else { said(header, FIXED_BYTES + family.size())? };
    Ok(Some(ProxyHeader { size, client: client_v2(family, body), said }))
}

fn longest(family: AddressKind) -> usize {
    PROXY_TLVS_BYTES_MAX + if family == AddressKind::None { UNIX_BYTES } else { family.size() }
}

/// Source address, own address, source port, own port.
fn client_v2(family: AddressKind, body: &[u8]) -> Option<SocketAddr> {
    let port = |at: usize| Some(u16::from_be_bytes(*body.get(at..)?.first_chunk()?));
    match family {
        AddressKind::V4 => Some((Ipv4Addr::from(*body.first_chunk::<4>()?), port(8)?).into()),
        AddressKind::V6 => Some((Ipv6Addr::from(*body.first_chunk::<16>()?), port(32)?).into()),
        AddressKind::None | AddressKind::Unix => None,
    }
}

const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
/// The client came over TLS to the load balancer.
const CLIENT_SSL: u8 = 0x01;

/// The TLVs, which begin at `at` of a whole header. Those of other types are passed over.
fn said(header: &[u8], at: usize) -> Result<Tlvs<'_>, NoProxyHeader> {
    let mut said = Tlvs::default();
    let mut checksum = None;
    let mut rest = &header[at..];
    while let Some((kind, value)) = next_tlv(&mut rest)? {
        let is_first = match kind {
            AUTHORITY if !(1..=AUTHORITY_BYTES_MAX).contains(&value.len()) => return Err(NoProxyHeader),
            UNIQUE_ID if value.len() > UNIQUE_ID_BYTES_MAX => return Err(NoProxyHeader),
            AUTHORITY => said.authority.replace(str::from_utf8(value).map_err(|_| NoProxyHeader)?).is_none(),
            UNIQUE_ID => said.unique_id.replace(value).is_none(),
            SSL => said.is_secure.replace(is_secure(value)?).is_none(),
            CRC32C => {
                let sum = u32::from_be_bytes(value.try_into().map_err(|_| NoProxyHeader)?);
                checksum.replace((sum, header.len() - rest.len() - value.len())).is_none()
            }
            _ => true,
        };
        if !is_first {
            return Err(NoProxyHeader);
        }
    }
    match checksum {
        Some((sum, at)) if sum != crc32c(header, at) => Err(NoProxyHeader),
        _ => Ok(said),
    }
}

/// Takes one off the front; `None` at the end.
fn next_tlv<'a>(rest: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, NoProxyHeader> {
    let (kind, size, after) = match **rest {
        [] => return Ok(None),
        [kind, high, low, ref after @ ..] => (kind, usize::from(u16::from_be_bytes([high, low])), after),
        _ => return Err(NoProxyHeader),
    };
    let (value, after) = after.split_at_checked(size).ok_or(NoProxyHeader)?;
    *rest = after;
    Ok(Some((kind, value)))
}

/// One byte of flags, four of the result of a verification, then TLVs about version, cipher and certificate.
fn is_secure(value: &[u8]) -> Result<bool, NoProxyHeader> {
    let [flags, _, _, _, _, inner @ ..] = value else { return Err(NoProxyHeader) };
    let mut inner = inner;
    while next_tlv(&mut inner)?.is_some() {}
    Ok(flags & CLIENT_SSL != 0)
}

/// CRC-32C (RFC 4960 appendix B) of the header, in which the four bytes of the checksum itself, at `at`, count as zeros.
fn crc32c(header: &[u8], at: usize) -> u32 {
    let mut sum = u32::MAX;
    for (index, &byte) in header.iter().enumerate() {
        sum ^= if (at..at + 4).contains(&index) { 0 } else { u32::from(byte) };
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 };
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE_V2, &[command, family], &length, body].concat()
    }

    const V4: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 1, 0x12, 0x67, 1, 187];

    fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
        [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
    }

    /// With a checksum behind the other TLVs.
    fn checked(tlvs: &[u8]) -> Vec<u8> {
        let mut header = v2(0x21, 0x11, &[&V4[..], tlvs, &tlv(CRC32C, &[0; 4])].concat());
        let at = header.len() - 4;
        let sum = crc32c(&header, at).to_be_bytes();
        header[at..].copy_from_slice(&sum);
        header
    }

    fn client(input: &[u8]) -> Result<Option<String>, NoProxyHeader> {
        let header = read(input)?.expect("a whole header");
        assert_eq!(header.size, input.len());
        Ok(header.client.map(|client| client.to_string()))
    }

    #[test]
    fn a_line_names_the_client() {
        for (line, expected) in [
            ("PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n", Some("203.0.113.7:4711")),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Some("255.255.255.255:65535")),
            ("PROXY TCP4 203.0.113.7 192.0.2.1 0 0\r\n", Some("203.0.113.7:0")),
            ("PROXY TCP6 2001:db8::1 ::1 4711 443\r\n", Some("[2001:db8::1]:4711")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
        ] {
            assert_eq!(client(line.as_bytes()).unwrap().as_deref(), expected, "{line}");
        }
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX - 16));
        assert_eq!((longest.len(), client(longest.as_bytes())), (LINE_BYTES_MAX, Ok(None)));
    }

    #[test]
    fn a_line_that_is_not_by_the_book_is_none() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX - 15));
        for line in [
            "GET / HTTP/1.1\r\n",
            "proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
            "PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n",
            "PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n",
            "PROXY TCP4 1.1.1.01 2.2.2.2 1 2\r\n",
            "PROXY TCP4 1.1.1.1 2.2.2 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
            "PROXY TCP6 [::1] ::1 1 2\r\n",
            "PROXY TCP6 fe80::1%1 ::1 1 2\r\n",
            "PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
            "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY \r\n",
            "PROXY\r\n",
            "PROXY TCP4\t1.1.1.1 2.2.2.2 1 2\r\n",
            "PROXY TCP4 1.1.1.1\0 2.2.2.2 1 2\r\n",
            "\r\nPROXY UNKNOWN\r\n",
            &long,
        ] {
            assert_eq!(read(line.as_bytes()), Err(NoProxyHeader), "{line:?}");
        }
    }

    #[test]
    fn a_header_names_the_client() {
        let v6: [u8; 36] = std::array::from_fn(|at| if at == 15 || at == 33 { 1 } else { 0 });
        assert_eq!(client(&v2(0x21, 0x11, &V4)), Ok(Some("203.0.113.7:4711".into())));
        assert_eq!(client(&v2(0x21, 0x12, &V4)), Ok(Some("203.0.113.7:4711".into())), "over QUIC to the load balancer");
        assert_eq!(client(&v2(0x21, 0x21, &v6)), Ok(Some("[::1]:1".into())));
        assert_eq!(client(&v2(0x21, 0x31, &[0; UNIX_BYTES])), Ok(None));
        assert_eq!(client(&v2(0x21, 0x00, &[])), Ok(None));
        assert_eq!(client(&v2(0x20, 0x00, &[])), Ok(None));
        assert_eq!(client(&v2(0x20, 0x11, &V4)), Ok(None), "LOCAL: a check of the load balancer's own");
        assert_eq!(client(&v2(0x20, 0xff, b"ignored")), Ok(None));
        let most = tlv(0xEA, &[7; PROXY_TLVS_BYTES_MAX - 3]);
        assert_eq!(client(&v2(0x21, 0x11, &[&V4[..], &most].concat())), Ok(Some("203.0.113.7:4711".into())));
    }

    #[test]
    fn a_header_that_is_not_by_the_book_is_none() {
        let with = |tlvs: &[u8]| v2(0x21, 0x11, &[&V4[..], tlvs].concat());
        let name = tlv(AUTHORITY, b"gate.example");
        for (words, header) in [
            ("version 1", v2(0x11, 0x11, &V4)),
            ("another command", v2(0x22, 0x11, &V4)),
            ("no transport", v2(0x21, 0x10, &V4)),
            ("another family", v2(0x21, 0x41, &V4)),
            ("another transport", v2(0x21, 0x13, &V4)),
            ("too short for its addresses", v2(0x21, 0x11, &V4[..11])),
            ("too short for v6", v2(0x21, 0x21, &V4)),
            ("too short for a path", v2(0x21, 0x31, &[0; UNIX_BYTES - 1])),
            ("too many TLVs", with(&tlv(0xEA, &[7; PROXY_TLVS_BYTES_MAX - 2]))),
            ("too long for LOCAL", v2(0x20, 0x00, &[0; PROXY_TLVS_BYTES_MAX + UNIX_BYTES + 1])),
            ("a TLV without length", with(&[0xEA, 0])),
            ("a TLV that is cut", with(&[0xEA, 0, 4, 1, 2, 3])),
            ("two names", with(&[name.clone(), name.clone()].concat())),
            ("an empty name", with(&tlv(AUTHORITY, b""))),
            ("a long name", with(&tlv(AUTHORITY, &[b'a'; AUTHORITY_BYTES_MAX + 1]))),
            ("no name", with(&tlv(AUTHORITY, b"\xff"))),
            ("a long id", with(&tlv(UNIQUE_ID, &[0; UNIQUE_ID_BYTES_MAX + 1]))),
            ("SSL too short", with(&tlv(SSL, &[1, 0, 0, 0]))),
            ("SSL with a TLV that is cut", with(&tlv(SSL, &[1, 0, 0, 0, 0, 0x21, 0, 9, 1]))),
            ("a short checksum", with(&tlv(CRC32C, &[0; 3]))),
            ("a wrong checksum", with(&tlv(CRC32C, &[0; 4]))),
            ("two checksums", with(&tlv(CRC32C, &[0; 4]).repeat(2))),
        ] {
            assert_eq!(read(&header), Err(NoProxyHeader), "{words}");
        }
        let whole = checked(&name);
        // Without its type, the checksum is no longer one.
        for at in (16..whole.len()).filter(|at| *at != whole.len() - 7) {
            let mut header = whole.clone();
            header[at] ^= 0x10;
            assert_eq!(read(&header), Err(NoProxyHeader), "byte {at} is another");
        }
    }

    #[test]
    fn tlvs_say_name_id_and_tls() {
        let ssl = [&[CLIENT_SSL, 0, 0, 0, 0][..], &tlv(0x21, b"TLSv1.3")].concat();
        let tlvs = [tlv(AUTHORITY, b"gate.example"), tlv(UNIQUE_ID, b"id"), tlv(SSL, &ssl), tlv(0x04, b"...")].concat();
        let header = checked(&tlvs);
        let said = Tlvs { is_secure: Some(true), authority: Some("gate.example"), unique_id: Some(b"id") };
        assert_eq!(read(&header).unwrap().unwrap().said, said);
        let plain = v2(0x21, 0x11, &[&V4[..], &tlv(SSL, &[0; 5])].concat());
        assert_eq!(read(&plain).unwrap().unwrap().said.is_secure, Some(false));
    }

    /// The vector of RFC 3720 appendix B.4, in which nothing counts as zero.
    #[test]
    fn the_checksum_is_crc32c() {
        assert_eq!(crc32c(&[0; 32], 0), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32], 32), 0x62a8_ab43);
    }

    fn headers() -> impl Strategy<Value = Vec<u8>> {
        let lines = prop_oneof![
            Just(b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n".to_vec()),
            Just(b"PROXY TCP6 2001:db8::1 ::1 4711 443\r\n".to_vec()),
            Just(b"PROXY UNKNOWN anything\r\n".to_vec()),
        ];
        let tlvs = prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..20)), 0..5);
        let binary = (0x1f..0x23u8, prop_oneof![Just(0u8), Just(0x11), Just(0x21), any::<u8>()], any::<bool>(), tlvs);
        let binary = binary.prop_map(|(command, family, has_sum, tlvs)| {
            let tlvs: Vec<u8> = tlvs.iter().flat_map(|(kind, value)| tlv(*kind, value)).collect();
            if has_sum { checked(&tlvs) } else { v2(command, family, &[&V4[..], &tlvs].concat()) }
        });
        prop_oneof![lines, binary]
    }

    proptest! {
        #[test]
        fn any_cut_of_the_input_gives_the_same_answer(
            header in headers(),
            change in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            rest in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut input = [header, rest].concat();
            if let Some((at, byte)) = change {
                let at = at.index(input.len());
                input[at] = byte;
            }
            let whole = read(&input);
            for cut in 0..=input.len() {
                let answer = read(&input[..cut]);
                match whole {
                    Ok(Some(header)) if cut >= header.size => prop_assert_eq!(answer, whole),
                    // An error may be seen early, and is one for all longer cuts.
                    Err(_) => prop_assert!(answer == Ok(None) || answer == whole),
                    _ => prop_assert_eq!(answer, Ok(None)),
                }
                if answer == Err(NoProxyHeader) {
                    prop_assert_eq!(whole, answer);
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(input in prop::collection::vec(any::<u8>(), 0..900)) {
            let _ = read(&input);
            let _ = read(&[SIGNATURE_V2, &input].concat());
            let _ = read(&[SIGNATURE_V1, &input].concat());
        }
    }
}
