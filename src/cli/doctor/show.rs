//! The verdict, for people and for scripts.

use std::fmt::Write;

use serde_json::{Value, json};

use super::system::System;
use super::verdict::{Requirements, Verdict, gib};
use tidegate::gateway::most::{MemoryItem, in_all};

fn driver(required: &Requirements, system: &System) -> &'static str {
    if required.wants_epoll || system.no_uring.is_some() { "epoll" } else { "uring" }
}

pub fn json(required: &Requirements, system: &System, verdict: &Verdict, most: &[MemoryItem]) -> String {
    let items: Vec<Value> =
        most.iter().map(|item| json!({ "name": item.name, "bytes": item.bytes, "formula": item.formula })).collect();
    let bounds: Vec<Value> = verdict
        .bounds
        .iter()
        .map(|bound| {
            let is_enough = bound.holds >= required.connections;
            let fix = if is_enough { Value::Null } else { bound.fix.as_str().into() };
            json!({ "name": bound.name, "holds": bound.holds, "enough": is_enough, "found": bound.found, "fix": fix })
        })
        .collect();
    let notes: Vec<Value> = verdict
        .notes
        .iter()
        .map(|note| {
            let fix = if note.fix.is_empty() { Value::Null } else { note.fix.as_str().into() };
            json!({ "name": note.name, "text": note.text, "fix": fix })
        })
        .collect();
    let value = json!({
        "connections": required.connections,
        "tls": required.is_tls,
        "fits": verdict.fits,
        "holds": verdict.holds,
        "first": verdict.bounds.first().map(|bound| bound.name),
        "bytes_per_connection": verdict.bytes_per_connection,
        "shards": required.shards,
        "shards_recommended": verdict.shards_recommended,
        "cores": system.core_count(),
        "pinned": system.cores.as_ref().map(|cores| cores.pinned(required.pin, required.shards).is_ok()),
        "kernel": system.kernel,
        "driver": driver(required, system),
        "bounds": bounds,
        "notes": notes,
        "memory_at_most": in_all(most),
        "memory_items": items,
        "unknown": verdict.unknown,
    });
    format!("{value:#}\n")
}

pub fn words(required: &Requirements, system: &System, verdict: &Verdict, most: &[MemoryItem]) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_words(&mut text, required, system, verdict);
    let _ = write_most(&mut text, system, most);
    text
}

fn write_words(text: &mut String, required: &Requirements, system: &System, verdict: &Verdict) -> std::fmt::Result {
    let kernel = system.kernel.as_deref().unwrap_or("of unknown release");
    let cores = system.core_count().map_or("an unknown number of".to_owned(), |cores| cores.to_string());
    let kind = if required.is_tls { "TLS" } else { "plain" };
    let Requirements { connections, shards, .. } = required;
    writeln!(text, "{} {kind} connections", count(*connections))?;
    writeln!(text, "Linux {kernel}, cores: {cores}, shards: {shards}, driver: {}\n", driver(required, system))?;
    writeln!(text, "  {:<22} {:>14}  found", "", "connections")?;
    for bound in &verdict.bounds {
        let mark = if bound.holds < *connections { "!" } else { " " };
        writeln!(text, "{mark} {:<22} {:>14}  {}", bound.name, count(bound.holds), bound.found)?;
    }
    writeln!(text)?;
    for unknown in &verdict.unknown {
        writeln!(text, "Not known: {unknown}")?;
    }
    match (verdict.fits, verdict.holds, verdict.bounds.first()) {
        (Some(true), Some(holds), Some(first)) => {
            writeln!(text, "They fit. This box holds {}; the scarcest resource: {}.", count(holds), first.name)?;
        }
        (Some(false), Some(holds), Some(first)) => {
            writeln!(text, "They do not fit. This box holds {}; the scarcest resource: {}.", count(holds), first.name)?;
        }
        _ => writeln!(text, "Unknown whether they fit.")?,
    }
    for bound in verdict.short(required) {
        writeln!(text, "  fix {}: {}", bound.name, bound.fix)?;
    }
    for note in &verdict.notes {
        writeln!(text, "  note {}: {}", note.name, note.text)?;
        if !note.fix.is_empty() {
            writeln!(text, "    fix: {}", note.fix)?;
        }
    }
    Ok(())
}

/// The memory that the configuration allows, whatever clients do. It bounds no number of connections: most boxes never see
/// it.
fn write_most(text: &mut String, system: &System, most: &[MemoryItem]) -> std::fmt::Result {
    writeln!(text, "\nMemory at most, whatever clients do (workers excepted: 64 MiB may wait for each):")?;
    for item in most {
        writeln!(text, "  {:<22} {:>14}  {}", item.name, gib(item.bytes), item.formula)?;
    }
    let found = system.memory_bytes.map(|bytes| format!("; this box has {} available", gib(bytes)));
    writeln!(text, "  {:<22} {:>14}{}", "in all", gib(in_all(most)), found.unwrap_or_default())
}

/// With a comma after each three digits; a number that no box can reach is `any`.
fn count(number: u64) -> String {
    if number > u64::MAX / 1_000_000 {
        return "any".to_owned();
    }
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn numbers_are_written_in_groups() {
        assert_eq!(count(7), "7");
        assert_eq!(count(123_456), "123,456");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(u64::MAX), "any");
    }
}
