//! A gateway under a low limit on open files: it takes what it may have, and as many shards as that takes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::RwLockReadGuard;
use std::time::{Duration, Instant};

use crate::addresses::addresses;
use crate::command::unconfigured;

/// Of the process that is tested: soft and hard.
const LIMITS: (u32, u32) = (100, 1_000);
/// More than one shard for each core of any machine but the largest could open under that limit.
const CONNECTIONS: usize = 5_000;
/// Opened here, which needs no more descriptors than a shell has by default.
const OPENED: usize = 700;
const PATIENCE: Duration = Duration::from_secs(60);

struct Served {
    _box: RwLockReadGuard<'static, ()>,
    child: Child,
    stderr: BufReader<ChildStderr>,
    folder: PathBuf,
    http: SocketAddr,
    admin: SocketAddr,
    bus: Option<SocketAddr>,
}

impl Served {
    fn start(name: &str, configuration: &str) -> Served {
        Served::start_with(name, configuration, &[])
    }

    fn start_with(name: &str, more: &str, arguments: &[&str]) -> Served {
        Served::start_under(LIMITS, name, more, arguments)
    }

    fn start_under((soft, hard): (u32, u32), name: &str, more: &str, arguments: &[&str]) -> Served {
        let _box = crate::shared();
        let folder = std::env::temp_dir().join(format!("tidegate-descriptors-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder can be made");
        let file = folder.join("tidegate.toml");
        let text = format!(
            "driver = \"epoll\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
             [[route]]\npath = \"/events\"\nsse = {{ channel = \"news\" }}\n{more}"
        );
        fs::write(&file, text).expect("a file can be written");
        let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
        let mut command = unconfigured("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_tidegate"), "serve", "--config"]).arg(&file).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("sh runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is ours"));
        let [http, second] = addresses(&mut stdout);
        // In the order of the configuration: listeners, bus, admin.
        let (bus, admin) = match more.contains("[bus]") {
            true => (Some(second), addresses::<1>(&mut stdout)[0]),
            false => (None, second),
        };
        let stderr = BufReader::new(child.stderr.take().expect("stderr is ours"));
        Served { _box, child, stderr, folder, http, admin, bus }
    }

    /// The rest of the log's line that has these words.
    fn log(&mut self, words: &str) -> String {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert!(self.stderr.read_line(&mut line).expect("the log is text") > 0, "the log does not say {words:?}");
        }
        line
    }

    fn limit(&self) -> String {
        let limits = fs::read_to_string(format!("/proc/{}/limits", self.child.id())).expect("it runs");
        let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("it has a limit").to_owned();
        line.split_whitespace().skip(3).take(2).collect::<Vec<_>>().join(" ")
    }

    /// A connection to the admin listener.
    fn admin(&self) -> TcpStream {
        let socket = TcpStream::connect(self.admin).expect("it accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        socket
    }

    /// Connections of each shard.
    fn open(&self) -> Vec<usize> {
        let mut socket = self.admin();
        socket
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("it takes a request");
        let mut metrics = String::new();
        socket.read_to_string(&mut metrics).expect("it answers");
        values(&metrics, "tidegate_connections_open")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        _ = fs::remove_dir_all(&self.folder);
    }
}

/// Of a metric, in each shard.
fn values(metrics: &str, name: &str) -> Vec<usize> {
    let lines = metrics.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
    lines.map(|line| line.rsplit(' ').next().and_then(|word| word.parse().ok()).expect("a number")).collect()
}

#[test]
fn takes_as_many_shards_as_the_configured_connections_need_and_all_of_the_limit() {
    let mut served = Served::start("many", &format!("[limits]\nconnections_max = {CONNECTIONS}\n"));
    assert_eq!(served.limit(), "1000 1000", "the soft limit is raised to the hard one");
    let line = served.log("connections: room for ");
    let shards = served.open().len();
    assert!(line.contains(&format!("1000 descriptors for each of {shards} shards")), "{line}");
    assert!(shards * 1000 > CONNECTIONS, "{shards}");
    // More than one table may have.
    let streams: Vec<TcpStream> = (0..OPENED).map(|_| stream(served.http)).collect();
    assert_eq!(served.open().iter().sum::<usize>(), OPENED + 1);
    drop(streams);
}

#[test]
fn keeps_one_shard_for_each_core_where_nobody_says_how_many_connections_there_will_be() {
    let served = Served::start("default", "");
    let cores = std::thread::available_parallelism().expect("there are cores").get();
    assert_eq!(served.open().len(), cores);
}

