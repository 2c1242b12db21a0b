//! More sockets than a process may have descriptors: 15,000 WebSockets and 15,000 event streams in one gateway that runs
//! under `ulimit -n 20000`, as does the process with their other ends.
//!
//! ```text
//!  tidegate serve: a table of descriptors per shard        this process: a table per crowd
//!  shard 0, shard 1 <--------- 30,000 sockets ----------> crowd 0, crowd 1, crowd 2
//! ```

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tidegate::driver::socket::private_descriptor_table;

use crate::addresses::addresses;
use crate::command::unconfigured;

/// RLIMIT_NOFILE of both processes.
const LIMIT: usize = 20_000;
const CROWDS: usize = 3;
/// Of each kind and crowd.
const STREAMS: usize = 5_000;
const SOCKETS: usize = 2 * STREAMS * CROWDS;
/// Connections of one crowd that are being opened at once: together they fit a listen queue.
const OPENING: usize = 256;

// Two shards share the sockets by chance; ten standard deviations (87 each) are far below the limit.
const _: () = assert!(SOCKETS > LIMIT && SOCKETS / 2 + 1_000 < LIMIT && 2 * STREAMS + 1_000 < LIMIT);

/// Longer than any single step takes, even where everything is slow.
const PATIENCE: Duration = Duration::from_secs(60);

const CONFIGURATION: &str = r#"
shards = 2
log = "warn"

[[listener]]
address = "127.0.0.1:0"

[admin]
address = "127.0.0.1:0"

[[route]]
path = "/ws"
websocket = { channel = "everybody" }

[[route]]
path = "/sse"
sse = { channel = "everybody" }

# Idle means idle.
[limits]
ping_interval_s = 600
sse_heartbeat_s = 600
"#;

const PAYLOAD: &str = "high water";

/// Set in the child that runs under the limit.
const CHILD: &str = "TIDEGATE_CAPACITY_CHILD";

#[test]
fn holds_more_sockets_than_a_process_may_have_descriptors() {
    if std::env::var_os(CHILD).is_some() {
        return ["epoll", "uring"].iter().zip(1..).for_each(|(driver, net)| hold_and_release(driver, net));
    }
    let _box = crate::alone();
    // This binary again, with this test alone, under the limit.
    let limited = format!("ulimit -n {LIMIT} && exec \"$0\" \"$@\"");
    let mut child = Command::new("sh");
    child.args(["-c", &limited]).arg(std::env::current_exe().expect("this binary has a path"));
    child.args(["--exact", "capacity::holds_more_sockets_than_a_process_may_have_descriptors", "--nocapture"]);
    // Its count of tests is not another result; what it says is on stderr.
    let status = child.env(CHILD, "1").stdout(Stdio::null()).status().expect("sh runs");
    assert!(status.success(), "under ulimit -n {LIMIT}: {status}");
}

/// `net` is the second number of the crowds' addresses.
fn hold_and_release(driver: &str, net: u8) {
    let start = Instant::now();
    let gateway = Served::start(driver);
    let before_kib = gateway.resident_kib();
    let crowds: Vec<Crowd> = (0..CROWDS).map(|index| Crowd::start(source(net, index), gateway.http)).collect();
    crowds.iter().for_each(|crowd| crowd.expect("opened"));
    // The one that asks is open as well.
    assert_eq!(gateway.connections_open(), SOCKETS as u64 + 1);
    let tables = gateway.descriptors_per_shard();
    assert!(tables.iter().sum::<usize>() > SOCKETS && tables.iter().all(|held| *held < LIMIT), "{tables:?}");

    let bytes_each = (gateway.resident_kib() - before_kib) * 1024 / SOCKETS as u64;
    let publish =
        format!("POST /api/channels/everybody HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n", PAYLOAD.len());
    let answer = gateway.ask(&publish, PAYLOAD);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    crowds.iter().for_each(|crowd| crowd.go_on("heard"));
    crowds.into_iter().for_each(Crowd::end);

    let deadline = Instant::now() + PATIENCE;
    while gateway.connections_open() > 1 {
        assert!(Instant::now() < deadline, "connections left: {}", gateway.connections_open() - 1);
    }
    let line = format!(
        "capacity, {driver}: sockets: {SOCKETS} (half WebSocket, half event streams), all heard one message and were freed; \
         RLIMIT_NOFILE {LIMIT}; descriptors by shard: {tables:?}; resident memory of the gateway per connection: {bytes_each} \
         bytes; {:.1} s",
        start.elapsed().as_secs_f64()
    );
    // Not print!: the line is to be seen although the test passes.
    writeln!(std::io::stderr(), "{line}").expect("stderr is there");
}

/// A gateway that runs; killed in the end.
struct Served {
    child: Child,
    folder: PathBuf,
    http: SocketAddr,
    admin: SocketAddr,
}

