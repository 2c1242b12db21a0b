//! A line on the terminal that is written over; nothing where there is none.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(250);

pub struct Progress {
    is_shown: bool,
    /// What is being measured.
    head: String,
    next: Instant,
}

impl Progress {
    pub fn new(head: impl Into<String>) -> Progress {
        Progress { is_shown: std::io::stderr().is_terminal(), head: head.into(), next: Instant::now() }
    }

    /// At most four times a second.
    pub fn show(&mut self, text: impl FnOnce() -> String) {
        let now = Instant::now();
        if self.is_shown && now >= self.next {
            self.next = now + INTERVAL;
            eprint!("\r\x1b[K{}: {}", self.head, text());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            eprint!("\r\x1b[K");
        }
    }
}
