//! Signed tokens of an issuer, and the keys that verify them.

/// Longest token: identity providers that list the user's groups write 4 KiB and more; a request head holds twice as much.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How far the clocks of an issuer and of this machine may differ (configurable as `auth.jwt.leeway_s`).
pub const TOKEN_LEEWAY_S: u32 = 30;
/// Keys in a set: large providers publish about ten.
pub const KEYS_PER_SET_MAX: usize = 128;
/// Longest key set: a key with its certificate chain is about 5 KiB.
pub const KEY_SET_BYTES_MAX: usize = 256 * 1024;
