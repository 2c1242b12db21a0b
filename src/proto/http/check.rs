//! The request that asks a server whether a client is let in: what is written, and nothing else, reaches it.

use std::net::IpAddr;

use super::forward::{is_nameable, is_own, push, push_client, push_display};
use super::head::Head;

/// The facts about a client's request that the server is told, besides fields of the client.
pub struct CheckFields<'a> {
    /// Where the server is asked, in origin form.
    pub path: &'a str,
    /// Names of the client's fields that pass.
    pub send: &'a [Box<str>],
    /// `X-Forwarded-For`.
    pub client: IpAddr,
    /// `X-Forwarded-Proto`.
    pub is_secure: bool,
    /// `X-Forwarded-Host`.
    pub called: Option<&'a str>,
    /// `X-Forwarded-Uri`: the path in its one form, which is matched and passed on, and the query without tokens.
    pub asked: &'a str,
    pub query: Option<&'a str>,
    /// `X-Request-Id`.
    pub id: &'a str,
    /// Names this gateway in `Via`.
    pub pseudonym: &'a str,
}

/// The client's fields with these names: no field of the one connection passes, and none that the gateway sets itself.
pub fn sent_fields<'h>(head: &'h Head<'_>, send: &'h [Box<str>]) -> impl Iterator<Item = (&'h str, &'h [u8])> {
    let is_sent = |name: &str| send.iter().any(|sent| sent.eq_ignore_ascii_case(name));
    let passing = head.end_to_end().filter(move |field| is_sent(field.name));
    passing.filter(|field| is_nameable(field.name) && !is_own(field.name, false)).map(|field| (field.name, field.value))
}

/// Writes the request without `Host`, which is the server's ([`insert_host`](super::insert_host)). It is a GET without a body; no field of
/// the one connection passes, and no upgrade.
pub fn write_check(out: &mut Vec<u8>, head: &Head<'_>, own: &CheckFields<'_>) {
    out.extend_from_slice(b"GET ");
    out.extend_from_slice(own.path.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in sent_fields(head, own.send) {
        push(out, name, value);
    }
    push_client(out, own.client);
    push(out, "X-Forwarded-Proto", if own.is_secure { b"https" } else { b"http" });
    if let Some(called) = own.called {
        push(out, "X-Forwarded-Host", called.as_bytes());
    }
    push(out, "X-Forwarded-Method", head.method.as_bytes());
    match own.query {
        Some(query) => push_display(out, "X-Forwarded-Uri", format_args!("{}?{query}", own.asked)),
        None => push(out, "X-Forwarded-Uri", own.asked.as_bytes()),
    }
    push(out, "X-Request-Id", own.id.as_bytes());
    push_display(out, "Via", format_args!("1.{} {}", head.minor_version, own.pseudonym));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::next_head;
    use super::*;

    #[test]
    fn a_server_hears_what_is_asked_for_and_no_more_of_the_client() {
        let mut bytes = b"POST /a/b?c=d HTTP/1.1\r\nHost: shop\r\nCookie: sid=1\r\nAuthorization: Basic x\r\nX-User: root\r\n\
            X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Uri: /admin\r\nConnection: Upgrade, X-Hop\r\nX-Hop: y\r\nUpgrade: websocket\r\n\
            Content-Length: 3\r\n\r\n"
            .to_vec();
        let mut input = &mut bytes[..];
        let head = next_head(&mut input).unwrap().unwrap();
        let send: Vec<Box<str>> =
            ["cookie", "X-Hop", "Upgrade", "Content-Length", "X-Forwarded-For"].map(Box::from).into();
        let own = CheckFields {
            path: "/verify?x=y",
            send: &send,
            client: IpAddr::from([192, 0, 2, 1]),
            is_secure: true,
            called: Some("shop"),
            asked: head.path,
            query: head.query,
            id: "id-1",
            pseudonym: "tidegate-0a1b2c3d",
        };
        let mut out = Vec::new();
        write_check(&mut out, &head, &own);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "GET /verify?x=y HTTP/1.1\r\nCookie: sid=1\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Host: shop\r\nX-Forwarded-Method: POST\r\nX-Forwarded-Uri: /a/b?c=d\r\nX-Request-Id: id-1\r\n\
             Via: 1.1 tidegate-0a1b2c3d\r\n\r\n"
        );
    }
}
