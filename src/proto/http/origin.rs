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

    /// Whether its pages come from the host that the request names (`Host`), by a listener with or without TLS.
    ///
    /// A plain listener may stand behind a proxy that terminates TLS: then the page is on `https`, and the proxy passes
    /// its `Host` on. So a plain listener accepts both schemes. One with TLS accepts no `http`, because anyone on the
    /// way could have written such a page.
    pub fn is_of(&self, host: &str, is_tls: bool) -> bool {
        let is_scheme = match self.is_secure() {
            Some(is_secure) => is_secure || !is_tls,
            None => false,
        };
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
        let is_scheme = match (self.is_secure(), other.is_secure()) {
            (None, None) => self.scheme.eq_ignore_ascii_case(other.scheme),
            (own, other) => own == other,
        };
        is_scheme && self.authority.host == other.authority.host && self.port() == other.port()
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
    fn the_own_origin_is_told_by_host_port_and_listener() {
        for (origin, host, is_tls, is_own) in [
            ("https://gate.example", "gate.example", true, true),
            ("https://gate.example", "gate.example:443", true, true),
            ("https://gate.example:443", "GATE.example", true, true),
            ("https://gate.example:8443", "gate.example:8443", true, true),
            ("https://[2001:db8::1]", "[2001:DB8:0::1]:443", true, true),
            ("wss://gate.example", "gate.example", true, true),
            ("http://gate.example", "gate.example", true, false),
            ("http://gate.example:443", "gate.example:443", true, false),
            ("https://gate.example", "gate.example:80", true, false),
            ("https://gate.example", "gate.example:8443", true, false),
            ("https://evil.example", "gate.example", true, false),
            ("http://gate.example", "gate.example:80", false, true),
            ("http://gate.example:80", "gate.example", false, true),
            ("http://gate.example", "gate.example:", false, true),
            ("http://gate.example:8080", "gate.example:8080", false, true),
            ("http://gate.example:8080", "gate.example", false, false),
            ("http://gate.example", "gate.example.", false, false),
            ("http://gate.example", "", false, false),
            ("https://gate.example", "gate.example", false, true),
            ("https://gate.example:8080", "gate.example:8080", false, true),
            ("https://gate.example", "gate.example:80", false, false),
            ("capacitor://gate.example", "gate.example", false, false),
        ] {
            let origin = Origin::parse(origin).unwrap();
            assert_eq!(origin.is_of(host, is_tls), is_own, "{origin:?} {host} {is_tls}");
        }
    }
}
