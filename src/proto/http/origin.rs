//! Origins of pages: scheme, host and port (RFC 6454), equal however they are spelled.

use super::authority::{Authority, Host};

/// The value of `Origin` (RFC 6454 section 7).
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    scheme: &'a str,
    authority: Authority<'a>,
}

impl<'a> Origin<'a> {
    /// `scheme "://" host [":" port]` (RFC 6454 section 6.2). `None` for `null`, and for any other value without a
    /// host.
    pub fn parse(text: &'a str) -> Option<Origin<'a>> {
        let (scheme, authority) = text.split_once("://")?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let authority = Authority::parse(authority).ok().filter(|_| is_scheme)?;
        Some(Origin { scheme, authority })
    }

    pub fn host(&self) -> Host<'a> {
        self.authority.host
    }

    /// Whether this is `https://*.example.com`, and the other one has exactly one label where the star is.
    pub fn covers(&self, other: &Origin<'_>) -> bool {
        let (Host::Name(own), Host::Name(name)) = (self.authority.host, other.authority.host) else { return false };
        let (Some(parent), Some((label, rest))) = (own.strip_prefix("*."), name.split_once('.')) else { return false };
        // An escaped dot would hide further labels.
        let is_label =
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        is_label && self.has_same_scheme(other) && Host::Name(parent) == Host::Name(rest) && self.port() == other.port()
    }

    fn has_same_scheme(&self, other: &Origin<'_>) -> bool {
        match (self.is_secure(), other.is_secure()) {
            (None, None) => self.scheme.eq_ignore_ascii_case(other.scheme),
            (own, other) => own == other,
        }
    }

    /// Whether its pages come from the host that the request names, by the scheme that the client came by: https if
    /// `is_secure`. Anyone on the way could have written a page of the other scheme.
    ///
    /// `None`: unknown, as a plain listener may stand behind a proxy that terminates TLS and does not say so. Then pages of
    /// both schemes are the gateway's own.
    pub fn is_of(&self, host: &str, is_secure: Option<bool>) -> bool {
        let is_scheme = self.is_secure().is_some_and(|own| is_secure.is_none_or(|is_secure| is_secure == own));
        let same = |own: Authority| own.host == self.authority.host && own.port.or(self.default_port()) == self.port();
        is_scheme && Authority::parse(host).is_ok_and(same)
    }

    fn port(&self) -> Option<u16> {
        self.authority.port.or(self.default_port())
    }

    fn default_port(&self) -> Option<u16> {
        self.is_secure().map(|is_secure| if is_secure { 443 } else { 80 })
    }

    /// For the schemes of the web. Some WebSocket clients send the scheme of the URL that they open.
    fn is_secure(&self) -> Option<bool> {
        let is = |scheme: &str| self.scheme.eq_ignore_ascii_case(scheme);
        match () {
            () if is("https") || is("wss") => Some(true),
            () if is("http") || is("ws") => Some(false),
            () => None,
        }
    }
}

/// RFC 6454 section 5, after the normalization of RFC 9110 section 4.2.3: case, escapes and the scheme's default port
/// make no difference.
impl PartialEq for Origin<'_> {
    fn eq(&self, other: &Origin<'_>) -> bool {
        self.has_same_scheme(other) && self.authority.host == other.authority.host && self.port() == other.port()
    }
}

