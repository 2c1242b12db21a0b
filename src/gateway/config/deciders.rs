//! `permission.ask`: a part of the application that decides.

use std::time::Duration;

/// A part of the application that permissions ask.
#[derive(Clone, Debug, PartialEq)]
pub struct DeciderRules {
    /// The part.
    pub by: DeciderBy,
    /// From a question to its answer.
    pub timeout: Duration,
    /// How long an answer is remembered that does not say so.
    pub kept: Duration,
}

/// How it is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum DeciderBy {
    /// The workers of this service.
    Service(String),
}
