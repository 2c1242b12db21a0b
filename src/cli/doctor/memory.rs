//! Memory of the box, and of every cgroup of the process.

use std::path::Path;

use tidegate::gateway::tree::Tree;

/// A v1 group without a limit has a number near 2^63.
const UNLIMITED: u64 = 1 << 60;

/// A memory cgroup with a limit.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// As `systemd-cgls` shows it.
    pub path: String,
    pub limit_bytes: u64,
    /// Without pages of files, which the kernel can drop.
    pub used_bytes: u64,
}

/// The file names of one version of cgroups.
struct Names {
    mount: &'static str,
    limits: &'static [&'static str],
    used: &'static str,
    inactive_file: &'static str,
}

const V1: Names = Names {
    mount: "sys/fs/cgroup/memory",
    limits: &["memory.limit_in_bytes"],
    used: "memory.usage_in_bytes",
    inactive_file: "total_inactive_file ",
};
const V2: Names = Names {
    mount: "sys/fs/cgroup",
    // Above `high` the kernel reclaims memory so aggressively that nothing else makes progress.
    limits: &["memory.max", "memory.high"],
    used: "memory.current",
    inactive_file: "inactive_file ",
};

/// Memory that is available without swapping.
pub fn available(tree: &Tree<'_>) -> Option<u64> {
    let text = tree.text("proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The groups with a limit, from the process's own to the root of the mount.
pub fn groups(tree: &Tree<'_>, process: &str) -> Vec<Group> {
    let memberships = tree.text(&format!("proc/{process}/cgroup")).unwrap_or_default();
    let mut groups = Vec::new();
    for line in memberships.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let names = match (number, controllers) {
            ("0", "") => &V2,
            _ if controllers.split(',').any(|controller| controller == "memory") => &V1,
            _ => continue,
        };
        groups.extend(Path::new(path).ancestors().filter_map(|path| group(tree, names, path)));
    }
    groups
}

/// `None` without a limit, or if a container does not show the outer part of the path.
fn group(tree: &Tree<'_>, names: &Names, path: &Path) -> Option<Group> {
    let path = path.to_string_lossy();
    let file = |name: &str| format!("{}/{}/{name}", names.mount, path.trim_matches('/'));
    let limits = names.limits.iter().filter_map(|name| tree.number::<u64>(&file(name)));
    let limit_bytes = limits.min().filter(|limit| *limit < UNLIMITED)?;
    let stat = tree.text(&file("memory.stat")).unwrap_or_default();
    let inactive = stat.lines().find_map(|line| line.strip_prefix(names.inactive_file)?.trim().parse::<u64>().ok());
    let used: u64 = tree.number(&file(names.used))?;
    Some(Group { path: path.into_owned(), limit_bytes, used_bytes: used.saturating_sub(inactive.unwrap_or_default()) })
}
