//! `permission.ask`: a part of the application that decides.

use std::time::Duration;

use super::certificates::servers_tls;
use crate::outbound::DeciderSource;
use crate::proto::permission::DeciderId;
use crate::proto::upstream::UpstreamRule;

/// A part of the application that permissions ask.
#[derive(Clone, Debug, PartialEq)]
pub struct DeciderRules {
    /// The part.
    pub by: DeciderBy,
    /// From a question to its answer.
    pub timeout: Duration,
    /// How long an answer is remembered that does not say so.
    pub kept: Duration,
}

/// How it is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum DeciderBy {
    /// The workers of this service.
    Service(String),
    /// An address of the application.
    Url(Box<DeciderUrl>),
}

/// The address of a decider.
#[derive(Clone, Debug, PartialEq)]
pub struct DeciderUrl {
    /// As it is written.
    pub url: String,
    /// The server of the URL alone, with TLS if the URL says so.
    pub server: UpstreamRule,
    /// The path of the URL, with its query.
    pub path: String,
}

impl DeciderRules {
    /// One line about a file that it names and that cannot be used.
    pub fn fault(&self) -> Option<String> {
        self.source(DeciderId(0)).err()
    }

    /// The source of its decisions, if it has a URL. The error is one line that names the file.
    pub(crate) fn source(&self, decider: DeciderId) -> Result<Option<DeciderSource>, String> {
        let DeciderBy::Url(own) = &self.by else { return Ok(None) };
        let tls = own.server.tls.as_ref().map(|tls| servers_tls(&own.server, tls, &mut None)).transpose();
        let server = own.server.servers.first().ok_or("the URL names no server")?;
        Ok(Some(DeciderSource {
            decider,
            url: own.url.as_str().into(),
            server: server.clone(),
            path: own.path.as_str().into(),
            tls: tls.map_err(|error| format!("ca {error}"))?,
            timeout: self.timeout,
        }))
    }
}
