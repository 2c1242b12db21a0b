//! A client of the client protocol that is in a hurry: many commands a frame, and a new connection instead of patience.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use memchr::memmem;
use tidegate_bench::load::{TEXT, write_client_frame};

use super::socket::open_websocket;

/// Opcode of a server's close frame, with FIN (RFC 6455 section 5.2).
const CLOSE: u8 = 0x88;

pub struct Client {
    socket: BufReader<TcpStream>,
    /// Of the last command.
    id: u32,
}

impl Client {
    /// A connection whose `connect` has been answered.
    pub fn connect(address: SocketAddr, path: &str, token: Option<&str>) -> Result<Client, String> {
        let socket = open_websocket(address, path).map_err(|error| error.to_string())?;
        let mut client = Client { socket: BufReader::new(socket), id: 0 };
        let token = token.map_or_else(String::new, |token| format!("\"token\":\"{token}\""));
        client.ask(&[format!("\"connect\":{{{token}}}")])?;
        Ok(client)
    }

    /// Sends these commands in one frame, and waits for the answer to the last one.
    pub fn ask(&mut self, commands: &[String]) -> Result<(), String> {
        let mut text = String::new();
        for command in commands {
            self.id += 1;
            text += &format!("{{\"id\":{},{command}}}\n", self.id);
        }
        let mut frame = Vec::new();
        write_client_frame(&mut frame, TEXT, text.trim_end().as_bytes());
        self.socket.get_mut().write_all(&frame).map_err(|error| error.to_string())?;
        let answer = format!("\"id\":{},", self.id);
        while memmem::find(&self.payload()?, answer.as_bytes()).is_none() {}
        Ok(())
    }

    /// Of the next frame.
    fn payload(&mut self) -> Result<Vec<u8>, String> {
        let mut head = [0; 2];
        self.read(&mut head)?;
        let payload_bytes = match head[1] {
            126 => {
                let mut long = [0; 2];
                self.read(&mut long)?;
                u16::from_be_bytes(long).into()
            }
            127 => {
                let mut long = [0; 8];
                self.read(&mut long)?;
                u64::from_be_bytes(long) as usize
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; payload_bytes];
        self.read(&mut payload)?;
        match head[0] {
            CLOSE => Err(format!("the gateway closes: {}", String::from_utf8_lossy(&payload))),
            _ => Ok(payload),
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        self.socket.read_exact(bytes).map_err(|error| error.to_string())
    }
}
