//! The output of a verb: results on stdout, errors on stderr in one line each.
//!
//! Both may be full, closed, or a pipe whose reader has gone. Then printing a result is an error, and an error that
//! cannot be printed is only its exit code; neither is a panic.

use std::io::Write;
use std::process::ExitCode;

/// Prints a result.
pub(super) fn print(text: &str) -> ExitCode {
    match write(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message),
    }
}

/// Writes to stdout. A reader that has gone away (`| head`) is no failure.
pub(super) fn write(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    unless_unread(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// The error of a result that could not be written to stdout; none if its reader has gone away.
pub(super) fn unless_unread(outcome: std::io::Result<()>) -> Result<(), String> {
    match outcome {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(format!("stdout: {error}")),
        _ => Ok(()),
    }
}

/// Prints an error in one line.
pub(super) fn complain(message: &str) {
    line(&format!("tidegate: {message}"));
}

/// Prints an error, and returns the exit code of a failure.
pub(super) fn fail(message: &str) -> ExitCode {
    complain(message);
    ExitCode::FAILURE
}

/// Writes a line to stderr if possible. Unlike `eprintln!` it does not panic if stderr is full.
pub(super) fn line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
