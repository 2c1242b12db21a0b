//! Keys of the process: how it asks the kernel, on how many threads, what it logs.

use super::{Fallback, Kind, Row, count};
use crate::limits;

pub(super) const ROWS: &[Row] = &[
    Row {
        path: "driver",
        kind: Kind::Choice(&["auto", "epoll", "uring"]),
        fallback: Fallback::Text("auto"),
        help: "The kernel's interface for network I/O. `auto` takes the faster one that this kernel allows.",
        doc: "If `uring` is set and not available, the gateway uses `epoll` and logs the reason in one line.",
    },
    Row {
        path: "shards",
        kind: count(0, limits::SHARDS_MAX as u64),
        fallback: Fallback::Whole(0),
        help: "Number of shards, each a thread with its own connections; 0 means one for each core.",
        doc: "The limit on open files counts for each shard. So if `limits.connections_max` is set, and one shard \
              for each core could not open that many sockets, 0 means as many shards as that number needs.",
    },
    Row {
        path: "pin",
        kind: Kind::SwitchOr("auto"),
        fallback: Fallback::Text("auto"),
        help: "Whether each shard is pinned to a core.",
        doc: "A pinned shard has to wait while another thread runs on its core, which costs more than pinning gains. \
              So `auto` pins only where there is a shard for every core that the process may use, no CPU quota of a \
              cgroup is below that, and no other process uses the cores: they are isolated at boot (`isolcpus=`), or \
              a partition of cpusets. `true` pins always, for a box that serves nothing else.",
    },
    Row {
        path: "log",
        kind: Kind::Choice(&["off", "error", "warn", "info", "debug", "trace"]),
        fallback: Fallback::Text("info"),
        help: "The least important log lines that are written to stderr.",
        doc: "",
    },
];
