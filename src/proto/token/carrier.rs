//! Where a request carries its token.
//!
//! ```text
//!  header       Authorization: Bearer TOKEN                                RFC 6750 section 2.1
//!  cookie:NAME  Cookie: NAME=TOKEN                                         what a browser sends by itself
//!  subprotocol  Sec-WebSocket-Protocol: bearer.TOKEN, other                what a page can set on a WebSocket; also
//!               base64url.bearer.authorization.k8s.io.BASE64URL(TOKEN)     as Kubernetes spells it
//!  query:NAME   ?NAME=TOKEN                                                ends up in logs (RFC 9700 section 4.3.2): only if asked for
//! ```

use std::borrow::Cow;
use std::str::FromStr;

use base64::Engine;

use super::parts::BASE64URL;
use crate::proto::CloseReason;
use crate::proto::http::{self, Head};

/// The subprotocol that a page should offer beside a token, so that one of its offers can be chosen.
pub const BESIDE_TOKEN: &str = "tidegate";
const PLAIN: &str = "bearer.";
const ENCODED: &str = "base64url.bearer.authorization.k8s.io.";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    Header,
    Cookie(Box<str>),
    Subprotocol,
    Query(Box<str>),
}

/// The error is one clause.
impl FromStr for Carrier {
    type Err = String;

    fn from_str(text: &str) -> Result<Carrier, String> {
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(is_name_byte);
        match text.split_once(':') {
            None if text == "header" => Ok(Carrier::Header),
            None if text == "subprotocol" => Ok(Carrier::Subprotocol),
            Some(("cookie", name)) if is_name(name) => Ok(Carrier::Cookie(name.into())),
            Some(("query", name)) if is_name(name) => Ok(Carrier::Query(name.into())),
            _ => Err("expected \"header\", \"cookie:NAME\", \"subprotocol\" or \"query:NAME\"".to_owned()),
        }
    }
}

/// RFC 9110 section 5.6.2, token: what cookies and parameters may be named without escapes.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl Carrier {
    /// The token that a request carries here. An error if it carries two.
    fn find<'a>(&self, head: &Head<'a>) -> Result<Option<Cow<'a, str>>, CloseReason> {
        match self {
            Carrier::Header => {
                let value = head.single_header("authorization")?;
                let bearer = value.and_then(|value| value.split_once(' '));
                let token = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
                Ok(token.map(|(_, token)| Cow::Borrowed(token.trim_ascii())))
            }
            Carrier::Cookie(name) => {
                let pairs = head.headers("cookie").flat_map(|value| value.split(';'));
                only(pairs.filter_map(|pair| {
                    let (own, value) = pair.trim_ascii().split_once('=')?;
                    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                    (own == &**name).then(|| Cow::Borrowed(quoted.unwrap_or(value)))
                }))
            }
            Carrier::Subprotocol => only(head.elements("sec-websocket-protocol").filter_map(of_subprotocol)),
            Carrier::Query(name) => http::query_parameter(head.query, name),
        }
    }
}

/// The token in a subprotocol, if there is one.
pub fn of_subprotocol(offer: &str) -> Option<Cow<'_, str>> {
    if let Some(encoded) = offer.strip_prefix(ENCODED) {
        let token = BASE64URL.decode(encoded).ok().and_then(|token| String::from_utf8(token).ok());
        return token.map(Cow::Owned);
    }
    offer.strip_prefix(PLAIN).map(Cow::Borrowed)
}

/// The token of a request, looked for in each carrier. Different tokens in one request are an error: the services behind might
/// believe the other one.
pub fn token<'a>(head: &Head<'a>, carriers: &[Carrier]) -> Result<Option<Cow<'a, str>>, CloseReason> {
    let mut found = None;
    for carrier in carriers {
        found = either(found, carrier.find(head)?)?;
    }
    Ok(found.filter(|token| !token.is_empty()))
}

