//! An address as text, without the machinery of `{}` where it is IPv4: requests say the address of their client each time.

use std::io::Write;
use std::net::IpAddr;

/// Appends the address as [`IpAddr`] displays it.
pub fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    let IpAddr::V4(ip) = ip else {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{ip}");
        return;
    };
    for (index, octet) in ip.octets().into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_displayed() {
        for text in ["0.0.0.0", "10.9.255.100", "255.255.255.255", "::1", "2001:db8::7", "::ffff:10.0.0.1"] {
            let mut out = Vec::new();
            push_ip(&mut out, text.parse().unwrap());
            assert_eq!(out, text.as_bytes());
        }
    }
}
