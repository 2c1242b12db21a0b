//! `tidegate doctor` over made-up boxes, and over this one.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::command::unconfigured;

/// A box on which 100,000 TLS connections fit: 4 cores, 8 GiB.
const FINE: &[(&str, &str)] = &[
    ("proc/sys/kernel/osrelease", "6.12.3-amd64"),
    ("proc/sys/kernel/io_uring_disabled", "0"),
    (
        "proc/self/limits",
        "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files",
    ),
    ("proc/self/cgroup", "0::/system.slice/tidegate.service"),
    ("proc/meminfo", "MemTotal:        8388608 kB\nMemFree:          100 kB\nMemAvailable:    8000000 kB"),
    ("proc/net/sockstat", "sockets: used 9\nTCP: inuse 5 orphan 0 tw 7 alloc 5 mem 12"),
    ("proc/sys/fs/nr_open", "1048576"),
    ("proc/sys/fs/file-max", "9223372036854775807"),
    ("proc/sys/fs/file-nr", "1000\t0\t9223372036854775807"),
    ("proc/sys/fs/epoll/max_user_watches", "1800000"),
    ("proc/sys/net/core/somaxconn", "4096"),
    ("proc/sys/net/ipv4/tcp_max_syn_backlog", "512"),
    ("proc/sys/net/ipv4/tcp_syncookies", "1"),
    ("proc/sys/net/ipv4/tcp_mem", "200000\t300000\t400000"),
    ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999"),
    ("sys/devices/system/cpu/online", "0-3"),
    ("sys/fs/cgroup/system.slice/tidegate.service/memory.max", "max"),
];

/// A made-up box, removed in the end.
struct Tree(PathBuf);

impl Tree {
    /// The fine box with these files instead; an empty text is no file.
    fn with(changes: &[(&str, &str)]) -> Tree {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("tidegate-doctor-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let tree = Tree(std::env::temp_dir().join(name));
        for (path, text) in FINE.iter().chain(changes) {
            let path = tree.0.join(path);
            if text.is_empty() {
                fs::remove_file(path).expect("it was there");
                continue;
            }
            fs::create_dir_all(path.parent().expect("it is below the root")).expect("a folder can be made");
            fs::write(path, format!("{text}\n")).expect("a file can be written");
        }
        tree
    }

    fn ask(&self, arguments: &[&str]) -> (i32, String) {
        doctor(&[&["--root", &self.0.to_string_lossy()], arguments].concat())
    }

    /// 100,000 TLS connections: exit code, and the JSON.
    fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, text) = self.ask(&[&["--connections", "100000", "--tls", "--json"], arguments].concat());
        (code, serde_json::from_str(&text).expect("it is JSON"))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn doctor(arguments: &[&str]) -> (i32, String) {
    let mut command = unconfigured(env!("CARGO_BIN_EXE_tidegate"));
    let output = command.arg("doctor").args(arguments).output().expect("the binary runs");
    (output.status.code().expect("it exits"), String::from_utf8(output.stdout).expect("it is text"))
}

/// The things of which there is not enough, and their fixes.
fn short(verdict: &Value) -> Vec<(&str, &str)> {
    let bounds = verdict["bounds"].as_array().expect("a list").iter();
    let short = bounds.filter(|bound| bound["enough"] == false);
    short.map(|bound| (bound["name"].as_str().expect("a name"), bound["fix"].as_str().expect("a fix"))).collect()
}

#[test]
fn a_fine_box_holds_them_and_says_what_would_stop_it_first() {
    let (code, verdict) = Tree::with(&[]).json(&[]);
    assert_eq!((code, &verdict["fits"]), (0, &Value::Bool(true)), "{verdict:#}");
    assert_eq!(verdict["first"], "TCP memory");
    assert_eq!(verdict["holds"], 300_000 - 12);
    assert!(short(&verdict).is_empty());
    assert_eq!((&verdict["shards"], &verdict["cores"]), (&4.into(), &4.into()));
    assert_eq!(verdict["driver"], "uring");
    // In the order of scarcity.
    let holds: Vec<u64> =
        verdict["bounds"].as_array().unwrap().iter().map(|bound| bound["holds"].as_u64().unwrap()).collect();
    assert!(holds.is_sorted(), "{holds:?}");
}

#[test]
fn adds_up_the_most_memory_that_a_configuration_allows() {
    let tree = Tree::with(&[]);
    let at_most = |arguments: &[&str]| {
        let (_, verdict) = tree.json(arguments);
        let items = verdict["memory_items"].as_array().expect("a list");
        let sum: u64 = items.iter().map(|item| item["bytes"].as_u64().expect("a number")).sum();
        assert_eq!(verdict["memory_at_most"], sum);
        sum
    };
    let default = at_most(&[]);
    assert!(default < 24 << 30, "the defaults are for 100,000 clients on 24 GB: {default}");
    let file = tree.0.join("tidegate.toml");
    let text = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[route]]\npath = \"/events\"\nsse = { channel = \"news\" }\n\
                [limits]\narriving_bytes_max = 1268435456\nwaiting_bytes_max = 73741824\n";
    fs::write(&file, text).expect("a file can be written");
    assert_eq!(at_most(&["--config", &file.to_string_lossy()]), default);
    let (_, words) = tree.ask(&["--connections", "100000", "--tls"]);
    assert!(
        words.contains("  arriving                     0.25 GiB  limits.arriving_bytes_max: 67108864 bytes"),
        "{words}"
    );
}

