//! The facts about a request for its line in the access log, kept from its head until it is answered, or until its stream ends.

use super::journey::Journey;
use crate::base::{RouteId, Tick};
use crate::conn::Peer;

use crate::conn::route::AuthId;
use crate::limits;
use crate::proto::access::LineHead;
use crate::proto::http::{Head, TraceContext, query_masked};
use crate::proto::upstream::UpstreamId;

pub(super) struct AccessEntry {
    pub began: Tick,
    pub id: Box<str>,
    pub trace: Option<TraceContext>,
    pub client: Peer,
    /// The peer of the connection; a trusted proxy, if it is not the client.
    pub peer: Peer,
    pub listener: u16,
    pub is_tls: bool,
    /// `None`: it could not be read.
    pub head: Option<HeadText>,
    pub route: Option<RouteId>,
    pub user: Option<Box<str>>,
    /// The auth that was shown a token.
    pub auth: Option<AuthId>,
    /// As announced.
    pub request_bytes: Option<u64>,
    /// The status of the answer that has begun a stream; `None`: it is a request so far.
    pub stream: Option<u16>,
    /// Events that the client of a stream did not get.
    pub lost: u64,
    pub proxied: Option<Proxied>,
}

/// The servers of a proxied request.
#[derive(Clone, Copy)]
pub(super) struct Proxied {
    pub upstream: UpstreamId,
    pub journey: Journey,
    pub began: Tick,
}

/// The fields of a head that a line shows, one after the other, each cut to a bounded length.
pub(super) struct HeadText {
    bytes: Vec<u8>,
    /// Where each ends, in the order of [`LineHead`].
    ends: [u32; 5],
    minor_version: u8,
}

impl HeadText {
    /// `secrets`: the query parameters whose values are masked.
    pub(super) fn of(head: &Head<'_>, secrets: &[Box<str>]) -> HeadText {
        let is_secret = |name: &str| secrets.iter().any(|secret| **secret == *name);
        let (mut bytes, mut ends) = (Vec::with_capacity(256), [0; 5]);
        let first = |name: &str| head.values(name).next().unwrap_or_default();
        let query = head.query.map(|query| query_masked(query, is_secret));
        let (referer, referer_query) = parted(first("referer"), is_secret);
        let parts: [&[&[u8]]; 5] = [
            &[head.host.unwrap_or_default().as_bytes()],
            &[head.method.as_bytes()],
            &[
                head.path.as_bytes(),
                query.as_ref().map_or(&b""[..], |_| b"?"),
                query.as_deref().unwrap_or("").as_bytes(),
            ],
            &[first("user-agent")],
            &[referer, &referer_query],
        ];
        for (part, end) in parts.into_iter().zip(&mut ends) {
            let most = bytes.len() + limits::ACCESS_LOG_TEXT_BYTES_MAX;
            part.iter().for_each(|piece| bytes.extend_from_slice(piece));
            bytes.truncate(most);
            *end = bytes.len() as u32;
        }
        HeadText { bytes, ends, minor_version: head.minor_version }
    }

    /// For a stream, which may last.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    pub(super) fn line(&self) -> LineHead<'_> {
        let mut start = 0;
        let [host, method, path, agent, referer] = self.ends.map(|end| {
            let part = &self.bytes[start..end as usize];
            start = end as usize;
            part
        });
        LineHead { host, method, path, agent, referer, minor_version: self.minor_version }
    }
}

/// A URL as far as its query, and what follows, masked. A query that is no text is left out.
fn parted(url: &[u8], is_secret: impl Fn(&str) -> bool) -> (&[u8], Vec<u8>) {
    let Some(at) = memchr::memchr(b'?', url) else { return (url, Vec::new()) };
    let query = str::from_utf8(&url[at + 1..]).map_or("".into(), |query| query_masked(query, is_secret));
    (&url[..=at], query.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::next_head;

    fn text(target: &str, lines: &str) -> HeadText {
        let mut bytes = format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\n{lines}\r\n").into_bytes();
        let head = next_head(&mut &mut bytes[..]).unwrap().unwrap();
        HeadText::of(&head, &["access_token".into(), "t".into()])
    }

    #[test]
    fn secrets_in_a_query_are_masked_in_any_spelling() {
        let text = text(
            "/a?b=c&access_token=s3&%74=s3&d",
            "Referer: https://a.example/x?access%5Ftoken=s3&y=z\r\nCookie: s3\r\n",
        );
        let line = text.line();
        assert_eq!(line.path, b"/a?b=c&access_token=***&%74=***&d");
        assert_eq!(line.referer, b"https://a.example/x?access%5Ftoken=***&y=z");
        assert!(!text.bytes.windows(2).any(|two| two == b"s3"));
    }

    #[test]
    fn a_query_of_a_referer_that_is_no_text_is_left_out() {
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\nReferer: /x?access_token=\xff\r\n\r\n".to_vec();
        let head = next_head(&mut &mut bytes[..]).unwrap().unwrap();
        assert_eq!(HeadText::of(&head, &[]).line().referer, b"/x?");
    }

    #[test]
    fn a_long_field_is_cut_and_leaves_the_others_whole() {
        let long = "x".repeat(3 * limits::ACCESS_LOG_TEXT_BYTES_MAX);
        let text = text("/a", &format!("User-Agent: {long}\r\nReferer: /b\r\n"));
        let line = text.line();
        assert_eq!((line.agent.len(), line.referer), (limits::ACCESS_LOG_TEXT_BYTES_MAX, &b"/b"[..]));
        assert_eq!((line.host, line.method, line.path), (&b"shop.example"[..], &b"GET"[..], &b"/a"[..]));
    }
}
