//! The facts that TCP knows about a connection.

/// Counted since the connection was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFacts {
    /// The smoothed time of a way there and back (RFC 6298 section 2), in microseconds.
    pub rtt_us: u32,
    /// Segments that were sent again.
    pub retransmits: u32,
    /// Bytes that the kernel has taken and not sent: the peer has no room for them, or the way is slow.
    pub unsent_bytes: u32,
    /// Bytes that the peer has acknowledged, and those that it has sent. Heads, frames and TLS are among them.
    pub sent_bytes: u64,
    pub received_bytes: u64,
}
