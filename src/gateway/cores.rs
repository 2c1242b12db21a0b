//! The cores that a process may use, and whether its shards are pinned to them.
//!
//! ```text
//!  pin = true ---------------------------------------------------------------> pinned, shard n to the n-th allowed core
//!  pin = "auto": a shard for every allowed core? no quota below that?  --yes--> pinned
//!                are the cores its own, as the kernel says?            '--no--> floating
//!  pin = false --------------------------------------------------------------> floating
//! ```
//!
//! A pinned shard keeps its cache, and waits while any other thread runs on its core; a floating one moves to an idle
//! core. Beside a load on the same cores, pinning slows an echo by 30 to 60 % and accepting connections by 45 %, so
//! `auto` pins only where no such load can exist: on cores that the scheduler gives to no other process. There pinning
//! is also necessary, because nothing moves threads between isolated cores.

use std::path::Path;

use super::config::Pin;
use super::tree::Tree;

/// Folders of the CPU controller of cgroups v1.
const V1_MOUNTS: [&str; 2] = ["sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/cpu"];
const V2_MOUNT: &str = "sys/fs/cgroup";

/// The cores of the box that a process may use.
#[derive(Clone, Debug, PartialEq)]
pub struct Cores {
    /// The numbers of the cores (sched_setaffinity(2), cpusets).
    pub allowed: Vec<usize>,
    /// The CPU quota in cores: the lowest one of its cgroups.
    pub quota: Option<f64>,
    /// The scheduler gives these cores to no other process: they are isolated at boot (isolcpus=), or a partition of
    /// cpusets (cgroups v2).
    pub are_own: bool,
}

impl Cores {
    /// `process` is a number, `self` or `thread-self`. `None` if no file lists the cores.
    pub fn read(tree: &Tree<'_>, process: &str) -> Option<Cores> {
        let status = tree.text(&format!("proc/{process}/status")).unwrap_or_default();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).and_then(list);
        let allowed = allowed.or_else(|| list(&tree.line("sys/devices/system/cpu/online")?))?;
        let groups = Groups::read(tree, process);
        let isolated = tree.line("sys/devices/system/cpu/isolated").and_then(|text| list(&text)).unwrap_or_default();
        let are_own = allowed.iter().all(|core| isolated.contains(core)) || groups.is_partition(tree);
        Some(Cores { allowed, quota: groups.quota(tree), are_own })
    }

    /// How many shards can run at once: the equivalent of `std::thread::available_parallelism` for any process.
    pub fn count(&self) -> usize {
        let quota = self.quota.map_or(usize::MAX, |quota| (quota as usize).max(1));
        self.allowed.len().min(quota)
    }

    /// Whether this number of shards is pinned; `Err` has the reason against it.
    pub fn pinned(&self, pin: Pin, shards: usize) -> Result<(), String> {
        let count = self.allowed.len();
        match pin {
            Pin::Yes => Ok(()),
            Pin::No => Err("pin is false".to_owned()),
            Pin::Auto if shards != count => {
                Err(format!("{shards} shards are not one for each of {count} allowed cores"))
            }
            Pin::Auto => match self.quota.filter(|quota| *quota < count as f64) {
                Some(quota) => Err(format!("a CPU quota allows the time of {quota:.2} of {count} cores")),
                None if self.are_own => Ok(()),
                None => Err("the cores are not known to be this process's own".to_owned()),
            },
        }
    }
}

/// Reads `0-3,8,10-11`, the kernel's form of a set of cores; `None` if the text is empty or has another form.
fn list(text: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        // No kernel supports more cores; a made-up tree might list more.
        cores.extend((first..=last).take(1 << 16));
    }
    Some(cores)
}

/// The cgroups of a process, from /proc/PID/cgroup.
struct Groups {
    v1: Option<String>,
    v2: Option<String>,
}

impl Groups {
    fn read(tree: &Tree<'_>, process: &str) -> Groups {
        let mut groups = Groups { v1: None, v2: None };
        for line in tree.text(&format!("proc/{process}/cgroup")).unwrap_or_default().lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(number), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            if number == "0" && controllers.is_empty() {
                groups.v2 = Some(path.to_owned());
            } else if controllers.split(',').any(|controller| controller == "cpu") {
                groups.v1 = Some(path.to_owned());
            }
        }
        groups
    }

    /// The lowest quota from the process's group up to the root of the mount. A container may not see the outer part of
    /// the path.
    fn quota(&self, tree: &Tree<'_>) -> Option<f64> {
        let v1 = self.v1.iter().flat_map(|path| folders(&V1_MOUNTS, path)).filter_map(|folder| {
            // -1 means no quota.
            let quota: i64 = tree.number(&format!("{folder}/cpu.cfs_quota_us"))?;
            let period: i64 = tree.number(&format!("{folder}/cpu.cfs_period_us"))?;
            (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
        });
        let v2 = self.v2.iter().flat_map(|path| folders(&[V2_MOUNT], path)).filter_map(|folder| {
            // Without a quota the first word is `max`.
            match tree.numbers(&format!("{folder}/cpu.max"))[..] {
                [quota, period] if period > 0 => Some(quota as f64 / period as f64),
                _ => None,
            }
        });
        v1.chain(v2).min_by(f64::total_cmp)
    }

    fn is_partition(&self, tree: &Tree<'_>) -> bool {
        let folder = self.v2.as_ref().and_then(|path| folders(&[V2_MOUNT], path).next());
        let kind = folder.and_then(|folder| tree.line(&format!("{folder}/cpuset.cpus.partition")));
        // `root invalid (…)` is not a partition.
        matches!(kind.as_deref(), Some("root" | "isolated"))
    }
}

