//! Letters for the thread that writes the access log.

use super::Lane;

/// Tells: to the writer, which answers nothing.
#[derive(Debug)]
pub enum LogMail {
    /// These lines are to be written, each with its end; `count` is their number.
    Lines { text: Vec<u8>, count: u64 },
    /// The file has been renamed: another one is to be opened under its name.
    Reopen,
}

impl LogMail {
    /// Bytes that count against its mailbox.
    pub(super) fn payload_bytes(&self) -> usize {
        match self {
            LogMail::Lines { text, .. } => text.len(),
            LogMail::Reopen => 0,
        }
    }

    pub(super) fn lane(&self) -> Lane {
        Lane::Tell
    }
}
