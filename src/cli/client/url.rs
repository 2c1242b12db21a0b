//! URLs as people type them. The case of scheme and host, a written or omitted default port, an IPv6 address, a name in
//! any script, characters that need escapes, and a password may all vary.
//!
//! ```text
//!  HTTP://ann:p%40ss@Bücher.example:80/a b?c#d
//!  http    ann p@ss  xn--bcher-kva.example  /a%20b?c      (the WHATWG URL standard, without the fragment)
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Field;
use tidegate::proto::http::unescaped;

/// Schemes, and their default ports.
const SCHEMES: [(&str, u16); 6] =
    [("ws", 80), ("wss", 443), ("http", 80), ("https", 443), ("nats", 4222), ("tls", 4222)];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Url {
    pub scheme: &'static str,
    /// In ASCII and lower case, without brackets.
    pub host: String,
    pub port: u16,
    /// Path and query, escaped; begins with `/`.
    pub target: String,
    pub user: Option<String>,
    pub password: Option<String>,
    /// As it was typed, without the password: for messages.
    typed: String,
}

impl Url {
    /// `bare` is the scheme of a URL without one. An error is one line.
    pub fn parse(text: &str, bare: &str) -> Result<Url, String> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or((bare, text));
        let known = SCHEMES.into_iter().find(|(known, _)| scheme.eq_ignore_ascii_case(known));
        let Some((scheme, port)) = known else {
            return Err(format!("{text}: unknown scheme {scheme:?}; expected ws, wss, http, https or nats"));
        };
        // All schemes follow the rules of the web for hosts and paths.
        let parsed = url::Url::parse(&format!("http://{rest}")).map_err(|error| format!("{text}: {error}"))?;
        let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let query = parsed.query().map(|query| format!("?{query}")).unwrap_or_default();
        let text_of = |escaped: &str| String::from_utf8_lossy(&unescaped(escaped).collect::<Vec<u8>>()).into_owned();
        let password = parsed.password().map(text_of);
        let typed = match (&password, text.rsplit_once('@')) {
            (Some(_), Some((_, place))) => format!("{scheme}://{place}"),
            _ => text.to_owned(),
        };
        Ok(Url {
            scheme,
            host,
            port: port_said(rest).unwrap_or(port),
            target: parsed.path().to_owned() + &query,
            user: Some(text_of(parsed.username())).filter(|user| !user.is_empty() || password.is_some()),
            password,
            typed,
        })
    }

    pub fn is_tls(&self) -> bool {
        matches!(self.scheme, "wss" | "https" | "tls")
    }

    /// Host and port as in a Host field (RFC 9110 section 7.2): without the default port.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match SCHEMES.contains(&(self.scheme, self.port)) {
            true => host,
            false => format!("{host}:{}", self.port),
        }
    }

    /// The field with the URL's credentials (RFC 7617), unless `fields` already has one.
    pub fn authorization(&self, fields: &[Field]) -> Option<Field> {
        let is_said = fields.iter().any(|field| field.name.eq_ignore_ascii_case("authorization"));
        let user = self.user.as_ref().filter(|_| !is_said)?;
        let both = format!("{user}:{}", self.password.as_deref().unwrap_or_default());
        Some(Field { name: "Authorization".to_owned(), value: format!("Basic {}", STANDARD.encode(both)) })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.typed)
    }
}

/// The port as written: the parser omits the default port of its own scheme.
fn port_said(rest: &str) -> Option<u16> {
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let place = authority.rsplit('@').next().unwrap_or_default();
    let behind_host = place.rsplit_once(']').map_or(place, |(_, behind)| behind);
    behind_host.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Url {
        Url::parse(text, "http").unwrap_or_else(|error| panic!("{error}"))
    }

    /// Checks that two spellings mean the same.
    fn same(one: &str, other: &str) {
        let (one, other) = (parse(one), parse(other));
        assert_eq!(Url { typed: String::new(), ..one.clone() }, Url { typed: String::new(), ..other.clone() });
    }

    #[test]
    fn two_spellings_of_one_place_are_the_same() {
        for (one, other) in [
            ("HTTP://Gate.Example/a", "http://gate.example/a"),
            ("http://gate.example:80/a", "http://gate.example/a"),
            ("Wss://gate.example:443", "wss://gate.example/"),
            ("ws://gate.example:80?a=b", "ws://gate.example/?a=b"),
            ("nats://gate.example", "NATS://gate.example:4222/"),
            ("http://bücher.example/é?ü", "http://xn--bcher-kva.example:80/%C3%A9?%C3%BC"),
            ("http://gate.example/a b#c", "http://gate.example/a%20b"),
            ("http://127.1/", "http://127.0.0.1/"),
            ("http://[0:0::1]:9180/", "http://[::1]:9180"),
            ("127.0.0.1:9180", "http://127.0.0.1:9180/"),
            ("localhost:9180/a", "http://localhost:9180/a"),
            (" http://gate.example\n", "http://gate.example"),
        ] {
            same(one, other);
        }
        assert_ne!(parse("nats://gate.example:80").port, parse("nats://gate.example").port);
        assert_ne!(parse("nats://gate.example:443").port, 4222);
    }

    #[test]
    fn a_host_field_has_brackets_and_no_default_port() {
        for (text, authority) in [
            ("http://[::1]:9180/a", "[::1]:9180"),
            ("https://[::1]:443/a", "[::1]"),
            ("https://Gate.example:80", "gate.example:80"),
            ("wss://ann:secret@gate.example", "gate.example"),
        ] {
            assert_eq!(parse(text).authority(), authority, "{text}");
        }
        assert_eq!(parse("http://[::1]/").host, "::1");
    }

    #[test]
    fn a_password_is_unescaped_and_in_no_message() {
        let url = parse("http://ann%40example.org:p%40ss%3A@gate.example/a");
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("ann@example.org"), Some("p@ss:")));
        assert_eq!(url.to_string(), "http://gate.example/a");
        let field = url.authorization(&[]).expect("it says who asks");
        assert_eq!(field.value, format!("Basic {}", STANDARD.encode("ann@example.org:p@ss:")));
        assert!(url.authorization(&["Authorization: Bearer x".parse().unwrap()]).is_none());
        let token = parse("nats://s3cret@gate.example");
        assert_eq!((token.user.as_deref(), token.password), (Some("s3cret"), None));
    }

    #[test]
    fn what_is_no_place_is_told_in_one_line() {
        for text in ["ftp://gate.example/", "ws://", "http://a b/", "http://gate.example:99999/", "http://[::1", "://a"]
        {
            let error = Url::parse(text, "http").expect_err(text);
            assert!(error.starts_with(text) && error.lines().count() == 1, "{error}");
        }
    }
}
