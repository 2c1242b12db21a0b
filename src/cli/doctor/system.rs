//! Facts about the box. A fact that cannot be read is `None`.

use std::path::Path;

use super::memory::{self, Group};
use tidegate::driver::{Choice, DriverKind, choose};
use tidegate::gateway::cores::Cores;
use tidegate::gateway::tree::Tree;

/// The oldest kernel whose io_uring has every feature that the driver needs.
const URING_SINCE: (u32, u32) = (6, 1);

#[derive(Debug, Default)]
pub struct System {
    pub kernel: Option<String>,
    pub cores: Option<Cores>,
    /// The hard limit of RLIMIT_NOFILE.
    pub descriptors: Option<u64>,
    pub nr_open: Option<u64>,
    /// fs.file-max, and how many files are open.
    pub files_max: Option<u64>,
    pub files_open: u64,
    pub epoll_watches_max: Option<u64>,
    /// The reason why io_uring is not available; `None` if it is.
    pub no_uring: Option<String>,
    pub memory_bytes: Option<u64>,
    pub groups: Vec<Group>,
    /// net.ipv4.tcp_mem in pages: low, pressure, high.
    pub tcp_pages: Option<[u64; 3]>,
    pub tcp_pages_used: u64,
    pub listen_queue_max: Option<u64>,
    pub syn_backlog_max: Option<u64>,
    pub has_syn_cookies: Option<bool>,
    pub tracked_max: Option<u64>,
    pub tracked: u64,
    pub ports: Option<(u64, u64)>,
}

impl System {
    /// The number of cores on which shards can run at once.
    pub fn core_count(&self) -> Option<usize> {
        self.cores.as_ref().map(Cores::count)
    }

    /// `is_here`: `root` is this machine, so features without a file can be probed.
    pub fn read(root: &Path, pid: Option<u32>, is_here: bool) -> System {
        let tree = Tree(root);
        let process = pid.map_or("self".to_owned(), |pid| pid.to_string());
        let kernel = tree.line("proc/sys/kernel/osrelease");
        let file_counts = tree.numbers("proc/sys/fs/file-nr");
        let (memory_bytes, groups) = (memory::available(&tree), memory::groups(&tree, &process));
        System {
            cores: Cores::read(&tree, &process),
            descriptors: tree.text(&format!("proc/{process}/limits")).and_then(|text| hard_limit(&text)),
            nr_open: tree.number("proc/sys/fs/nr_open"),
            files_max: tree.number("proc/sys/fs/file-max"),
            files_open: file_counts.first().copied().unwrap_or_default(),
            epoll_watches_max: tree.number("proc/sys/fs/epoll/max_user_watches"),
            no_uring: if is_here { tried() } else { read(&tree, kernel.as_deref()) },
            memory_bytes,
            groups,
            tcp_pages: tree.numbers("proc/sys/net/ipv4/tcp_mem").try_into().ok(),
            tcp_pages_used: tree.text("proc/net/sockstat").and_then(|text| tcp_pages_used(&text)).unwrap_or_default(),
            listen_queue_max: tree.number("proc/sys/net/core/somaxconn"),
            syn_backlog_max: tree.number("proc/sys/net/ipv4/tcp_max_syn_backlog"),
            has_syn_cookies: tree.number::<u64>("proc/sys/net/ipv4/tcp_syncookies").map(|value| value > 0),
            tracked_max: tree.number("proc/sys/net/netfilter/nf_conntrack_max"),
            tracked: tree.number("proc/sys/net/netfilter/nf_conntrack_count").unwrap_or_default(),
            ports: match tree.numbers("proc/sys/net/ipv4/ip_local_port_range")[..] {
                [first, last] => Some((first, last)),
                _ => None,
            },
            kernel,
        }
    }
}

/// From /proc/PID/limits: name, soft limit, hard limit, unit.
fn hard_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(u64::MAX),
        word => word.parse().ok(),
    }
}

fn tcp_pages_used(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP: "))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    words.chunks(2).find(|pair| pair[0] == "mem")?.get(1)?.parse().ok()
}

fn tried() -> Option<String> {
    match choose(Choice::Auto) {
        (DriverKind::Uring, _) => None,
        (DriverKind::Epoll, why) => why,
    }
}

fn read(tree: &Tree<'_>, kernel: Option<&str>) -> Option<String> {
    if let Some(value) = tree.number::<u32>("proc/sys/kernel/io_uring_disabled").filter(|value| *value > 0) {
        return Some(format!("io_uring is forbidden here: kernel.io_uring_disabled is {value}"));
    }
    let Some(release) = kernel else { return Some("the release of the kernel is not known".to_owned()) };
    let mut numbers = release.split(['.', '-']).map_while(|word| word.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let (major, minor) = URING_SINCE;
    (version < URING_SINCE)
        .then(|| format!("io_uring of Linux {release} is too old; {major}.{minor} or later is needed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_limits_and_sockstat_as_the_kernel_writes_them() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(hard_limit(limits), Some(524_288));
        assert_eq!(
            hard_limit("Max open files            1024                 unlimited            files\n"),
            Some(u64::MAX)
        );
        assert_eq!(hard_limit(""), None);
        assert_eq!(tcp_pages_used("sockets: used 9\nTCP: inuse 5 orphan 0 tw 7 alloc 5 mem 12\n"), Some(12));
    }
}
