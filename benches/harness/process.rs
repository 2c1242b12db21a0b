//! The process that is measured: this program again, as a gateway or as a floor, or another program (`foreign`).
//!
//! ```text
//! sh: into the cgroup --exec--> program "serve" role ... --stdout--> "front 127.0.0.1:1234", ..., "ready"
//!                               ends when its stdin does
//! ```

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidegate::gateway::config::Config;

use crate::certificate::Certificate;
use crate::foreign::Foreign;
use crate::group::MemoryGroup;
use crate::memory::{self, Memory};
use crate::options::{Target, Transport};
use crate::progress::Progress;
use crate::{cpu, floor, gateway};

/// The first argument of the measured process.
pub(crate) const SERVE: &str = "serve";
const GATEWAY: &str = "gateway";
const GATEWAY_WITH_WORKER: &str = "gateway-with-worker";
/// The shell moves into the cgroup …
const INTO_GROUP: &str = "echo 0 > \"$0\" && ";
/// … and becomes the program.
const BECOME: &str = "exec \"$@\"";

/// Memory that changes less than this in an interval has come to rest.
const REST_BYTES: u64 = 64 * 1024;
const REST_INTERVAL: Duration = Duration::from_millis(500);
const REST_WAIT: Duration = Duration::from_secs(15);

/// What the process is to be. Where it is measured how much memory it takes, in a cgroup.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    pub target: Target,
    /// Threads of the gateway or the floor, processes of nginx.
    pub shards: usize,
    pub certificate: Option<&'a Certificate>,
    /// What stands for the target, if that is a floor.
    pub floor: floor::Kind,
    /// Whether the gateway has a worker that echoes.
    pub has_worker: bool,
    /// Whether memory is to be measured.
    pub is_grouped: bool,
    /// Tables for the gateway's configuration, if there are any. For a relay or another proxy, the address of its server.
    pub rules: &'a str,
}

impl Setup<'_> {
    /// Of the gateway.
    pub fn config(&self) -> Result<Config, String> {
        gateway::parse(&self.configuration())
    }

    fn configuration(&self) -> String {
        gateway::configuration(self.target.name(), self.shards, self.certificate, self.rules)
    }
}

/// Ended by the drop.
pub struct Process {
    pub target: Target,
    addresses: Vec<(String, SocketAddr)>,
    child: Child,
    foreign: Option<Foreign>,
    /// Or why there is none.
    group: Result<MemoryGroup, String>,
}

impl Process {
    pub fn start(setup: &Setup<'_>) -> Result<Process, String> {
        Process::start_within(setup, None)
    }

    /// With a limit on open files that the process cannot raise, if there is to be one.
    pub fn start_within(setup: &Setup<'_>, descriptors: Option<u32>) -> Result<Process, String> {
        let target = setup.target;
        let group = if setup.is_grouped { MemoryGroup::new() } else { Err("nobody asked".to_owned()) };
        let foreign = Foreign::new(setup)?;
        let command = match &foreign {
            Some(foreign) => foreign.command(),
            None => own_command(setup)?,
        };
        let child = spawn(&command, group.as_ref().ok(), descriptors, foreign.is_none())
            .map_err(|error| format!("{} did not start: {error}", target.name()))?;
        // From here on the drop ends it, whatever happens.
        let mut process = Process { target, addresses: Vec::new(), child, foreign, group };
        process.addresses = match &process.foreign {
            Some(foreign) => foreign.await_listening()?,
            None => {
                hear(&mut process.child).ok_or_else(|| format!("{} did not say where it listens", target.name()))?
            }
        };
        Ok(process)
    }

    /// Where clients connect.
    pub fn front(&self, transport: Transport) -> Result<SocketAddr, String> {
        // Floors are plain.
        let name = if transport == Transport::Tls && !self.target.is_floor() { "tls" } else { "front" };
        self.address(name)
    }

    /// Where the publisher connects.
    pub fn publish(&self) -> Result<SocketAddr, String> {
        self.address("publish")
    }

    /// Where operators connect, if the rules of the setup open that listener.
    pub fn admin(&self) -> Result<SocketAddr, String> {
        self.address("admin")
    }

    fn address(&self, name: &str) -> Result<SocketAddr, String> {
        let found = self.addresses.iter().find(|(known, _)| known == name);
        found.map(|(_, address)| *address).ok_or_else(|| format!("{} has no address {name}", self.target.name()))
    }

    /// What its threads have used so far, in user space and in the kernel.
    pub fn cpu(&self) -> Result<Duration, String> {
        self.ids().iter().map(|id| cpu::of(&id.to_string())).sum()
    }

