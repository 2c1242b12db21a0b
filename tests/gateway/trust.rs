//! Proxies that are believed, and clients that are not: on real sockets.

use crate::support::*;

const TRUST: &str = "[trust]\nnetworks = [\"127.0.0.2\", \"10.0.0.0/8\"]\n";

/// Opens a WebSocket of ann from this address, with these lines, and returns the address under which operators find ann.
fn peer_of(gateway: &tidegate::gateway::Gateway, from: &str, lines: &str) -> String {
    let mut client = Raw::connect_from(format!("{from}:0").parse().unwrap(), front(gateway));
    let head = client
        .send(format!(
            "GET /echo?user=ann HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
        ))
        .read_until("\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let found = ask(admin(gateway), "GET /api/users/ann HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    client.leave();
    expect_nobody(gateway);
    let peer = found.split("\"peer\":\"").nth(1).and_then(|rest| rest.split('"').next());
    peer.unwrap_or_else(|| panic!("{found}")).to_owned()
}

#[test]
fn the_peers_address_decides_whether_a_header_is_believed() {
    on_both_drivers(TRUST, |gateway| {
        let list = "X-Forwarded-For: 192.0.2.1, 203.0.113.7:4711, 10.1.2.3\r\n";
        assert_eq!(peer_of(gateway, "127.0.0.2", list), "203.0.113.7:4711");
        assert!(peer_of(gateway, "127.0.0.3", list).starts_with("127.0.0.3:"));
        assert!(peer_of(gateway, "127.0.0.2", "Forwarded: for=203.0.113.7\r\n").starts_with("127.0.0.2:"));
        assert!(peer_of(gateway, "127.0.0.2", "X-Forwarded-For: 2001:db8::1\r\n").starts_with("[2001:db8::1]:"));
    });
    on_both_drivers(&format!("{TRUST}header = \"forwarded\"\n"), |gateway| {
        let list = "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.2, for=\"203.0.113.7:4711\";proto=https, for=10.0.0.1\r\n";
        assert_eq!(peer_of(gateway, "127.0.0.2", list), "203.0.113.7:4711");
        assert!(peer_of(gateway, "127.0.0.3", list).starts_with("127.0.0.3:"));
    });
}
