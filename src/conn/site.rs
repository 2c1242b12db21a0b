//! The hosts and the scheme by which clients reach a route.
//!
//! ```text
//!  GET /api/x   Host: shop.example    over TLS
//!                     '-- hosts: shop.example, *.shop.example (one label)
//!                                         '-- scheme: https
//! ```

use super::hosts::is_same_name;
use crate::proto::http::{Authority, Host};

/// Every host, or these; both schemes, or this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    hosts: Vec<Box<str>>,
    scheme: Option<Scheme>,
}

/// Without TLS, or with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Site {
    /// `hosts` as `form::is_host_pattern` of the configuration accepts them.
    pub fn new(hosts: impl IntoIterator<Item = Box<str>>, scheme: Option<Scheme>) -> Site {
        Site { hosts: hosts.into_iter().collect(), scheme }
    }

    /// Whether a request reaches the route: the host that the client has named, with any port, and whether the client came
    /// over TLS, to the gateway or to a trusted proxy. A request without a host reaches routes for every host.
    pub fn has(&self, host: Option<&str>, is_tls: bool) -> bool {
        let scheme = if is_tls { Scheme::Https } else { Scheme::Http };
        self.scheme.is_none_or(|own| own == scheme)
            && (self.hosts.is_empty() || host.is_some_and(|host| self.names(host)))
    }

    fn names(&self, host: &str) -> bool {
        let Ok(Authority { host, .. }) = Authority::parse(host) else { return false };
        self.hosts.iter().any(|own| match (own.strip_prefix("*."), host) {
            (Some(above), Host::Name(name)) => {
                name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && is_same_name(above, rest))
            }
            (Some(_), Host::Address(_)) => false,
            (None, Host::Name(name)) => is_same_name(own, name),
            (None, Host::Address(_)) => Authority::parse(own).is_ok_and(|own| own.host == host),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_for_some_hosts_takes_no_others() {
        let site = Site::new(["Shop.example".into(), "*.shop.example".into(), "10.0.0.7".into(), "[::1]".into()], None);
        for host in
            ["shop.example", "SHOP.example:8080", "shop.example.", "a.shop.example", "10.0.0.7:80", "[0:0:0:0:0:0:0:1]"]
        {
            assert!(site.has(Some(host), true) && site.has(Some(host), false), "{host}");
        }
        for host in
            ["example", "a.b.shop.example", ".shop.example", "ashop.example", "10.0.0.8", "shop.example.org", "a b", ""]
        {
            assert!(!site.has(Some(host), true), "{host}");
        }
        assert!(!site.has(None, true));
        assert!(Site::default().has(None, true));
    }

    #[test]
    fn a_route_for_one_scheme_takes_the_other_not() {
        let plain = Site::new([], Some(Scheme::Http));
        assert!(plain.has(None, false) && !plain.has(None, true));
        assert!(!Site::new([], Some(Scheme::Https)).has(None, false));
    }
}
