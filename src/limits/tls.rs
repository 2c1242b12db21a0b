//! Handshakes, tickets and records.

use std::time::Duration;

/// From the accept to the end of the handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a handshake may wait for its first turn (configurable as `limits.handshake_wait_s`): clients give up after
/// 5 to 10 s, and work for a client that has given up is lost.
pub const HANDSHAKE_WAIT: Duration = Duration::from_secs(5);
/// Most handshakes of a shard that wait for their first turn (configurable as `limits.handshakes_waiting_max`): as many
/// as one core completes within that time, with about 3 KB each.
pub const HANDSHAKES_WAITING_MAX: usize = 16 * 1024;
/// Most handshakes advanced in one turn: at about 150 µs each, open connections wait 2.4 ms at most.
pub const HANDSHAKES_PER_TURN: usize = 16;
/// After this much of the turn, no further handshake is advanced.
pub const HANDSHAKE_TIME_PER_TURN: Duration = Duration::from_millis(2);
/// Most bytes that a client may send before its handshake is complete: a ClientHello with post-quantum shares is below
/// 2 KiB, and a client that has to retry sends two. A client's certificate with its chain is below 8 KiB. Early data
/// that is skipped does not count.
pub const HANDSHAKE_BYTES_MAX: usize = 16 * 1024;
/// The same of a server behind the gateway: its chain of certificates, with four of the longest in use.
pub const SERVER_HANDSHAKE_BYTES_MAX: usize = 64 * 1024;
/// Sessions that a shard can resume at the servers of one upstream, in their number of servers: TLS 1.3 gives two tickets, each for
/// one connection.
pub const SESSIONS_PER_UPSTREAM_MAX: usize = 64;
/// Most keys in a file of ticket keys: the one in use, the next one, and those whose tickets are still about.
pub const TICKET_KEYS_MAX: usize = 16;
/// Longest ticket under such a key: the state of a session with the longest server name is below 500 bytes.
pub const TICKET_BYTES_MAX: usize = 1024;
/// How long clients are told to keep such a ticket: as rustls does with keys of its own.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// A file of ticket keys that has not changed for this long is forgotten rather than rotated: the doctor says so. RFC
/// 8446 section 4.6.1 lets no ticket live longer.
pub const TICKET_KEYS_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest file of ticket keys: [`TICKET_KEYS_MAX`] keys, and comments.
pub const TICKET_KEYS_FILE_BYTES_MAX: u64 = 64 * 1024;
/// A TLS record on the wire: 2^14 bytes of content, up to 2048 of expansion (TLS 1.2), 5 of header.
pub const RECORD_BYTES_MAX: usize = 16_384 + 2_048 + 5;
/// Content of one record that we seal.
pub const RECORD_CONTENT_BYTES: usize = 16_384;
/// KeyUpdates that a client may send without application data. Clients update their keys after hours or gigabytes, if
/// they do so at all.
pub const KEY_UPDATES_MAX: usize = 8;
/// Application data that earns one more KeyUpdate, up to that number. A KeyUpdate costs us 2 µs, as much as opening 2 KiB:
/// so a receive full of KeyUpdates costs at most about twice as much as one full of data, and the client has to send
/// the data as well.
pub const KEY_UPDATE_EARNED_BYTES: usize = 4 * 1024;

/// Longest common name or e-mail address of a client's certificate that is read: the longest address of RFC 5321 (section 4.5.3.1.3) has
/// 254 bytes, and a common name 64 letters (RFC 5280 appendix A.1).
pub const CERTIFIED_NAME_BYTES_MAX: usize = 256;
