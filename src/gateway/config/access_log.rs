//! The log of clients' requests, as it is configured.

use std::path::PathBuf;

use super::LineFormat;

/// The log of clients' requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where its lines go.
    pub target: LogTarget,
    /// How a line is written.
    pub format: LineFormat,
    /// Whether streams have a line when they begin, too.
    pub tells_opens: bool,
    /// Whether the end of a stream tells what TCP knows of its connection.
    pub tells_tcp: bool,
}

/// Where the lines of a log go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// The standard output of the process.
    Stdout,
    /// The end of a file, or a named pipe.
    File(PathBuf),
}