/// The folder of a group, and the folders above it.
fn folders<'a>(mounts: &'a [&'a str], path: &'a str) -> impl Iterator<Item = String> + 'a {
    let groups = Path::new(path).ancestors().map(|group| group.to_string_lossy().trim_matches('/').to_owned());
    groups.flat_map(move |group| {
        mounts.iter().map(move |mount| format!("{mount}/{group}").trim_end_matches('/').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    /// A made-up box of four cores, removed at the end.
    struct Box(PathBuf);

    impl Box {
        fn with(name: &str, files: &[(&str, &str)]) -> Box {
            let root = std::env::temp_dir().join(format!("tidegate-cores-{name}-{}", std::process::id()));
            let online = [("sys/devices/system/cpu/online", "0-3")];
            for (path, text) in online.iter().chain(files) {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("it is below the root")).expect("a folder can be made");
                fs::write(path, format!("{text}\n")).expect("a file can be written");
            }
            Box(root)
        }

        fn cores(&self) -> Cores {
            Cores::read(&Tree(&self.0), "self").expect("it says which cores there are")
        }
    }

    impl Drop for Box {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    const ISOLATED: (&str, &str) = ("sys/devices/system/cpu/isolated", "0-3");

    #[test]
    fn reads_sets_of_cores_as_the_kernel_writes_them() {
        assert_eq!(list("0-2,5,7-8\n"), Some(vec![0, 1, 2, 5, 7, 8]));
        for none in ["", "\n", "x", "0-", "1-x"] {
            assert_eq!(list(none), None, "{none:?}");
        }
    }

    #[test]
    fn floats_on_a_box_that_others_may_use() {
        let cores = Box::with("shared", &[]).cores();
        assert_eq!((cores.count(), cores.quota, cores.are_own), (4, None, false));
        assert!(cores.pinned(Pin::Auto, 4).is_err_and(|why| why.contains("own")));
        assert!(cores.pinned(Pin::Yes, 4).is_ok() && cores.pinned(Pin::No, 4).is_err());
    }

    #[test]
    fn pins_a_shard_to_each_core_that_is_its_own() {
        let isolated = Box::with("isolated", &[ISOLATED]);
        let partition = [
            ("proc/self/cgroup", "0::/gate.slice/tidegate.service"),
            ("sys/fs/cgroup/gate.slice/tidegate.service/cpuset.cpus.partition", "isolated"),
            ("proc/self/status", "Name:\ttidegate\nCpus_allowed_list:\t2-3"),
        ];
        let partition = Box::with("partition", &partition);
        for (cores, count) in [(isolated.cores(), 4), (partition.cores(), 2)] {
            assert_eq!(cores.count(), count);
            assert!(cores.pinned(Pin::Auto, count).is_ok());
            assert!(cores.pinned(Pin::Auto, count - 1).is_err(), "a core would have no shard");
            assert!(cores.pinned(Pin::Auto, count + 1).is_err(), "two shards would share a core");
        }
        let invalid = [
            ("proc/self/cgroup", "0::/a"),
            ("sys/fs/cgroup/a/cpuset.cpus.partition", "root invalid (Cpu list in cpuset.cpus not exclusive)"),
        ];
        assert!(!Box::with("invalid", &invalid).cores().are_own);
        let mask = ("proc/self/status", "Cpus_allowed_list:\t2-3");
        assert!(!Box::with("half", &[mask, ("sys/devices/system/cpu/isolated", "3")]).cores().are_own);
    }

    #[test]
    fn floats_under_a_quota_of_any_level_and_of_both_versions() {
        let own = ("proc/self/cgroup", "0::/a/b");
        let v1 = ("proc/self/cgroup", "4:memory:/x\n3:cpu,cpuacct:/a/b\n0::/");
        for (name, files, quota) in [
            ("v2", vec![own, ("sys/fs/cgroup/a/b/cpu.max", "150000 100000")], Some(1.5)),
            ("v2-above", vec![own, ("sys/fs/cgroup/a/cpu.max", "50000 100000")], Some(0.5)),
            ("v2-root", vec![("proc/self/cgroup", "0::/"), ("sys/fs/cgroup/cpu.max", "100000 100000")], Some(1.0)),
            ("v2-none", vec![own, ("sys/fs/cgroup/a/b/cpu.max", "max 100000")], None),
            (
                "v1",
                vec![
                    v1,
                    ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "200000"),
                    ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000"),
                ],
                Some(2.0),
            ),
            (
                "v1-outside",
                vec![
                    v1,
                    // The mount of a container begins at the container's own group.
                    ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000"),
                    ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000"),
                ],
                Some(1.0),
            ),
            (
                "v1-none",
                vec![
                    v1,
                    ("sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "-1"),
                    ("sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us", "100000"),
                ],
                None,
            ),
        ] {
            let cores = Box::with(name, &[&[ISOLATED][..], &files].concat()).cores();
            assert_eq!(cores.quota, quota, "{name}");
            assert_eq!(cores.pinned(Pin::Auto, 4).is_ok(), quota.is_none(), "{name}");
            assert_eq!(cores.count(), quota.map_or(4, |quota| (quota as usize).max(1)), "{name}");
        }
        let plenty = Box::with("plenty", &[ISOLATED, own, ("sys/fs/cgroup/a/b/cpu.max", "400000 100000")]).cores();
        assert!(plenty.pinned(Pin::Auto, 4).is_ok(), "as much as there is");
    }

    #[test]
    fn this_process_may_use_as_many_as_the_standard_library_says() {
        let cores = Cores::read(&Tree(Path::new("/")), "thread-self").expect("/proc is there");
        assert_eq!(Ok(cores.count()), std::thread::available_parallelism().map(usize::from).map_err(|_| ()));
    }
}
