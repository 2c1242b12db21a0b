//! `tuning/tune` over a made-up box: a tree of files that look like /proc and /sys.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a fresh box says: path and value.
const FRESH: &[(&str, &str)] = &[
    ("proc/meminfo", "MemTotal:       16000000 kB\nMemFree: 1 kB"),
    ("proc/sys/fs/nr_open", "1048576"),
    ("proc/sys/fs/file-max", "9223372036854775807"),
    ("proc/sys/net/core/somaxconn", "128"),
    ("proc/sys/net/core/netdev_max_backlog", "1000"),
    ("proc/sys/net/core/rps_sock_flow_entries", "0"),
    ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999"),
    ("proc/sys/net/ipv4/tcp_mem", "100\t200\t9000000"),
    ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456"),
    ("proc/sys/net/ipv4/tcp_tw_reuse", "2"),
    ("proc/sys/net/ipv4/tcp_keepalive_time", "60"),
    ("proc/sys/net/ipv4/tcp_fin_timeout", "60"),
    ("sys/devices/system/cpu/online", "0-3"),
    ("sys/class/net/eth0/device/vendor", "0x1af4"),
    ("sys/class/net/eth0/operstate", "up"),
    ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0"),
    ("sys/class/net/eth0/queues/rx-0/rps_flow_cnt", "0"),
    ("sys/class/net/eth0/queues/rx-1/rps_cpus", "0"),
    ("sys/class/net/eth0/queues/rx-1/rps_flow_cnt", "0"),
    ("sys/class/net/eth0/queues/tx-0/xps_cpus", "0"),
    ("sys/class/net/eth0/queues/tx-1/xps_cpus", "0"),
    ("sys/class/net/eth0/device/msi_irqs/24", "msix"),
    ("sys/class/net/eth0/device/msi_irqs/25", "msix"),
    ("proc/irq/24/smp_affinity_list", "0-3"),
    ("proc/irq/25/smp_affinity_list", "0-3"),
    // No hardware behind it.
    ("sys/class/net/lo/operstate", "unknown"),
    ("sys/class/net/lo/queues/rx-0/rps_cpus", "0"),
];

/// A made-up box, removed in the end.
struct Tree(PathBuf);

impl Tree {
    fn fresh() -> Tree {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("tidegate-tuning-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let tree = Tree(std::env::temp_dir().join(name));
        FRESH.iter().for_each(|(path, value)| tree.write(path, value));
        tree
    }

    fn write(&self, path: &str, value: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("it is below the root")).expect("a folder can be made");
        fs::write(path, format!("{value}\n")).expect("a file can be written");
    }

    fn value(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).expect("it is there").trim().replace('\t', " ")
    }

    fn has(&self, path: &str) -> bool {
        self.0.join(path).exists()
    }

    /// Every file and what it holds.
    fn image(&self) -> BTreeMap<PathBuf, String> {
        let mut image = BTreeMap::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("it is a folder") {
                let path = entry.expect("an entry").path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => _ = image.insert(path.clone(), fs::read_to_string(path).expect("it is text")),
                }
            }
        }
        image
    }

    fn tune(&self, arguments: &[&str]) -> (i32, String) {
        let output = run(&[&["--root", &self.0.to_string_lossy()], arguments].concat());
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (output.status.code().expect("it exits"), String::from_utf8(output.stdout).expect("it is text"))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning")
}

fn run(arguments: &[&str]) -> Output {
    Command::new(folder().join("tune")).args(arguments).output().expect("bash runs")
}

#[test]
fn sets_what_is_not_as_it_should_be_and_leaves_what_is_beyond() {
    let tree = Tree::fresh();
    let (code, words) = tree.tune(&[]);
    assert_eq!(code, 0, "{words}");
    let expected = [
        ("proc/sys/fs/nr_open", "2097152"),
        ("proc/sys/fs/file-max", "9223372036854775807"),
        ("proc/sys/net/core/somaxconn", "4096"),
        ("proc/sys/net/ipv4/ip_local_port_range", "10000 65535"),
        // A tenth and three twentieths of 4,000,000 pages; the last one was larger already.
        ("proc/sys/net/ipv4/tcp_mem", "400000 600000 9000000"),
        ("proc/sys/net/ipv4/tcp_rmem", "4096 16384 4194304"),
        ("proc/sys/net/ipv4/tcp_tw_reuse", "1"),
        ("proc/sys/net/ipv4/tcp_keepalive_time", "60"),
        ("proc/sys/net/ipv4/tcp_fin_timeout", "30"),
        ("sys/class/net/eth0/queues/rx-1/rps_cpus", "0000000f"),
        ("sys/class/net/eth0/queues/rx-1/rps_flow_cnt", "16384"),
        ("sys/class/net/eth0/queues/tx-0/xps_cpus", "00000005"),
        ("sys/class/net/eth0/queues/tx-1/xps_cpus", "0000000a"),
        ("proc/irq/24/smp_affinity_list", "0"),
        ("proc/irq/25/smp_affinity_list", "1"),
        ("sys/class/net/lo/queues/rx-0/rps_cpus", "0"),
    ];
    for (path, value) in expected {
        assert_eq!(tree.value(path), value, "{path}\n{words}");
    }
    assert!(words.contains("set        net.core.somaxconn 128 -> 4096\n"), "{words}");
    let lasting = tree.value("etc/sysctl.d/90-tidegate.conf");
    assert!(
        lasting.contains("net.core.somaxconn = 4096") && lasting.contains("net.ipv4.tcp_mem = 400000 600000 800000")
    );
    assert!(tree.value("etc/security/limits.d/90-tidegate.conf").contains("nofile"));
}

