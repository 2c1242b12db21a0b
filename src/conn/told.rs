//! The details in the log line of a connection that ends, besides the reason.
//!
//! ```text
//!  192.0.2.1:50000 ended: the peer ended TLS with an alert (tls_alert): received fatal alert: UnknownCA; connection 0000000700000002
//!  192.0.2.1:50002 ended: no sign of life (no_pong); connection 0000000900000002, user "ann", route "/ws/rides"
//!                                                    '-- Conn::particulars --------------------------------------'
//! ```
//!
//! Text that a client has chosen, the name of a user, is quoted: on one line, and cut to a bounded length
//! (`refused::quoted`).

use std::fmt::Write;

use super::Conn;
use super::refused::quoted;
use super::session::Phase;
use super::settings::Settings;
use crate::base::Address;

/// Longest cause: our own words, those of rustls, names of alerts.
const CAUSE_CHARS_MAX: usize = 200;

impl Conn {
    /// The cause, if more is known than the reason says; the connection's id for workers (`Tg-Conn`); its user and
    /// route, if it has them. Called before [`Conn::end`], which drops most of that.
    pub fn particulars(&self, address: Address, settings: &Settings) -> String {
        let mut words = String::new();
        if let Some(cause) = self.cause() {
            words.push_str(": ");
            words.extend(cause.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CAUSE_CHARS_MAX));
        }
        // Writing to a String cannot fail.
        _ = write!(words, "; connection {}", settings.process.conn_id(address));
        if let (Some(user), _) = self.session.who() {
            _ = write!(words, ", user {}", quoted(&user.name()));
        }
        if matches!(
            self.session.phase,
            Phase::WebSocket(..) | Phase::Centrifuge(_) | Phase::EventStream(..) | Phase::Tunnel(_)
        ) {
            _ = write!(words, ", route {:?}", settings.generation.routes[self.session.route()].template);
        }
        words
    }

    /// The detail of a failure: in TLS, or of a verb of the bus.
    fn cause(&self) -> Option<String> {
        match (self.link.transport.failure(), &self.session.phase) {
            (Some(failure), _) => Some(failure.to_string()),
            (None, Phase::Worker(worker)) => worker.fault().map(str::to_owned),
            _ => None,
        }
    }
}
