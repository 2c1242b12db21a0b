//! A program that no variable of this environment configures: `TIDEGATE_SHARDS` of whoever runs the tests is not for it.

use std::process::Command;

pub fn unconfigured(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEGATE_")) {
        command.env_remove(name);
    }
    command
}