    pub fn memory(&self) -> Result<Memory, String> {
        let (user_bytes, resident_bytes) = memory::of(&self.ids())?;
        let charged = match &self.group {
            Ok(group) => Some(group.read().map_err(|error| format!("the memory cgroup cannot be read: {error}"))?),
            Err(_) => None,
        };
        Ok(Memory { user_bytes, resident_bytes, charged })
    }

    /// The memory when it does not change any more: what has been freed is freed late.
    pub fn memory_at_rest(&self, progress: &mut Progress) -> Result<Memory, String> {
        let deadline = Instant::now() + REST_WAIT;
        let bytes = |memory: &Memory| memory.charged.map_or(memory.user_bytes, |charged| charged.all_bytes);
        let mut last = self.memory()?;
        loop {
            progress.show(|| "until memory is at rest".to_owned());
            std::thread::sleep(REST_INTERVAL);
            let now = self.memory()?;
            if bytes(&now).abs_diff(bytes(&last)) < REST_BYTES || Instant::now() >= deadline {
                return Ok(now);
            }
            last = now;
        }
    }

    /// Why kernel memory cannot be told, if so.
    pub fn group_error(&self) -> Option<&str> {
        self.group.as_ref().err().map(String::as_str)
    }

    /// Itself and its children: nginx works in those.
    fn ids(&self) -> Vec<u32> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        std::iter::once(id).chain(children.split_whitespace().filter_map(|word| word.parse().ok())).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if let Some(foreign) = &self.foreign {
            foreign.stop(self.child.id());
        }
        _ = self.child.wait();
    }
}

fn own_command(setup: &Setup<'_>) -> Result<Vec<String>, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program cannot be found: {error}"))?;
    let mut command = vec![program.to_string_lossy().into_owned(), SERVE.to_owned()];
    let Setup { target, shards, .. } = setup;
    if target.is_gateway() {
        command.push(if setup.has_worker { GATEWAY_WITH_WORKER } else { GATEWAY }.to_owned());
        command.push(setup.configuration());
    } else {
        command.push(setup.floor.name().to_owned());
        command.push(shards.to_string());
        command.extend((setup.floor == floor::Kind::Relay).then(|| setup.rules.to_owned()));
    }
    Ok(command)
}

fn spawn(words: &[String], group: Option<&MemoryGroup>, descriptors: Option<u32>, is_own: bool) -> io::Result<Child> {
    let limit = descriptors.map_or_else(String::new, |descriptors| format!("ulimit -n {descriptors} && "));
    let mut command = Command::new("sh");
    match group {
        Some(group) => command.arg("-c").arg(format!("{INTO_GROUP}{limit}{BECOME}")).arg(group.entrance()),
        None => command.arg("-c").arg(format!("{limit}{BECOME}")).arg("sh"),
    };
    command.args(words);
    // Nobody reads what a peer says on stdout.
    command.stdin(Stdio::piped()).stdout(if is_own { Stdio::piped() } else { Stdio::null() }).spawn()
}

fn hear(child: &mut Child) -> Option<Vec<(String, SocketAddr)>> {
    let mut addresses = Vec::new();
    for line in BufReader::new(child.stdout.take()?).lines() {
        let line = line.ok()?;
        match line.split_once(' ') {
            Some((name, address)) => addresses.push((name.to_owned(), address.parse().ok()?)),
            None => return Some(addresses),
        }
    }
    None
}

/// The other end of [`Process::start`].
pub(crate) fn serve(words: &[String]) -> Result<(), String> {
    match words {
        [role, configuration] if role == GATEWAY => gateway::serve(configuration, false),
        [role, configuration] if role == GATEWAY_WITH_WORKER => gateway::serve(configuration, true),
        [role, threads, server @ ..] => {
            let server = server.first().map(|server| server.parse()).transpose();
            let threads = threads.parse().map_err(|_| "a number of threads")?;
            floor::serve(role, threads, server.map_err(|_| "the address of a server")?)
        }
        _ => Err("a role and its parameter follow \"serve\"".to_owned()),
    }
}

/// Says where the measured process listens.
pub(crate) fn tell<'a>(addresses: impl Iterator<Item = (&'a str, SocketAddr)>) -> Result<(), String> {
    let lines: String = addresses.map(|(name, address)| format!("{name} {address}\n")).collect();
    let mut stdout = io::stdout();
    let told = stdout.write_all(format!("{lines}ready\n").as_bytes()).and_then(|()| stdout.flush());
    told.map_err(|error| format!("stdout: {error}"))
}
