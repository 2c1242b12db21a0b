//! Keys of the process: how it asks the kernel, on how many threads, what it logs.

use super::{Fallback, Kind, Row, count};
use crate::limits;

pub(super) const ROWS: &[Row] = &[
    Row {
        path: "driver",
        kind: Kind::Choice(&["auto", "epoll", "uring"]),
        fallback: Fallback::Text("auto"),
        help: "How the kernel is asked for network I/O.",
        doc: "`auto` takes the faster one that this kernel allows. If `uring` is asked for and cannot be had, one log line \
              says why and `epoll` is used.",
    },
    Row {
        path: "shards",
        kind: count(0, limits::SHARDS_MAX as u64),
        fallback: Fallback::Whole(0),
        help: "Number of shards, each a thread with its own connections; 0 means one for each core.",
        doc: "The limit on open files counts for each shard. So if `limits.connections_max` is set and one shard for each core \
              could not open so many sockets, 0 means as many shards as it takes.",
    },
    Row {
        path: "pin",
        kind: Kind::SwitchOr("auto"),
        fallback: Fallback::Text("auto"),
        help: "Whether each shard is pinned to a core.",
        doc: "A pinned shard has to wait while something else runs on its core, which costs more than pinning gains. So `auto` pins \
              where there is a shard for every core that the process may use, no CPU quota of a cgroup is below that, and the \
              cores are known to be its own: isolated at boot (`isolcpus=`), or a partition of cpusets. `true` pins in any case, for \
              a box that serves nothing else.",
    },
    Row {
        path: "log",
        kind: Kind::Choice(&["off", "error", "warn", "info", "debug", "trace"]),
        fallback: Fallback::Text("info"),
        help: "The least important log lines that are written to stderr.",
        doc: "",
    },
];
