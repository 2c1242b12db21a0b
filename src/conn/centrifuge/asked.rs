//! A command that waits until the application has decided whether its client may do that.
//!
//! ```text
//!  command --CommandRefusal::Asks--> AskedCommand: the line is kept, nothing else has changed; no other command is taken
//!                                        | the shard has the decisions
//!                                        '--> the command is read again, and carried out with them
//! ```
//!
//! One command waits at most, so the order of a client's commands stays, and its memory is that of one line.

use crate::conn::decisions::DecidedRight;

/// The command of one client that waits, if one does.
#[derive(Default)]
pub(in crate::conn) struct Asked(Option<Box<AskedCommand>>);

/// See the module's picture.
pub(super) struct AskedCommand {
    pub line: Box<[u8]>,
    /// Those for which it has waited; with `is_answered`, all that it needs as far as is known.
    pub answers: Vec<DecidedRight>,
    is_answered: bool,
}

impl Asked {
    /// A command waits. `answers`: it has waited before.
    pub(super) fn wait(&mut self, line: &[u8], answers: &[DecidedRight]) {
        let (line, answers) = (line.into(), answers.to_vec());
        self.0 = Some(Box::new(AskedCommand { line, answers, is_answered: false }));
    }

    /// The application has decided, or nothing is known. False if no command waits.
    pub(in crate::conn) fn answer(&mut self, decided: Vec<DecidedRight>) -> bool {
        let Some(asked) = self.0.as_mut().filter(|asked| !asked.is_answered) else { return false };
        asked.answers.extend(decided);
        asked.is_answered = true;
        true
    }

    /// Whether a command waits for the application.
    pub(in crate::conn) fn is_open(&self) -> bool {
        self.0.as_ref().is_some_and(|asked| !asked.is_answered)
    }

    /// Whether a command has its answer.
    pub(in crate::conn) fn is_answered(&self) -> bool {
        self.0.as_ref().is_some_and(|asked| asked.is_answered)
    }

    /// The command that has its answer.
    pub(super) fn take_answered(&mut self) -> Option<Box<AskedCommand>> {
        self.0.take_if(|asked| asked.is_answered)
    }

    /// Bytes of memory for the line.
    pub(in crate::conn) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |asked| asked.line.len())
    }
}
