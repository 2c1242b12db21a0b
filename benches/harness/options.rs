//! What every benchmark can be told, and what follows from the number of connections.

use std::io;

use clap::{Args, ValueEnum};

use crate::{foreign, nchan};

/// Of a descriptor limit, what connections may use: shards share them by chance, and each has a few descriptors besides.
const LIMIT_SHARE: f64 = 0.9;
/// Connections from one source address: the kernel's usual port range has 28,232 ports.
pub const CONNECTIONS_PER_ADDRESS: usize = 25_000;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// What the kernel asks for the same, with nothing around it.
    Floor,
    /// The same over io_uring, where it differs.
    FloorUring,
    /// The gateway.
    Epoll,
    /// The gateway.
    Uring,
    /// nginx with nchan.
    Nchan,
    /// nginx as a proxy.
    Nginx,
    HaProxy,
}

impl Target {
    pub fn name(self) -> &'static str {
        match self {
            Target::Floor => "floor",
            Target::FloorUring => "floor uring",
            Target::Epoll => "epoll",
            Target::Uring => "uring",
            Target::Nchan => "nchan",
            Target::Nginx => "nginx",
            Target::HaProxy => "haproxy",
        }
    }

    pub fn is_gateway(self) -> bool {
        matches!(self, Target::Epoll | Target::Uring)
    }

    pub fn is_floor(self) -> bool {
        matches!(self, Target::Floor | Target::FloorUring)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Driver {
    Epoll,
    Uring,
}

/// What the clients are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Both,
    Ws,
    Sse,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Both => "both",
            Kind::Ws => "ws",
            Kind::Sse => "sse",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    Plain,
    Tls,
}

impl Transport {
    pub fn name(self) -> &'static str {
        match self {
            Transport::Plain => "plain",
            Transport::Tls => "tls",
        }
    }
}

/// The options of all benchmarks.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Everything so many times, taking turns; the table shows medians
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Only these drivers of the gateway; may be repeated
    #[arg(long, value_enum, default_values = ["epoll", "uring"])]
    pub driver: Vec<Driver>,
    /// Leaves out peers that are installed (nginx with nchan; as proxies nginx and HAProxy)
    #[arg(long)]
    pub without_peers: bool,
    /// One JSON object a line: each run, then each median
    #[arg(long)]
    pub json: bool,
    /// cargo says that this is a benchmark
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Common {
    /// The gateway on the drivers that were asked for.
    pub fn gateways(&self) -> impl Iterator<Item = Target> {
        self.driver.iter().map(|driver| match driver {
            Driver::Epoll => Target::Epoll,
            Driver::Uring => Target::Uring,
        })
    }

    /// The peers that are installed here, unless they are unwanted.
    pub fn peers(&self) -> impl Iterator<Item = Target> {
        (!self.without_peers && nchan::is_installed()).then_some(Target::Nchan).into_iter()
    }

    /// The proxies that are installed here, unless they are unwanted.
    pub fn proxies(&self) -> impl Iterator<Item = Target> {
        let all = [Target::Nginx, Target::HaProxy].into_iter();
        all.filter(|target| !self.without_peers && foreign::is_installed(target.name()))
    }
}

/// The least number of threads, each with a descriptor table of its own, that hold so many connections.
pub fn tables_for(connections: usize) -> Result<usize, String> {
    let limit = descriptor_limit().map_err(|error| format!("the descriptor limit cannot be read: {error}"))?.rlim_cur;
    let each = (limit as f64 * LIMIT_SHARE) as usize;
    Ok(connections.div_ceil(each.clamp(1, CONNECTIONS_PER_ADDRESS)).max(1))
}

fn descriptor_limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes one rlimit, which `limit` is.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => Ok(limit),
        _ => Err(io::Error::last_os_error()),
    }
}

/// As far as the hard limit allows; the measured process inherits it.
pub(crate) fn raise_descriptor_limit() -> Result<(), String> {
    let failed = |error: io::Error| format!("the descriptor limit cannot be raised: {error}");
    let mut limit = descriptor_limit().map_err(failed)?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: setrlimit reads one rlimit, which `limit` is.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
        0 => Ok(()),
        _ => Err(failed(io::Error::last_os_error())),
    }
}
