//! A request of the thread itself, and what its server says: one connection, in clear or by TLS, which closes after it.
//!
//! ```text
//!  connect --> [handshake] --> request --> hear, hear .. until the caller has its outcome, or a fault
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
    match &aim.to {
        Remote::Tcp(address) => talk(connect(*address, aim.from).await.map_err(words)?, aim, request, hear).await,
        Remote::Unix(path) => talk(UnixStream::connect(path).await.map_err(words)?, aim, request, hear).await,
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

async fn talk<T, E: From<String>>(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    aim: &Aim,
    request: &str,
    mut hear: impl FnMut(&mut Vec<u8>, bool) -> Result<Option<T>, E>,
) -> Result<T, E> {
    let mut layer = match &aim.tls {
        Some((config, name)) => WireLayer::Tls(Box::new(TlsLayer::begin(config, name.clone(), request)?)),
        None => WireLayer::Plain(Vec::from(request)),
    };
    let (mut wire, mut heard, mut has_ended) = (Vec::new(), Vec::new(), false);
    loop {
        let has_more = layer.advance(&mut wire, &mut heard)?;
        if let Some(outcome) = hear(&mut heard, has_ended && !has_more)? {
            return Ok(outcome);
        }
        let out = layer.take_output();
        if !out.is_empty() {
            stream.write_all(&out).await.map_err(words)?;
        }
        if has_more {
            continue;
        }
        if has_ended {
            return Err("it has closed the connection without a whole answer".to_owned().into());
        }
        has_ended = stream.read_buf(&mut wire).await.map_err(words)? == 0;
    }
}

/// The layer between the socket and the answer.
enum WireLayer {
    /// Bytes that are to be sent.
    Plain(Vec<u8>),
    Tls(Box<TlsLayer>),
}

struct TlsLayer {
    tls: Tls,
    /// Sent after the handshake.
    request: String,
    out: Vec<u8>,
}

impl TlsLayer {
    fn begin(config: &Arc<ClientConfig>, name: CertifiedName<'static>, request: &str) -> Result<TlsLayer, String> {
        let mut out = Vec::new();
        let tls = Tls::client(config, name, &mut out).map_err(|reason| reason.row().words.to_owned())?;
        Ok(TlsLayer { tls, request: request.to_owned(), out })
    }
}

impl WireLayer {
    /// Takes what can be used off the front of `wire`, and appends to `heard` what the server has said. True if there is more in
    /// `wire` than one look takes.
    fn advance(&mut self, wire: &mut Vec<u8>, heard: &mut Vec<u8>) -> Result<bool, String> {
        let WireLayer::Tls(layer) = self else {
            heard.append(wire);
            return Ok(false);
        };
        let TlsLayer { tls, request, out } = &mut **layer;
        let mut input = &mut wire[..];
        let is_full = loop {
            match tls.open(&mut input, heard, out, PLAIN_BYTES_MAX) {
                Ok(Opened::Handshaken(_)) => {
                    let sealed = tls.seal([request.as_bytes()], &mut Vec::new(), out);
                    sealed.map_err(|reason| reason.row().words.to_owned())?;
                }
                Ok(Opened::Full) => break true,
                Ok(Opened::More | Opened::PeerClosed) => break false,
                Err(reason) => {
                    let why = tls.failure().map_or_else(|| reason.row().words.to_owned(), ToString::to_string);
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
