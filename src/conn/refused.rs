//! A refused request, as the shard is told of it.

use super::quota::Excess;
use crate::proto::CloseReason;

/// The answer is in the outbox.
#[derive(Debug)]
pub struct Refused {
    pub reason: CloseReason,
    /// A line for the log, if the answer alone does not show the reason.
    pub remark: Option<Box<str>>,
    /// The limit that it was refused for.
    pub excess: Option<Excess>,
    /// Whether the connection ends after the answer.
    pub is_last: bool,
}

/// Text from a client, as a log line shows it: quoted, and cut to a bounded length.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 100;
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_writes_stays_on_its_line_and_short() {
        assert_eq!(quoted("http://a"), "\"http://a\"");
        assert_eq!(quoted("a\nb\u{1b}\""), "\"a\\nb\\u{1b}\\\"\"");
        assert_eq!(quoted(&"é".repeat(101)), format!("\"{}\"…", "é".repeat(100)));
    }
}
