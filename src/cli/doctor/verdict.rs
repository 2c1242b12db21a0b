//! From facts to the number of connections that the box holds: each resource by itself, the scarcest first.

use super::memory::Group;
use super::system::System;
use tidegate::gateway::config::Pin;
use tidegate::gateway::descriptors;
use tidegate::limits;

pub struct Requirements {
    pub connections: u64,
    pub is_tls: bool,
    /// The number of shards that the gateway would have.
    pub shards: usize,
    pub pin: Pin,
    /// The configuration asks for epoll.
    pub wants_epoll: bool,
}

/// A resource that every connection uses.
pub struct Bound {
    pub name: &'static str,
    /// The number of connections for which it is enough.
    pub holds: u64,
    /// The amount that the box has.
    pub found: String,
    /// The command that makes it enough.
    pub fix: String,
}

/// A fact that does not bound the number, but is worth knowing.
pub struct Note {
    pub name: &'static str,
    pub text: String,
    /// The command that changes it; empty if there is nothing to fix.
    pub fix: String,
}

pub struct Verdict {
    /// The scarcest first.
    pub bounds: Vec<Bound>,
    pub notes: Vec<Note>,
    /// Needed facts that could not be read.
    pub unknown: Vec<&'static str>,
    /// The number of connections that the scarcest resource allows; `None` if nothing is known.
    pub holds: Option<u64>,
    /// `None`: unknown.
    pub fits: Option<bool>,
    /// A number of shards for which the descriptors are enough, if there is one.
    pub shards_recommended: Option<usize>,
    pub bytes_per_connection: u64,
}

impl Verdict {
    pub fn new(required: &Requirements, system: &System) -> Verdict {
        let shards_recommended = system.descriptors.and_then(|each| recommended(required, each, system.core_count()));
        let bytes_per_connection =
            if required.is_tls { limits::CONNECTION_BYTES_TLS } else { limits::CONNECTION_BYTES_PLAIN };
        let mut bounds: Vec<Bound> = [
            of_descriptors(required, system, shards_recommended),
            of_files(required, system),
            of_epoll(required, system),
            of_memory(required, system, bytes_per_connection),
            of_tcp_memory(required, system),
            of_conntrack(required, system),
        ]
        .into_iter()
        .flatten()
        .chain(system.groups.iter().map(|group| of_group(required, group, bytes_per_connection)))
        .collect();
        bounds.sort_by_key(|bound| bound.holds);
        let mut unknown = Vec::new();
        if system.descriptors.is_none() {
            unknown.push("the limit on open files (/proc/PID/limits)");
        }
        if system.memory_bytes.is_none() {
            unknown.push("the memory (/proc/meminfo)");
        }
        if system.cores.is_none() {
            unknown.push("the cores (/proc/PID/status, /sys/devices/system/cpu/online)");
        }
        let holds = bounds.first().map(|bound| bound.holds);
        let fits = match holds.map(|holds| holds >= required.connections) {
            // A known shortage remains, whatever the unknown facts are.
            Some(false) => Some(false),
            _ if !unknown.is_empty() => None,
            fits => fits,
        };
        let notes = [
            listen_queue(system),
            syn_backlog(system),
            ports(system),
            uring(required, system),
            pinning(required, system),
        ];
        let notes = notes.into_iter().flatten().collect();
        Verdict { bounds, notes, unknown, holds, fits, shards_recommended, bytes_per_connection }
    }

    /// The resources of which there is not enough.
    pub fn short<'a>(&'a self, required: &Requirements) -> impl Iterator<Item = &'a Bound> {
        let connections = required.connections;
        self.bounds.iter().filter(move |bound| bound.holds < connections)
    }
}

fn recommended(required: &Requirements, descriptors: u64, cores: Option<usize>) -> Option<usize> {
    let shards = descriptors::shards_for(required.connections, descriptors, cores.unwrap_or(1));
    let shards = shards.max(required.shards);
    (descriptors::held(shards, descriptors) >= required.connections).then_some(shards)
}

fn of_descriptors(required: &Requirements, system: &System, recommended: Option<usize>) -> Option<Bound> {
    let each = system.descriptors?;
    let shards = required.shards;
    let needed = descriptors::needed(shards, required.connections);
    let mut fix = format!("LimitNOFILE={needed} (systemctl edit tidegate), or tuning/limits.d and a new login");
    if system.nr_open.is_some_and(|nr_open| nr_open < needed) {
        fix = format!("sysctl -w fs.nr_open={needed}; then {fix}");
    }
    if let Some(shards) = recommended {
        fix = format!("shards = {shards} in the configuration; or {fix}");
    }
    let found = match each {
        u64::MAX => format!("any number for each of {shards} shards"),
        each => format!("{each} for each of {shards} shards"),
    };
    Some(Bound { name: "descriptors", holds: descriptors::held(shards, each), found, fix })
}

fn of_files(required: &Requirements, system: &System) -> Option<Bound> {
    let (max, open) = (system.files_max?, system.files_open);
    Some(Bound {
        name: "open files of the box",
        holds: max.saturating_sub(open),
        found: format!("fs.file-max {max}, {open} open"),
        fix: format!("sysctl -w fs.file-max={}, or tuning/tune", required.connections.saturating_add(open) * 2),
    })
}

