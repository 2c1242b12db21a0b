//! Servers that are known by their names, and servers that are asked whether they are well.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU8, Ordering};

use tidegate::gateway::Gateway;

use super::*;

/// The sum over all shards of a gauge of the upstream's servers.
fn gauge(gateway: &Gateway, name: &str, upstream: &str) -> u64 {
    let (start, label) = (format!("tidegate_{name}{{"), format!("upstream=\"{upstream}\""));
    let metrics = gateway.metrics();
    let lines = metrics.lines().filter(|line| line.starts_with(&start) && line.contains(&label));
    lines.map(|line| line.rsplit(' ').next().expect("a value").parse::<u64>().expect("a number")).sum()
}

fn get(gateway: &Gateway, path: &str) -> String {
    let mut client = Raw::connect(front(gateway));
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = client.send(request).read_all();
    client.leave();
    answer
}

#[test]
fn a_server_is_reached_by_its_name() {
    let good = Server::start(serve_well);
    let port = good.address.port();
    let routes = format!(
        "[[upstream]]\nname = \"named\"\nservers = \"LocalHost:{port}\"\nkeep_alive_s = 1\n\
         [[route]]\npath = \"/named/*\"\nproxy = {{ upstream = \"named\", host = \"upstream\", retries = 0 }}\n\
         [[route]]\npath = \"/url/*\"\nproxy = \"http://localhost:{port}\"\n{}",
        good.route("good", "")
    );
    on_both_drivers(&routes, |gateway| {
        let mut bystander = Bystander::new(gateway);
        assert!(gauge(gateway, "upstream_addresses", "named") >= 2, "the start has waited for it, in each of 2 shards");
        assert_eq!(gauge(gateway, "upstream_up", "named"), 2);
        // If localhost is ::1 as well, nothing listens there: another address of the name is no retry.
        for path in ["/named/a", "/url/a", "/named/b", "/url/b"] {
            let answer = get(gateway, path);
            assert!(answer.ends_with("well"), "{answer}");
        }
        bystander.expect_service();
        bystander.leave();
        expect_nobody(gateway);
    });
}

#[test]
fn a_name_that_leads_nowhere_is_503_and_costs_nothing_else() {
    let good = Server::start(serve_well);
    // RFC 6761 section 6.4: no resolver finds it.
    let routes = format!(
        "[[upstream]]\nname = \"bad\"\nservers = \"nowhere.invalid:80\"\nresolve_s = 1\n\
         [[route]]\npath = \"/bad/*\"\nproxy = \"bad\"\n{}",
        good.route("good", "")
    );
    on_both_drivers(&routes, |gateway| {
        let mut bystander = Bystander::new(gateway);
        let answer = get(gateway, "/bad/a");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert_eq!(metric(gateway, "closed_total:no_upstream"), 1);
        await_that("it is looked up again and again", || gauge(gateway, "upstream_checks_failed_total", "bad") > 1);
        assert_eq!(gauge(gateway, "upstream_up", "bad"), 0);
        bystander.expect_service();
        bystander.leave();
        expect_nobody(gateway);
    });
}

/// The server's behaviour to a probe, and to any other request.
static MOOD: AtomicU8 = AtomicU8::new(WELL);
const WELL: u8 = 0;
const FAILS: u8 = 1;
const HANGS: u8 = 2;
const BABBLES: u8 = 3;
const CLOSES: u8 = 4;
const DRIPS: u8 = 5;

fn serve_by_mood(mut socket: TcpStream) {
    let request = next_request(&mut socket);
    if request.is_empty() {
        return;
    }
    let is_probe = request.starts_with("GET /health?a HTTP/1.1\r\nHost: 127.0.0.1:")
        && request.contains("\r\nUser-Agent: tidegate-health\r\nConnection: close\r\n\r\n");
    let answer: &[u8] = match MOOD.load(Ordering::SeqCst) {
        WELL if is_probe => b"HTTP/1.1 204 No Content\r\n\r\n",
        WELL => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmood",
        FAILS => b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        BABBLES => b"\x16\x03\x01 220 smtp ready\r\n\r\n",
        DRIPS => b"HTTP/1.1 200 OK\r\nServer: ",
        CLOSES => return,
        _ => b"",
    };
    let _ = socket.write_all(answer);
    // Until the other side has had enough.
    let _ = next_request(&mut socket);
}

#[test]
fn a_server_that_is_not_well_gets_no_request_until_it_is() {
    let (good, moody) = (Server::start(serve_well), Server::start(serve_by_mood));
    let routes = format!(
        "[[upstream]]\nname = \"two\"\nservers = [\"{}\", \"{}\"]\nslow_start_s = 0\nkeep_alive_s = 1\n\
         health = {{ path = \"/health?a\", interval_s = 1, timeout_s = 1, rise = 1, fall = 1 }}\n\
         [[route]]\npath = \"/two/*\"\nproxy = \"two\"\n{}",
        moody.address,
        good.address,
        good.route("good", "")
    );
    let gateway = builder("epoll", &routes).start().expect("the gateway starts");
    let mut bystander = Bystander::new(&gateway);
    let is_up = |count: u64| await_that("the verdict", || gauge(&gateway, "upstream_up", "two") == count);
    let answers = || -> Vec<String> { (0..16).map(|_| get(&gateway, "/two/a")).collect() };
    for mood in [FAILS, HANGS, BABBLES, CLOSES, DRIPS] {
        MOOD.store(mood, Ordering::SeqCst);
        // Two shards, two servers.
        is_up(2);
        let answers_now = answers();
        assert!(answers_now.iter().all(|answer| answer.ends_with("well")), "{mood}: {answers_now:?}");
        bystander.expect_service();
        MOOD.store(WELL, Ordering::SeqCst);
        is_up(4);
        await_that("it gets requests again", || get(&gateway, "/two/a").ends_with("mood"));
    }
    MOOD.store(HANGS, Ordering::SeqCst);
    is_up(2);
    bystander.leave();
    expect_nobody(&gateway);
    // A probe that waits keeps nothing from ending.
    gateway.stop();
}

#[test]
fn a_unix_socket_is_probed_as_an_address_is() {
    let path = std::env::temp_dir().join(format!("tidegate-watched-{}.sock", std::process::id()));
    let socket = UnixListener::bind(&path).expect("a socket");
    // The thread ends with the process.
    std::thread::spawn(move || {
        for stream in socket.incoming().map_while(Result::ok) {
            let (mut reader, mut stream) = (BufReader::new(stream.try_clone().expect("a socket")), stream);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
                line.clear();
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nunix");
        }
    });
    let routes = format!(
        "[[upstream]]\nname = \"unix\"\nservers = \"unix:{}\"\n\
         health = {{ path = \"/\", interval_s = 1, timeout_s = 1, rise = 1, fall = 1 }}\n\
         [[route]]\npath = \"/unix/*\"\nproxy = \"unix\"\n",
        path.display()
    );
    let gateway = builder("epoll", &routes).start().expect("the gateway starts");
    assert!(get(&gateway, "/unix/a").ends_with("unix"));
    assert_eq!(gauge(&gateway, "upstream_up", "unix"), 2, "in both shards");
    std::fs::remove_file(&path).expect("it is there");
    await_that("it is down", || gauge(&gateway, "upstream_up", "unix") == 0);
    assert!(gauge(&gateway, "upstream_checks_failed_total", "unix") > 0);
    gateway.stop();
}
