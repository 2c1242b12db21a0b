//! `tidegate serve` in a process of its own, and those who listen and publish.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::addresses::addresses;
use crate::command::unconfigured;
use crate::faults::injection::Injection;

/// Longer than anything here takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

const CONFIGURATION: &str = r#"
shards = 1
log = "error"

[[listener]]
address = "127.0.0.1:0"

[bus]
address = "127.0.0.1:0"

[admin]
address = "127.0.0.1:0"

[[route]]
path = "/{name}"
sse = { channel = "news.{name}" }
"#;

/// Killed in the end.
pub struct Gateway {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    front: SocketAddr,
    bus: SocketAddr,
    /// Open from the beginning: it asks for metrics even while nobody can connect.
    admin: BufReader<TcpStream>,
    injection: Option<Injection>,
}

impl Gateway {
    pub fn start(driver: &str) -> Gateway {
        let file = configuration();
        let mut command = unconfigured(env!("CARGO_BIN_EXE_tidegate"));
        // strace attaches to it, which only root may do otherwise.
        command.args(["serve", "--dumpable", "--driver", driver, "--config"]).arg(&file).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is ours"));
        let [front, bus, admin] = addresses(&mut stdout);
        _ = std::fs::remove_file(file);
        let admin = BufReader::new(connect(admin));
        let mut gateway = Gateway { child, _stdout: stdout, front, bus, admin, injection: None };
        assert_eq!(gateway.metric("connections_open"), 1);
        gateway
    }

    /// Makes system calls of the shard fail; see [`Injection::new`].
    pub fn inject(&mut self, call: &str, error: &str, which: &str) {
        assert!(self.injection.is_none(), "a thread has one tracer");
        self.injection = Some(Injection::new(self.shard_thread(), call, error, which));
    }

    /// The one thread that talks to clients.
    fn shard_thread(&self) -> u32 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let mut shards = tasks.flatten().filter(|task| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("shard"))
        });
        let task = shards.next().expect("a thread is called so");
        task.file_name().to_str().and_then(|name| name.parse().ok()).expect("its folder is its number")
    }

    /// Begins a stream; its head may come late.
    pub fn begin_to_listen(&self, name: &str) -> Listener {
        let mut socket = connect(self.front);
        write!(socket, "GET /{name} HTTP/1.1\r\nHost: gateway\r\n\r\n").expect("a request can be written");
        Listener { socket, heard: Vec::new() }
    }

    /// A stream that is open: whatever is published from now on arrives.
    pub fn listen(&self, name: &str) -> Listener {
        let mut listener = self.begin_to_listen(name);
        listener.expect("\r\n\r\n");
        listener
    }

    pub fn publisher(&self) -> Publisher {
        let mut socket = connect(self.bus);
        socket.write_all(b"CONNECT {\"verbose\":false}\r\n").expect("the bus takes it");
        Publisher { socket }
    }

    /// The sum of one line of the metrics: `connections_open`, or `closed_total:` and the reason.
    pub fn metric(&mut self, name: &str) -> u64 {
        let (name, reason) = name.split_once(':').unwrap_or((name, ""));
        let start = format!("tidegate_{name}{{");
        let reason = format!("reason=\"{reason}");
        let metrics = self.metrics();
        let lines = metrics.lines().filter(|line| line.starts_with(&start));
        let lines = lines.filter(|line| !line.contains("reason=") || line.contains(&reason));
        lines.map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok()).expect("a value")).sum()
    }

    fn metrics(&mut self) -> String {
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        self.admin.get_mut().write_all(request).expect("a request can be written");
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.admin.read_line(&mut line).expect("an answer comes") > 0, "the admin port has closed");
            match line.to_ascii_lowercase().trim_end().split_once(": ") {
                Some(("content-length", value)) => length = value.parse().expect("a length"),
                None if line == "\r\n" => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.admin.read_exact(&mut body).expect("the body comes");
        String::from_utf8(body).expect("metrics are text")
    }

    pub fn await_at_least(&mut self, name: &str, value: u64) {
        await_that(name, || self.metric(name) >= value);
    }

    pub fn await_metric(&mut self, name: &str, value: u64, fact: &str) {
        await_that(fact, || self.metric(name) == value);
    }

    /// How many descriptors the shard has in its own table; other threads come and go while a gateway starts.
    pub fn descriptors(&self) -> usize {
        let table = format!("/proc/{}/task/{}/fd", self.child.id(), self.shard_thread());
        std::fs::read_dir(table).expect("it runs").count()
    }

    pub fn await_descriptors(&self, count: usize) {
        await_that("no descriptor is left behind", || self.descriptors() == count);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        _ = self.child.kill();
        // It hears of the end before we do.
        self.injection = None;
        _ = self.child.wait();
    }
}

/// Reads a stream of events.
pub struct Listener {
    socket: TcpStream,
    heard: Vec<u8>,
}

impl Listener {
    /// Reads until `text` has come.
    pub fn expect(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = self.heard.windows(text.len()).position(|window| window == text.as_bytes()) {
                self.heard.drain(..at + text.len());
                return;
            }
            let count = read(&mut self.socket, &mut buffer);
            let count = count.unwrap_or_else(|error| panic!("waiting for {text:?}: {error}"));
            assert!(count > 0, "the stream ended before {text:?}");
            self.heard.extend_from_slice(&buffer[..count]);
        }
    }

    /// Reads until the gateway has closed the stream, in whatever way.
    pub fn expect_end(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match read(&mut self.socket, &mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
                Err(error) => panic!("waiting for the end: {error}"),
            }
        }
    }

    pub fn say(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).expect("it can be written");
    }
}

/// A worker of the bus that only publishes.
pub struct Publisher {
    socket: TcpStream,
}

impl Publisher {
    pub fn publish(&mut self, name: &str, payload: &str) {
        self.publish_all(name, &[payload]);
    }

    /// In one segment, so that one turn of the shard has them all.
    pub fn publish_all(&mut self, name: &str, payloads: &[&str]) {
        let verb = |payload: &&str| format!("PUB news.{name} {}\r\n{payload}\r\n", payload.len());
        let verbs: String = payloads.iter().map(verb).collect();
        self.socket.write_all(verbs.as_bytes()).expect("the bus takes it");
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    socket
}

/// A read with a time-out is not taken up again by itself when a signal has come in between (signal(7)).
fn read(socket: &mut TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match socket.read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

fn configuration() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("tidegate-faults-{}-{number}.toml", std::process::id()));
    std::fs::write(&path, CONFIGURATION).expect("a file can be written");
    path
}

fn await_that(fact: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {fact}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
