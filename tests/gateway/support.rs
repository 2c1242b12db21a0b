//! Starts gateways and speaks to them over plain sockets.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use tidegate::conn::Door;
use tidegate::driver::socket::private_descriptor_table;
use tidegate::gateway::config::Config;
use tidegate::gateway::{Builder, Gateway};
use tungstenite::WebSocket;

/// Longer than anything here takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub const ROUTES: &str = r#"
[[listener]]
address = "127.0.0.1:0"

[bus]
address = "127.0.0.1:0"

[admin]
address = "127.0.0.1:0"
hosts = "a"

[[route]]
path = "/sse/{room}"
origins = ["https://app.example"]
sse = { channel = "room.{room}" }

[[route]]
path = "/ws/{room}"
websocket = { channel = "room.{room}", publish = true }

[[route]]
path = "/listen/{room}"
websocket = { channel = "room.{room}" }

[[route]]
path = "/echo"
websocket = { service = "echo", user = { query = "user", unverified = true } }
"#;

/// Runs `test` against a gateway on each driver, both at the same time.
pub fn on_both_drivers(extra: &str, test: impl Fn(&Gateway) + Sync) {
    on_both_drivers_with(|driver| builder(driver, extra), test);
}

/// The same for gateways that are more than a configuration.
pub fn on_both_drivers_with(build: impl Fn(&str) -> Builder + Sync, test: impl Fn(&Gateway) + Sync) {
    std::thread::scope(|scope| {
        for driver in ["epoll", "uring"] {
            let (build, test) = (&build, &test);
            let thread = std::thread::Builder::new().name(driver.to_owned());
            let run = move || {
                private_descriptor_table().expect("threads may have tables");
                let gateway = build(driver).start().expect("the gateway starts");
                test(&gateway);
                gateway.stop();
            };
            thread.spawn_scoped(scope, run).expect("a thread");
        }
    });
}

/// Waits until something is so, and fails when it takes too long.
pub fn await_that(fact: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {fact}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// The sum over all shards of one line of the metrics: `connections_open`, or `closed_total` of a reason.
pub fn metric(gateway: &Gateway, name: &str) -> u64 {
    let (name, reason) = name.split_once(':').unwrap_or((name, ""));
    let start = format!("tidegate_{name}{{");
    let reason = format!("reason=\"{reason}");
    let metrics = gateway.metrics();
    let lines =
        metrics.lines().filter(|line| line.starts_with(&start) && (reason.ends_with('"') || line.contains(&reason)));
    lines.map(|line| line.rsplit(' ').next().expect("a value").parse::<u64>().expect("a number")).sum()
}

/// All who came have gone, and left nothing behind.
pub fn expect_nobody(gateway: &Gateway) {
    for name in ["connections_open", "subscriptions", "messages_waiting"] {
        await_that(&format!("no {name}"), || metric(gateway, name) == 0);
    }
}

pub fn builder(driver: &str, extra: &str) -> Builder {
    builder_of(driver, 2, extra)
}

pub fn builder_of(driver: &str, shards: usize, extra: &str) -> Builder {
    builder_of_text(driver, shards, &format!("{extra}\n{ROUTES}"))
}

/// With another text than [`ROUTES`].
pub fn builder_of_text(driver: &str, shards: usize, text: &str) -> Builder {
    let text = format!("driver = \"{driver}\"\nshards = {shards}\n{text}");
    let config = Config::parse(Path::new("test.toml"), &text, []).unwrap_or_else(|errors| panic!("{errors}"));
    Builder::new(config)
}

pub fn front(gateway: &Gateway) -> SocketAddr {
    gateway.address(Door::Front, false).expect("a plain listener")
}

pub fn admin(gateway: &Gateway) -> SocketAddr {
    gateway.address(Door::Admin, false).expect("an admin listener")
}

/// A client that reads and writes bytes, and fails instead of waiting for ever.
pub struct Raw(pub TcpStream);

impl Raw {
    pub fn connect(address: SocketAddr) -> Raw {
        let socket = TcpStream::connect(address).expect("the gateway accepts");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Raw(socket)
    }

    /// From an address of its own.
    pub fn connect_from(from: SocketAddr, to: SocketAddr) -> Raw {
        let socket = socket2::Socket::new(socket2::Domain::for_address(from), socket2::Type::STREAM, None).unwrap();
        socket.bind(&from.into()).expect("the address is this machine's");
        socket.connect(&to.into()).expect("the gateway accepts");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Raw(socket.into())
    }

    /// Goes at once. A socket that is only closed lives on in the descriptor tables of shards that have begun meanwhile.
    pub fn leave(self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Raw {
        // A gateway that has refused and closed may reset; what it said is still to be read.
        let _ = self.0.write_all(bytes.as_ref());
        self
    }

    /// Everything until the gateway closes.
    pub fn read_all(&mut self) -> String {
        let mut bytes = Vec::new();
        let _ = self.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Everything up to and with `end`.
    pub fn read_until(&mut self, end: &str) -> String {
        read_until(self, end)
    }
}

/// Everything up to and with `end`.
pub fn read_until(reader: &mut impl Read, end: &str) -> String {
    let mut bytes = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while !bytes.ends_with(end.as_bytes()) {
        assert!(Instant::now() < deadline, "no {end:?} in {:?}", String::from_utf8_lossy(&bytes));
        let mut byte = [0];
        match reader.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            other => panic!("{other:?} before {end:?} in {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// One request on its own connection: the whole answer.
pub fn ask(address: SocketAddr, request: &str) -> String {
    Raw::connect(address).send(request).read_all()
}

/// A well-behaved WebSocket client.
pub fn websocket(gateway: &Gateway, path: &str) -> WebSocket<Raw> {
    let socket = Raw::connect(front(gateway));
    let (websocket, _) = tungstenite::client(format!("ws://{}{path}", front(gateway)), socket).expect("an upgrade");
    websocket
}

/// A worker that speaks the bus's protocol by hand, when the gateway has answered it.
pub fn bus(gateway: &Gateway) -> Raw {
    let mut worker = Raw::connect(gateway.address(Door::Bus, false).expect("a bus"));
    worker.send("CONNECT {\"verbose\":false,\"headers\":true}\r\nPING\r\n").read_until("PONG\r\n");
    worker
}

/// Publishes over the admin API; the position it got.
pub fn publish(gateway: &Gateway, channel: &str, headers: &str, payload: &str) -> String {
    let request = format!(
        "POST /api/channels/{channel} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{payload}",
        payload.len()
    );
    let answer = ask(admin(gateway), &request);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let body = answer.split_once("\r\n\r\n").expect("a head").1;
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body["channel"], channel);
    body["position"].as_str().expect("a position").to_owned()
}
