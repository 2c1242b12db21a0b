//! The table of keys: each key of the configuration, once. The parser's checks, the environment's variables, the
//! suggestions, `tidegate config` and docs/configuration.md derive from it. One file for each section.

mod access_log;
mod admin;
mod auth;
mod channels;
mod client_limits;
mod drain;
mod limits;
mod listeners;
mod permissions;
mod process;
mod routes;
mod tls;
mod trust;
mod upstreams;

use super::form;

/// One key.
#[derive(Clone, Copy)]
pub struct Row {
    /// The path of the key: `limits.fragments_max`. `[]` follows the name of a list of tables: `route[].path`.
    pub path: &'static str,
    /// The kind of its value.
    pub kind: Kind,
    /// The value without the key.
    pub fallback: Fallback,
    /// One line.
    pub help: &'static str,
    /// Further explanation; may be empty.
    pub doc: &'static str,
}

/// The kind of a key's value.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A table that may appear once.
    Table,
    /// Any number of tables: `[[name]]`.
    Tables,
    /// One table, or a list of tables.
    OneOrMoreTables,
    /// One table, or a text that stands for it.
    TableOr {
        /// The accepted form of the text.
        expected: &'static str,
        /// Whether the parser accepts it.
        fits: fn(&str) -> bool,
    },
    /// A whole number within bounds, both included.
    Whole {
        /// The least that is accepted.
        min: u64,
        /// The most that is accepted.
        max: u64,
        /// The unit, in the plural; empty if the key's name has it.
        unit: &'static str,
    },
    /// `true` or `false`.
    Switch,
    /// A switch, or the given word.
    SwitchOr(&'static str),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text that fits; `expected` completes "expected …".
    Text {
        /// The accepted form, with an example.
        expected: &'static str,
        /// Whether the parser accepts it.
        fits: fn(&str) -> bool,
    },
    /// One such text, or a list of them.
    Texts {
        /// The accepted form of each, with an example.
        expected: &'static str,
        /// Whether the parser accepts this one of them.
        fits: fn(&str) -> bool,
    },
    /// A table whose names the operator chooses, each with a text.
    Map {
        /// The accepted values, with an example.
        expected: &'static str,
        /// Whether the parser accepts this name with this text.
        fits: fn(&str, &str) -> bool,
    },
    /// A text that errors never show.
    Secret,
}

/// The value when a key is absent.
#[derive(Clone, Copy)]
pub enum Fallback {
    /// This number, in the key's unit.
    Whole(u64),
    /// This switch.
    Switch(bool),
    /// This text, or this word of a choice.
    Text(&'static str),
    /// The key is required; the example (TOML) is for the annotated file.
    Required(&'static str),
    /// The key is optional and has no default; with an example (TOML).
    Nothing(&'static str),
}

const FILE: Kind = Kind::Text { expected: "the path of a file", fits: form::is_file };

const fn bytes(min: u64, max: u64) -> Kind {
    Kind::Whole { min, max, unit: "bytes" }
}

const fn seconds(max: u64) -> Kind {
    Kind::Whole { min: 1, max, unit: "seconds" }
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Whole { min, max, unit: "" }
}

const fn count_of(unit: &'static str, min: u64, max: u64) -> Kind {
    Kind::Whole { min, max, unit }
}

/// In the order of the annotated file. Keys of the top level come first, as TOML requires.
const SECTIONS: &[&[Row]] = &[
    process::ROWS,
    listeners::ROWS,
    admin::ROWS,
    tls::ROWS,
    trust::ROWS,
    auth::ROWS,
    upstreams::ROWS,
    routes::ROWS,
    auth::OF_ROUTES,
    upstreams::OF_ROUTES,
    channels::ROWS,
    permissions::ROWS,
    client_limits::ROWS,
    access_log::ROWS,
    drain::ROWS,
    limits::ROWS,
];

/// Every key.
pub const TABLE: &[Row] = &all(SECTIONS);

const COUNT: usize = {
    let (mut count, mut section) = (0, 0);
    while section < SECTIONS.len() {
        count += SECTIONS[section].len();
        section += 1;
    }
    count
};

/// The rows of all sections, one after the other.
const fn all(sections: &[&[Row]]) -> [Row; COUNT] {
    let mut rows = [sections[0][0]; COUNT];
    let (mut count, mut section) = (0, 0);
    while section < sections.len() {
        let mut index = 0;
        while index < sections[section].len() {
            rows[count] = sections[section][index];
            (count, index) = (count + 1, index + 1);
        }
        section += 1;
    }
    rows
}

/// The row of a path, written as in [`Row::path`].
pub(super) fn row(path: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.path == path)
}

/// The rows directly below a path (`""` is the top level).
pub(super) fn rows_below<'a>(path: &'a str) -> impl Iterator<Item = &'static Row> + 'a {
    TABLE.iter().filter(move |row| row.parent() == path)
}

impl Row {
    /// The last word of the path.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The path of the table that contains the key: `route[]` for `route[].path`.
    pub fn parent(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(parent, _)| parent)
    }

