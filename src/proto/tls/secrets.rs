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

/// The secrets of both directions, for the first keys of application data. Wiped on drop; bytes that the hash does not
/// use are zero.
#[derive(Default)]
pub(super) struct Secrets {
    pub(super) client: Secret,
    pub(super) server: Secret,
}

pub(super) struct Secret(pub(super) [u8; SECRET_BYTES_MAX]);

impl Default for Secret {
    fn default() -> Secret {
        Secret([0; SECRET_BYTES_MAX])
    }
}

impl Secret {
    fn set(&mut self, secret: &[u8]) {
        self.0.fill(0);
        self.0[..secret.len()].copy_from_slice(secret);
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

thread_local! {
    static OVERHEARD: RefCell<Option<Secrets>> = const { RefCell::new(None) };
}

/// Runs `call`, and returns its result with the secrets that rustls logged during it, if any.
pub(super) fn during<R>(call: impl FnOnce() -> R) -> (R, Option<Secrets>) {
    OVERHEARD.take();
    let returned = call();
    (returned, OVERHEARD.take())
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

    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        OVERHEARD.with_borrow_mut(|overheard| {
            let secrets = overheard.get_or_insert_default();
            match label {
                CLIENT => secrets.client.set(secret),
                SERVER => secrets.server.set(secret),
                // TLS 1.2 stays in rustls.
                _ => {}
            }
        });
    }
}