#[test]
fn warns_when_the_shards_that_are_configured_cannot_hold_the_connections() {
    let mut served =
        Served::start_with("few", &format!("[limits]\nconnections_max = {CONNECTIONS}\n"), &["--shards", "2"]);
    let line = served.log("WARN");
    assert!(line.contains("limits.connections_max is 5000") && line.contains("tidegate doctor"), "{line}");
    assert_eq!(served.open().len(), 2);
}

/// How often accepting has failed, asked on a connection that is open already.
fn accept_failures(admin: &mut BufReader<TcpStream>) -> usize {
    admin.get_mut().write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it takes a request");
    let (mut length, mut line) = (0, String::new());
    while line != "\r\n" {
        line.clear();
        admin.read_line(&mut line).expect("a line comes");
        length =
            line.to_lowercase().strip_prefix("content-length: ").map_or(length, |text| text.trim().parse().unwrap());
    }
    let mut body = vec![0; length];
    admin.read_exact(&mut body).expect("the metrics come");
    values(&String::from_utf8(body).expect("they are text"), "tidegate_accept_failures_total").iter().sum()
}

#[test]
fn a_lasting_shortage_of_descriptors_is_one_line_and_not_one_for_each_try() {
    let mut served = Served::start_under((90, 90), "short", "", &["--shards", "2"]);
    let mut admin = BufReader::new(served.admin());
    // Each shard's table has 90. Clients leave some of them to the admin listener, which nothing else bounds.
    let clients: Vec<TcpStream> =
        (0..300).map(|_| TcpStream::connect(served.admin).expect("the kernel takes it")).collect();
    let deadline = Instant::now() + PATIENCE;
    while accept_failures(&mut admin) < 30 {
        assert!(Instant::now() < deadline, "there are descriptors for all");
        std::thread::sleep(Duration::from_millis(50));
    }
    served.child.kill().expect("it runs");
    drop(clients);
    let mut log = String::new();
    served.stderr.read_to_string(&mut log).expect("the log is text");
    let told: Vec<&str> = log.lines().filter(|line| line.contains("Too many open files")).collect();
    assert_eq!(told.len(), 1, "{log}");
}

/// The status of the answer to a request on a new connection, which stays open if the gateway keeps it; `None` if it was
/// closed without an answer.
fn ask(address: SocketAddr, path: &str) -> Option<(TcpStream, String)> {
    let mut socket = TcpStream::connect(address).expect("the kernel takes it");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).ok()?;
    let mut head = [0; 12];
    socket.read_exact(&mut head).ok()?;
    Some((socket, String::from_utf8_lossy(&head[9..]).into_owned()))
}

#[test]
fn a_full_gateway_is_seen_and_served_and_takes_clients_again_when_some_have_left() {
    let bus = "[[route]]\npath = \"/ws\"\nwebsocket = { channel = \"news\" }\n[bus]\naddress = \"127.0.0.1:0\"\n";
    let mut served = Served::start_under((300, 300), "full", bus, &["--shards", "2"]);
    let answers: Vec<_> = (0..400).filter_map(|_| ask(served.http, "/ws")).collect();
    let count = |status: &str| answers.iter().filter(|(_, said)| said == status).count();
    assert!((100..300).contains(&count("101")), "{} clients are served", count("101"));
    let (served_count, told, all) = (count("101"), count("503"), answers.len());
    assert!(
        told > 0 && served_count + told == all,
        "{served_count} are served, {told} of the others are told, {all} in all"
    );
    assert_eq!(ask(served.admin, "/ready").expect("it answers").1, "200");
    assert_eq!(ask(served.admin, "/metrics").expect("it answers").1, "200");
    let mut worker = BufReader::new(TcpStream::connect(served.bus.expect("it has a bus")).expect("it accepts"));
    worker.get_mut().set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    worker.get_mut().write_all(b"PING\r\n").expect("it takes a verb");
    let heard: Vec<String> = worker.by_ref().lines().take(2).map(|line| line.expect("a line comes")).collect();
    assert!(heard[0].starts_with("INFO ") && heard[1] == "PONG", "{heard:?}");
    drop(answers);
    let deadline = Instant::now() + PATIENCE;
    while ask(served.http, "/ws").is_none_or(|(_, status)| status != "101") {
        assert!(Instant::now() < deadline, "clients have left");
    }
    served.child.kill().expect("it runs");
    let mut log = String::new();
    served.stderr.read_to_string(&mut log).expect("the log is text");
    assert_eq!(log.matches("too many connections").count(), 1, "one line for all: {log}");
    assert!(!log.contains("Too many open files"), "{log}");
}

/// A stream of events that is open.
fn stream(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("it accepts");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    socket.write_all(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n").expect("it takes a request");
    let mut head = [0; 12];
    socket.read_exact(&mut head).expect("it answers");
    assert_eq!(&head, b"HTTP/1.1 200");
    socket
}
