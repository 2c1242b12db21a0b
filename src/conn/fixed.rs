//! Fixed answers: what `route.respond` says, and pages that are part of the program.
//!
//! ```text
//!  "Location: https://{host}{uri}"    Host: shop.example:8080    GET /a%20b?c
//!             https:// shop.example /a%20b?c
//! ```

use std::borrow::Cow;

use crate::proto::CloseReason;
use crate::proto::http::{Authority, Cors, Head, Host, Reply, ReplyTo};

#[derive(Clone, Debug, PartialEq)]
pub struct FixedAnswer {
    pub status: u16,
    pub fields: Vec<FixedField>,
    pub body: Cow<'static, [u8]>,
}

/// A header field whose value may repeat parts of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedField {
    name: Box<str>,
    value: Vec<FieldPart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum FieldPart {
    Text(Box<str>),
    /// The host of the request, without its port.
    Host,
    /// The path and the query of the request, as they were sent.
    Uri,
}

/// Fields that say how the connection and the body are framed: the gateway writes them.
const OWN_FIELDS: [&str; 7] =
    ["connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

impl FixedField {
    /// Parses `Name: value`; in the value, `{host}` and `{uri}` stand for those of the request. `None` for any other text.
    pub fn parse(text: &str) -> Option<FixedField> {
        let (name, value) = text.split_once(':')?;
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_own = OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name));
        if name.is_empty() || !name.bytes().all(is_token) || is_own || value.chars().any(char::is_control) {
            return None;
        }
        let mut pieces = Vec::new();
        let mut rest = value.trim();
        while let Some((text, after)) = rest.split_once('{') {
            let (named, after) = after.split_once('}')?;
            pieces.extend((!text.is_empty()).then(|| FieldPart::Text(text.into())));
            pieces.push(match named {
                "host" => FieldPart::Host,
                "uri" => FieldPart::Uri,
                _ => return None,
            });
            rest = after;
        }
        pieces.extend((!rest.is_empty()).then(|| FieldPart::Text(rest.into())));
        Some(FixedField { name: name.into(), value: pieces })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn value(&self, head: &Head<'_>, called: Option<&str>) -> String {
        let mut value = String::new();
        for piece in &self.value {
            match piece {
                FieldPart::Text(text) => value.push_str(text),
                FieldPart::Host => match host(called) {
                    Some(Host::Name(name)) => value.push_str(name),
                    Some(Host::Address(address)) if address.is_ipv6() => value.push_str(&format!("[{address}]")),
                    Some(Host::Address(address)) => value.push_str(&address.to_string()),
                    None => {}
                },
                FieldPart::Uri => {
                    value.push_str(head.path);
                    if let Some(query) = head.query {
                        value.push('?');
                        value.push_str(query);
                    }
                }
            }
        }
        value
    }
}

fn host(called: Option<&str>) -> Option<Host<'_>> {
    Authority::parse(called?).ok().map(|authority| authority.host)
}

impl FixedAnswer {
    /// A page that is part of the program.
    pub fn page(content_type: &str, body: &'static [u8]) -> FixedAnswer {
        let field =
            |name: &str, value: &str| FixedField { name: name.into(), value: vec![FieldPart::Text(value.into())] };
        FixedAnswer {
            status: 200,
            fields: vec![
                field("Content-Type", content_type),
                field("Cache-Control", "no-cache"),
                field("X-Content-Type-Options", "nosniff"),
            ],
            body: body.into(),
        }
    }

    /// Whether the request has what the answer repeats: HTTP/1.0 requires no host. `called`: the host that the client has named,
    /// to the gateway or to a trusted proxy.
    pub(super) fn check(&self, called: Option<&str>) -> Result<(), CloseReason> {
        let wants_host = self.fields.iter().any(|field| field.value.contains(&FieldPart::Host));
        if wants_host && host(called).is_none() { Err(CloseReason::MalformedRequest) } else { Ok(()) }
    }

    pub(super) fn write(
        &self,
        (head, called): (&Head<'_>, Option<&str>),
        to: ReplyTo,
        cors: Option<Cors<'_>>,
        out: &mut Vec<u8>,
    ) {
        let reply = Reply::start(out, self.status, to);
        let reply =
            self.fields.iter().fold(reply, |reply, field| reply.header(field.name(), &field.value(head, called)));
        reply.cors(cors).body(&self.body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::next_head;

    fn answer(fields: &[&str], request: &str) -> Result<String, CloseReason> {
        let fields = fields.iter().map(|field| FixedField::parse(field).expect("it is one")).collect();
        let answer = FixedAnswer { status: 308, fields, body: b"gone\n".as_slice().into() };
        let mut bytes = request.as_bytes().to_vec();
        let mut input = &mut bytes[..];
        let head = next_head(&mut input).unwrap().unwrap();
        answer.check(head.host)?;
        let mut out = Vec::new();
        answer.write((&head, head.host), head.reply_to(), None, &mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_redirect_repeats_the_host_and_the_uri() {
        let redirect = ["Location: https://{host}{uri}", "Cache-Control: max-age=60"];
        for (request, location) in [
            ("GET /a%20b?c=%zz HTTP/1.1\r\nHost: Shop.example:8080\r\n\r\n", "https://Shop.example/a%20b?c=%zz"),
            ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "https://[::1]/"),
            ("GET //evil.example HTTP/1.1\r\nHost: 10.0.0.7\r\n\r\n", "https://10.0.0.7//evil.example"),
            ("GET http://b.example/x HTTP/1.1\r\nHost: a\r\n\r\n", "https://b.example/x"),
        ] {
            let answer = answer(&redirect, request).unwrap();
            let head = "HTTP/1.1 308 Permanent Redirect\r\n";
            let rest = "Cache-Control: max-age=60\r\nContent-Length: 5\r\n\r\ngone\n";
            assert_eq!(answer, format!("{head}Location: {location}\r\n{rest}"));
        }
        assert_eq!(answer(&redirect, "GET / HTTP/1.0\r\n\r\n"), Err(CloseReason::MalformedRequest));
        assert!(answer(&["X-A: b"], "GET / HTTP/1.0\r\n\r\n").is_ok());
        let head = answer(&redirect, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(head.ends_with("Content-Length: 5\r\n\r\n"), "{head}");
    }

    #[test]
    fn a_field_is_one_line_that_is_not_the_gateways_to_say() {
        for good in ["A: b", "X-Empty:", "Set-Cookie: a={uri}; Path=/", "location:{host}"] {
            assert!(FixedField::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "A",
            ": b",
            "A b: c",
            "A: b\r\nC: d",
            "A: {path}",
            "A: {host",
            "Content-Length: 5",
            "CONNECTION: close",
            "Transfer-Encoding: chunked",
        ] {
            assert!(FixedField::parse(bad).is_none(), "{bad}");
        }
    }
}
