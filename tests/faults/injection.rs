//! Errors in the way of system calls.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::gateway::Gateway;

/// strace, attached to the shard of a gateway; it lets go in the end, and the gateway runs on.
pub struct Injection {
    strace: Child,
    _stderr: BufReader<ChildStderr>,
}

impl Injection {
    /// `which` counts the calls from now on: `1`, `1..3`, or `1+` for all.
    pub fn into(gateway: &Gateway, call: &str, error: &str, which: &str) -> Injection {
        let strace = Command::new("strace")
            .args(["-o", "/dev/null", "-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:error={error}:when={which}")])
            .args(["-p", &gateway.shard_thread().to_string()])
            .stderr(Stdio::piped())
            .spawn();
        let mut strace = strace.expect("strace runs (tests/install.sh installs it)");
        let mut stderr = BufReader::new(strace.stderr.take().expect("stderr is ours"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("strace says something");
        assert!(line.contains(" attached"), "strace has not attached: {line}");
        Injection { strace, _stderr: stderr }
    }

    pub fn end(self) {}
}

impl Drop for Injection {
    fn drop(&mut self) {
        // Told to end and not killed: it lets go of what it has stopped.
        _ = Command::new("kill").args(["-TERM", &self.strace.id().to_string()]).status();
        _ = self.strace.wait();
    }
}
