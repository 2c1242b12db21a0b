//! A connection to a server, plain or TLS, whose reads can time out.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{CONNECT_TIMEOUT, Url};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tidegate::proto::tls::certificates::read_chain;
use tidegate::proto::tls::config::provider;

/// The servers that are trusted over TLS.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Trust {
    /// Trust the certificates of this PEM file instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Trust any certificate: for tests with self-signed ones
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
}

pub(super) enum Stream {
    Plain(TcpStream),
    /// To a path of this machine.
    Local(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// Connects to the host of `url`; with TLS for `https` and `wss`. [`CONNECT_TIMEOUT`] bounds waits until
    /// [`Stream::wait_at_most`] sets another bound.
    pub fn connect(url: &Url, trust: &Trust) -> Result<Stream, String> {
        let stream = Stream::plain(url)?;
        if url.is_tls() { stream.encrypted(url, trust) } else { Ok(stream) }
    }

    /// The same without TLS, for any scheme.
    pub fn plain(url: &Url) -> Result<Stream, String> {
        let (host, port) = (url.host.as_str(), url.port);
        dial(host, port).map(Stream::Plain).map_err(|error| format!("{host}:{port}: {error}"))
    }

    /// Connects to a path.
    pub fn local(path: &Path) -> Result<Stream, String> {
        let connected = UnixStream::connect(path).and_then(|socket| {
            socket.set_read_timeout(Some(CONNECT_TIMEOUT))?;
            socket.set_write_timeout(Some(CONNECT_TIMEOUT))?;
            Ok(Stream::Local(socket))
        });
        connected.map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Starts TLS, unless it has been started.
    pub fn encrypted(self, url: &Url, trust: &Trust) -> Result<Stream, String> {
        let Stream::Plain(socket) = self else { return Ok(self) };
        let (host, port) = (url.host.as_str(), url.port);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is not a valid name for TLS"))?;
        let session = ClientConnection::new(trust.config()?, name).map_err(|error| format!("TLS: {error}"))?;
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| format!("{host}:{port}: {error}"))?;
        }
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// Reads return `WouldBlock` or `TimedOut` after `time`.
    pub fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        let socket = match self {
            Stream::Plain(socket) => socket,
            Stream::Local(socket) => return socket.set_read_timeout(Some(time)),
            Stream::Tls(stream) => &stream.sock,
        };
        socket.set_read_timeout(Some(time))
    }
}

fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(CONNECT_TIMEOUT))?;
                socket.set_write_timeout(Some(CONNECT_TIMEOUT))?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(into),
            Stream::Local(socket) => socket.read(into),
            Stream::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Local(socket) => socket.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            Stream::Local(socket) => socket.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

/// Whether a read has timed out.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

impl Trust {
    fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS: {error}"))?;
        let config = if self.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))).with_no_client_auth()
        } else {
            builder.with_root_certificates(self.roots()?).with_no_client_auth()
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        let Some(file) = &self.ca else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return match roots.is_empty() {
                true => Err("the system has no certificates to trust; name some with --ca".to_owned()),
                false => Ok(roots),
            };
        };
        let name = file.display();
        let pem = std::fs::read(file).map_err(|error| format!("{name}: {error}"))?;
        for certificate in read_chain(&pem).map_err(|error| format!("{name}: {error}"))? {
            roots.add(certificate).map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(roots)
    }
}

/// Accepts every certificate, but verifies signatures.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
