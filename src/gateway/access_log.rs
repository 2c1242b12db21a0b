//! The thread that writes the access log.
//!
//! ```text
//!  shards --Lines (bounded, by mail)--> writer --> a file, a pipe, stdout
//!  SIGUSR1 --Reopen--------------------'   '-- a write that fails: the lines are lost, counted, and that is said once
//! ```
//!
//! SHARED BEFORE UNSHARED: the file is opened after the shards have descriptor tables of their own. A copy in one of these would
//! keep the space of a file that was rotated away.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use log::{error, info, warn};

use super::StartError;
use super::config::{Config, LogTarget};
use crate::base::Place;
use crate::conn::access::lines::AccessRule;
use crate::conn::settings::Generation;
use crate::limits;
use crate::mesh::drain::DrainMail;
use crate::mesh::log::LogMail;
use crate::mesh::{Mail, Mailbox, Mesh};

/// Lines name clients: others than the owner and its group may not read them.
const FILE_MODE: u32 = 0o640;
/// How often a pipe that is full is tried again, and for how long.
const PIPE_RETRY: Duration = Duration::from_millis(10);
const PIPE_PATIENCE: Duration = Duration::from_secs(1);

/// The writer, as the gateway sees it.
pub(super) struct LogWriter {
    mesh: Mesh,
    place: Place,
    thread: JoinHandle<()>,
    ended: Receiver<()>,
}

/// Fails if the configuration has a log that could not be opened now.
pub(super) fn check(config: &Config) -> Result<(), StartError> {
    config.access_log.as_ref().map_or(Ok(()), |log| OpenLog::new(&log.target).map(drop))
}

/// Starts the thread, if the configuration has a log.
pub(super) fn start(
    config: &Config,
    generation: &Generation,
    mesh: &Mesh,
    mailbox: Option<Mailbox>,
) -> Result<Option<LogWriter>, StartError> {
    let (Some(log), Some(rule), Some(mailbox)) = (&config.access_log, &generation.access, mailbox) else {
        return Ok(None);
    };
    let target = &log.target;
    let no = |words: String| StartError(format!("the writer of the access log did not start: {words}"));
    let place = mesh.log_writer().ok_or_else(|| no("it has no place".to_owned()))?;
    let (end, ended) = bounded(1);
    let log = OpenLog::new(target)?;
    let mut pen = Pen { log, target: target.clone(), rule: rule.clone(), is_failing: false };
    let run = move || {
        pen.run(&mailbox);
        let _ = end.send(());
    };
    let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn(run);
    let thread = thread.map_err(|error| no(error.to_string()))?;
    Ok(Some(LogWriter { mesh: mesh.clone(), place, thread, ended }))
}

impl LogWriter {
    /// The file is opened again by its name. False if the writer does not take letters now.
    pub(super) fn reopen(&self) -> bool {
        self.mesh.try_send(self.place, Mail::Log(LogMail::Reopen)).is_ok()
    }

    /// Ends the thread when it has written all that it has. A pipe that is not read may hold it up: then it is left alone.
    pub(super) fn stop(self) {
        let until = Instant::now() + limits::ACCESS_LOG_STOP_WAIT;
        while self.mesh.try_send(self.place, Mail::Drain(DrainMail::Begin)).is_err() && !self.thread.is_finished() {
            if Instant::now() >= until {
                return warn!("the access log is not written to its end: its writer hangs");
            }
            std::thread::sleep(super::STOP_RETRY);
        }
        match self.ended.recv_deadline(until) {
            // The thread has ended, or is about to.
            Ok(()) => drop(self.thread.join()),
            Err(_) => warn!("the access log is not written to its end: its writer hangs"),
        }
    }
}

/// A log that is open.
enum OpenLog {
    Stdout,
    File(File),
}

impl OpenLog {
    fn new(target: &LogTarget) -> Result<OpenLog, StartError> {
        match target {
            LogTarget::Stdout => Ok(OpenLog::Stdout),
            LogTarget::File(path) => open(path).map(OpenLog::File).map_err(|words| {
                StartError(format!("access_log.file: {} cannot be opened for writing: {words}", path.display()))
            }),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            // All at once, so that no line of another program's is written within one.
            OpenLog::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush().map(|()| bytes.len())
            }
            OpenLog::File(file) => file.write(bytes),
        }
    }
}

/// A named pipe is opened without waiting for its reader, which has to be there.
fn open(path: &Path) -> Result<File, String> {
    let options =
        OpenOptions::new().append(true).create(true).mode(FILE_MODE).custom_flags(libc::O_NONBLOCK).open(path);
    options.map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => "no program reads this pipe".to_owned(),
        _ => error.to_string(),
    })
}

/// The thread's state.
struct Pen {
    log: OpenLog,
    target: LogTarget,
    rule: Arc<AccessRule>,
    /// The last write has failed, and that was said.
    is_failing: bool,
}

impl Pen {
    fn run(&mut self, mailbox: &Mailbox) {
        const A_WHILE: Duration = Duration::from_secs(3600);
        while let Ok(mail) = mailbox.wait(Instant::now() + A_WHILE) {
            match mail {
                Some(Mail::Log(LogMail::Lines { text, count })) => self.write(&text, count),
                Some(Mail::Log(LogMail::Reopen)) => self.reopen(),
                Some(Mail::Drain(_)) => return,
                _ => {}
            }
        }
    }

    fn write(&mut self, text: &[u8], count: u64) {
        match write_all(&mut self.log, text) {
            Ok(()) if self.is_failing => {
                self.is_failing = false;
                info!("the access log is written again");
            }
            Ok(()) => {}
            Err(error) => {
                self.rule.unwritten.add(count);
                if !std::mem::replace(&mut self.is_failing, true) {
                    error!("the access log cannot be written, and loses lines until it can: {error}");
                }
            }
        }
    }

    fn reopen(&mut self) {
        match OpenLog::new(&self.target) {
            Ok(log) => self.log = log,
            Err(error) => error!("{error}; the access log goes on in the file that was open"),
        }
    }
}

/// Writes all of it, or some and the end of a line, so that what is written next begins on a line of its own.
fn write_all(log: &mut OpenLog, text: &[u8]) -> io::Result<()> {
    let (mut rest, mut until) = (text, Instant::now() + PIPE_PATIENCE);
    while !rest.is_empty() {
        match log.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                rest = &rest[count..];
                until = Instant::now() + PIPE_PATIENCE;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < until => {
                std::thread::sleep(PIPE_RETRY);
            }
            Err(error) => {
                let is_torn = rest.len() < text.len() && text[text.len() - rest.len() - 1] != b'\n';
                if is_torn {
                    // Where nothing can be written, this cannot either.
                    let _ = log.write(b"\n");
                }
                return Err(error);
            }
        }
    }
    Ok(())
}
