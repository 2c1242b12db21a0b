//! The client of the admin API, and the options of verbs that use it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::events::refusal;
use super::http::HttpConnection;
use super::{CONNECT_TIMEOUT, Field, Trust, Url};

/// The variable of the environment with the token: that of `admin.token`.
const TOKEN_VARIABLE: &str = "TIDEGATE_ADMIN_TOKEN";
/// Longest file with a token.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// The listener of a running gateway, and what lets a program in there.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AdminPlace {
    /// URL of the admin listener, or its socket: unix:/run/tidegate/admin.sock
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9180")]
    admin: String,
    /// File with the token for the admin listener; otherwise the variable TIDEGATE_ADMIN_TOKEN has it, if one is needed
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl AdminPlace {
    /// A connection to it.
    pub fn connect(&self, trust: &Trust) -> Result<AdminClient, String> {
        let token = self.token()?;
        match self.admin.strip_prefix("unix:") {
            Some(path) => {
                let connection = HttpConnection::local(Path::new(path))?;
                Ok(AdminClient { connection, place: self.admin.clone(), token, base: String::new() })
            }
            None => AdminClient::connect(&Url::parse(&self.admin, "http")?, token, trust),
        }
    }

    /// The field that carries the token, if there is one.
    fn token(&self) -> Result<Option<Field>, String> {
        let text = match &self.token_file {
            Some(path) => {
                let words = |error: std::io::Error| format!("{}: {error}", path.display());
                let mut text = String::new();
                File::open(path)
                    .and_then(|file| file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text))
                    .map_err(words)?;
                Some(text)
            }
            None => std::env::var(TOKEN_VARIABLE).ok(),
        };
        text.map(|text| format!("Authorization: Bearer {}", text.trim()).parse()).transpose()
    }
}

/// A running gateway.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AdminArgs {
    #[command(flatten)]
    place: AdminPlace,
    #[command(flatten)]
    trust: Trust,
    /// Print the answer as one line of JSON
    #[arg(long)]
    pub json: bool,
}

impl AdminArgs {
    /// A connection to it.
    pub fn connect(&self) -> Result<AdminClient, String> {
        self.place.connect(&self.trust)
    }
}

/// A user, or one of its connections.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Addressee {
    /// The user, by the name that the application gives it; with --conn, the id of one connection
    #[arg(value_name = "USER")]
    name: String,
    /// The name is the id of a connection, as `Tg-Conn` and `GET /api/users/{user}` have it
    #[arg(long)]
    conn: bool,
}

impl Addressee {
    /// The reach of an operation, in words.
    pub fn reached(&self, answer: &str) -> String {
        let connections = serde_json::from_str::<Value>(answer).ok().and_then(|answer| answer["connections"].as_u64());
        match (connections, self.conn) {
            (_, true) => format!("the connection {}", self.name),
            (Some(1), false) => format!("one connection of {}", self.name),
            (Some(count), false) => format!("{count} connections of {}", self.name),
            (None, false) => self.name.clone(),
        }
    }
}

pub(in crate::cli) struct AdminClient {
    connection: HttpConnection,
    /// The listener's URL, for errors.
    place: String,
    token: Option<Field>,
    /// The prefix of the API's path, if a proxy needs one.
    base: String,
}

impl AdminClient {
    fn connect(url: &Url, token: Option<Field>, trust: &Trust) -> Result<AdminClient, String> {
        if !matches!(url.scheme, "http" | "https") {
            return Err(format!("{url}: expected http:// or https://"));
        }
        let base = url.target.split('?').next().unwrap_or_default().trim_end_matches('/').to_owned();
        let connection = HttpConnection::open(url, token.as_slice(), trust)?;
        Ok(AdminClient { connection, place: url.to_string(), token, base })
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

    /// Answers may take so many seconds more than usual.
    pub fn wait_for(&mut self, seconds: u32) -> Result<(), String> {
        let longest = CONNECT_TIMEOUT + Duration::from_secs(seconds.into());
        self.connection.stream().wait_at_most(longest).map_err(|error| format!("{}: {error}", self.place))
    }

    /// Revokes the tokens that the text names.
    pub fn revoke(&mut self, text: &str) -> Result<String, String> {
        self.ask("POST", "revocations", &[], text.as_bytes())
    }

    /// Sends a message to a user or a connection; with `verb`: a command or a question.
    pub fn operate(
        &mut self,
        to: &Addressee,
        verb: Option<&str>,
        fields: &[Field],
        body: &[u8],
    ) -> Result<String, String> {
        let family = if to.conn { "connections" } else { "users" };
        let verb = verb.map(|verb| format!("/{verb}")).unwrap_or_default();
        self.ask("POST", &format!("{family}/{}{verb}", encoded(&to.name)), fields, body)
    }

    fn ask(&mut self, method: &str, path: &str, fields: &[Field], body: &[u8]) -> Result<String, String> {
        let target = format!("{}/api/{path}", self.base);
        let fields: Vec<Field> = fields.iter().chain(&self.token).cloned().collect();
        let place = &self.place;
        let words = |error| format!("{place}: {error}");
        let mut head = self.connection.request(method, &target, &fields, body).map_err(words)?;
        if !(200..300).contains(&head.status) {
            return Err(words(refusal(&mut self.connection, &mut head)));
        }
        let answer = self.connection.answer(&mut head).map_err(words)?;
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
