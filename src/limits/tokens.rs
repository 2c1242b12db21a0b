//! Signed tokens of an issuer, and the keys that verify them.

use std::time::Duration;

/// Longest token: identity providers that list the user's groups write 4 KiB and more; a request head holds twice as much.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How far the clocks of an issuer and of this machine may differ (configurable as `auth.jwt.leeway_s`).
pub const TOKEN_LEEWAY_S: u32 = 30;
/// Keys in a set: large providers publish about ten.
pub const KEYS_PER_SET_MAX: usize = 128;
/// Longest key set: a key with its certificate chain is about 5 KiB.
pub const KEY_SET_BYTES_MAX: usize = 256 * 1024;
/// How long a request waits until the keys of its token's issuer have been fetched: as long as a client waits without a doubt.
pub const KEY_WAIT: Duration = Duration::from_secs(2);
/// Between two fetches that tokens with unknown keys ask for: a stranger can name a new key with each request.
pub const KEY_ASKS_APART: Duration = Duration::from_secs(10);
/// How long a fetch of keys may take, and one address of the key server, of several.
pub const KEY_FETCH_TIMEOUT: Duration = Duration::from_secs(10);
pub const KEY_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a set is kept, whatever its answer says: a key that is withdrawn leaves within a day, and a server is not asked all the
/// time.
pub const KEYS_KEPT_MIN: Duration = Duration::from_secs(5 * 60);
pub const KEYS_KEPT_MAX: Duration = Duration::from_secs(24 * 3_600);
/// The pause after a fetch that has failed, doubled with each further one up to the last.
pub const KEY_RETRY_FIRST: Duration = Duration::from_secs(1);
pub const KEY_RETRY_MAX: Duration = Duration::from_secs(5 * 60);
/// How old keys may be that are used while their server is away (configurable as `auth.jwt.keys_stale_max_s`).
pub const KEYS_STALE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Requests of a shard that may wait in their admission; their heads count among what has arrived.
pub const CHECKS_WAITING_MAX: usize = 4_096;
/// How long a request waits for the server that decides about its client, and how long a stream lasts that it has let in
/// (configurable as `auth.forward.timeout_ms` and `ttl_s`).
pub const FORWARD_TIMEOUT: Duration = Duration::from_secs(1);
pub const FORWARD_TTL: Duration = Duration::from_secs(900);
/// Longest body of a refusal that is passed on for a server that decides about clients: a login page.
pub const RELAYED_BODY_BYTES_MAX: usize = 64 * 1024;
/// When to come back if a proof cannot be checked: a key server that restarts is back by then.
pub const AUTH_RETRY: Duration = Duration::from_secs(5);
/// Tokens whose proof a shard remembers, so that a request with one of them costs no signature: as many users at the same time.
pub const PROOFS_MAX: usize = 4_096;
/// The same in bytes, the tokens included: that many of 1 KiB each, a usual token with its proof. One with long claims takes up to 16 KiB.
pub const PROOFS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Memory of a shard for them: an entry of the list, its place in the table and the counters of the shared proof are about 160 bytes.
pub const PROOFS_MEMORY_BYTES: u64 = (PROOFS_BYTES_MAX + PROOFS_MAX * 160) as u64;
/// `[[auth]]` of a configuration: each has its keys and its metrics.
pub const AUTHS_MAX: usize = 64;
/// How long a tunnel whose token has ended waits for the end of a frame that is being sent, and how often a request is looked at
/// that may still become a stream.
pub const TOKEN_FRAME_WAIT: Duration = Duration::from_secs(1);
/// Revocations that a shard knows, 64 bytes each: as many as an application signs out in a day.
pub const REVOCATIONS_MAX: usize = 65_536;
/// Memory of a shard for them.
pub const REVOCATIONS_MEMORY_BYTES: u64 = REVOCATIONS_MAX as u64 * 64;
/// How long one is known if it does not say: as long as most tokens live.
pub const REVOCATION_SECONDS: u64 = 86_400;
/// Revocations for which a shard looks through its connections at the same time.
pub const REVOCATIONS_AT_ONCE: usize = 64;
/// Connections that one piece of that work looks at.
pub const REVOKED_AT_ONCE: u32 = 256;
/// Shortest and longest token of the admin listener: what cannot be guessed, and fits into a line of a head.
pub const ADMIN_TOKEN_BYTES_MIN: usize = 16;
pub const ADMIN_TOKEN_BYTES_MAX: usize = 256;
/// Tokens of the admin listener: each request is compared with all of them.
pub const ADMIN_TOKENS_MAX: usize = 64;
/// `[[permission]]` of a configuration: each is looked at when a client subscribes or publishes.
pub const PERMISSIONS_MAX: usize = 256;
/// Claims, and conditions, that all of them name: a proof has a bit for each condition.
pub const PERMISSION_NAMES_MAX: usize = 64;
/// How long a decision of the application is remembered (configurable as `permission.ask.cache_s`), and the most that its answer
/// may say: long enough for a client that reconnects, and a right that is taken away ends soon.
pub const DECISION_KEPT: Duration = Duration::from_secs(10);
pub const DECISION_KEPT_MAX: Duration = Duration::from_secs(3_600);
/// How long a client waits for a decision (configurable as `permission.ask.timeout_ms`).
pub const DECISION_TIMEOUT: Duration = Duration::from_secs(2);
/// Decisions that a shard remembers; the one that was used least recently goes.
pub const DECISIONS_MAX: usize = 8_192;
/// Memory of a shard for them: two names of 255 bytes at most, and an entry of the list with its place in the table.
pub const DECISIONS_MEMORY_BYTES: u64 = (DECISIONS_MAX * (2 * 255 + 200)) as u64;
/// Different decisions that a shard waits for at the same time: as many as one service answers in a second.
pub const DECISIONS_OPEN_MAX: usize = 4_096;
/// Deciders of a configuration: each `ask` that differs.
pub const DECIDERS_MAX: usize = 64;
/// Connections to a decider by URL: as many answers come from it at the same time.
pub const DECIDER_CONNECTIONS: usize = 16;
/// Longest answer of a decider: a few words of JSON.
pub const DECISION_BYTES_MAX: usize = 4 * 1024;
