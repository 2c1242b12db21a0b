//! What the log says of a connection that ends, besides the reason.
//!
//! ```text
//!  192.0.2.1:50000 ended: TLS failed (tls_protocol): received fatal alert: UnknownCA; connection 0000000700000002
//!  192.0.2.1:50002 ended: no sign of life (no_pong); connection 0000000900000002, user "ann", route "/ws/rides"
//!                                                    '-- Conn::particulars --------------------------------------'
//! ```
//!
//! What a stranger has chosen, the name of a user, is quoted: one line, and not a long one (`refused::quoted`).

use std::fmt::Write;

use super::Conn;
use super::refused::quoted;
use super::session::Phase;
use super::settings::Settings;
use crate::base::Address;

/// Longest cause: words of our own, of rustls, and names of alerts.
const CAUSE_CHARS_MAX: usize = 200;

impl Conn {
    /// The cause, where more of it is known than the reason says; the connection as workers know it (`Tg-Conn`); its user and its route,
    /// if it has them. To be asked before [`Conn::end`], which forgets most of that.
    pub fn particulars(&self, address: Address, settings: &Settings) -> String {
        let mut words = String::new();
        if let Some(cause) = self.cause() {
            words.push_str(": ");
            words.extend(cause.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CAUSE_CHARS_MAX));
        }
        // Writing to a String does not fail.
        _ = write!(words, "; connection {address}");
        if let (Some(user), _) = self.session.who() {
            _ = write!(words, ", user {}", quoted(&user.name()));
        }
        if matches!(self.session.phase, Phase::WebSocket(..) | Phase::Centrifuge(_) | Phase::EventStream(_)) {
            _ = write!(words, ", route {:?}", settings.generation.routes[self.session.route()].template);
        }
        words
    }

    /// What exactly went wrong: in TLS, or with a verb of the bus.
    fn cause(&self) -> Option<String> {
        match (self.link.transport.failure(), &self.session.phase) {
            (Some(failure), _) => Some(failure.to_string()),
            (None, Phase::Worker(worker)) => worker.fault().map(str::to_owned),
            _ => None,
        }
    }
}
