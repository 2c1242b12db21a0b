//! Checks every key and value of the tree against the table of keys, one by one.

use std::collections::HashSet;

use super::error::{Error, Errors, Place};
use super::table::{self, Kind, Row};
use super::tree::{Content, Entry, Table, Value};

/// Longest part of a value that an error shows.
const SHOWN_CHARS_MAX: usize = 64;

/// The places of tables that contain a mistake: errors about missing or conflicting keys of these tables are
/// suppressed.
#[derive(Default)]
pub(super) struct Broken(HashSet<Place>);

impl Broken {
    pub(super) fn contains(&self, place: &Place) -> bool {
        self.0.contains(place)
    }
}

/// Reports every unknown key and every invalid value.
pub(super) fn validate(root: &Table, errors: &mut Errors) -> Broken {
    let mut pass = Pass { errors, broken: Broken::default() };
    if pass.entries(root, "") {
        pass.broken.0.insert(Place::File);
    }
    pass.broken
}

struct Pass<'a> {
    errors: &'a mut Errors,
    broken: Broken,
}

impl Pass<'_> {
    /// Whether an entry of the table at `path` is a mistake; tables below it are recorded separately.
    fn entries(&mut self, table: &Table, path: &str) -> bool {
        let mut is_broken = false;
        for entry in &table.entries {
            let found = table::rows_below(path).find(|row| row.name() == entry.name);
            is_broken |= match found {
                Some(row) => self.value(row, &entry.value),
                None => {
                    self.errors.push(unknown(&entry.place, &entry.name, path));
                    true
                }
            };
        }
        is_broken
    }

    fn value(&mut self, row: &'static Row, value: &Value) -> bool {
        match (row.kind, &value.content) {
            (Kind::Table | Kind::OneOrMoreTables | Kind::TableOr { .. }, Content::Table(inner)) => {
                if self.entries(inner, &row.inside()) {
                    self.broken.0.insert(value.place.clone());
                }
                false
            }
            (Kind::Map { fits, .. }, Content::Table(inner)) => {
                let fits =
                    |entry: &Entry| matches!(&entry.value.content, Content::Text(text) if fits(&entry.name, text));
                let misfit = inner.entries.iter().find(|entry| !fits(entry));
                misfit.is_some_and(|entry| self.refuse_entry(row, entry))
            }
            (Kind::Tables | Kind::OneOrMoreTables, Content::List(items)) => {
                let mut is_broken = false;
                for item in items {
                    match &item.content {
                        Content::Table(inner) => {
                            if self.entries(inner, &row.inside()) {
                                self.broken.0.insert(item.place.clone());
                            }
                        }
                        _ => is_broken |= self.refuse(row, item),
                    }
                }
                is_broken
            }
            (Kind::Tables, Content::Table(_)) => {
                let message = format!("{} is one table; expected [[{}]]", row.spoken(), row.spoken());
                self.errors.push(Error::new(&value.place, message));
                true
            }
            (Kind::Texts { .. }, Content::List(items)) => items.iter().filter(|item| self.leaf(row, item)).count() > 0,
            _ => self.leaf(row, value),
        }
    }

    fn leaf(&mut self, row: &'static Row, value: &Value) -> bool {
        !fits(row, &value.content) && self.refuse(row, value)
    }

    fn refuse_entry(&mut self, row: &Row, entry: &Entry) -> bool {
        let (key, expected) = (subject_of(row, &entry.place), row.kind.expected());
        let message = format!("{key} has {:?} = {}; expected {expected}", entry.name, shown(&entry.value.content));
        self.errors.push(Error::new(&entry.place, message));
        true
    }

    fn refuse(&mut self, row: &Row, value: &Value) -> bool {
        let message = format!("{}; expected {}", is_what(row, value), row.kind.expected());
        self.errors.push(Error::new(&value.place, message));
        true
    }
}

/// Whether a key takes a value that is neither a table nor a list.
pub(super) fn fits(row: &Row, content: &Content) -> bool {
    match (row.kind, content) {
        (Kind::Whole { min, max, .. }, Content::Whole(whole)) => {
            u64::try_from(*whole).is_ok_and(|whole| (min..=max).contains(&whole))
        }
        (Kind::Switch | Kind::SwitchOr(_), Content::Switch(_)) => true,
        (Kind::SwitchOr(other), Content::Text(word)) => other == word,
        (Kind::Choice(words), Content::Text(word)) => words.contains(&word.as_str()),
        (Kind::Text { fits, .. } | Kind::Texts { fits, .. } | Kind::TableOr { fits, .. }, Content::Text(text)) => {
            fits(text)
        }
        (Kind::Secret, Content::Text(text)) => !text.is_empty(),
        _ => false,
    }
}

/// `limits.fragments_max is "many"`, or the variable's name instead of the path.
pub(super) fn is_what(row: &Row, value: &Value) -> String {
    let shown = match (row.kind, &value.content) {
        (Kind::Secret, Content::Text(text)) if text.is_empty() => "empty".to_owned(),
        (Kind::Secret, _) => "not a text".to_owned(),
        (_, content) => shown(content),
    };
    format!("{} is {shown}", subject_of(row, &value.place))
}

/// The subject of a message about a key: the name of a variable, or the path of a key in the file, which has its line.
pub(super) fn subject_of(row: &Row, place: &Place) -> String {
    match place {
        Place::Variable(name) => name.clone(),
        _ => row.spoken(),
    }
}

fn shown(content: &Content) -> String {
    match content {
        Content::Text(text) if text.chars().count() > SHOWN_CHARS_MAX => {
            let start: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            format!("{start:?}…")
        }
        Content::Text(text) => format!("{text:?}"),
        Content::Whole(whole) => whole.to_string(),
        Content::Switch(switch) => switch.to_string(),
        Content::Foreign(text) => text.clone(),
        Content::List(_) => "a list".to_owned(),
        Content::Table(_) => "a table".to_owned(),
    }
}

fn unknown(place: &Place, name: &str, path: &str) -> Error {
    let name = shown(&Content::Text(name.to_owned()));
    let known = table::rows_below(path).map(Row::name);
    let hint = match nearest(name.trim_matches('"'), known) {
        Some(known) => format!("; did you mean \"{known}\"?"),
        None => {
            let known: Vec<&str> = table::rows_below(path).map(Row::name).collect();
            format!("; expected one of {}", known.join(", "))
        }
    };
    Error::new(place, format!("unknown key {name}{}{hint}", standing_in(path)))
}

/// ` in [[route]]`, ` in [limits]`, or nothing for the top level.
fn standing_in(path: &str) -> String {
    match path.strip_suffix("[]") {
        _ if path.is_empty() => String::new(),
        Some(list) if !list.contains('[') => format!(" in [[{list}]]"),
        _ if path.contains('[') => format!(" in {}", path.replace("[]", "")),
        _ => format!(" in [{path}]"),
    }
}

/// The known word nearest to a misspelled one.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The number of characters to insert, drop or replace (the Levenshtein distance), computed with one row of the matrix.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, in_a) in a.chars().take(SHOWN_CHARS_MAX).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, in_b) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(in_a != in_b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_was_inserted_dropped_or_replaced() {
        for (a, b, expected) in
            [("", "", 0), ("abc", "", 3), ("", "ab", 2), ("adress", "address", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn suggests_only_what_is_near() {
        let known = ["address", "tls"];
        assert_eq!(nearest("adress", known.into_iter()), Some("address"));
        assert_eq!(nearest("tsl", known.into_iter()), None);
        assert_eq!(nearest("tl", known.into_iter()), Some("tls"));
    }
}
