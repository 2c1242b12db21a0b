//! A memory cgroup of our own for the process that is measured, version 1 or 2: it counts what the kernel allocates on
//! the process's behalf.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long the kernel may take to see that the last process has left.
const EMPTY_WAIT: Duration = Duration::from_secs(5);

const PREFIX: &str = "tidegate-bench-";

/// Removed by the drop, when its processes have ended.
pub struct MemoryGroup {
    folder: PathBuf,
    version: Version,
}

#[derive(Clone, Copy)]
enum Version {
    One,
    Two,
}

/// What a group is charged for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Charged {
    /// User and kernel memory.
    pub all_bytes: u64,
    pub kernel_bytes: u64,
}

impl MemoryGroup {
    /// Below the group of this process; the error says why there is none.
    pub fn new() -> Result<MemoryGroup, String> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}{}-{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed));
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("/proc/self/cgroup: {error}"))?;
        let mut reasons = Vec::new();
        for (version, parent) in places(&own) {
            sweep(&parent);
            let group = MemoryGroup { folder: parent.join(&name), version };
            match fs::create_dir(&group.folder).and_then(|()| group.read().map(drop)) {
                Ok(()) => return Ok(group),
                Err(error) => reasons.push(format!("{}: {error}", parent.display())),
            }
        }
        if reasons.is_empty() { Err("no memory controller is mounted".to_owned()) } else { Err(reasons.join("; ")) }
    }

    /// A process that writes its id (or 0) there moves in.
    pub fn entrance(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    pub fn read(&self) -> io::Result<Charged> {
        let number = |name: &str| -> io::Result<u64> {
            let text = fs::read_to_string(self.folder.join(name))?;
            text.trim().parse().map_err(io::Error::other)
        };
        match self.version {
            // Kernel memory is in both counters.
            Version::One => Ok(Charged {
                all_bytes: number("memory.usage_in_bytes")?,
                kernel_bytes: number("memory.kmem.usage_in_bytes")?,
            }),
            Version::Two => {
                let stat = fs::read_to_string(self.folder.join("memory.stat"))?;
                let kernel = stat.lines().find_map(|line| line.strip_prefix("kernel "));
                let kernel = kernel.ok_or(io::ErrorKind::Unsupported)?.parse().map_err(io::Error::other)?;
                Ok(Charged { all_bytes: number("memory.current")?, kernel_bytes: kernel })
            }
        }
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let deadline = Instant::now() + EMPTY_WAIT;
        while fs::remove_dir(&self.folder).is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY)) {
            if Instant::now() >= deadline {
                eprintln!("{} is left behind: somebody is in it", self.folder.display());
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Removes what benchmarks left that were interrupted. The kernel keeps groups that somebody is in.
fn sweep(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            _ = fs::remove_dir(entry.path());
        }
    }
}

/// Where a group may be made: `hierarchy:controllers:path` is a line of /proc/self/cgroup.
fn places(own: &str) -> Vec<(Version, PathBuf)> {
    let line = |wanted: fn(&str) -> bool| {
        own.lines().find_map(|line| {
            let mut words = line.splitn(3, ':').skip(1);
            let controllers = words.next()?;
            wanted(controllers).then(|| words.next().unwrap_or("/").trim_start_matches('/'))
        })
    };
    let mut places = Vec::new();
    if line(|controllers| controllers.split(',').any(|name| name == "memory")).is_some() {
        // The root: a child of our own group would be charged to it as well, and bounded by it.
        places.push((Version::One, PathBuf::from("/sys/fs/cgroup/memory")));
    }
    if let Some(path) = line(str::is_empty) {
        places.push((Version::Two, Path::new("/sys/fs/cgroup").join(path)));
        places.push((Version::Two, PathBuf::from("/sys/fs/cgroup")));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_memory_controller_of_both_versions() {
        let folders = |own: &str| places(own).into_iter().map(|(_, folder)| folder).collect::<Vec<_>>();
        let mixed = "4:memory:/a/b\n1:cpu:/\n0::/\n";
        assert_eq!(folders(mixed)[0], Path::new("/sys/fs/cgroup/memory"));
        assert_eq!(folders("0::/user.slice/x\n")[0], Path::new("/sys/fs/cgroup/user.slice/x"));
        assert!(folders("1:cpu:/\n").is_empty());
    }
}
