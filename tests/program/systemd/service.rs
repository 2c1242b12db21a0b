//! A gateway that is started the way systemd does it, and the socket that systemd would listen on for its news.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Longer than any single step takes, even where everything is slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Without the table of the front listener.
pub const REST: &str = r#"
[admin]
address = "127.0.0.1:0"

[[route]]
path = "/events"
sse = { channel = "news" }
"#;

pub fn configuration(listener: &str) -> String {
    format!("shards = 2\n[[listener]]\naddress = \"{listener}\"\n{REST}")
}

/// A folder of a test's own, removed with it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("tidegate-systemd-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder can be made");
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file can be written");
        path.to_string_lossy().into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// Where systemd would hear from the service.
pub struct Manager(UnixDatagram);

impl Manager {
    pub fn listen(folder: &Folder) -> Manager {
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket can be bound");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Manager(socket)
    }

    /// The next message, as lines.
    pub fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length = self.0.recv(&mut bytes).expect("news comes in time");
        String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned).collect()
    }

    /// Waits for a line, whatever comes before it.
    pub fn expect(&self, line: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.next().iter().any(|other| other == line) {
            assert!(Instant::now() < deadline, "{line} does not come");
        }
    }
}

/// How a gateway is started.
pub struct Start<'a> {
    pub folder: &'a Folder,
    pub configuration: &'a str,
    pub driver: &'a str,
    /// Becomes descriptor 3, under this name.
    pub socket: Option<(&'a TcpListener, &'a str)>,
    pub variables: &'a [(&'a str, &'a str)],
}

/// Without what this process's own environment would say.
pub fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["TIDEGATE_", "LISTEN_", "NOTIFY_", "WATCHDOG_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

impl Start<'_> {
    pub fn spawn(&self) -> Child {
        let file = self.folder.file("tidegate.toml", self.configuration);
        // The shell that becomes the gateway knows the process id, which no parent can know before.
        let script = match self.socket {
            Some(_) => "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"",
            None => "exec \"$0\" \"$@\"",
        };
        let mut command = clean("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_tidegate"), "serve", "--config", &file]);
        command.args(["--driver", self.driver]);
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify")).envs(self.variables.iter().copied());
        if let Some((socket, name)) = self.socket {
            let socket = OwnedFd::from(socket.try_clone().expect("a descriptor is free"));
            command.env("LISTEN_FDNAMES", name).stdin(socket);
        } else {
            command.stdin(Stdio::null());
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sh runs")
    }

    pub fn serve(&self) -> Served {
        let mut child = self.spawn();
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is ours"));
        let mut address = |name: &str| -> SocketAddr {
            let mut line = String::new();
            stdout.read_line(&mut line).expect("a line comes");
            let words: Vec<&str> = line.split_whitespace().collect();
            assert!(words.len() == 3 && words[1] == name, "it listens: {line:?}");
            words[2].parse().expect("an address")
        };
        let (http, admin) = (address("http"), address("admin"));
        let stderr = BufReader::new(child.stderr.take().expect("stderr is ours"));
        Served { child, stderr, http, admin }
    }
}

/// A gateway that runs; killed in the end, if it is still there.
pub struct Served {
    child: Child,
    stderr: BufReader<ChildStderr>,
    pub http: SocketAddr,
    pub admin: SocketAddr,
}

impl Served {
    /// The thread of that name.
    pub fn thread(&self, name: &str) -> i32 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let mut tasks = tasks.map(|task| task.expect("a thread").path());
        let is_it = |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name);
        let task = tasks.find(is_it).expect("it has such a thread");
        task.file_name().and_then(|id| id.to_string_lossy().parse().ok()).expect("a number")
    }

    /// Waits for a line of the log.
    pub fn expect_log(&mut self, part: &str) {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(self.stderr.read_line(&mut line).expect("the log is text") > 0, "the log does not say {part:?}");
        }
    }

    pub fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }

    /// A counter of each shard.
    pub fn counter(&self, name: &str) -> Vec<u64> {
        let metrics = ask(self.admin, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let prefix = format!("tidegate_{name}{{");
        let lines = metrics.lines().filter(|line| line.starts_with(&prefix));
        lines.map(|line| line.rsplit(' ').next().and_then(|word| word.parse().ok()).expect("a number")).collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("somebody listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    socket
}

/// One request on its own connection: the whole answer.
pub fn ask(address: SocketAddr, request: &str) -> String {
    let mut socket = connect(address);
    socket.write_all(request.as_bytes()).expect("it takes a request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it answers");
    answer
}

/// Opens a stream of events; it is open when this returns.
pub fn open_stream(address: SocketAddr) -> TcpStream {
    let mut socket = connect(address);
    request_stream(&mut socket);
    expect_stream(&mut socket);
    socket
}

pub fn request_stream(socket: &mut TcpStream) {
    socket.write_all(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n").expect("the kernel takes it");
}

pub fn expect_stream(socket: &mut TcpStream) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"retry: 2000\n\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap_or_else(|error| {
            panic!("the stream does not open ({error}): {}", String::from_utf8_lossy(&bytes));
        });
        bytes.push(byte[0]);
    }
    assert!(bytes.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&bytes));
}
