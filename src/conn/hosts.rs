//! The hosts that requests may name: checked on the admin listener always, on listeners for clients if `hosts` is set.
//!
//! A page of `rebound.example` can resolve its own name to the address of a listener (DNS rebinding), and then read
//! everything as its own origin. It cannot choose `Host`: its browser writes the page's name there. An attacker cannot
//! have a name that is an address, or is `localhost` (RFC 6761 section 6.3) or another name of the operator's.

use crate::proto::http::{Authority, Host};

/// Names besides `localhost` (`admin.hosts`, `listener.hosts`).
#[derive(Clone, Debug, Default)]
pub struct Hosts(Vec<Box<str>>);

impl Hosts {
    pub fn new(names: impl IntoIterator<Item = Box<str>>) -> Hosts {
        Hosts(names.into_iter().collect())
    }

    /// Whether a request that names this host may be served, with any port, because ports may be forwarded. Every
    /// browser names a host, so a request without one comes from no page.
    ///
    /// Names below `localhost` are not included: some resolvers ask a server for them.
    pub fn allow(&self, host: Option<&str>) -> bool {
        let Some(host) = host.filter(|host| !host.is_empty()) else { return true };
        match Authority::parse(host).map(|authority| authority.host) {
            Ok(Host::Address(_)) => true,
            Ok(Host::Name(name)) => self.have(name),
            Err(_) => false,
        }
    }

    fn have(&self, name: &str) -> bool {
        is_same_name("localhost", name) || self.0.iter().any(|own| is_same_name(own, name))
    }

    /// The log line about a refused host: `listener` refused it, and `key` of the configuration lists the allowed
    /// names.
    pub(super) fn remark(&self, listener: &str, key: &str, host: &str) -> Box<str> {
        let host = super::refused::quoted(host);
        let listed = match self.0.is_empty() {
            true => "there are none".to_owned(),
            false => self.0.join(", "),
        };
        format!(
            "{listener} refused a request for the host {host}; it is asked for by an IP address, localhost, or one of {key} \
             ({listed})"
        )
        .into()
    }
}

/// A dot at the end of a name keeps a resolver from appending a domain; the owner of the name also owns the form with the
/// dot.
pub(super) fn is_same_name(own: &str, name: &str) -> bool {
    let relative = |name| Host::Name(str::strip_suffix(name, '.').unwrap_or(name));
    relative(own) == relative(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_listed_names_are_allowed_and_no_others() {
        let hosts = Hosts::new(["tidegate.internal".into(), "Gate.example.".into()]);
        for host in [
            "127.0.0.1",
            "127.0.0.1:9180",
            "10.0.0.7",
            "[::1]",
            "[::ffff:127.0.0.1]:9180",
            "localhost",
            "LocalHost:1234",
            "localhost.:9180",
            "tidegate.internal:9180",
            "TIDEGATE.internal.",
            "gate.example",
            "",
        ] {
            assert!(hosts.allow(Some(host)), "{host}");
        }
        assert!(hosts.allow(None));
        for host in [
            "rebound.example:9180",
            "localhost.rebound.example",
            "evil.localhost",
            "localhost..",
            "127.0.0.1.rebound.example",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "internal",
            "x.tidegate.internal",
            "a b",
            ".",
        ] {
            assert!(!hosts.allow(Some(host)), "{host}");
        }
    }
}
