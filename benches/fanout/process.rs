//! The process that is measured: this program again, as a gateway or as the floor.
//!
//! It says on stdout where it listens, and ends when its stdin does.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use tidegate::conn::Door;
use tidegate::gateway::Builder;
use tidegate::gateway::config::Config;

use crate::tls::Certificate;
use crate::{Args, floor};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// A loop of write(2) over blocking sockets.
    Floor,
    /// The gateway.
    Epoll,
    /// The gateway.
    Uring,
}

impl Target {
    pub fn name(self) -> &'static str {
        match self {
            Target::Floor => "floor",
            Target::Epoll => "epoll",
            Target::Uring => "uring",
        }
    }
}

/// The other process; ended by the drop.
pub struct Process {
    child: Child,
    pub target: Target,
    /// Where subscribers connect.
    pub front: SocketAddr,
    /// Where the publisher connects.
    pub bus: SocketAddr,
}

impl Process {
    pub fn start(target: Target, args: &Args, certificate: Option<&Certificate>) -> Result<Process, String> {
        let program = std::env::current_exe().map_err(|error| format!("this program cannot be found: {error}"))?;
        let mut command = Command::new(program);
        command.args(["--target", target.name(), "--shards", &args.shards.to_string()]);
        if let Some(certificate) = certificate {
            command.arg("--certificate").arg(certificate.folder());
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| format!("{} did not start: {error}", target.name()))?;
        let stdout = child.stdout.take().ok_or("a pipe was asked for")?;
        let addresses: Result<Vec<SocketAddr>, String> = BufReader::new(stdout)
            .lines()
            .take(2)
            .map(|line| line.map_err(|error| error.to_string())?.parse().map_err(|error| format!("{error}")))
            .collect();
        match addresses.as_deref() {
            Ok([front, bus]) => Ok(Process { child, target, front: *front, bus: *bus }),
            _ => {
                _ = child.kill();
                _ = child.wait();
                Err(format!("{} did not say where it listens", target.name()))
            }
        }
    }

    /// What its threads have used so far, in user space and in the kernel.
    pub fn cpu(&self) -> Result<Duration, String> {
        cpu_of(&self.child.id().to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        _ = self.child.wait();
    }
}

/// What this process has used so far.
pub fn own_cpu() -> Result<Duration, String> {
    cpu_of("self")
}

/// The first word of schedstat is the time on a CPU in nanoseconds (Documentation/scheduler/sched-stats.rst); the ticks of
/// `stat` would be too coarse.
fn cpu_of(process: &str) -> Result<Duration, String> {
    let folder = format!("/proc/{process}/task");
    let mut cpu = Duration::ZERO;
    for task in fs::read_dir(&folder).map_err(|error| format!("{folder}: {error}"))? {
        let path = task.map_err(|error| format!("{folder}: {error}"))?.path().join("schedstat");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // It ended in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let first = text.split_whitespace().next().and_then(|word| word.parse().ok());
        cpu += Duration::from_nanos(first.ok_or_else(|| format!("{}: no time in {text:?}", path.display()))?);
    }
    Ok(cpu)
}

/// The other end of [`Process::start`].
pub fn serve(target: Target, args: &Args) -> Result<(), String> {
    let driver = match target {
        Target::Floor => return serve_floor(),
        Target::Epoll | Target::Uring => target.name(),
    };
    let tls = args.certificate.as_deref().map(tls_key).unwrap_or_default();
    let text = format!(
        "driver = \"{driver}\"\nshards = {}\nlog = \"warn\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\n{tls}\
         [bus]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/ws\"\nwebsocket = {{ channel = \"fanout\" }}\n\
         [[route]]\npath = \"/sse\"\nsse = {{ channel = \"fanout\" }}\n",
        args.shards
    );
    let config = Config::parse(Path::new("fanout.toml"), &text, []).map_err(|errors| errors.to_string())?;
    let gateway = Builder::new(config).start().map_err(|error| error.to_string())?;
    if gateway.driver().to_string() != driver {
        return Err(format!("{driver} cannot be had here; leave it out with --driver"));
    }
    let address = |door, is_tls| gateway.address(door, is_tls).ok_or("a listener is missing");
    tell(address(Door::Front, args.certificate.is_some())?, address(Door::Bus, false)?)?;
    wait_for_the_end();
    gateway.stop();
    Ok(())
}

fn tls_key(folder: &Path) -> String {
    let path = |name: &str| toml_edit::Value::from(folder.join(name).to_string_lossy().into_owned()).to_string();
    format!("tls = {{ certificate = {}, key = {} }}\n", path("cert.pem"), path("key.pem"))
}

fn serve_floor() -> Result<(), String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    tell(address, address)?;
    // It ends with its publisher.
    floor::run(&listener).map_err(|error| format!("floor: {error}"))
}

fn tell(front: SocketAddr, bus: SocketAddr) -> Result<(), String> {
    let mut stdout = io::stdout();
    let told = stdout.write_all(format!("{front}\n{bus}\n").as_bytes()).and_then(|()| stdout.flush());
    told.map_err(|error| format!("stdout: {error}"))
}

fn wait_for_the_end() {
    _ = io::stdin().read_to_end(&mut Vec::new());
}