#[test]
fn short_descriptors_are_fixed_by_more_shards_or_a_higher_limit() {
    let tree = Tree::with(&[(
        "proc/self/limits",
        "Max open files            1024                 20000                files",
    )]);
    let (code, verdict) = tree.json(&[]);
    assert_eq!(code, 1);
    assert_eq!(verdict["first"], "descriptors");
    let [("descriptors", fix)] = short(&verdict)[..] else { panic!("{verdict:#}") };
    assert!(fix.starts_with("shards = 6 in the configuration; or LimitNOFILE="), "{fix}");
    // What it recommends is enough.
    let shards = verdict["shards_recommended"].to_string();
    assert_eq!(tree.json(&["--shards", &shards]).0, 0);
    let limit = fix.split("LimitNOFILE=").nth(1).and_then(|rest| rest.split(' ').next()).expect("a number");
    let raised = format!("Max open files            1024                 {limit}                files");
    assert_eq!(Tree::with(&[("proc/self/limits", &raised)]).json(&[]).0, 0);
}

#[test]
fn shards_count_as_the_configuration_will_have_them() {
    let tree = Tree::with(&[(
        "proc/self/limits",
        "Max open files            1024                 20000                files",
    )]);
    let file = tree.0.join("tidegate.toml");
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
    let route = "[[route]]\npath = \"/events\"\nsse = { channel = \"news\" }\n";
    for (text, shards) in [
        (format!("shards = 7\n{listener}{route}"), 7),
        (format!("{listener}{route}"), 4),
        // Where it is said how many connections there will be, so many shards come by themselves.
        (format!("{listener}{route}[limits]\nconnections_max = 100000\n"), 6),
    ] {
        fs::write(&file, text).expect("a file can be written");
        let (_, verdict) = tree.json(&["--config", &file.to_string_lossy()]);
        assert_eq!(verdict["shards"], shards, "{verdict:#}");
    }
}

#[test]
fn a_limit_above_nr_open_needs_both_lines() {
    let tree = Tree::with(&[
        ("proc/sys/fs/nr_open", "20000"),
        ("proc/self/limits", "Max open files            1024                 20000                files"),
    ]);
    let (_, verdict) = tree.json(&[]);
    assert!(short(&verdict)[0].1.contains("sysctl -w fs.nr_open="), "{verdict:#}");
}

