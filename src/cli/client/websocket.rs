//! A client that sends some texts over a WebSocket and then reads from it.

use std::time::{Duration, Instant};

use tungstenite::client::{IntoClientRequest, client_with_config};
use tungstenite::http::{HeaderName, HeaderValue, Response};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Error, HandshakeError, Message};

use super::stream::{Stream, is_timeout};
use super::{ArrivedMessage, Field, MESSAGE_BYTES_MAX, SourceEvent, TICK, Trust, Url};

/// How long the server may take for its half of the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub(in crate::cli) struct WebSocketSource(tungstenite::WebSocket<Stream>);

impl WebSocketSource {
    pub fn open(url: &Url, fields: &[Field], trust: &Trust) -> Result<WebSocketSource, String> {
        let stream = Stream::connect(url, trust)?;
        let uri = format!("{}://{}{}", url.scheme, url.authority(), url.target);
        let mut request = uri.into_client_request().map_err(|error| format!("{url}: {error}"))?;
        for Field { name, value } in fields.iter().chain(&url.authorization(fields)) {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            request.headers_mut().append(name, HeaderValue::from_str(value).map_err(|error| error.to_string())?);
        }
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let (socket, _) = client_with_config(request, stream, Some(config)).map_err(|error| match error {
            HandshakeError::Failure(Error::Http(response)) => format!("{url}: {}", refusal(&response)),
            HandshakeError::Failure(error) => format!("{url}: {error}"),
            HandshakeError::Interrupted(_) => format!("{url}: the server did not answer in time"),
        })?;
        socket.get_ref().wait_at_most(TICK).map_err(|error| error.to_string())?;
        Ok(WebSocketSource(socket))
    }

    pub fn send(&mut self, text: &str) -> Result<(), String> {
        self.0.send(Message::text(text)).map_err(|error| error.to_string())
    }

    pub fn next(&mut self) -> Result<SourceEvent, String> {
        match self.0.read() {
            Ok(Message::Text(text)) => Ok(arrived(text.as_bytes().to_vec())),
            Ok(Message::Binary(bytes)) => Ok(arrived(bytes.to_vec())),
            Ok(Message::Close(frame)) => {
                let words = frame.map_or("no code".to_owned(), |CloseFrame { code, reason }| {
                    format!("{} {reason}", u16::from(code)).trim_end().to_owned()
                });
                // The answer to the close frame is sent with the next flush.
                _ = self.0.flush();
                Ok(SourceEvent::Ended(words))
            }
            Ok(_) => Ok(SourceEvent::Nothing),
            Err(Error::Io(error)) if is_timeout(&error) => Ok(SourceEvent::Nothing),
            Err(Error::ConnectionClosed) => Ok(SourceEvent::Ended(String::new())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Does the closing handshake, as far as the server takes part.
    pub fn close(&mut self) {
        let goodbye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        if self.0.close(Some(goodbye)).is_ok() && self.0.flush().is_ok() {
            let deadline = Instant::now() + CLOSE_TIMEOUT;
            while Instant::now() < deadline && matches!(self.next(), Ok(SourceEvent::Arrived(_) | SourceEvent::Nothing))
            {
            }
        }
    }
}

/// A refusal in one line: the first line of its body, if it has arrived.
fn refusal(response: &Response<Option<Vec<u8>>>) -> String {
    let status = response.status();
    if status.is_success() {
        return format!(
            "answered with {status}, which opens no WebSocket; the URL of an event stream begins with http:// or https://"
        );
    }
    let body = String::from_utf8_lossy(response.body().as_deref().unwrap_or_default()).into_owned();
    match body.lines().next().map(str::trim).filter(|line| !line.is_empty()) {
        Some(line) => format!("refused with {status}: {line}"),
        None => format!("refused with {status}"),
    }
}

fn arrived(payload: Vec<u8>) -> SourceEvent {
    SourceEvent::Arrived(ArrivedMessage { payload, ..ArrivedMessage::default() })
}
