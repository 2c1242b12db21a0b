//! The pages that may use a route, and the answers that they may read.
//!
//! ```text
//!  Origin, host, scheme --> Sender --may_use--> Origins of the route     is it served?
//!                              '-----cors-----> Cors --kept--> Page      may the page read the answer, now or later?
//! ```

use super::refused::quoted;
use crate::proto::CloseReason;
use crate::proto::http::{Cors, Glimpse, Head, Origin};

/// Origins besides the gateway's own whose pages may use a route, as in the configuration; `*` allows all, and
/// `https://*.example.com` those with exactly one label before `example.com`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origins(Vec<Box<str>>);

impl Origins {
    pub fn new(texts: impl IntoIterator<Item = Box<str>>) -> Origins {
        Origins(texts.into_iter().collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn are_all(&self) -> bool {
        self.0.iter().any(|text| &**text == "*")
    }

    /// An origin without a host, such as `null`, is compared as text.
    fn have(&self, origin: &str) -> bool {
        let parsed = Origin::parse(origin);
        self.0.iter().any(|text| match parsed {
            Some(parsed) => Origin::parse(text).is_some_and(|own| own == parsed || own.covers(&parsed)),
            None => text.eq_ignore_ascii_case(origin),
        })
    }
}

/// What a browser's request says about the page that sends it.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// Without an origin the client is no browser, so no page can mislead it.
    origin: Option<&'a str>,
    /// Whether the origin is the gateway's own.
    is_own: bool,
}

impl<'a> Sender<'a> {
    /// `host`: the gateway, as the client knows it. `is_secure`: whether the client came by https, if that is known. A
    /// browser sends one origin (RFC 6454 section 7.3); a request with two is refused, because a proxy in front of the
    /// gateway may have checked the other one.
    pub fn of(head: &Head<'a>, host: Option<&str>, is_secure: Option<bool>) -> Result<Sender<'a>, CloseReason> {
        let mut origins = head.headers("origin");
        let origin = origins.next();
        if origins.next().is_some() {
            return Err(CloseReason::MalformedRequest);
        }
        Ok(Sender::named(origin, host, is_secure))
    }

    fn named(origin: Option<&'a str>, host: Option<&str>, is_secure: Option<bool>) -> Sender<'a> {
        let own = |origin: Origin<'_>| host.is_some_and(|host| origin.is_of(host, is_secure));
        Sender { origin, is_own: origin.and_then(Origin::parse).is_some_and(own) }
    }

    pub fn may_use(&self, origins: &Origins) -> bool {
        self.origin.is_none_or(|origin| self.is_own || origins.are_all() || origins.have(origin))
    }

    /// What a page may do with an answer of a route that has these origins. An answer that every page may read has no
    /// cookies.
    pub fn cors(&self, origins: &Origins) -> Option<Cors<'a>> {
        let origin = self.origin.filter(|_| self.may_use(origins))?;
        Some(match origins.are_all() {
            true => Cors { origin: "*", credentials: false },
            false => Cors { origin, credentials: true },
        })
    }

    /// The same for an answer that belongs to no single route.
    pub fn cors_of_any<'r>(&self, origins: impl Iterator<Item = &'r Origins>) -> Option<Cors<'a>> {
        origins.filter_map(|origins| self.cors(origins)).max_by_key(|cors| cors.credentials)
    }

