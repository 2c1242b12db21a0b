//! The command line: one file per verb.

pub mod demo;

use std::process::ExitCode;

pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
