//! The gateway of an example with its own configuration, on free ports.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::examples::running::{PATIENCE, Running, repository};

pub struct Stage {
    gateway: Running,
    /// Addresses with ports.
    pub front: String,
    pub bus: String,
    pub admin: String,
}

impl Stage {
    pub fn start(example: &str, driver: &str) -> Stage {
        let mut gateway = Running::start(
            Command::new(env!("CARGO_BIN_EXE_tidegate"))
                .args(["serve", "--shards", "2", "--config"])
                .arg(repository(&format!("examples/{example}/tidegate.toml")))
                .env("TIDEGATE_DRIVER", driver)
                .envs(["LISTENER_0", "BUS", "ADMIN"].map(|door| (format!("TIDEGATE_{door}_ADDRESS"), "127.0.0.1:0"))),
        );
        let [front, bus, admin] = ["http", "bus", "admin"].map(|door| {
            let line = gateway.line();
            let address = line.strip_prefix(&format!("listening {door} "));
            address.unwrap_or_else(|| panic!("{line:?} is not about {door}")).to_owned()
        });
        Stage { gateway, front, bus, admin }
    }

    pub fn id(&self) -> u32 {
        self.gateway.id()
    }

    pub fn http(&self) -> String {
        format!("http://{}", self.front)
    }

    pub fn websocket(&self) -> String {
        format!("ws://{}", self.front)
    }

    pub fn nats(&self) -> String {
        format!("nats://{}", self.bus)
    }

    /// The sum of a counter's rows whose labels contain this.
    pub fn count(&self, name: &str, label: &str) -> u64 {
        let mut socket = TcpStream::connect(&self.admin).expect("the admin listener");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("a request");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("an answer");
        let rows = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        rows.filter_map(|row| row.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }
}
