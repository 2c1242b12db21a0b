//! Waiting for the end of a gateway: SIGINT or SIGTERM, or a failure of its own.

use std::process::ExitCode;

use crossbeam_channel::{Receiver, bounded, select};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::output::complain;
use crate::gateway::Gateway;

/// The exit code of a process that was told twice, as a shell gives it for SIGINT.
const IMPATIENT: i32 = 130;

/// Hears the signals. Made before the gateway starts, so that none is missed.
pub struct Stop {
    told: Receiver<()>,
}

impl Stop {
    /// An error is one sentence.
    pub fn new() -> Result<Stop, String> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|error| format!("no signals are heard: {error}"))?;
        let (tell, told) = bounded(1);
        let listen = move || {
            let mut signals = signals.forever();
            // Fails when the gateway has ended by itself; then nobody needs to be told.
            let is_told = signals.next().is_some() && tell.send(()).is_ok();
            // The first one is still being obeyed: whoever asks again does not want to wait.
            if is_told && signals.next().is_some() {
                std::process::exit(IMPATIENT);
            }
        };
        let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(listen);
        thread.map_err(|error| format!("no signals are heard: {error}"))?;
        Ok(Stop { told })
    }

    /// Ends the gateway when a signal comes, or when it fails.
    pub fn wait(self, gateway: Gateway) -> ExitCode {
        let failure = select! {
            recv(self.told) -> _ => None,
            recv(gateway.failures()) -> failure => failure.ok(),
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
