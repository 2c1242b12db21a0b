//! The traffic secrets of a connection, overheard while rustls derives them.
//!
//! ```text
//! RustlsSession::advance --> during(rustls) --> KeyLog::log --> this thread's cell --> Secrets, with what rustls returned
//! ```
//!
//! When a connection leaves rustls (`dangerous_into_kernel_connection`), rustls hands out the keys but not the secrets
//! from which the next keys follow, and without those no KeyUpdate can be answered. Its key log is the one place that
//! shows them. A call into rustls works for one connection, on the calling thread: so everything that is logged during
//! the call belongs to that connection.

use std::cell::RefCell;

use rustls::KeyLog;
use zeroize::Zeroize;

/// Longest traffic secret: SHA-384's.
pub(super) const SECRET_BYTES_MAX: usize = 48;

/// The secrets of both directions, for the first keys of application data. Wiped on drop. Boxed from the first byte on,
/// so that no move leaves a copy behind.
pub(super) struct Secrets {
    pub(super) client: Secret,
    pub(super) server: Secret,
}

/// A traffic secret, or none yet. Bytes behind it are zero.
pub(super) struct Secret {
    pub(super) bytes: [u8; SECRET_BYTES_MAX],
    /// Its length; 0 if there is none.
    length: usize,
}

impl Secrets {
    fn none() -> Box<Secrets> {
        let none = || Secret { bytes: [0; SECRET_BYTES_MAX], length: 0 };
        Box::new(Secrets { client: none(), server: none() })
    }

    /// The length of both secrets; 0 unless both are there and have the same.
    pub(super) fn length(&self) -> usize {
        if self.client.length == self.server.length { self.client.length } else { 0 }
    }
}

impl Secret {
    /// A secret of another length than a hash of TLS 1.3 has counts as none.
    fn set(&mut self, secret: &[u8]) {
        self.bytes.zeroize();
        self.length = 0;
        if let 32 | SECRET_BYTES_MAX = secret.len() {
            self.bytes[..secret.len()].copy_from_slice(secret);
            self.length = secret.len();
        }
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

thread_local! {
    static OVERHEARD: RefCell<Option<Box<Secrets>>> = const { RefCell::new(None) };
}

/// Runs `call`, and returns its result with the secrets that rustls logged during it: both, of one length, or none.
pub(super) fn during<R>(call: impl FnOnce() -> R) -> (R, Option<Box<Secrets>>) {
    OVERHEARD.take();
    let returned = call();
    (returned, OVERHEARD.take().filter(|secrets| secrets.length() > 0))
}

/// The key log of every configuration. It writes to no file.
#[derive(Debug)]
pub(super) struct Overhear;

const CLIENT: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER: &str = "SERVER_TRAFFIC_SECRET_0";

impl KeyLog for Overhear {
    fn will_log(&self, label: &str) -> bool {
        matches!(label, CLIENT | SERVER)
    }

    /// Other secrets, such as those of the handshake and of TLS 1.2, are not kept.
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if self.will_log(label) {
            OVERHEARD.with_borrow_mut(|overheard| {
                let secrets = overheard.get_or_insert_with(Secrets::none);
                if label == CLIENT { &mut secrets.client } else { &mut secrets.server }.set(secret);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overheard(logged: &[(&str, usize)]) -> Option<Box<Secrets>> {
        during(|| logged.iter().for_each(|(label, bytes)| Overhear.log(label, &[], &vec![7; *bytes]))).1
    }

    #[test]
    fn hears_both_secrets_of_one_length_or_none() {
        for bytes in [32, 48] {
            let secrets = overheard(&[(CLIENT, bytes), (SERVER, bytes)]).expect("both were logged");
            assert_eq!(secrets.length(), bytes);
            assert!(
                secrets.client.bytes[..bytes] == [7; 48][..bytes]
                    && secrets.server.bytes[bytes..] == [0; 16][..48 - bytes]
            );
        }
        let none: [&[(&str, usize)]; 7] = [
            &[],
            &[("EXPORTER_SECRET", 32)],
            &[(CLIENT, 32)],
            &[(SERVER, 32), (SERVER, 32)],
            &[(CLIENT, 32), (SERVER, 48)],
            &[(CLIENT, 20), (SERVER, 20)],
            &[(CLIENT, 64), (SERVER, 64)],
        ];
        for logged in none {
            assert!(overheard(logged).is_none(), "{logged:?}");
        }
        // Half of a pair does not complete the next one.
        Overhear.log(CLIENT, &[], &[7; 32]);
        assert!(overheard(&[(SERVER, 32)]).is_none());
    }
}
