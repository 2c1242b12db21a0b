//! The client of the admin API: `POST /api/channels/{channel}`, `/api/upstreams`.

use super::events::refusal;
use super::http::HttpConnection;
use super::{Field, Trust, Url};

pub(in crate::cli) struct AdminClient {
    connection: HttpConnection,
    /// The prefix of the API's path, if a proxy needs one.
    base: String,
}

impl AdminClient {
    pub fn connect(url: &Url, trust: &Trust) -> Result<AdminClient, String> {
        if !matches!(url.scheme, "http" | "https") {
            return Err(format!("{url}: expected http:// or https://"));
        }
        let base = url.target.split('?').next().unwrap_or_default().trim_end_matches('/').to_owned();
        Ok(AdminClient { connection: HttpConnection::open(url, &[], trust)?, base })
    }

    /// The answer of the API, one line.
    pub fn publish(&mut self, channel: &str, fields: &[Field], payload: &[u8]) -> Result<String, String> {
        self.ask("POST", &format!("channels/{}", encoded(channel)), fields, payload)
    }

    /// All servers of all upstreams, as JSON.
    pub fn upstreams(&mut self) -> Result<String, String> {
        self.ask("GET", "upstreams", &[], b"")
    }

    /// `verb`: `drain` or `ready`.
    pub fn set_server(&mut self, upstream: &str, server: &str, verb: &str) -> Result<String, String> {
        self.ask("POST", &format!("upstreams/{}/{}/{verb}", encoded(upstream), encoded(server)), &[], b"")
    }

    fn ask(&mut self, method: &str, path: &str, fields: &[Field], body: &[u8]) -> Result<String, String> {
        let target = format!("{}/api/{path}", self.base);
        let mut head = self.connection.request(method, &target, fields, body)?;
        if !(200..300).contains(&head.status) {
            return Err(refusal(&mut self.connection, &mut head));
        }
        let answer = self.connection.answer(&mut head)?;
        Ok(String::from_utf8_lossy(&answer).split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

/// One segment of a path (RFC 3986 section 3.3): all but unreserved characters are escaped.
fn encoded(segment: &str) -> String {
    let mut out = String::new();
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_a_channel_as_one_segment() {
        assert_eq!(encoded("room.1-a_b~"), "room.1-a_b~");
        assert_eq!(encoded("a/b?c é"), "a%2Fb%3Fc%20%C3%A9");
    }
}