fn of_epoll(required: &Requirements, system: &System) -> Option<Bound> {
    let is_used = required.wants_epoll || system.no_uring.is_some();
    let max = system.epoll_watches_max.filter(|_| is_used)?;
    Some(Bound {
        name: "epoll watches",
        holds: max,
        found: format!("fs.epoll.max_user_watches {max}"),
        fix: format!("sysctl -w fs.epoll.max_user_watches={}, or tuning/tune", required.connections * 2),
    })
}

/// Memory of the process before the first connection.
fn base_bytes(required: &Requirements) -> u64 {
    limits::PROCESS_BYTES + required.shards as u64 * limits::SHARD_BYTES
}

fn of_memory(required: &Requirements, system: &System, each: u64) -> Option<Bound> {
    let available = system.memory_bytes?;
    let needed = base_bytes(required).saturating_add(required.connections.saturating_mul(each));
    Some(Bound {
        name: "memory",
        holds: available.saturating_sub(base_bytes(required)) / each,
        found: format!("{} available, {each} bytes each", gib(available)),
        fix: format!("{} of memory; what else runs here: ps -eo rss,comm --sort=-rss | head", gib(needed)),
    })
}

fn of_group(required: &Requirements, group: &Group, each: u64) -> Bound {
    let available = group.limit_bytes.saturating_sub(group.used_bytes);
    let needed = base_bytes(required).saturating_add(required.connections.saturating_mul(each));
    Bound {
        name: "memory cgroup",
        holds: available.saturating_sub(base_bytes(required)) / each,
        found: format!("{} of {} left in {}", gib(available), gib(group.limit_bytes), group.path),
        fix: format!(
            "systemctl set-property tidegate MemoryMax={}M, or the container's limit",
            group.used_bytes.saturating_add(needed).div_ceil(1 << 20)
        ),
    }
}

/// Above "pressure" the kernel reduces the buffers of all sockets.
fn of_tcp_memory(required: &Requirements, system: &System) -> Option<Bound> {
    let [_, pressure, most] = system.tcp_pages?;
    let pages = required.connections.saturating_mul(limits::TCP_PAGES_PER_CONNECTION) + system.tcp_pages_used;
    Some(Bound {
        name: "TCP memory",
        holds: pressure.saturating_sub(system.tcp_pages_used) / limits::TCP_PAGES_PER_CONNECTION,
        found: format!("{pressure} pages before pressure, {} used; a message in flight to each", system.tcp_pages_used),
        fix: format!(
            "sysctl -w net.ipv4.tcp_mem=\"{pages} {} {}\", or tuning/tune",
            pages.max(pressure) * 3 / 2,
            most.max(pages * 2)
        ),
    })
}

/// A table without an entry means that a firewall is loaded and tracks nothing.
fn of_conntrack(required: &Requirements, system: &System) -> Option<Bound> {
    let max = system.tracked_max.filter(|_| system.tracked > 0)?;
    let wanted = required.connections.saturating_add(system.tracked) * 2;
    Some(Bound {
        name: "conntrack",
        holds: max.saturating_sub(system.tracked),
        found: format!("nf_conntrack_max {max}, {} tracked", system.tracked),
        fix: format!(
            "sysctl -w net.netfilter.nf_conntrack_max={wanted}, or tuning/tune; better: notrack for the gateway's ports"
        ),
    })
}

fn listen_queue(system: &System) -> Option<Note> {
    let max = system.listen_queue_max?;
    let wanted = limits::LISTEN_QUEUE as u64;
    (max < wanted).then(|| Note {
        name: "listen queue",
        text: format!("net.core.somaxconn {max}: in a storm of connections the rest waits a second (nstat -az TcpExtListenOverflows)"),
        fix: format!("sysctl -w net.core.somaxconn={wanted}, or tuning/tune"),
    })
}

fn syn_backlog(system: &System) -> Option<Note> {
    let max = system.syn_backlog_max?;
    let is_short = system.has_syn_cookies == Some(false) && max < limits::LISTEN_QUEUE as u64;
    is_short.then(|| Note {
        name: "SYN backlog",
        text: format!("net.ipv4.tcp_max_syn_backlog {max} without SYN cookies: a storm locks clients out (nstat -az TcpExtTCPReqQFullDrop)"),
        fix: "sysctl -w net.ipv4.tcp_syncookies=1, or tuning/tune".to_owned(),
    })
}

fn ports(system: &System) -> Option<Note> {
    let (first, last) = system.ports?;
    let count = last.saturating_sub(first) + 1;
    Some(Note {
        name: "ports",
        text: format!(
            "the gateway's clients use none of this box's ports; a client with this range opens {count} connections ({first} to {last}) to one address"
        ),
        fix: String::new(),
    })
}

fn uring(required: &Requirements, system: &System) -> Option<Note> {
    let why = system.no_uring.as_ref().filter(|_| !required.wants_epoll)?;
    Some(Note { name: "io_uring", text: format!("{why}; epoll is used"), fix: String::new() })
}

fn pinning(required: &Requirements, system: &System) -> Option<Note> {
    let cores = system.cores.as_ref()?;
    let text = match cores.pinned(required.pin, required.shards) {
        Ok(()) => "each shard is pinned to a core".to_owned(),
        Err(why) => format!("shards are not pinned to cores: {why}"),
    };
    Some(Note { name: "pinning", text, fix: String::new() })
}

pub fn gib(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30))
}
