//! A gateway that runs as its own process, with its configuration and a certificate in a folder of its own; killed in the end.

use std::io::{BufRead, BufReader, Lines};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Longer than any single step takes, even where everything is slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Served {
    child: Child,
    folder: PathBuf,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Served {
    /// `kinds`: of the addresses where `configuration` has it listen, in the order in which it says them. Those come back.
    pub fn start<const N: usize>(name: &str, configuration: &str, kinds: [&str; N]) -> (Served, [String; N]) {
        let folder = std::env::temp_dir().join(format!("tidegate-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let (certificate, key) = crate::certificate::self_signed();
        for (name, text) in [("cert.pem", &*certificate), ("key.pem", &*key), ("tidegate.toml", configuration)] {
            std::fs::write(folder.join(name), text).expect("a file can be written");
        }
        let mut child = crate::command::unconfigured(env!("CARGO_BIN_EXE_tidegate"))
            .args(["serve", "--config"])
            .arg(folder.join("tidegate.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is ours")).lines();
        let addresses = kinds.map(|kind| {
            let line = lines.next().expect("it says where it listens").expect("a line");
            line.strip_prefix(&format!("listening {kind} ")).unwrap_or_else(|| panic!("{line}")).to_owned()
        });
        (Served { child, folder, stdout: lines }, addresses)
    }

    /// Its log. Can be taken only once.
    pub fn log(&mut self) -> BufReader<ChildStderr> {
        BufReader::new(self.child.stderr.take().expect("stderr is ours"))
    }

    /// The next line of its stdout behind the addresses.
    pub fn next_line(&mut self) -> String {
        self.stdout.next().expect("it goes on").expect("a line")
    }

    /// Of its configuration, which names files in it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub fn connect(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).expect("the gateway accepts");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    socket
}
