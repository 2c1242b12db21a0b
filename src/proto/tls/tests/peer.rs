//! A client that has left rustls after its handshake and sends whatever it likes.

use rustls::{ClientConnection, ServerConfig, ServerConnection};

use super::*;
use crate::proto::tls::record::tests::{Direction, inner, open, seal_inner};
use crate::proto::tls::record::{Fault, Suite};
use crate::proto::tls::secrets;

/// The server's end: ours, or rustls as it comes.
pub(super) enum Server {
    Ours(Box<End>),
    Rustls { connection: Box<ServerConnection>, plain: Vec<u8>, out: Vec<u8>, is_peer_closed: bool },
}

impl Server {
    pub(super) fn ours(config: &Arc<ServerConfig>) -> Server {
        Server::Ours(Box::new(End::new(config)))
    }

    pub(super) fn rustls(config: &Arc<ServerConfig>) -> Server {
        let connection = Box::new(ServerConnection::new(config.clone()).unwrap());
        Server::Rustls { connection, plain: Vec::new(), out: Vec::new(), is_peer_closed: false }
    }

    /// False once it has failed.
    pub(super) fn hear(&mut self, mut bytes: &[u8]) -> bool {
        match self {
            Server::Ours(end) => end.open(bytes).is_ok(),
            Server::Rustls { connection, plain, out, is_peer_closed } => {
                let mut is_sound = true;
                // It is not asked again after close_notify: after an empty handshake record rustls 0.23.46 would panic.
                while is_sound && !*is_peer_closed && !bytes.is_empty() {
                    connection.read_tls(&mut bytes).unwrap();
                    match connection.process_new_packets() {
                        Ok(news) => {
                            let start = plain.len();
                            plain.resize(start + news.plaintext_bytes_to_read(), 0);
                            connection.reader().read_exact(&mut plain[start..]).unwrap();
                            *is_peer_closed = news.peer_has_closed();
                        }
                        Err(_) => is_sound = false,
                    }
                }
                while connection.wants_write() {
                    connection.write_tls(out).unwrap();
                }
                is_sound
            }
        }
    }

    pub(super) fn say(&mut self, words: &[u8]) {
        match self {
            Server::Ours(end) => end.seal(&[words]).unwrap(),
            Server::Rustls { connection, out, .. } => {
                connection.writer().write_all(words).unwrap();
                while connection.wants_write() {
                    connection.write_tls(out).unwrap();
                }
            }
        }
    }

    pub(super) fn close(&mut self) {
        match self {
            Server::Ours(end) => end.tls.close_notify(&mut end.out),
            Server::Rustls { connection, out, .. } => {
                connection.send_close_notify();
                while connection.wants_write() {
                    connection.write_tls(out).unwrap();
                }
            }
        }
    }

    pub(super) fn plain(&self) -> &[u8] {
        match self {
            Server::Ours(end) => &end.plain,
            Server::Rustls { plain, .. } => plain,
        }
    }

    /// The rule that has been broken, as our record layer calls it.
    pub(super) fn fault(&self) -> Option<Fault> {
        match self {
            Server::Ours(end) => match end.tls.failure()? {
                TlsFailure::Record(fault) => Some(*fault),
                TlsFailure::Session(_) | TlsFailure::NoSecrets => None,
            },
            Server::Rustls { .. } => None,
        }
    }

    pub(super) fn take_out(&mut self) -> Vec<u8> {
        match self {
            Server::Ours(end) => std::mem::take(&mut end.out),
            Server::Rustls { out, .. } => std::mem::take(out),
        }
    }

    pub(super) fn is_peer_closed(&self) -> bool {
        match self {
            Server::Ours(end) => end.tls.is_peer_closed(),
            Server::Rustls { is_peer_closed, .. } => *is_peer_closed,
        }
    }
}

/// The client's end of a finished handshake.
pub(super) struct Peer {
    sending: Direction,
    receiving: Direction,
}

impl Peer {
    /// Shakes hands with the server as rustls does, and takes the secrets over.
    pub(super) fn connect(client: &Arc<ClientConfig>, suite: Suite, server: &mut Server) -> Peer {
        let mut connection = ClientConnection::new(client.clone(), "localhost".try_into().unwrap()).unwrap();
        let mut secrets = None;
        while connection.is_handshaking() || connection.wants_write() {
            let mut wire = Vec::new();
            while connection.wants_write() {
                connection.write_tls(&mut wire).unwrap();
            }
            assert!(server.hear(&wire));
            let answer = server.take_out();
            let mut rest = &answer[..];
            while !rest.is_empty() {
                connection.read_tls(&mut rest).unwrap();
                let (news, overheard) = secrets::during(|| connection.process_new_packets());
                news.unwrap();
                secrets = overheard.or(secrets);
            }
        }
        let secrets = secrets.expect("the client's key log");
        let extracted = connection.dangerous_extract_secrets().unwrap();
        Peer {
            sending: Direction::new(suite, &secrets.client.bytes, extracted.tx.0),
            receiving: Direction::new(suite, &secrets.server.bytes, extracted.rx.0),
        }
    }

    /// A record of this type and content.
    pub(super) fn record(&mut self, content_type: u8, content: &[u8]) -> Vec<u8> {
        self.padded(content_type, content, 0)
    }

    pub(super) fn padded(&mut self, content_type: u8, content: &[u8], padding: usize) -> Vec<u8> {
        self.inner(&inner(content_type, content, padding))
    }

    /// A record with any inside.
    pub(super) fn inner(&mut self, inside: &[u8]) -> Vec<u8> {
        seal_inner(&mut self.sending, inside)
    }

    /// What follows is encrypted with the next key.
    pub(super) fn update(&mut self) {
        self.sending.update();
    }

    /// Leaves out a sequence number.
    pub(super) fn skip(&mut self) {
        self.sending.skip();
    }

    /// What the server has said, record by record: type and content.
    pub(super) fn understand(&mut self, wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
        open(&mut self.receiving, wire)
    }
}