#[test]
fn changes_nothing_the_second_time() {
    let tree = Tree::fresh();
    tree.tune(&[]);
    let image = tree.image();
    let (code, words) = tree.tune(&[]);
    assert_eq!(code, 0);
    assert!(!words.lines().any(|line| line.starts_with("set ")), "{words}");
    assert!(image == tree.image());
}

#[test]
fn check_says_by_its_exit_code_whether_the_box_is_tuned_and_lists_what_is_not() {
    let tree = Tree::fresh();
    let image = tree.image();
    let (code, words) = tree.tune(&["--check"]);
    assert_eq!(code, 1);
    assert!(words.contains("off        net.core.somaxconn is 128, should be at least 4096\n"), "{words}");
    assert!(!words.contains("fs.file-max"), "what is right is not listed: {words}");
    assert!(image == tree.image(), "it only looks");
    tree.tune(&[]);
    let (code, words) = tree.tune(&["--check"]);
    assert_eq!(code, 0, "{words}");
}

#[test]
fn dry_run_shows_what_would_be_set_and_changes_nothing() {
    let tree = Tree::fresh();
    let image = tree.image();
    let (code, words) = tree.tune(&["--dry-run"]);
    assert_eq!(code, 0);
    assert!(words.contains("would set  net.core.somaxconn 128 -> 4096\n"), "{words}");
    assert!(image == tree.image());
}

#[test]
fn revert_restores_what_was_there_before_the_first_run() {
    let tree = Tree::fresh();
    tree.tune(&[]);
    // Somebody changes a value in between, and tunes again: what counts is what was there first.
    tree.write("proc/sys/net/core/somaxconn", "512");
    tree.tune(&[]);
    let (code, words) = tree.tune(&["--revert"]);
    assert_eq!(code, 0, "{words}");
    for (path, value) in FRESH.iter().filter(|(path, _)| !path.ends_with("meminfo")) {
        assert_eq!(tree.value(path), value.replace('\t', " "), "{path}");
    }
    assert!(!tree.has("etc/sysctl.d/90-tidegate.conf") && !tree.has("var/lib/tidegate/tuning.before"));
    let (code, words) = tree.tune(&["--revert"]);
    assert!(code == 0 && words.contains("nothing to revert"), "{words}");
}

#[test]
fn a_missing_setting_is_absent_and_no_failure() {
    let tree = Tree::fresh();
    tree.tune(&[]);
    let (code, words) = tree.tune(&["--check"]);
    assert_eq!(code, 0, "what the kernel does not have cannot be wrong");
    assert!(words.contains("absent     net.netfilter.nf_conntrack_max (at least 2097152)\n"), "{words}");
}

#[test]
fn a_setting_that_refuses_to_be_written_is_called_read_only() {
    let tree = Tree::fresh();
    // A number of the kernel's that nobody can set stands in for the settings that containers may only read.
    let path = tree.0.join("proc/sys/net/core/somaxconn");
    fs::remove_file(&path).expect("it was there");
    std::os::unix::fs::symlink("/proc/sys/kernel/cap_last_cap", &path).expect("a link can be made");
    let (code, words) = tree.tune(&[]);
    assert_eq!(code, 0, "{words}");
    assert!(words.lines().any(|line| line.starts_with("read-only  net.core.somaxconn stays ")), "{words}");
}

#[test]
fn leaves_interrupts_to_irqbalance_where_it_runs() {
    let tree = Tree::fresh();
    tree.write("run/irqbalance/socket", "");
    tree.tune(&[]);
    assert_eq!(tree.value("proc/irq/25/smp_affinity_list"), "0-3");
}

#[test]
fn masks_of_many_cores_come_in_groups() {
    let tree = Tree::fresh();
    tree.write("sys/devices/system/cpu/online", "0-1,32-35");
    tree.tune(&[]);
    assert_eq!(tree.value("sys/class/net/eth0/queues/rx-0/rps_cpus"), "0000000f,00000003");
    // The kernel writes them its own way.
    tree.write("sys/class/net/eth0/queues/rx-0/rps_cpus", "f,00000003");
    let (_, words) = tree.tune(&["--check"]);
    assert!(!words.contains("rx-0/rps_cpus"), "{words}");
}

#[test]
fn teaches_and_refuses_what_it_does_not_know() {
    let help = run(&["--help"]);
    let words = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.status.success());
    assert!(["--dry-run", "--check", "--revert", "read-only", "Examples:"].iter().all(|word| words.contains(word)));
    for arguments in [&["--chek"][..], &["--check", "--revert"], &["--root", "/nowhere"]] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn every_sysctl_has_its_symptom_and_the_command_that_shows_it() {
    let text = fs::read_to_string(folder().join("sysctl.d/90-tidegate.conf")).expect("it is there");
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(" = ") && !line.starts_with('#')) {
        assert!(lines[at - 1].starts_with("#: "), "{line} does not say how it compares");
        let block: Vec<&&str> = lines[..at].iter().rev().take_while(|line| !line.is_empty()).collect();
        for word in ["# Symptom: ", "# Shown by: "] {
            assert!(block.iter().any(|line| line.starts_with(word)), "{line} has no {word:?}");
        }
    }
}

#[test]
fn shellcheck_has_nothing_to_say() {
    let scripts = ["tune", "wanted.bash"].map(|name| folder().join(name));
    let output = Command::new("shellcheck").arg("-x").args(scripts).output().expect("shellcheck is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
