//! TLS: records to plaintext and back. Bytes in, bytes out; the caller owns every buffer.
//!
//! ```text
//!           certificates, tickets --> config  (once for each listener); client (once for each upstream with TLS)
//!                                           |
//! records from the peer --> open  --> Tls (connection) --> plain:  decrypted bytes, appended
//!   (decrypted in place,     |          |                  '--> out:  handshake messages, tickets, alerts, appended
//!    the rest stays)         |          '-- session: inside rustls   '-- record: TLS 1.3 after its handshake
//!                            '-- Opened: More, Full, Handshaken, PeerClosed
//! plain slices          --> seal  --> out: records of at most 2^14 bytes
//!                       close_notify --> out
//! ```
//!
//! rustls does every handshake, TLS 1.2, and connections to servers behind the gateway. A TLS 1.3 connection of a client leaves it
//! with its traffic secrets (`secrets`) and continues in `record`, in two hundred bytes. Neither buffers bytes: incomplete records stay in the caller's input,
//! and bytes to send go into the caller's vector at once. Sockets, deadlines and the number of handshakes in a turn are
//! the caller's. Early data (0-RTT) is not accepted. Certificates of clients are requested where a listener says so (`clients`).

pub mod certificates;
pub mod client;
pub mod clients;
pub mod config;
mod connection;
mod hello;
mod names;
pub mod record;
mod secrets;
mod session;
#[cfg(test)]
mod tests;
pub mod tickets;

pub use certificates::Certificate;
pub use config::{TlsPolicy, server_config, server_config_as};
pub use connection::{Agreed, Arrived, Opened, Tls, TlsFailure};
