//! Errors in the way of system calls.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

/// strace, attached to a thread until that has ended: told to let go in the middle of a call, it would leave an ENOSYS
/// behind. So how many calls fail is said beforehand.
pub struct Injection {
    strace: Child,
    _stderr: BufReader<ChildStderr>,
}

impl Injection {
    /// `which` counts the calls from now on: `1`, or `1..3`.
    pub fn new(thread: u32, call: &str, error: &str, which: &str) -> Injection {
        let strace = Command::new("strace")
            .args(["-o", "/dev/null", "-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:error={error}:when={which}")])
            .args(["-p", &thread.to_string()])
            .stderr(Stdio::piped())
            .spawn();
        let mut strace = strace.expect("strace runs (tests/install.sh installs it)");
        let mut stderr = BufReader::new(strace.stderr.take().expect("stderr is ours"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("strace says something");
        assert!(line.contains(" attached"), "strace has not attached: {line}");
        Injection { strace, _stderr: stderr }
    }
}

impl Drop for Injection {
    /// Its thread has ended.
    fn drop(&mut self) {
        _ = self.strace.wait();
    }
}
