//! The keys of session tickets: whether clients can resume after a restart, and whether the keys are still rotated.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::verdict::Note;
use tidegate::gateway::config::Config;
use tidegate::limits::TICKET_KEYS_AGE_MAX;

/// Nothing without a TLS listener.
pub fn note(config: &Config) -> Option<Note> {
    config.listeners.iter().find(|listener| listener.tls.is_some())?;
    let name = "ticket keys";
    let Some(file) = &config.tls.ticket_keys_file else {
        let text = "drawn by each process; after a restart all clients make full handshakes".to_owned();
        return Some(Note { name, text, fix: "set tls.ticket_keys_file".to_owned() });
    };
    Some(match config.tls.ticket_keys() {
        Ok(keys) => of_file(file, keys.map_or(0, |keys| keys.count()), age(file)),
        Err(text) => Note { name, text, fix: "see \"Ticket keys\" in docs/operations.md".to_owned() },
    })
}

fn of_file(file: &Path, count: usize, age: Duration) -> Note {
    let days = age.as_secs() / 86_400;
    let text = format!("{count} in {}, changed {days} days ago", file.display());
    let is_old = age > TICKET_KEYS_AGE_MAX;
    let fix = if is_old { "rotate them (\"Ticket keys\" in docs/operations.md)" } else { "" };
    Note { name: "ticket keys", text, fix: fix.to_owned() }
}

fn age(file: &Path) -> Duration {
    let changed = std::fs::metadata(file).and_then(|metadata| metadata.modified());
    changed.ok().and_then(|changed| SystemTime::now().duration_since(changed).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_have_not_changed_for_a_week_are_to_be_rotated() {
        let day = Duration::from_secs(86_400);
        let note = of_file(Path::new("ticket.keys"), 3, 2 * day);
        assert_eq!((&*note.text, &*note.fix), ("3 in ticket.keys, changed 2 days ago", ""));
        assert!(of_file(Path::new("ticket.keys"), 3, 8 * day).fix.starts_with("rotate them"));
    }
}
