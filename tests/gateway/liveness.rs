//! Peers that vanish without a word: no FIN, no RST, no answer.

use std::io;
use std::net::SocketAddr;
use std::process::Command;

use crate::support::{Raw, await_that, builder, front, metric};

/// Where the client is, until it is nowhere.
const CLIENT: &str = "10.9.9.2";

/// Gives the calling thread, and those that it starts, a network of their own that ends with them. `None` where that is not
/// allowed.
fn own_network() -> Option<()> {
    // SAFETY: unshare takes flags only; other threads stay where they are.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        eprintln!("skipped: no network namespace can be made here: {}", io::Error::last_os_error());
        return None;
    }
    ip("link set lo up");
    ip(&format!("address add {CLIENT}/32 dev lo"));
    Some(())
}

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split_whitespace()).status().expect("ip is installed");
    assert!(status.success(), "ip {words}");
}

#[test]
fn a_peer_that_has_vanished_is_noticed_in_time_and_counted() {
    for driver in ["epoll", "uring"] {
        let test = move || {
            if own_network().is_none() {
                return;
            }
            let limits = "limits = { sse_heartbeat_s = 1, peer_timeout_s = 2, send_timeout_s = 1 }";
            let gateway = builder(driver, limits).start().expect("the gateway starts");
            let from: SocketAddr = format!("{CLIENT}:0").parse().expect("an address");
            let mut vanishing = Raw::connect_from(from, front(&gateway));
            let mut staying = Raw::connect(front(&gateway));
            for client in [&mut vanishing, &mut staying] {
                client.send("GET /sse/1 HTTP/1.1\r\nHost: a\r\n\r\n").read_until("retry: 2000\n\n");
            }
            // As if its cable were cut: what is sent to it goes nowhere, and nobody says so.
            ip(&format!("address del {CLIENT}/32 dev lo"));
            ip(&format!("route add blackhole {CLIENT}/32"));
            await_that("it is closed for that", || metric(&gateway, "closed_total:peer_vanished") == 1);
            // Why is counted before it is gone.
            await_that("it is gone, and the other one is well", || metric(&gateway, "clients_open") == 1);
            drop((vanishing, staying));
            gateway.stop();
        };
        std::thread::spawn(test).join().expect("its own assertions hold");
    }
}
