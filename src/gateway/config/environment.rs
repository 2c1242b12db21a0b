//! Variables that override the file: `TIDEGATE_LIMITS_FRAGMENTS_MAX=64`, `TIDEGATE_LISTENER_0_ADDRESS=…`.
//!
//! A variable's name is the key's path in upper case; the index in a list (from 0) follows the list's name. The index
//! after the last one in the file adds an entry.

use super::error::{Error, Errors, Place};
use super::links::is_link;
use super::table::{Kind, Row, TABLE};
use super::tree::{Content, Entry, Table, Value};
use super::validate::nearest;

pub(super) const PREFIX: &str = "TIDEGATE_";
/// Variables of the command line; they are not keys.
const OF_THE_COMMAND_LINE: &[&str] = &["TIDEGATE_CONFIG"];
/// The most digits of an index.
const INDEX_DIGITS_MAX: usize = 4;

/// One step on the way from the root to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathStep {
    Name(&'static str),
    Index(usize),
}

/// Sets the keys that variables name; variables of other programs are ignored. Returns the variables of other services
/// whose names begin like ours: they are not meant for the gateway.
pub(super) fn apply(
    root: &mut Table,
    variables: impl IntoIterator<Item = (String, String)>,
    errors: &mut Errors,
) -> Vec<String> {
    let mut links = Vec::new();
    let mut found: Vec<(Vec<PathStep>, &'static Row, String, String)> = Vec::new();
    for (name, text) in variables {
        if !name.starts_with(PREFIX) || OF_THE_COMMAND_LINE.contains(&name.as_str()) {
            continue;
        }
        match TABLE.iter().find_map(|row| Some((steps(row, &name)?, row))) {
            Some((steps, row)) => found.push((steps, row, name, text)),
            None if is_link(&name, &text) => links.push(name),
            None => errors.push(unknown(name)),
        }
    }
    // Lower indices first, so that each one can be the next of its list.
    found.sort_by(|a, b| a.0.cmp(&b.0));
    for (steps, row, name, text) in found {
        let value = Value { place: Place::Variable(name), content: content(row.kind, text) };
        if let Err(error) = set(root, &steps, value) {
            errors.push(error);
        }
    }
    links.sort();
    links
}

/// The path to `row`, if `variable` names it.
fn steps(row: &'static Row, variable: &str) -> Option<Vec<PathStep>> {
    row.variable()?;
    let mut rest = variable.strip_prefix(PREFIX)?;
    let mut steps = Vec::new();
    let segments = row.path.split('.').count();
    for (at, segment) in row.path.split('.').enumerate() {
        let name = segment.trim_end_matches("[]");
        rest = rest.strip_prefix(name.to_uppercase().as_str())?;
        steps.push(PathStep::Name(name));
        let is_list = name != segment;
        let is_last = at + 1 == segments;
        if is_list || (is_last && matches!(row.kind, Kind::Texts { .. })) {
            if let Some((index, after)) = index(rest) {
                steps.push(PathStep::Index(index));
                rest = after;
            } else if is_list && !is_single(name) {
                return None;
            }
        }
        if !is_last {
            rest = rest.strip_prefix('_')?;
        }
    }
    rest.is_empty().then_some(steps)
}

/// Whether the list may be written as a single table, without an index.
fn is_single(name: &str) -> bool {
    TABLE.iter().any(|row| row.name() == name && matches!(row.kind, Kind::OneOrMoreTables))
}

/// Takes `_12` off the front.
fn index(text: &str) -> Option<(usize, &str)> {
    let digits = text.strip_prefix('_')?;
    let end = digits.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    if end > INDEX_DIGITS_MAX {
        return None;
    }
    Some((digits[..end].parse().ok()?, &digits[end..]))
}

/// Reads the text of a variable as its key requires. White space around it is ignored, because it comes from the file
/// or command that set the variable; a secret may contain it.
fn content(kind: Kind, text: String) -> Content {
    let said = text.trim();
    match kind {
        Kind::Secret => Content::Text(text),
        // Underscores as in TOML: 1_000_000.
        Kind::Whole { .. } => said.replace('_', "").parse().map_or(Content::Text(text), Content::Whole),
        Kind::Switch | Kind::SwitchOr(_) => match switch(said) {
            Some(switch) => Content::Switch(switch),
            None => Content::Text(said.to_lowercase()),
        },
        Kind::Choice(words) => {
            let word = words.iter().find(|word| word.eq_ignore_ascii_case(said));
            Content::Text(word.map_or(text, |word| (*word).to_owned()))
        }
        _ => Content::Text(said.to_owned()),
    }
}

/// The spellings of a switch in YAML, in shells and in units of systemd.
fn switch(text: &str) -> Option<bool> {
    const SPELLINGS: [(&str, &str); 4] = [("true", "false"), ("yes", "no"), ("on", "off"), ("1", "0")];
    let is = |word: &str| word.eq_ignore_ascii_case(text);
    SPELLINGS.into_iter().find_map(|(yes, no)| if is(yes) { Some(true) } else { is(no).then_some(false) })
}

/// Follows the steps, and makes missing tables and lists. A value of another kind in the file stays: it is reported by
/// itself.
fn set(table: &mut Table, steps: &[PathStep], value: Value) -> Result<(), Error> {
    let [PathStep::Name(name), rest @ ..] = steps else { return Ok(()) };
    let place = value.place.clone();
    if table.entry(name).is_none() {
        let content = match rest.first() {
            Some(PathStep::Index(_)) => Content::List(Vec::new()),
            _ => Content::Table(Table::default()),
        };
        let fresh = Value { place: place.clone(), content };
        table.entries.push(Entry { name: (*name).to_owned(), place, value: fresh });
    }
    let Some(entry) = table.entry_mut(name) else { return Ok(()) };
    match rest {
        [] => *entry = value,
        [PathStep::Name(_), ..] => return set_in_table(entry, rest, value),
        [PathStep::Index(index), inner @ ..] => {
            if !matches!(entry.content, Content::List(_)) {
                // A single table or text becomes the list's only item.
                let single = entry.clone();
                entry.content = Content::List(vec![single]);
            }
            let Content::List(items) = &mut entry.content else { return Ok(()) };
            if *index > items.len() {
                let message = match (&value.place, items.len()) {
                    (Place::Variable(variable), next) => {
                        format!("{variable} leaves a gap; expected {next} as the index")
                    }
                    _ => return Ok(()),
                };
                return Err(Error::new(&value.place, message));
            }
            if *index == items.len() {
                items.push(Value { place: value.place.clone(), content: Content::Table(Table::default()) });
            }
            match inner {
                [] => items[*index] = value,
                _ => return set_in_table(&mut items[*index], inner, value),
            }
        }
    }
    Ok(())
}

fn set_in_table(within: &mut Value, steps: &[PathStep], value: Value) -> Result<(), Error> {
    match &mut within.content {
        Content::Table(inner) => set(inner, steps, value),
        Content::List(items) => match items.first_mut() {
            // Without an index, the first item of the list is meant.
            Some(first) => set_in_table(first, steps, value),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn unknown(name: String) -> Error {
    let indices: Vec<&str> =
        name.split('_').filter(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())).collect();
    let candidates: Vec<String> = TABLE
        .iter()
        .filter_map(Row::variable)
        .chain(OF_THE_COMMAND_LINE.iter().map(|known| (*known).to_owned()))
        .map(|variable| with_indices(&variable, &indices))
        .collect();
    // Without the common prefix, which would make all words look similar.
    let known = candidates.iter().filter_map(|candidate| candidate.strip_prefix(PREFIX));
    let hint = match nearest(name.trim_start_matches(PREFIX), known) {
        Some(known) => format!("did you mean {PREFIX}{known}?"),
        None => "`tidegate config` lists the keys".to_owned(),
    };
    let message = format!("unknown variable {}; {hint}", name.escape_debug());
    Error::new(&Place::Variable(name), message)
}

/// The variable of a row, with an index for each `N`.
fn with_indices(variable: &str, indices: &[&str]) -> String {
    let mut indices = indices.iter();
    let parts: Vec<&str> = variable
        .split('_')
        .map(|part| if part == "N" { indices.next().copied().unwrap_or("0") } else { part })
        .collect();
    parts.join("_")
}
