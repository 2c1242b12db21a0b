//! Waits for the end of a gateway: a signal, a closed terminal, or a failure of the gateway.
//!
//! ```text
//!  SIGINT SIGTERM SIGQUIT --> told --> drain; a second one: exit at once
//!  SIGHUP ------------------> the access log is opened again, and a line; told, if it came because the terminal was closed
//!  SIGUSR1 -----------------> the access log is opened again; without one, a line
//!  SIGUSR2 -----------------> a line
//!  SIGXFSZ -----------------> nothing: the write that was too much has failed
//! ```
//!
//! By default all of these signals would end the process without a drain. Rust's runtime ignores SIGPIPE.

use std::fs::File;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};
use log::warn;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::Signals;

use super::output::complain;
use tidegate::base::{Fold, Tick};
use tidegate::gateway::Gateway;

/// The exit code after a second signal, the one that a shell returns for SIGINT.
const IMPATIENT: i32 = 130;

/// Signals that have a meaning, or at least a line in the log.
const HEARD: [i32; 6] = [SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2];

/// Receives the signals. Made before the gateway starts, so that none is missed.
pub struct Stop {
    told: Receiver<()>,
    /// The access log was renamed, says this signal.
    renamed: Receiver<i32>,
}

impl Stop {
    /// An error is one sentence.
    pub fn new() -> Result<Stop, String> {
        let words = |error: std::io::Error| format!("signals cannot be received: {error}");
        // A log file that must not grow (RLIMIT_FSIZE) is no reason to end the process.
        signal_hook::flag::register(SIGXFSZ, Arc::default()).map_err(words)?;
        let wanted = HEARD.into_iter().filter(|signal| *signal != SIGHUP || !is_hangup_ignored());
        let signals = Signals::new(wanted).map_err(words)?;
        let (tell, told) = bounded(1);
        let (rename, renamed) = bounded(1);
        let listener = Ear { tell, rename, terminal: Terminal::new(), fold: Fold::new(), started: Instant::now() };
        let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || listener.listen(signals));
        thread.map_err(words)?;
        Ok(Stop { told, renamed })
    }

    /// Ends the gateway when a signal comes, or when it fails.
    pub fn wait(self, gateway: Gateway) -> ExitCode {
        let failure = loop {
            select! {
                recv(self.told) -> _ => break None,
                recv(gateway.failures()) -> failure => break failure.ok(),
                recv(self.renamed) -> signal => {
                    if !gateway.reopen_access_log() && signal == Ok(SIGUSR1) {
                        warn!("SIGUSR1 is ignored: there is no access log to open again");
                    }
                }
            }
        };
        gateway.stop();
        match failure {
            None => ExitCode::SUCCESS,
            Some(failure) => {
                complain(&failure);
                ExitCode::FAILURE
            }
        }
    }
}

/// The thread that receives signals, until the process ends.
struct Ear {
    tell: Sender<()>,
    rename: Sender<i32>,
    terminal: Terminal,
    fold: Fold,
    started: Instant,
}

impl Ear {
    fn listen(self, mut signals: Signals) {
        let mut is_told = false;
        for signal in signals.forever() {
            match signal {
                SIGINT | SIGTERM | SIGQUIT => {
                    // The first signal's drain still runs: a second signal means that the operator does not want to wait.
                    if is_told {
                        std::process::exit(IMPATIENT);
                    }
                    is_told = self.end();
                }
                SIGHUP if self.terminal.is_closed() => is_told = self.end(),
                SIGHUP => {
                    self.reopen(signal);
                    let words = "SIGHUP changes nothing but the file of the access log, which is opened again; the configuration is \
                                 only read at start";
                    self.say(signal, words);
                }
                SIGUSR1 => self.reopen(signal),
                _ => self.say(signal, "SIGUSR2 is ignored: it has no meaning here"),
            }
        }
    }

    /// Tells the gateway to end; `false` if its receiver is gone. Telling it twice has no effect.
    fn end(&self) -> bool {
        !matches!(self.tell.try_send(()), Err(TrySendError::Disconnected(())))
    }

    /// The same if one that came before is not heeded yet.
    fn reopen(&self, signal: i32) {
        let _ = self.rename.try_send(signal);
    }

    fn say(&self, signal: i32, words: &str) {
        if let Some(left_out) = self.fold.say(&signal, Tick::ZERO + self.started.elapsed()) {
            warn!("{words}{left_out}");
        }
    }
}

/// The controlling terminal at start, if there was one.
struct Terminal {
    was_there: bool,
}

impl Terminal {
    fn new() -> Terminal {
        Terminal { was_there: Terminal::is_there() }
    }

    /// Ctrl-C is no longer possible. The kernel takes the terminal from a session before it sends SIGHUP.
    fn is_closed(&self) -> bool {
        self.was_there && !Terminal::is_there()
    }

    /// /dev/tty is the controlling terminal of the process that opens it; without one the open fails (tty(4)).
    fn is_there() -> bool {
        File::open("/dev/tty").is_ok()
    }
}

/// Whether the process was started with SIGHUP ignored, as by nohup(1): then it stays ignored.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 << (SIGHUP - 1) != 0)
}