impl Eq for Origin<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_origin_has_many_spellings() {
        for (own, other) in [
            ("https://app.example", "https://app.example:443"),
            ("https://app.example", "HTTPS://APP.Example:"),
            ("http://app.example", "http://app.example:080"),
            ("https://app.example", "wss://app.example"),
            ("http://[::1]:3000", "http://[0::1]:3000"),
            ("capacitor://localhost", "Capacitor://LOCALHOST"),
        ] {
            assert_eq!(Origin::parse(own).unwrap(), Origin::parse(other).unwrap());
        }
        for (own, other) in [
            ("https://app.example", "http://app.example"),
            ("https://app.example", "https://app.example:80"),
            ("http://app.example:443", "https://app.example:443"),
            ("https://app.example", "https://app.example."),
            ("https://app.example", "https://evil.app.example"),
            ("http://localhost:3000", "http://127.0.0.1:3000"),
            ("capacitor://localhost", "capacitor://localhost:80"),
            ("app://localhost", "capacitor://localhost"),
        ] {
            assert_ne!(Origin::parse(own).unwrap(), Origin::parse(other).unwrap());
        }
    }

    #[test]
    fn what_names_no_host_is_no_origin() {
        for text in [
            "",
            "null",
            "*",
            "app.example",
            "https:",
            "https://",
            "://app.example",
            "https://app.example/",
            "https://app.example@evil.example",
            "https://app.example#https://evil.example",
            "https://app.example https://evil.example",
            "https://app.example:port",
            "1https://app.example",
            "\u{fffd}",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_star_stands_for_exactly_one_label() {
        let covers = |listed, origin| Origin::parse(listed).unwrap().covers(&Origin::parse(origin).unwrap());
        for origin in [
            "https://app.example.com",
            "https://A-1_b.EXAMPLE.com:443",
            "wss://app.example.com",
            "https://app.%65xample.com",
        ] {
            assert!(covers("https://*.example.com", origin), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://.example.com",
            "https://a.b.example.com",
            "https://a%2eb.example.com",
            "https://*.example.com",
            "https://evilexample.com",
            "https://app.example.com.",
            "https://app.example.com.evil.org",
            "https://app.example.com:8443",
            "http://app.example.com",
            "http://app.example.com:443",
            "https://app.example.org",
            "https://1.2.3.4",
        ] {
            assert!(!covers("https://*.example.com", origin), "{origin}");
        }
        assert!(covers("http://*.localhost:3000", "http://shop.localhost:3000"));
        assert!(!covers("https://app.example.com", "https://app.example.com"), "no star");
        assert!(!covers("https://*app.example.com", "https://myapp.example.com"), "no label of its own");
    }

    #[test]
    fn the_own_origin_is_told_by_scheme_host_and_port() {
        const HTTPS: Option<bool> = Some(true);
        const HTTP: Option<bool> = Some(false);
        const UNKNOWN: Option<bool> = None;
        for (origin, host, is_secure, is_own) in [
            ("https://gate.example", "gate.example", HTTPS, true),
            ("https://gate.example", "gate.example:443", HTTPS, true),
            ("https://gate.example:443", "GATE.example", HTTPS, true),
            ("https://gate.example:8443", "gate.example:8443", HTTPS, true),
            ("https://[2001:db8::1]", "[2001:DB8:0::1]:443", HTTPS, true),
            ("wss://gate.example", "gate.example", HTTPS, true),
            ("http://gate.example", "gate.example", HTTPS, false),
            ("http://gate.example:443", "gate.example:443", HTTPS, false),
            ("https://gate.example", "gate.example:80", HTTPS, false),
            ("https://gate.example", "gate.example:8443", HTTPS, false),
            ("https://evil.example", "gate.example", HTTPS, false),
            ("http://gate.example", "gate.example:80", UNKNOWN, true),
            ("http://gate.example:80", "gate.example", UNKNOWN, true),
            ("http://gate.example", "gate.example:", UNKNOWN, true),
            ("http://gate.example:8080", "gate.example:8080", UNKNOWN, true),
            ("http://gate.example:8080", "gate.example", UNKNOWN, false),
            ("http://gate.example", "gate.example.", UNKNOWN, false),
            ("http://gate.example", "", UNKNOWN, false),
            ("https://gate.example", "gate.example", UNKNOWN, true),
            ("https://gate.example:8080", "gate.example:8080", UNKNOWN, true),
            ("https://gate.example", "gate.example:80", UNKNOWN, false),
            ("capacitor://gate.example", "gate.example", UNKNOWN, false),
            ("http://gate.example", "gate.example", HTTP, true),
            ("http://gate.example:80", "gate.example", HTTP, true),
            ("ws://gate.example", "gate.example:80", HTTP, true),
            ("https://gate.example", "gate.example", HTTP, false),
            ("https://gate.example:80", "gate.example:80", HTTP, false),
        ] {
            let origin = Origin::parse(origin).unwrap();
            assert_eq!(origin.is_of(host, is_secure), is_own, "{origin:?} {host} {is_secure:?}");
        }
    }
}