impl Served {
    fn start(driver: &str) -> Served {
        let folder = std::env::temp_dir().join(format!("tidegate-capacity-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder can be made");
        let file = folder.join("tidegate.toml");
        fs::write(&file, CONFIGURATION).expect("a file can be written");
        let mut command = unconfigured(env!("CARGO_BIN_EXE_tidegate"));
        command.args(["serve", "--driver", driver, "--config"]).arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is ours"));
        let [http, admin] = addresses(&mut stdout);
        Served { child, folder, http, admin }
    }

    /// One request on its own connection: the whole answer.
    fn ask(&self, head: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(self.admin).expect("the gateway accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        socket.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()).expect("it takes a request");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("it answers");
        answer
    }

    fn connections_open(&self) -> u64 {
        let metrics = self.ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\n", "");
        let lines = metrics.lines().filter(|line| line.starts_with("tidegate_connections_open{"));
        lines.map(|line| line.rsplit(' ').next().and_then(|word| word.parse::<u64>().ok()).expect("a number")).sum()
    }

    fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has memory");
        line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number of KiB")
    }

    fn descriptors_per_shard(&self) -> Vec<usize> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let tasks = tasks.map(|task| task.expect("a thread").path());
        let is_shard =
            |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("shard-"));
        tasks.filter(is_shard).map(|task| fs::read_dir(task.join("fd")).expect("its descriptors").count()).collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        _ = fs::remove_dir_all(&self.folder);
    }
}

/// A thread with clients and a descriptor table of its own. It waits between its steps: opened, heard, ended.
struct Crowd {
    steps: Sender<()>,
    done: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Crowd {
    fn start(source: SocketAddr, gateway: SocketAddr) -> Crowd {
        let (steps, next_step) = channel();
        let (tell_done, done) = channel();
        let thread = spawn(move || run_crowd(source, gateway, &next_step, &tell_done));
        Crowd { steps, done, thread }
    }

    fn go_on(&self, what: &str) {
        self.steps.send(()).expect("the crowd is there");
        self.expect(what);
    }

    fn expect(&self, what: &str) {
        self.done.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("not everybody has {what}"));
    }

    fn end(self) {
        drop(self.steps);
        self.thread.join().expect("the crowd leaves in good order");
    }
}

/// An address has 28,000 ports, and those of the last minute's runs may still be taken: each process takes others.
fn source(net: u8, index: usize) -> SocketAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, net * CROWDS as u8 + index as u8, high, low.max(1))), 0)
}

fn run_crowd(source: SocketAddr, gateway: SocketAddr, next_step: &Receiver<()>, done: &Sender<()>) {
    private_descriptor_table().expect("threads may have tables");
    let mut streams = Vec::with_capacity(2 * STREAMS);
    while streams.len() < 2 * STREAMS {
        let count = OPENING.min(2 * STREAMS - streams.len());
        let first = streams.len();
        streams.extend((first..first + count).map(|index| Stream::open(source, gateway, index % 2 == 0)));
        streams[first..].iter_mut().for_each(Stream::expect_answer);
    }
    let tell = || done.send(()).expect("the test is there");
    tell();
    if next_step.recv().is_ok() {
        streams.iter_mut().for_each(Stream::expect_message);
        tell();
        // Until the test lets go of the crowd.
        _ = next_step.recv();
    }
}

struct Stream {
    socket: Socket,
    is_websocket: bool,
}

impl Stream {
    /// Sends the request; what is answered is for later.
    fn open(source: SocketAddr, gateway: SocketAddr, is_websocket: bool) -> Stream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor is free");
        socket.bind(&source.into()).expect("a port is free");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        socket.connect(&gateway.into()).expect("the gateway accepts");
        let request = match is_websocket {
            true => {
                "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            }
            false => "GET /sse HTTP/1.1\r\nHost: a\r\n\r\n",
        };
        assert_eq!(socket.send(request.as_bytes()).expect("the gateway reads"), request.len());
        Stream { socket, is_websocket }
    }

    fn expect_answer(&mut self) {
        let (status, end) = match self.is_websocket {
            true => ("HTTP/1.1 101 ", "\r\n\r\n"),
            false => ("HTTP/1.1 200 ", "retry: 2000\n\n\r\n"),
        };
        let answer = self.read_until(end);
        assert!(answer.starts_with(status.as_bytes()), "{}", String::from_utf8_lossy(&answer));
    }

    fn expect_message(&mut self) {
        if self.is_websocket {
            // A whole text frame of the payload's length.
            let frame = [&[0x81, PAYLOAD.len() as u8], PAYLOAD.as_bytes()].concat();
            assert_eq!(self.read_until(PAYLOAD), frame, "one frame");
        } else {
            let chunk = String::from_utf8(self.read_until(&format!("\ndata: {PAYLOAD}\n\n\r\n"))).expect("text");
            let (size, record) = chunk.split_once("\r\n").expect("a chunk has a size");
            assert_eq!(usize::from_str_radix(size, 16), Ok(record.len() - 2), "one chunk: {chunk:?}");
            assert!(record.starts_with("id: "), "{chunk:?}");
        }
    }

    fn read_until(&mut self, end: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 1024];
        while !bytes.ends_with(end.as_bytes()) {
            let count = self.socket.read(&mut chunk).expect("something comes in time");
            assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&chunk[..count]);
        }
        bytes
    }
}
