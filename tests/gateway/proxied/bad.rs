//! One bad server, or bad client, for each way in which they fail each other.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use socket2::{Domain, Socket, Type};
use tidegate::gateway::Gateway;

use super::*;
use crate::tls::{connect as tls_connect, on_both_drivers_over_tls};

const GET: &str = "GET /bad/a HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /bad/a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";

/// Runs `play` against a gateway before this server, on both drivers; a bystander is served before and after it, and
/// nothing is left.
fn beside_a_bystander(
    keys: &str,
    limits: &str,
    serve: impl Fn(TcpStream) + Copy + Send + 'static,
    play: impl Fn(&Gateway) + Sync,
) {
    let bad = Server::start(serve);
    beside_a_bystander_of(&bad.route("bad", keys), limits, play);
}

fn beside_a_bystander_of(routes: &str, limits: &str, play: impl Fn(&Gateway) + Sync) {
    let good = Server::start(serve_well);
    let extra = format!("{limits}\n{routes}{}", good.route("good", ""));
    on_both_drivers(&extra, |gateway| {
        let mut bystander = Bystander::new(gateway);
        play(gateway);
        bystander.expect_service();
        bystander.leave();
        expect_nobody(gateway);
    });
}

/// The answer is a refusal of ours, and is counted by its reason.
fn expect_refusal(gateway: &Gateway, request: &str, status: &str, reason: &str) {
    let before = metric(gateway, &format!("closed_total:{reason}"));
    let mut client = Raw::connect(front(gateway));
    let answer = client.send(request).read_until("\r\n\r\n");
    assert_eq!(&answer[9..12], status, "{answer}");
    assert_eq!(metric(gateway, &format!("closed_total:{reason}")), before + 1, "{reason}");
    client.leave();
}

#[test]
fn a_server_that_refuses_is_502() {
    let gone = crate::ports::free_address();
    beside_a_bystander_of(&route("bad", gone, ""), "", |gateway| {
        for request in [GET, POST] {
            expect_refusal(gateway, request, "502", "upstream_refused");
        }
    });
}

#[test]
fn a_server_that_is_silent_at_connect_is_504() {
    // Its queue is full, so the kernel answers no further SYN.
    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    silent.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).expect("a free port");
    silent.listen(0).expect("it listens");
    let address = silent.local_addr().unwrap().as_socket().expect("an address");
    let _queued = TcpStream::connect(address).expect("there is room for one");
    let upstream = format!("[[upstream]]\nname = \"silent\"\nservers = \"{address}\"\nconnect_timeout_ms = 200\n");
    let routes = format!("{upstream}[[route]]\npath = \"/bad/*\"\nproxy = \"silent\"\n");
    beside_a_bystander_of(&routes, "", |gateway| {
        expect_refusal(gateway, GET, "504", "upstream_connect_timeout");
    });
}

#[test]
fn a_server_that_closes_before_a_head_is_502() {
    let serve = |mut socket: TcpStream| {
        next_request(&mut socket);
        let _ = socket.shutdown(Shutdown::Both);
    };
    beside_a_bystander("", "", serve, |gateway| {
        for request in [GET, POST] {
            expect_refusal(gateway, request, "502", "upstream_closed");
        }
    });
}

#[test]
fn a_server_that_closes_a_kept_connection_before_a_head_gets_the_request_again_where_it_may_be_repeated() {
    // Each connection has one answer, and ends when another request comes.
    let serve = |mut socket: TcpStream| {
        next_request(&mut socket);
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nonce");
        next_request(&mut socket);
        let _ = socket.shutdown(Shutdown::Both);
    };
    beside_a_bystander("", "", serve, |gateway| {
        // As many as fill the pools of both shards.
        for _ in 0..8 {
            let mut client = Raw::connect(front(gateway));
            for _ in 0..3 {
                let answer = client.send(GET).read_until("once");
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            }
            client.leave();
        }
        assert_eq!(metric(gateway, "closed_total:upstream_closed"), 0);
    });
}

#[test]
fn a_server_without_a_head_in_time_is_504() {
    let serve = |mut socket: TcpStream| while socket.read(&mut [0; 512]).is_ok_and(|count| count > 0) {};
    beside_a_bystander(", response_timeout_s = 1", "", serve, |gateway| {
        expect_refusal(gateway, GET, "504", "upstream_timeout");
    });
}

#[test]
fn a_server_whose_head_is_none_is_502() {
    let serve = |mut socket: TcpStream| {
        let request = next_request(&mut socket);
        let head: &[u8] = match request.split(' ').nth(1) {
            Some("/none") => b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            Some("/two") => b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            Some("/both") => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Some("/bare") => b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
            Some("/fold") => b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
            Some("/upgrade") => b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            _ => b"\0\0\0\0\r\n\r\n",
        };
        let _ = socket.write_all(head);
        let _ = socket.read(&mut [0]);
    };
    beside_a_bystander("", "", serve, |gateway| {
        for path in ["/none", "/two", "/both", "/bare", "/fold", "/upgrade", "/"] {
            let request = format!("GET /bad{path} HTTP/1.1\r\nHost: a\r\n\r\n");
            expect_refusal(gateway, &request, "502", "upstream_garbage");
        }
    });
}

