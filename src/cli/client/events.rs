//! A client that reads an event stream.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde_json::Value;

use super::http::{BodyProgress, HttpConnection, ResponseHead};
use super::{ArrivedMessage, Field, MESSAGE_BYTES_MAX, SourceEvent, TICK, Trust, Url};
use tidegate::proto::sse::Parser;

pub(in crate::cli) struct Events {
    connection: HttpConnection,
    framing: BodyProgress,
    parser: Parser,
    /// Parsed messages that are not taken yet.
    ready: VecDeque<ArrivedMessage>,
}

impl Events {
    pub fn open(url: &Url, fields: &[Field], last_event_id: Option<&str>, trust: &Trust) -> Result<Events, String> {
        let words = |error: String| format!("{url}: {error}");
        let mut connection = HttpConnection::open(url, fields, trust)?;
        let mut all = vec![Field { name: "Accept".to_owned(), value: "text/event-stream".to_owned() }];
        all.extend(last_event_id.map(|id| Field { name: "Last-Event-ID".to_owned(), value: id.to_owned() }));
        all.extend_from_slice(fields);
        let mut head = connection.request("GET", &url.target, &all, b"").map_err(words)?;
        if head.status != 200 {
            return Err(words(refusal(&mut connection, &mut head)));
        }
        if !head.content_type.starts_with("text/event-stream") {
            return Err(words(format!("answered with {:?}; expected \"text/event-stream\"", head.content_type)));
        }
        connection.stream().wait_at_most(TICK).map_err(|error| error.to_string())?;
        Ok(Events { connection, framing: head.framing, parser: Parser::new(MESSAGE_BYTES_MAX), ready: VecDeque::new() })
    }

    pub fn next(&mut self) -> Result<SourceEvent, String> {
        if let Some(arrival) = self.ready.pop_front() {
            return Ok(SourceEvent::Arrived(arrival));
        }
        let mut bytes = Vec::new();
        if !self.connection.body(&mut self.framing, &mut bytes)? {
            return Ok(SourceEvent::Ended(String::new()));
        }
        let mut input = &bytes[..];
        while let Some(event) = self.parser.next(&mut input).map_err(|reason| reason.to_string())? {
            self.ready.push_back(ArrivedMessage {
                subject: None,
                id: (!event.id.is_empty()).then_some(event.id),
                event: (!event.event.is_empty()).then_some(event.event),
                payload: event.data.into_bytes(),
            });
        }
        Ok(self.ready.pop_front().map_or(SourceEvent::Nothing, SourceEvent::Arrived))
    }
}

/// A refusal in one line.
pub(super) fn refusal(connection: &mut HttpConnection, head: &mut ResponseHead) -> String {
    let body = connection.answer(head).unwrap_or_default();
    let error = serde_json::from_slice::<Value>(&body).ok().and_then(|body| Some(body["error"].as_str()?.to_owned()));
    let text = error.map_or_else(|| String::from_utf8_lossy(&body), Cow::Owned);
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        format!("refused with {}", head.status)
    } else {
        format!("refused with {}: {line}", head.status)
    }
}
