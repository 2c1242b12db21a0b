//! A mistake in the configuration: its place, its nature, the accepted values. Always one line.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A place in the file.
    Line {
        /// Counts from 1.
        line: usize,
        /// Counts from 1, in characters.
        column: usize,
    },
    /// An environment variable.
    Variable(String),
}

/// One mistake, or something that is legal and probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The place of the refused value; for a missing value, the table that lacks it.
    pub place: Place,
    /// One line, without the place.
    pub message: String,
}

impl Error {
    pub(super) fn new(place: &Place, message: impl Into<String>) -> Error {
        Error { place: place.clone(), message: message.into() }
    }

    pub(super) fn unreadable(error: &io::Error) -> Error {
        Error::new(&Place::File, format!("cannot be read: {error}"))
    }

    /// The probable cause of the other mistakes: no file was named, and the default one does not exist.
    pub(super) fn absent() -> Error {
        let words = "this file does not exist; `tidegate config` prints one to start from, --config names another";
        Error::new(&Place::File, words)
    }
}

/// All mistakes of one configuration, in the order of their places. Displayed one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    file: PathBuf,
    errors: Vec<Error>,
    /// Legal settings that are probably mistakes.
    doubts: Vec<Error>,
}

impl Errors {
    pub(super) fn new(file: &Path) -> Errors {
        Errors { file: file.to_owned(), errors: Vec::new(), doubts: Vec::new() }
    }

    pub(super) fn push(&mut self, error: Error) {
        self.errors.push(error);
    }

    pub(super) fn doubt(&mut self, doubt: Error) {
        self.doubts.push(doubt);
    }

    /// Each warning as a line, in the order of their places.
    pub(super) fn take_doubts(&mut self) -> Vec<String> {
        let mut doubts = std::mem::take(&mut self.doubts);
        doubts.sort_by(|a, b| a.place.cmp(&b.place));
        doubts.iter().map(|doubt| self.line(&doubt.place, &format!("warning: {}", doubt.message))).collect()
    }

    fn line(&self, place: &Place, message: &str) -> String {
        match place {
            Place::File => format!("{}: {message}", self.file.display()),
            Place::Line { line, .. } => format!("{}:{line}: {message}", self.file.display()),
            Place::Variable(_) => message.to_owned(),
        }
    }

    pub(super) fn with(mut self, error: Error) -> Errors {
        self.push(error);
        self
    }

    /// All mistakes, in the order of their places; at least one.
    pub fn iter(&self) -> impl Iterator<Item = &Error> {
        self.errors.iter()
    }

    /// Each mistake as a line.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.errors.iter().map(|error| self.line(&error.place, &error.message))
    }

    pub(super) fn into_result<T>(mut self, value: T) -> Result<T, Errors> {
        if self.errors.is_empty() {
            return Ok(value);
        }
        self.errors.sort_by(|a, b| a.place.cmp(&b.place));
        self.errors.dedup();
        Err(self)
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.lines().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&line)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}
