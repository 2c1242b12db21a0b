//! One probe: a connection, a request, the head of its answer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName as CertifiedName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time;

use crate::base::Remote;
use crate::limits::{ANSWER_HEAD_BYTES_MAX, INTERIM_ANSWERS_MAX};
use crate::proto::http::next_answer;
use crate::proto::tls::{Opened, Tls};
use crate::proto::upstream::HealthRule;

/// Plaintext of one look at the records that have arrived.
const PROBE_PLAIN_BYTES_MAX: usize = 2 * ANSWER_HEAD_BYTES_MAX;

/// Where a probe goes, and from where.
#[derive(Clone, Debug)]
pub(super) struct Aim {
    pub to: Remote,
    pub from: Option<IpAddr>,
    /// The field `Host`.
    pub host: Box<str>,
    /// With this configuration, for this name.
    pub tls: Option<(Arc<ClientConfig>, CertifiedName<'static>)>,
}

/// The error is a clause about the server.
pub(super) async fn probe(aim: &Aim, rule: &HealthRule) -> Result<(), String> {
    match time::timeout(rule.timeout, attempt(aim, rule)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("it has not answered within {} s", rule.timeout.as_secs())),
    }
}

async fn attempt(aim: &Aim, rule: &HealthRule) -> Result<(), String> {
    let words = |error: io::Error| error.to_string();
    match &aim.to {
        Remote::Tcp(address) => ask(connect(*address, aim.from).await.map_err(words)?, aim, rule).await,
        Remote::Unix(path) => ask(UnixStream::connect(path).await.map_err(words)?, aim, rule).await,
    }
}

async fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(from) = from {
        socket.bind((from, 0).into())?;
    }
    socket.connect(to).await
}

/// The body of the answer is not read: the status is the verdict, and the connection closes.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, aim: &Aim, rule: &HealthRule) -> Result<(), String> {
    let words = |error: io::Error| error.to_string();
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tidegate-health\r\nConnection: close\r\n\r\n",
        rule.path, aim.host
    );
    let mut layer = match &aim.tls {
        Some((config, name)) => ProbeLayer::Tls(Box::new(TlsLayer::begin(config, name.clone(), request)?)),
        None => ProbeLayer::Plain(Vec::from(request)),
    };
    let (mut wire, mut heard) = (Vec::new(), Vec::new());
    loop {
        layer.advance(&mut wire, &mut heard)?;
        if let Some(status) = final_status(&mut heard)? {
            let is_good = rule.statuses.contains(&status);
            return if is_good { Ok(()) } else { Err(format!("it has answered with status {status}")) };
        }
        // One head and the beginning of the next are there at most.
        if heard.len() > 2 * ANSWER_HEAD_BYTES_MAX {
            return Err("the head of its answer is too long".to_owned());
        }
        let out = layer.take_output();
        if !out.is_empty() {
            stream.write_all(&out).await.map_err(words)?;
        }
        if stream.read_buf(&mut wire).await.map_err(words)? == 0 {
            return Err("it has closed the connection without an answer".to_owned());
        }
    }
}

/// The layer between the socket and the answer.
enum ProbeLayer {
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
    fn begin(config: &Arc<ClientConfig>, name: CertifiedName<'static>, request: String) -> Result<TlsLayer, String> {
        let mut out = Vec::new();
        let tls = Tls::client(config, name, &mut out).map_err(|reason| reason.row().words.to_owned())?;
        Ok(TlsLayer { tls, request, out })
    }
}

impl ProbeLayer {
    /// Takes what can be used off the front of `wire`, and appends to `heard` what the server has said.
    fn advance(&mut self, wire: &mut Vec<u8>, heard: &mut Vec<u8>) -> Result<(), String> {
        let ProbeLayer::Tls(layer) = self else {
            heard.append(wire);
            return Ok(());
        };
        let TlsLayer { tls, request, out } = &mut **layer;
        let mut input = &mut wire[..];
        loop {
            match tls.open(&mut input, heard, out, PROBE_PLAIN_BYTES_MAX) {
                Ok(Opened::Handshaken(_)) => {
                    let sealed = tls.seal([request.as_bytes()], &mut Vec::new(), out);
                    sealed.map_err(|reason| reason.row().words.to_owned())?;
                }
                Ok(Opened::More | Opened::Full | Opened::PeerClosed) => break,
                Err(reason) => {
                    let why = tls.failure().map_or_else(|| reason.row().words.to_owned(), ToString::to_string);
                    return Err(format!("TLS has failed: {why}"));
                }
            }
        }
        let rest = input.len();
        wire.drain(..wire.len() - rest);
        Ok(())
    }

    fn take_output(&mut self) -> Vec<u8> {
        match self {
            ProbeLayer::Plain(out) => std::mem::take(out),
            ProbeLayer::Tls(layer) => std::mem::take(&mut layer.out),
        }
    }
}

/// The status of the final answer, if its head has arrived. Takes the answers before it.
fn final_status(heard: &mut Vec<u8>) -> Result<Option<u16>, String> {
    let mut input = &mut heard[..];
    let mut is_final = None;
    for _ in 0..=INTERIM_ANSWERS_MAX {
        match next_answer(&mut input, false).map_err(|_| "its answer is no HTTP".to_owned())? {
            Some(head) if head.is_interim() => {}
            Some(head) => {
                is_final = Some(head.status);
                break;
            }
            None => break,
        }
    }
    let rest = input.len();
    heard.drain(..heard.len() - rest);
    Ok(is_final)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_that_of_the_final_answer() {
        let mut heard = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n".to_vec();
        assert_eq!(final_status(&mut heard), Ok(Some(204)));
        let mut heard = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 20".to_vec();
        assert_eq!(final_status(&mut heard), Ok(None));
        assert_eq!(heard, b"HTTP/1.1 20");
        assert_eq!(final_status(&mut b"SSH-2.0-OpenSSH".to_vec()), Err("its answer is no HTTP".to_owned()));
        assert_eq!(final_status(&mut Vec::new()), Ok(None));
    }
}
