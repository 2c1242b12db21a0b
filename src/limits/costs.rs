//! What a connection costs: `tidegate doctor` plans with it, and the benchmark `connections` measures it.

/// The kernel's part of an accepted, idle TCP socket with its entry in an epoll: a bare accept loop, Linux 6.18, growth of the
/// memory cgroup, plus 2,520 B that are allocated in softirq and charged to no cgroup.
pub const SOCKET_BYTES: u64 = 4_007;
/// An idle plain WebSocket or event stream with one subscription, in all: the bound that the benchmark must meet.
pub const CONNECTION_BYTES_PLAIN: u64 = 4_250;
/// The same over TLS 1.3.
pub const CONNECTION_BYTES_TLS: u64 = 4_700;
/// What the records of one subscription to a channel of its own take, in the client's shard and at the channel's owner, its
/// name being as long as it may be. From the sizes of the records; a shorter name, or one that others subscribe to, takes a
/// quarter.
pub const SUBSCRIPTION_BYTES: u64 = 768;
/// The same for a channel without subscribers whose positions are known.
pub const KNOWN_CHANNEL_BYTES: u64 = 512;
/// The same for a client on a presence list, and for a value of `Tg-Distinct`.
pub const PRESENT_BYTES: u64 = 512;
pub const DISTINCT_BYTES: u64 = 96;
/// A gateway before its first connection, without its shards: resident memory of `tidegate serve`, most of it the
/// binary.
pub const PROCESS_BYTES: u64 = 16 * 1024 * 1024;
/// Each of its shards: growth from 2 to 16 shards, rounded up.
pub const SHARD_BYTES: u64 = 3 * 1024 * 1024;
/// Pages that the kernel counts against tcp_mem for a connection with one small message in flight; none for an idle
/// one.
pub const TCP_PAGES_PER_CONNECTION: u64 = 1;

/// jemalloc's settings in a program that uses it: unused pages are returned to the kernel after a second (the waves of
/// a reconnect storm reuse them before that). A thread of jemalloc's own returns them, because an idle gateway calls no
/// allocator.
pub const MALLOC_CONF: &std::ffi::CStr = c"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0";
