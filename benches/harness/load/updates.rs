//! A TLS 1.3 client that updates its keys again and again (RFC 8446 section 4.6.3).
//!
//! ```text
//! shake: rustls --secrets--> kernel: the next keys --> seal: KeyUpdate | empty record, with the keys before | after
//! ```

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls_pki_types::ServerName;

use super::record::{APPLICATION_DATA, HANDSHAKE, Half};
use crate::certificate::NAME;

/// Type, length, and that the peer need not do the same.
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
const RECEIVE_BYTES: usize = 16 * 1024;
const FLIGHT_BYTES_MAX: usize = 16 * 1024;

pub struct KeyUpdates {
    kernel: KernelConnection<ClientConnectionData>,
    send: Half,
}

impl KeyUpdates {
    /// Shakes hands on a blocking socket.
    pub fn shake(socket: &mut TcpStream, config: Arc<ClientConfig>) -> Result<KeyUpdates, String> {
        let name = ServerName::try_from(NAME).map_err(|error| error.to_string())?;
        let mut client = UnbufferedClientConnection::new(config, name).map_err(|error| error.to_string())?;
        let (mut arrived, mut out) = (Vec::new(), Vec::new());
        loop {
            let UnbufferedStatus { mut discard, state, .. } = client.process_tls_records(&mut arrived);
            let is_done = match state.map_err(|error| error.to_string())? {
                ConnectionState::EncodeTlsData(mut flight) => {
                    let start = out.len();
                    out.resize(start + FLIGHT_BYTES_MAX, 0);
                    let bytes = flight.encode(&mut out[start..]).map_err(|error| error.to_string())?;
                    out.truncate(start + bytes);
                    false
                }
                ConnectionState::TransmitTlsData(sent) => {
                    socket.write_all(&out).map_err(|error| error.to_string())?;
                    out.clear();
                    sent.done();
                    false
                }
                ConnectionState::BlockedHandshake => {
                    arrived.drain(..std::mem::take(&mut discard));
                    let mut chunk = [0; RECEIVE_BYTES];
                    let read = socket.read(&mut chunk).map_err(|error| error.to_string())?;
                    if read == 0 {
                        return Err("the server ends the connection in the handshake".to_owned());
                    }
                    arrived.extend_from_slice(&chunk[..read]);
                    false
                }
                ConnectionState::WriteTraffic(_) => true,
                state => return Err(format!("unexpected in a handshake: {state:?}")),
            };
            arrived.drain(..discard);
            if is_done {
                let (secrets, kernel) = client.dangerous_into_kernel_connection().map_err(|error| error.to_string())?;
                return Ok(KeyUpdates { kernel, send: Half::new(secrets.tx)? });
            }
        }
    }

    /// Appends a KeyUpdate, and an empty record with the new keys.
    pub fn seal(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        self.send.seal(HANDSHAKE, &KEY_UPDATE, out)?;
        self.send = Half::new(self.kernel.update_tx_secret().map_err(|error| error.to_string())?)?;
        self.send.seal(APPLICATION_DATA, &[], out)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener};
    use std::thread;

    use rustls::ServerConnection;

    use super::*;
    use crate::certificate::{Certificate, Shake};

    #[test]
    fn a_server_of_rustls_follows_the_updates() {
        let certificate = Certificate::new().unwrap();
        let (server, client) = (certificate.server().unwrap(), certificate.client(Shake::default()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let served = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut server = ServerConnection::new(server).unwrap();
            while server.read_tls(&mut socket).unwrap() > 0 {
                server.process_new_packets().unwrap();
                while server.wants_write() {
                    server.write_tls(&mut socket).unwrap();
                }
            }
            let mut plain = Vec::new();
            _ = server.reader().read_to_end(&mut plain);
            plain
        });
        let mut updates = KeyUpdates::shake(&mut socket, client).unwrap();
        let mut out = Vec::new();
        for _ in 0..8 {
            updates.seal(&mut out).unwrap();
        }
        updates.send.seal(APPLICATION_DATA, b"high water", &mut out).unwrap();
        socket.write_all(&out).unwrap();
        // A close with unread bytes of the server would reset the connection.
        socket.shutdown(Shutdown::Write).unwrap();
        std::io::copy(&mut socket, &mut std::io::sink()).unwrap();
        assert_eq!(served.join().unwrap(), b"high water");
    }
}
