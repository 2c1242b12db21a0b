//! A client's connection to a proxy, with TLS or without; it does not block.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use tidegate_bench::certificate::NAME;

pub enum Link {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Link {
    /// Connected, and after the handshake.
    pub fn connect(front: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> io::Result<Link> {
        let mut socket = TcpStream::connect(front)?;
        socket.set_nodelay(true)?;
        let link = match tls {
            None => Link::Plain(socket),
            Some(config) => {
                let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
                let mut session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                while session.is_handshaking() {
                    session.complete_io(&mut socket)?;
                }
                Link::Tls(Box::new(StreamOwned::new(session, socket)))
            }
        };
        link.socket().set_nonblocking(true)?;
        Ok(link)
    }

    pub fn socket(&self) -> &TcpStream {
        match self {
            Link::Plain(socket) => socket,
            Link::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Link::Plain(socket) => socket.read(buffer),
            Link::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Link::Plain(socket) => socket.write(bytes),
            Link::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Link::Plain(socket) => socket.flush(),
            Link::Tls(stream) => stream.flush(),
        }
    }
}
