//! A request of the thread itself, and what its server says, over a connection in clear or by TLS.
//!
//! ```text
//!  connect --> [handshake] --> request --> hear, hear .. until the caller has its outcome, or a fault --> perhaps another request
//! ```

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName as CertifiedName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::base::Remote;
use crate::limits::ANSWER_HEAD_BYTES_MAX;
use crate::proto::CloseReason;
use crate::proto::tls::{Opened, Tls};

/// Plaintext of one look at the records that have arrived.
const PLAIN_BYTES_MAX: usize = 2 * ANSWER_HEAD_BYTES_MAX;

/// Where a request goes, and from where.
#[derive(Clone, Debug)]
pub(super) struct Aim {
    pub to: Remote,
    pub from: Option<IpAddr>,
    /// The field `Host`.
    pub host: Box<str>,
    /// With this configuration, for this name.
    pub tls: Option<(Arc<ClientConfig>, CertifiedName<'static>)>,
}

/// Sends the request, and lets `hear` look at what the server has said so far, until it returns something. `hear` takes what it
/// has used off the front; it is told when the server has ended. The texts are clauses about the server.
pub(super) async fn converse<T, E: From<String>>(
    aim: &Aim,
    request: &str,
    hear: impl FnMut(&mut Vec<u8>, bool) -> Result<Option<T>, E>,
) -> Result<T, E> {
    Wire::open(aim).await?.ask(request, hear).await
}

/// A connection to a server, for one request after the other.
pub(super) struct Wire {
    stream: Box<dyn WireStream>,
    layer: WireLayer,
    /// Bytes of the server that are not opened yet.
    wire: Vec<u8>,
    /// Bytes of its answer that are opened and not used.
    heard: Vec<u8>,
    has_ended: bool,
}

trait WireStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> WireStream for S {}

impl Wire {
    pub(super) async fn open(aim: &Aim) -> Result<Wire, String> {
        let stream: Box<dyn WireStream> = match &aim.to {
            Remote::Tcp(address) => Box::new(connect(*address, aim.from).await.map_err(words)?),
            Remote::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(words)?),
        };
        let layer = match &aim.tls {
            Some((config, name)) => WireLayer::Tls(Box::new(TlsLayer::begin(config, name.clone())?)),
            None => WireLayer::Plain(Vec::new()),
        };
        Ok(Wire { stream, layer, wire: Vec::new(), heard: Vec::new(), has_ended: false })
    }

    /// One request and its answer. See [`converse`].
    pub(super) async fn ask<T, E: From<String>>(
        &mut self,
        request: &str,
        mut hear: impl FnMut(&mut Vec<u8>, bool) -> Result<Option<T>, E>,
    ) -> Result<T, E> {
        self.layer.say(request)?;
        loop {
            let has_more = self.layer.advance(&mut self.wire, &mut self.heard)?;
            if let Some(outcome) = hear(&mut self.heard, self.has_ended && !has_more)? {
                return Ok(outcome);
            }
            let out = self.layer.take_output();
            if !out.is_empty() {
                self.stream.write_all(&out).await.map_err(words)?;
            }
            if has_more {
                continue;
            }
            if self.has_ended {
                return Err("it has closed the connection without a whole answer".to_owned().into());
            }
            self.has_ended = self.stream.read_buf(&mut self.wire).await.map_err(words)? == 0;
        }
    }

    /// Whether another request may follow: nothing is left of the answer before it.
    pub(super) fn is_clean(&self) -> bool {
        !self.has_ended && self.wire.is_empty() && self.heard.is_empty()
    }
}

fn words(error: io::Error) -> String {
    error.to_string()
}

async fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(from) = from {
        socket.bind((from, 0).into())?;
    }
    socket.connect(to).await
}

/// The layer between the socket and the answer.
enum WireLayer {
    /// Bytes that are to be sent.
    Plain(Vec<u8>),
    Tls(Box<TlsLayer>),
}

struct TlsLayer {
    tls: Tls,
    /// Sent after the handshake; `None`: that is over.
    waiting: Option<String>,
    out: Vec<u8>,
}

impl TlsLayer {
    fn begin(config: &Arc<ClientConfig>, name: CertifiedName<'static>) -> Result<TlsLayer, String> {
        let mut out = Vec::new();
        let tls = Tls::client(config, name, &mut out).map_err(in_words)?;
        Ok(TlsLayer { tls, waiting: Some(String::new()), out })
    }

    fn seal(&mut self, request: &str) -> Result<(), String> {
        self.tls.seal([request.as_bytes()], &mut Vec::new(), &mut self.out).map(|_| ()).map_err(in_words)
    }
}

fn in_words(reason: CloseReason) -> String {
    reason.row().words.to_owned()
}

impl WireLayer {
    /// Adds a request to what is to be sent.
    fn say(&mut self, request: &str) -> Result<(), String> {
        match self {
            WireLayer::Plain(out) => out.extend_from_slice(request.as_bytes()),
            WireLayer::Tls(layer) => match &mut layer.waiting {
                Some(waiting) => waiting.push_str(request),
                None => layer.seal(request)?,
            },
        }
        Ok(())
    }

    /// Takes what can be used off the front of `wire`, and appends to `heard` what the server has said. True if there is more in
    /// `wire` than one look takes.
    fn advance(&mut self, wire: &mut Vec<u8>, heard: &mut Vec<u8>) -> Result<bool, String> {
        let WireLayer::Tls(layer) = self else {
            heard.append(wire);
            return Ok(false);
        };
        let mut input = &mut wire[..];
        let is_full = loop {
            match layer.tls.open(&mut input, heard, &mut layer.out, PLAIN_BYTES_MAX) {
                Ok(Opened::Handshaken(_)) => {
                    let waiting = layer.waiting.take().unwrap_or_default();
                    layer.seal(&waiting)?;
                }
                Ok(Opened::Full) => break true,
                Ok(Opened::More | Opened::PeerClosed) => break false,
                Err(reason) => {
                    let why = layer.tls.failure().map_or_else(|| in_words(reason), ToString::to_string);
                    return Err(format!("TLS has failed: {why}"));
                }
            }
        };
        let rest = input.len();
        wire.drain(..wire.len() - rest);
        Ok(is_full)
    }

    fn take_output(&mut self) -> Vec<u8> {
        match self {
            WireLayer::Plain(out) => std::mem::take(out),
            WireLayer::Tls(layer) => std::mem::take(&mut layer.out),
        }
    }
}
