//! A nats-server of our own, from the distribution's package.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::nats::bus::{PASSWORD, USER};

pub struct Server {
    /// `HOST:PORT`.
    pub address: String,
    process: Child,
}

impl Server {
    pub fn start() -> Server {
        let installed = "/usr/sbin/nats-server";
        let program = if Path::new(installed).exists() { installed } else { "nats-server" };
        let mut process = Command::new(program)
            // The port is the kernel's choice.
            .args(["--addr", "127.0.0.1", "--port", "-1", "--user", USER, "--pass", PASSWORD])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error} (tests/install.sh installs it)"));
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let words = "Listening for client connections on ";
        let address = lines.find_map(|line| line.split_once(words).map(|(_, address)| address.to_owned()));
        std::thread::spawn(move || lines.for_each(drop));
        Server { address: address.expect("nats-server says where it listens"), process }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
