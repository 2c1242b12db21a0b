//! A process that a test has started, what it prints, and its end with the test.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Longer than anything here takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let (said, lines) = channel();
        // Ends with the process, or with the test.
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        Running { child, lines }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next that it prints.
    pub fn line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("it says no more: {error}"))
    }

    /// It ends by itself, without another word.
    pub fn ends_well(mut self) {
        assert_eq!(self.lines.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
        assert!(self.child.wait().expect("it is ours").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A program of an example in Python, or in JavaScript.
pub fn program(path: &str) -> Command {
    let interpreter = if path.ends_with(".py") { repository("tests/.venv/bin/python") } else { "node".into() };
    let mut command = Command::new(interpreter);
    command.arg(repository(path));
    command
}

/// One of the examples' pages in a browser.
pub fn page(play: &str, gateway: &str) -> Running {
    Running::start(Command::new("node").arg(repository("tests/program/examples/pages.mjs")).args([play, gateway]))
}