#[test]
fn short_memory_says_how_much_it_takes() {
    let tree = Tree::with(&[("proc/meminfo", "MemTotal:         400000 kB\nMemAvailable:     300000 kB")]);
    let (code, verdict) = tree.json(&[]);
    assert_eq!((code, verdict["first"].as_str()), (1, Some("memory")));
    // 16 MiB of the process and 3 MiB of each shard come first.
    assert_eq!(verdict["holds"], (300_000 * 1024 - (16 + 4 * 3) * 1024 * 1024) / 4_700);
    let (_, plain) = tree.ask(&["--connections", "1", "--json"]);
    let plain: Value = serde_json::from_str(&plain).unwrap();
    assert!(plain["holds"].as_u64() > verdict["holds"].as_u64(), "TLS takes more");
}

#[test]
fn a_memory_cgroup_counts_in_both_versions_and_from_every_level() {
    let of_v2 = [
        ("sys/fs/cgroup/system.slice/memory.max", "419430400"),
        ("sys/fs/cgroup/system.slice/memory.current", "209715200"),
        ("sys/fs/cgroup/system.slice/memory.stat", "anon 1\ninactive_file 104857600\nfile 2"),
    ];
    let of_v1 = [
        ("proc/self/cgroup", "5:cpu,cpuacct:/box\n4:memory:/system.slice/x\n0::/"),
        ("sys/fs/cgroup/memory/system.slice/x/memory.limit_in_bytes", "9223372036854771712"),
        ("sys/fs/cgroup/memory/system.slice/memory.limit_in_bytes", "419430400"),
        ("sys/fs/cgroup/memory/system.slice/memory.usage_in_bytes", "209715200"),
        ("sys/fs/cgroup/memory/system.slice/memory.stat", "total_inactive_file 104857600"),
    ];
    for changes in [&of_v2[..], &of_v1] {
        let (code, verdict) = Tree::with(changes).json(&[]);
        assert_eq!((code, verdict["first"].as_str()), (1, Some("memory cgroup")), "{verdict:#}");
        assert_eq!(verdict["holds"], ((400 - 100) - (16 + 4 * 3)) * 1024 * 1024 / 4_700);
        assert!(short(&verdict)[0].1.contains("MemoryMax="), "{verdict:#}");
    }
}

#[test]
fn a_full_table_of_tracked_connections_is_told_and_an_unused_one_does_not_count() {
    let of = |count| {
        Tree::with(&[
            ("proc/sys/net/netfilter/nf_conntrack_max", "65536"),
            ("proc/sys/net/netfilter/nf_conntrack_count", count),
        ])
    };
    let (code, verdict) = of("1200").json(&[]);
    assert_eq!((code, verdict["first"].as_str(), &verdict["holds"]), (1, Some("conntrack"), &64_336.into()));
    assert!(short(&verdict)[0].1.contains("nf_conntrack_max=202400"), "{verdict:#}");
    assert_eq!(of("0").json(&[]).0, 0);
}

#[test]
fn short_tcp_memory_and_open_files_have_their_lines() {
    let tree = Tree::with(&[
        ("proc/sys/net/ipv4/tcp_mem", "10000\t20000\t30000"),
        ("proc/sys/fs/file-max", "50000"),
        ("proc/sys/kernel/io_uring_disabled", "2"),
        ("proc/sys/fs/epoll/max_user_watches", "60000"),
    ]);
    let (code, verdict) = tree.json(&[]);
    assert_eq!((code, verdict["driver"].as_str()), (1, Some("epoll")));
    let names: Vec<&str> = short(&verdict).iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["TCP memory", "open files of the box", "epoll watches"]);
    assert!(short(&verdict).iter().all(|(_, fix)| fix.contains("sysctl -w ")), "{verdict:#}");
}

#[test]
fn what_slows_a_storm_down_is_a_note() {
    let tree = Tree::with(&[("proc/sys/net/core/somaxconn", "128"), ("proc/sys/net/ipv4/tcp_syncookies", "0")]);
    let (code, words) = tree.ask(&["--connections", "1000"]);
    assert_eq!(code, 0, "{words}");
    assert!(words.contains("note listen queue: net.core.somaxconn 128"), "{words}");
    assert!(words.contains("fix: sysctl -w net.core.somaxconn=4096"), "{words}");
    assert!(words.contains("note SYN backlog: "), "{words}");
}