    /// The page that may read the refusal of a request whose head is incomplete or malformed.
    ///
    /// Unknown if its `Origin` has not arrived: a target that is too long, or another version of HTTP, is refused as
    /// soon as the request line has arrived. Browsers send a head in one piece, and a piece of up to 16 KiB arrives as
    /// one, over TLS too.
    pub(super) fn glimpsed<'r>(input: &[u8], is_tls: bool, routes: impl Iterator<Item = &'r Origins>) -> Option<Page> {
        let is_secure = is_tls.then_some(true);
        let Glimpse { origin, host } = Glimpse::of(input);
        Sender::named(origin, host, is_secure).cors_of_any(routes).map(Page::new)
    }

    /// The log line about a page that may not use a route. The browser tells its user less.
    pub(super) fn remark(&self, route: &str, origins: &Origins, host: Option<&str>) -> Box<str> {
        let origin = self.origin.map_or_else(|| "another site, which says no origin".to_owned(), quoted);
        let listed: String = origins.0.iter().map(|text| format!("{text:?}, of ")).collect();
        let host = quoted(host.unwrap_or_default());
        format!(
            "route {route:?} refused a page of {origin}; it takes pages of {listed}the gateway itself, which this request calls \
             {host}"
        )
        .into()
    }
}

/// A page of another origin that may read an answer that is written after the request has been dropped.
pub(super) struct Page {
    origin: Box<str>,
    credentials: bool,
}

impl Page {
    pub(super) fn new(cors: Cors<'_>) -> Page {
        Page { origin: cors.origin.into(), credentials: cors.credentials }
    }

    pub(super) fn cors(&self) -> Cors<'_> {
        Cors { origin: &self.origin, credentials: self.credentials }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::next_head;

    /// Whether a request with these lines may use a route of these origins, by a listener with or without TLS.
    fn may(lines: &str, is_tls: bool, origins: &[&str]) -> Result<bool, CloseReason> {
        let mut bytes = format!("GET / HTTP/1.1\r\n{lines}\r\n").into_bytes();
        let mut input = &mut bytes[..];
        let head = next_head(&mut input).unwrap().unwrap();
        let origins = Origins::new(origins.iter().map(|&text| text.into()));
        Ok(Sender::of(&head, head.host, is_tls.then_some(true))?.may_use(&origins))
    }

    #[test]
    fn only_the_own_and_the_listed_origins_may_use_a_route() {
        let listed = ["https://app.example:443", "HTTP://LOCALHOST:3000", "null", "https://*.shop.example"];
        for (origin, may_use) in [
            ("", true),
            ("Origin: http://gate.example:8080\r\n", true),
            ("Origin: https://app.example\r\n", true),
            ("Origin: https://APP.example\r\n", true),
            ("Origin: http://localhost:3000\r\n", true),
            ("Origin: http://127.0.0.1:3000\r\n", false),
            ("Origin: https://evil.example\r\n", false),
            ("Origin: http://app.example\r\n", false),
            ("Origin: null\r\n", true),
            ("Origin: https://a.shop.example\r\n", true),
            ("Origin: https://shop.example\r\n", false),
            ("Origin: https://a.b.shop.example\r\n", false),
            ("Origin: https://evilshop.example\r\n", false),
            ("Origin: file://\r\n", false),
            ("Origin:\r\n", false),
            ("Origin: \u{ff}\r\n", false),
        ] {
            assert_eq!(may(&format!("Host: gate.example:8080\r\n{origin}"), false, &listed), Ok(may_use), "{origin}");
        }
    }

    #[test]
    fn a_standard_port_is_the_same_as_none() {
        for (host, origin, is_tls) in [
            ("gate.example:443", "https://gate.example", true),
            ("gate.example", "https://gate.example:443", true),
            ("gate.example:80", "http://gate.example", false),
            ("Gate.Example", "HTTP://gate.example:80", false),
            ("[::1]:80", "http://[::1]", false),
        ] {
            assert_eq!(may(&format!("Host: {host}\r\nOrigin: {origin}\r\n"), is_tls, &[]), Ok(true), "{host} {origin}");
        }
    }

    #[test]
    fn an_origin_that_is_named_twice_is_not_known() {
        let twice = "Host: a\r\nOrigin: http://a\r\nOrigin: https://evil.example\r\n";
        assert_eq!(may(twice, false, &["*"]), Err(CloseReason::MalformedRequest));
    }
}