/// The only value of several places.
fn only<'a>(mut values: impl Iterator<Item = Cow<'a, str>>) -> Result<Option<Cow<'a, str>>, CloseReason> {
    values.try_fold(None, |found, value| either(found, Some(value)))
}

fn either<'a>(one: Option<Cow<'a, str>>, other: Option<Cow<'a, str>>) -> Result<Option<Cow<'a, str>>, CloseReason> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Err(CloseReason::MalformedRequest),
        (one, other) => Ok(one.or(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(carriers: &[&str], request: &str) -> Result<Option<String>, CloseReason> {
        let carriers: Vec<Carrier> = carriers.iter().map(|text| text.parse().unwrap()).collect();
        let mut bytes = format!("GET {}\r\n\r\n", request.replace('|', "\r\n")).into_bytes();
        let mut input = bytes.as_mut_slice();
        let head = http::next_head(&mut input)?.expect("a whole head");
        Ok(token(&head, &carriers)?.map(Cow::into_owned))
    }

    #[test]
    fn each_carrier_has_its_form() {
        const ALL: &[&str] = &["header", "cookie:session", "subprotocol", "query:access_token"];
        let some = |token: &str| Ok(Some(token.to_owned()));
        for (request, expected) in [
            ("/ HTTP/1.1|Host: a|Authorization: bearer  t.o.k ", some("t.o.k")),
            ("/ HTTP/1.1|Host: a|Authorization: Basic t.o.k", Ok(None)),
            ("/ HTTP/1.1|Host: a|Authorization: Bearer", Ok(None)),
            ("/ HTTP/1.1|Host: a|Cookie: xsession=1; session=t.o.k; b=2", some("t.o.k")),
            ("/ HTTP/1.1|Host: a|Cookie: session=\"t.o.k\"", some("t.o.k")),
            ("/ HTTP/1.1|Host: a|Cookie: session=", Ok(None)),
            ("/ HTTP/1.1|Host: a|Sec-WebSocket-Protocol: chat, bearer.t.o.k", some("t.o.k")),
            ("/ HTTP/1.1|Host: a|Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.dC5vLms", some("t.o.k")),
            ("/ HTTP/1.1|Host: a|Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.!", Ok(None)),
            ("/?access_token=t.o.k HTTP/1.1|Host: a", some("t.o.k")),
            ("/?a=1 HTTP/1.1|Host: a|Cookie: a=1", Ok(None)),
            ("/?access_token=t.o.k HTTP/1.1|Host: a|Cookie: session=t.o.k", some("t.o.k")),
        ] {
            assert_eq!(found(ALL, request), expected, "{request}");
        }
        assert_eq!(found(&["header"], "/?access_token=t HTTP/1.1|Host: a|Cookie: session=t"), Ok(None));
    }

    #[test]
    fn two_tokens_in_one_request_are_refused() {
        const ALL: &[&str] = &["header", "cookie:s", "subprotocol", "query:q"];
        for request in [
            "/?q=a HTTP/1.1|Host: a|Authorization: Bearer b",
            "/ HTTP/1.1|Host: a|Authorization: Bearer a|Authorization: Bearer b",
            "/ HTTP/1.1|Host: a|Cookie: s=a; s=b",
            "/ HTTP/1.1|Host: a|Cookie: s=a|Cookie: s=b",
            "/ HTTP/1.1|Host: a|Sec-WebSocket-Protocol: bearer.a, bearer.b",
            "/?q=a&q=b HTTP/1.1|Host: a",
        ] {
            assert_eq!(found(ALL, request), Err(CloseReason::MalformedRequest), "{request}");
        }
    }

    #[test]
    fn a_carrier_is_named_as_the_documentation_says() {
        for bad in ["", "Header", "cookie", "cookie:", "cookie:a b", "query:a=b", "header:x", "subprotocol:x"] {
            assert!(bad.parse::<Carrier>().is_err(), "{bad}");
        }
    }
}
