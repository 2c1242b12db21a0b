//! Memory of the process that is measured, and what of it a connection costs.

use std::fs;

use crate::cpu::is_gone;

/// An accepted socket's own structure: allocated while a packet is handled, when the kernel charges nobody. The slab object
/// `TCP` is 2,368 bytes, 13 in 32 KiB.
pub const UNCHARGED_SOCKET_BYTES: f64 = 32_768.0 / 13.0;

/// One reading.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Not backed by files, shared pages by share.
    pub user_bytes: u64,
    /// Resident, with the program's own pages.
    pub resident_bytes: u64,
    /// What the cgroup is charged for; `None` without one.
    pub charged: Option<crate::group::Charged>,
}

/// What each of so many connections added.
#[derive(Clone, Copy, Debug)]
pub struct PerConnection {
    pub user_bytes: f64,
    /// NaN without a cgroup, and so are the next.
    pub kernel_bytes: f64,
    /// Both together.
    pub all_in_bytes: f64,
    /// The growth of the cgroup, which counts in large steps.
    pub group_bytes: f64,
    pub per_gib: f64,
}

impl PerConnection {
    pub fn new(before: &Memory, after: &Memory, connections: usize) -> PerConnection {
        let each = |before: u64, after: u64| (after as f64 - before as f64) / connections as f64;
        let user_bytes = each(before.user_bytes, after.user_bytes);
        let (kernel_bytes, group_bytes) = before.charged.zip(after.charged).map_or((f64::NAN, f64::NAN), |it| {
            let (before, after) = it;
            let kernel_bytes = each(before.kernel_bytes, after.kernel_bytes) + UNCHARGED_SOCKET_BYTES;
            (kernel_bytes, each(before.all_bytes, after.all_bytes) + UNCHARGED_SOCKET_BYTES)
        });
        // Not the group's own sum: the kernel moves that in steps of 64 pages for each core.
        let all_in_bytes = user_bytes + kernel_bytes;
        let per_gib = (1u64 << 30) as f64 / all_in_bytes;
        PerConnection { user_bytes, kernel_bytes, all_in_bytes, group_bytes, per_gib }
    }
}

/// User memory of this process: the load.
pub fn own_user_bytes() -> Result<u64, String> {
    Ok(of(&[std::process::id()])?.0)
}

/// (user, resident) of some processes. smaps_rollup shares out pages that several have (Documentation/filesystems/proc.rst).
pub(crate) fn of(processes: &[u32]) -> Result<(u64, u64), String> {
    let (mut user, mut resident) = (0, 0);
    for process in processes {
        let path = format!("/proc/{process}/smaps_rollup");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(format!("{path}: {error}")),
        };
        let bytes = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
        };
        user += bytes("Pss_Anon:") + bytes("Pss_Shmem:");
        resident += bytes("Pss:");
    }
    Ok((user, resident))
}
