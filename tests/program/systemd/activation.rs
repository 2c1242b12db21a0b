//! Sockets that systemd listens on and hands over.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Instant;

use crate::systemd::service::{
    Folder, PATIENCE, Start, clean, configuration, connect, expect_stream, open_stream, request_stream,
};

const DRIVERS: [&str; 2] = ["epoll", "uring"];
/// Nothing listens there: what is configured does not count where a socket comes by name.
const NOBODY: &str = "127.0.0.1:1";

fn start<'a>(folder: &'a Folder, configuration: &'a str, driver: &'a str, socket: &'a TcpListener) -> Start<'a> {
    Start { folder, configuration, driver, socket: Some((socket, "http")), variables: &[] }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    (listener, address)
}

#[test]
fn serves_clients_that_came_before_the_process_on_the_socket_that_it_was_given() {
    for driver in DRIVERS {
        let (listener, address) = listen();
        let mut early = connect(address);
        request_stream(&mut early);
        let (folder, text) = (Folder::new(), configuration(NOBODY));
        let served = start(&folder, &text, driver, &listener).serve();
        assert_eq!(served.http, address, "what it says is where clients connect");
        expect_stream(&mut early);
    }
}

#[test]
fn all_shards_accept_from_the_socket() {
    const CLIENTS: u64 = 600;
    // All shards wake, and who is quickest accepts.
    for driver in DRIVERS {
        let (listener, address) = listen();
        let (folder, text) = (Folder::new(), configuration(&address.to_string()));
        let served = start(&folder, &text, driver, &listener).serve();
        let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| open_stream(address)).collect();
        let open = served.counter("connections_open");
        assert_eq!(open.len(), 2);
        // The one that asks is open as well.
        assert_eq!(open.iter().sum::<u64>(), CLIENTS + 1);
        assert!(open.iter().all(|open| *open > 1), "{driver}: {open:?}");
        drop(clients);
    }
}

#[test]
fn clients_of_a_restart_wait_in_the_socket_for_the_next_process() {
    for driver in DRIVERS {
        let (listener, address) = listen();
        let (folder, text) = (Folder::new(), configuration(&address.to_string()));
        let mut first = start(&folder, &text, driver, &listener).serve();
        // It makes the drain last until its client has gone.
        let client = open_stream(address);
        first.terminate();
        drop(client);
        assert!(first.wait().success());
        let mut between = connect(address);
        request_stream(&mut between);
        let _second = start(&folder, &text, driver, &listener).serve();
        expect_stream(&mut between);
    }
}

/// What `systemctl restart` does, but for the wait between the two.
#[test]
fn a_restart_during_a_drain_loses_nobody() {
    const CLIENTS: usize = 300;
    for driver in DRIVERS {
        let (listener, address) = listen();
        let (folder, text) = (Folder::new(), configuration(&address.to_string()));
        let mut first = start(&folder, &text, driver, &listener).serve();
        let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| open_stream(address)).collect();
        let before = first.counter("clients_open");
        first.terminate();
        // A shard that sends clients away takes no others.
        let deadline = Instant::now() + PATIENCE;
        while first.counter("clients_open").iter().zip(&before).any(|(now, before)| now >= before) {
            assert!(Instant::now() < deadline, "nobody is sent away");
        }
        let mut between = connect(address);
        request_stream(&mut between);
        let second = start(&folder, &text, driver, &listener).serve();
        expect_stream(&mut between);
        // Each of them is told when to come back, and then comes back to the second one.
        for client in &mut clients {
            let mut rest = String::new();
            client.read_to_string(&mut rest).expect("it ends cleanly");
            // The last event is whole, and so is the answer: its last chunk has come (RFC 9112 section 7.1).
            let told = rest.strip_suffix("\r\n0\r\n\r\n").and_then(|rest| rest.trim_end().rsplit_once("retry: "));
            assert!(told.is_some_and(|(_, ms)| ms.parse::<u32>().is_ok()), "{rest:?}");
            *client = open_stream(address);
        }
        assert!(first.wait().success());
        assert_eq!(second.counter("clients_open").iter().sum::<u64>(), CLIENTS as u64 + 1);
    }
}

#[test]
fn refuses_to_start_with_a_socket_that_no_listener_is_for() {
    let (listener, address) = listen();
    let (folder, text) = (Folder::new(), configuration("127.0.0.1:0"));
    let start = Start { socket: Some((&listener, "web")), ..start(&folder, &text, "epoll", &listener) };
    let output = start.spawn().wait_with_output().expect("it ends");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains(&format!("systemd handed over {address} (\"web\"), and no listener is for it")), "{words}");
}

/// systemd's own tool listens, and starts the gateway when the first client has come.
#[test]
fn starts_under_systemd_socket_activate() {
    let (reserved, address) = listen();
    drop(reserved);
    let folder = Folder::new();
    let file = folder.file("tidegate.toml", &configuration(NOBODY));
    let mut command = clean("systemd-socket-activate");
    command.args(["--listen", &address.to_string(), "--fdname=http"]);
    command.args([env!("CARGO_BIN_EXE_tidegate"), "serve", "--config", &file]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stderr = BufReader::new(child.stderr.take().expect("stderr is ours"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("it says that it listens");
    let outcome = std::panic::catch_unwind(|| {
        assert!(line.contains("Listening on"), "{line}");
        drop(open_stream(address));
    });
    // It has become the gateway.
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("its words are text");
    assert!(outcome.is_ok(), "{rest}");
}
