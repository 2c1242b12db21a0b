//! Load balancers that introduce their clients with a PROXY header: by hand, and HAProxy in front.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tidegate::gateway::Gateway;

use crate::support::*;

/// The first listener of clients gets the header from one address. HAProxy has the other one.
const INTRODUCED: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\n\
                          proxy_protocol = { from = [\"127.0.0.2\", \"127.0.0.4/30\"] }\n";

const UPGRADE: &str = "GET /echo?user=ann HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const V4: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 1, 0x12, 0x67, 1, 187];

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, body].concat()
}

/// What a peer from this address gets for these bytes and the opening of a WebSocket.
fn upgrade(gateway: &Gateway, from: &str, header: &[u8]) -> (Raw, String) {
    let mut client = Raw::connect_from(format!("{from}:0").parse().unwrap(), front(gateway));
    client.send([header, UPGRADE.as_bytes()].concat());
    let status = client.read_until("\r\n\r\n")[9..12].to_owned();
    (client, status)
}

/// The address under which operators find ann.
fn peer_of_ann(gateway: &Gateway) -> String {
    let found = ask(admin(gateway), "GET /api/users/ann HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let peer = found.split("\"peer\":\"").nth(1).and_then(|rest| rest.split('"').next());
    peer.unwrap_or_else(|| panic!("{found}")).to_owned()
}

#[test]
fn the_peers_address_decides_whether_a_header_is_looked_for() {
    on_both_drivers(INTRODUCED, |gateway| {
        let line = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n";
        for (from, header, peer) in [
            ("127.0.0.2", &line[..], "203.0.113.7:4711"),
            ("127.0.0.5", &v2(0x21, 0x11, &V4), "203.0.113.7:4711"),
            ("127.0.0.2", b"PROXY TCP6 2001:db8::1 ::1 4711 443\r\n", "[2001:db8::1]:4711"),
            ("127.0.0.2", b"PROXY UNKNOWN\r\n", "127.0.0.2:"),
            ("127.0.0.2", &v2(0x20, 0, &[]), "127.0.0.2:"),
            ("127.0.0.3", b"", "127.0.0.3:"),
        ] {
            let (client, status) = upgrade(gateway, from, header);
            assert_eq!(status, "101");
            let found = peer_of_ann(gateway);
            assert!(found.starts_with(peer), "{found}, not {peer}");
            client.leave();
            expect_nobody(gateway);
        }
        for header in [&line[..], &v2(0x21, 0x11, &V4)] {
            assert_eq!(upgrade(gateway, "127.0.0.3", header).1, "400", "a stranger's");
        }
        let mut balancer = Raw::connect_from("127.0.0.2:0".parse().unwrap(), front(gateway));
        assert_eq!(balancer.send(UPGRADE).read_all(), "", "it has to introduce its client");
        assert_eq!(metric(gateway, "closed_total:proxy_header"), 1);
    });
}

/// HAProxy, with a frontend of its own for each server.
struct HaProxy {
    process: Child,
    folder: std::path::PathBuf,
    fronts: Vec<SocketAddr>,
}

impl HaProxy {
    fn before(gateway: SocketAddr, driver_port: u16, words: &[&str]) -> HaProxy {
        let folder = std::env::temp_dir().join(format!("tidegate-haproxy-{}-{driver_port}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let mut text =
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n".to_owned();
        let mut fronts = Vec::new();
        for (index, words) in words.iter().enumerate() {
            // Free now; HAProxy takes no listening socket of another program.
            let front = crate::ports::free_address();
            text += &format!("listen l{index}\n  bind {front}\n  server gateway {gateway} source 127.0.0.5 {words}\n");
            fronts.push(front);
        }
        let file = folder.join("haproxy.cfg");
        fs::write(&file, text).expect("a file");
        let mut command = Command::new("haproxy");
        let command = command.args(["-db", "-q", "-f"]).arg(file).stdout(Stdio::null()).stderr(Stdio::inherit());
        let process = command.spawn().expect("haproxy is installed");
        let haproxy = HaProxy { process, folder, fronts };
        for front in &haproxy.fronts {
            await_that("haproxy listens", || std::net::TcpStream::connect(front).is_ok());
        }
        haproxy
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn clients_behind_haproxy_have_their_own_address() {
    on_both_drivers(INTRODUCED, |gateway| {
        let words = ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id,ssl,authority"];
        let haproxy = HaProxy::before(front(gateway), front(gateway).port(), &words);
        for (front, words) in haproxy.fronts.iter().zip(words) {
            await_that("the checks of its ports have gone", || metric(gateway, "connections_open") == 0);
            let mut client = Raw::connect_from("127.0.0.9:0".parse().unwrap(), *front);
            let own = client.0.local_addr().unwrap().to_string();
            let head = client.send(UPGRADE).read_until("\r\n\r\n");
            assert!(head.starts_with("HTTP/1.1 101 "), "{words}: {head}");
            assert_eq!(peer_of_ann(gateway), own, "{words}");
            client.leave();
            expect_nobody(gateway);
        }
        assert_eq!(metric(gateway, "closed_total:proxy_header"), 0);
    });
}