#[test]
fn cannot_tell_what_it_cannot_read_unless_something_else_is_short_already() {
    let (code, verdict) = Tree::with(&[("proc/meminfo", "")]).json(&[]);
    assert_eq!((code, &verdict["fits"]), (2, &Value::Null));
    assert_eq!(verdict["unknown"][0], "the memory (/proc/meminfo)");
    let short = Tree::with(&[("proc/meminfo", ""), ("proc/sys/fs/file-max", "5000")]);
    assert_eq!(short.json(&[]).0, 1);
}

#[test]
fn the_table_says_the_same_in_words() {
    let (code, words) =
        Tree::with(&[("proc/sys/net/ipv4/tcp_mem", "10000\t20000\t30000")]).ask(&["--connections", "100000", "--tls"]);
    assert_eq!(code, 1);
    for line in [
        "100,000 TLS connections\n",
        "Linux 6.12.3-amd64, cores: 4, shards: 4, driver: uring\n",
        "! TCP memory                     19,988  20000 pages before pressure, 12 used",
        "They do not fit. This box holds 19,988; the scarcest resource: TCP memory.\n",
        "  fix TCP memory: sysctl -w net.ipv4.tcp_mem=\"100012 150018 200024\", or tuning/tune\n",
    ] {
        assert!(words.contains(line), "{line}\n{words}");
    }
}

#[test]
fn this_box_holds_one_connection_and_not_a_billion() {
    let (code, words) = doctor(&["--connections", "1"]);
    assert_eq!(code, 0, "{words}");
    let (code, words) = doctor(&["--connections", "1000000000", "--tls"]);
    assert_eq!(code, 1, "{words}");
    let (code, words) = doctor(&["--connections", "1", "--pid", &std::process::id().to_string(), "--json"]);
    assert_eq!(code, 0, "{words}");
}

#[test]
fn refuses_a_number_that_is_none() {
    for arguments in [&["--connections", "0"][..], &["--connections", "many"], &["--shards", "0"]] {
        assert_eq!(doctor(arguments).0, 2, "{arguments:?}");
    }
}

#[test]
fn shards_and_pinning_are_those_that_the_gateway_would_choose() {
    let isolated = ("sys/devices/system/cpu/isolated", "0-3");
    let quota = ("sys/fs/cgroup/system.slice/cpu.max", "150000 100000");
    let mask = ("proc/self/status", "Name:\ttidegate\nCpus_allowed_list:\t0-1");
    for (changes, shards, is_pinned, words) in [
        (&[][..], 4, false, "not known to be this process's own"),
        (&[isolated], 4, true, "each shard is pinned to a core"),
        (&[isolated, quota], 1, false, "1 shards are not one for each of 4 allowed cores"),
        (&[isolated, mask], 2, true, "each shard is pinned to a core"),
    ] {
        let tree = Tree::with(changes);
        let (_, verdict) = tree.json(&[]);
        assert_eq!((&verdict["shards"], &verdict["pinned"]), (&shards.into(), &is_pinned.into()), "{verdict:#}");
        let (_, told) = tree.ask(&[]);
        assert!(told.contains("note pinning: ") && told.contains(words), "{told}");
    }
    let tree = Tree::with(&[isolated, quota]);
    let (_, verdict) = tree.json(&["--shards", "4"]);
    assert_eq!(verdict["pinned"], false, "the quota is below the cores");
    let file = tree.0.join("tidegate.toml");
    fs::write(&file, "pin = true\n[[listener]]\naddress = \"127.0.0.1:0\"\n").expect("a file can be written");
    let (_, verdict) = tree.json(&["--config", &file.to_string_lossy()]);
    assert_eq!(verdict["pinned"], true, "it was asked for");
}