#[test]
fn a_server_whose_head_never_ends_is_502() {
    let serve = |mut socket: TcpStream| {
        next_request(&mut socket);
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nX-A: ");
        while socket.write_all(&[b'a'; 4096]).is_ok() {}
    };
    beside_a_bystander("", "", serve, |gateway| {
        expect_refusal(gateway, GET, "502", "upstream_garbage");
    });
}

#[test]
fn a_ninth_interim_answer_is_502() {
    let serve = |mut socket: TcpStream| {
        let count = if next_request(&mut socket).contains("/eight") { 8 } else { 9 };
        let _ = socket.write_all(&b"HTTP/1.1 102 Processing\r\n\r\n".repeat(count));
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let _ = socket.read(&mut [0]);
    };
    beside_a_bystander("", "", serve, |gateway| {
        let eight = ask(front(gateway), "GET /bad/eight HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(eight.starts_with("HTTP/1.1 200 ") && eight.ends_with("\r\n\r\nok"), "{eight}");
        expect_refusal(gateway, GET, "502", "upstream_garbage");
    });
}

#[test]
fn a_server_that_dies_in_the_body_cuts_the_answer() {
    let serve = |mut socket: TcpStream| {
        let head: &[u8] = match next_request(&mut socket).split(' ').nth(1) {
            Some("/length") => b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            _ => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        };
        let _ = socket.write_all(head);
        let _ = socket.shutdown(Shutdown::Both);
    };
    beside_a_bystander("", "", serve, |gateway| {
        for (path, end) in [("/length", "half"), ("/chunks", "4\r\nhalf\r\n")] {
            let answer = ask(front(gateway), &format!("GET /bad{path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(end), "no last chunk: {answer}");
        }
        assert_eq!(metric(gateway, "closed_total:upstream_broke"), 2);
    });
}

#[test]
fn a_part_of_an_answer_without_a_length_ends_in_a_reset_for_an_old_client() {
    let serve = |mut socket: TcpStream| {
        let is_whole = next_request(&mut socket).contains("/whole");
        let end: &[u8] = if is_whole { b"4\r\nhalf\r\n0\r\n\r\n" } else { b"4\r\nhalf\r\n" };
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let _ = socket.write_all(end);
        let _ = socket.shutdown(Shutdown::Both);
    };
    beside_a_bystander("", "", serve, |gateway| {
        for (path, outcome) in [("/whole", Ok(())), ("/part", Err(ErrorKind::ConnectionReset))] {
            let mut client = TcpStream::connect(front(gateway)).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.write_all(format!("GET /bad{path} HTTP/1.0\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
            let mut answer = Vec::new();
            let end = client.read_to_end(&mut answer).map(drop).map_err(|error| error.kind());
            assert_eq!(end, outcome, "{}", String::from_utf8_lossy(&answer));
            // The kernel may lose bytes at a reset that it has not sent.
            assert!(outcome.is_err() || answer.ends_with(b"\r\n\r\nhalf"));
        }
        assert_eq!(metric(gateway, "closed_total:upstream_broke"), 1);
    });
}

#[test]
fn a_client_behind_tls_learns_that_a_part_is_one_and_is_noticed_when_it_closes() {
    let server = Server::start(|mut socket: TcpStream| {
        let request = next_request(&mut socket);
        if !request.contains("/silent") {
            let end: &[u8] = if request.contains("/whole") { b"0\r\n\r\n" } else { b"" };
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
            let _ = socket.write_all(end);
            return;
        }
        let _ = socket.read(&mut [0]);
    });
    on_both_drivers_over_tls(&["localhost"], &server.route("bad", ""), |gateway, certificates| {
        for (path, is_whole) in [("/whole", true), ("/part", false)] {
            let mut client = tls_connect(gateway, certificates, "localhost");
            client.write_all(format!("GET /bad{path} HTTP/1.0\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
            let mut answer = Vec::new();
            // An error: a reset, or an end without close_notify.
            assert_eq!(client.read_to_end(&mut answer).is_ok(), is_whole, "{}", String::from_utf8_lossy(&answer));
            assert!(!is_whole || answer.ends_with(b"\r\n\r\nhalf"));
        }
        let mut client = tls_connect(gateway, certificates, "localhost");
        client.write_all(b"GET /bad/silent HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        await_that("the server has it", || metric(gateway, "upstream_connections") == 1);
        client.conn.send_close_notify();
        client.flush().unwrap();
        await_that("the server is free", || metric(gateway, "upstream_connections") == 0);
        drop(client);
        expect_nobody(gateway);
    });
}

#[test]
fn a_client_that_closes_before_its_answer_frees_its_server_at_once() {
    let serve = |mut socket: TcpStream| {
        next_request(&mut socket);
        // Until the gateway closes.
        let _ = socket.read(&mut [0]);
    };
    beside_a_bystander("", "", serve, |gateway| {
        for (before, how) in [(0, Shutdown::Both), (1, Shutdown::Write)] {
            let mut client = TcpStream::connect(front(gateway)).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.write_all(GET.as_bytes()).unwrap();
            await_that("the server has it", || metric(gateway, "upstream_connections") == 1);
            client.shutdown(how).unwrap();
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
            await_that("the server is free", || metric(gateway, "upstream_connections") == 0);
            assert_eq!(metric(gateway, "closed_total:peer_closed"), before + 1);
        }
    });
}

#[test]
fn a_server_that_stalls_in_the_body_cuts_the_answer() {
    let serve = |mut socket: TcpStream| {
        next_request(&mut socket);
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        let _ = socket.read(&mut [0]);
    };
    beside_a_bystander(", idle_timeout_s = 1", "", serve, |gateway| {
        let answer = ask(front(gateway), GET);
        assert!(answer.ends_with("\r\n\r\nhalf"), "{answer}");
        assert_eq!(metric(gateway, "closed_total:upstream_broke"), 1);
    });
}

#[test]
fn a_server_that_sends_more_than_announced_poisons_no_other_answer() {
    let serve = |mut socket: TcpStream| {
        while !next_request(&mut socket).is_empty() {
            let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
            let _ = socket.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmeat{poison}").as_bytes());
        }
    };
    beside_a_bystander("", "", serve, |gateway| {
        for _ in 0..20 {
            let mut client = Raw::connect(front(gateway));
            for _ in 0..3 {
                let answer = client.send(GET).read_until("meat");
                assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("poison"), "{answer}");
            }
            client.leave();
        }
    });
}

/// How many connections to the server are open, as far as it knows.
static OPEN: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);

#[test]
fn a_client_that_goes_away_ends_its_servers_connection() {
    use std::sync::atomic::Ordering::SeqCst;
    let serve = |mut socket: TcpStream| {
        next_request(&mut socket);
        OPEN.fetch_add(1, SeqCst);
        let _ = socket.read(&mut [0]);
        OPEN.fetch_sub(1, SeqCst);
    };
    beside_a_bystander("", "", serve, |gateway| {
        let clients: Vec<Raw> = (0..5)
            .map(|_| {
                let mut client = Raw::connect(front(gateway));
                client.send(GET);
                client
            })
            .collect();
        await_that("the server has them", || OPEN.load(SeqCst) >= 5);
        // A reset: a client that ends its half alone may still wait for the answer.
        for client in clients {
            socket2::SockRef::from(&client.0).set_linger(Some(std::time::Duration::ZERO)).expect("a socket");
        }
        expect_gone(gateway);
    });
    await_that("no connection is left", || OPEN.load(SeqCst) == 0);
}

/// Only the bystander's two connections are left.
fn expect_gone(gateway: &Gateway) {
    await_that("the others have gone", || metric(gateway, "clients_open") == 2);
}

#[test]
fn a_client_that_takes_nothing_is_slow_and_its_server_waits() {
    let serve = |mut socket: TcpStream| {
        next_request(&mut socket);
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
        while socket.write_all(&[b'a'; 65_536]).is_ok() {}
    };
    beside_a_bystander("", "[limits]\nsend_timeout_s = 1\n", serve, |gateway| {
        let mut client = Raw::connect(front(gateway));
        client.send(GET);
        await_that("it is slow", || {
            assert!(metric(gateway, "waiting_bytes") < 4 * 1024 * 1024, "its server goes on");
            metric(gateway, "closed_total:slow_consumer") == 1
        });
        client.leave();
        expect_gone(gateway);
    });
}

#[test]
fn a_server_that_takes_nothing_stops_the_clients_body() {
    let serve = |mut socket: TcpStream| {
        next_request(&mut socket);
        // Until the gateway gives up.
        let start = Instant::now();
        while socket.peek(&mut [0; 1]).is_ok_and(|count| count > 0) && start.elapsed() < PATIENCE {
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
    };
    beside_a_bystander(", response_timeout_s = 1", "[limits]\nsend_timeout_s = 1\n", serve, |gateway| {
        let mut client = Raw::connect(front(gateway));
        client.send("POST /bad/a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
        client.0.set_nonblocking(true).expect("a socket");
        let (mut sent, piece) = (0usize, vec![b'b'; 65_536]);
        // What the kernel keeps for both connections, and no more, until the server is given up.
        await_that("the server is too late", || {
            sent += client.write(&piece).unwrap_or(0);
            assert!(sent < 64 * 1024 * 1024, "the body is read without an end");
            metric(gateway, "closed_total:upstream_timeout") == 1
        });
        client.leave();
        expect_gone(gateway);
    });
}