    /// The prefix of the paths inside the table; a list of tables gets `[]`.
    pub(super) fn inside(&self) -> String {
        match self.kind {
            Kind::Tables | Kind::OneOrMoreTables => format!("{}[]", self.path),
            _ => self.path.to_owned(),
        }
    }

    /// The path as people write it.
    pub(super) fn spoken(&self) -> String {
        self.path.replace("[]", "")
    }

    /// The environment variable that sets it, with `N` for each index; `None` for tables.
    pub fn variable(&self) -> Option<String> {
        let is_table = matches!(self.kind, Kind::Table | Kind::Tables | Kind::OneOrMoreTables);
        if is_table || matches!(self.kind, Kind::TableOr { .. } | Kind::Map { .. }) {
            return None;
        }
        let path = self.path.replace("[].", "_N_").replace('.', "_").to_uppercase();
        Some(format!("TIDEGATE_{path}"))
    }
}

impl Kind {
    /// Completes "expected …".
    pub fn expected(&self) -> String {
        match self {
            Kind::Table => "a table".to_owned(),
            Kind::Tables => "tables".to_owned(),
            Kind::OneOrMoreTables => "a table, or a list of tables".to_owned(),
            Kind::TableOr { expected, .. } => format!("a table, or {expected}"),
            Kind::Whole { min, max, unit: "" } => format!("a whole number from {min} to {max}"),
            Kind::Whole { min, max, unit } => format!("a whole number of {unit} from {min} to {max}"),
            Kind::Switch => "true or false".to_owned(),
            Kind::SwitchOr(word) => format!("true, false or \"{word}\""),
            Kind::Choice(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                format!("one of {}", quoted.join(", "))
            }
            Kind::Text { expected, .. } | Kind::Texts { expected, .. } | Kind::Map { expected, .. } => {
                (*expected).to_owned()
            }
            Kind::Secret => "a text that is not empty".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_place_a_valid_default_and_one_line_of_help() {
        for row in TABLE {
            assert_eq!(TABLE.iter().filter(|other| other.path == row.path).count(), 1, "{}", row.path);
            let parent = row.parent().trim_end_matches("[]");
            assert!(parent.is_empty() || TABLE.iter().any(|other| other.path == parent), "{} has no parent", row.path);
            assert!(row.help.ends_with('.') && !row.help.contains('\n') && row.help.len() <= 120, "{}", row.path);
            let fits = match (row.kind, row.fallback) {
                (Kind::Whole { min, max, .. }, Fallback::Whole(whole)) => (min..=max).contains(&whole),
                (Kind::Switch, Fallback::Switch(_)) => true,
                (Kind::Choice(words), Fallback::Text(word)) => words.contains(&word),
                (Kind::SwitchOr(other), Fallback::Text(word)) => other == word,
                (Kind::Text { fits, .. } | Kind::Texts { fits, .. }, Fallback::Text(text)) => fits(text),
                (_, Fallback::Required(_) | Fallback::Nothing(_)) => true,
                _ => false,
            };
            assert!(fits, "{} has a default that it does not take itself", row.path);
        }
    }
}
