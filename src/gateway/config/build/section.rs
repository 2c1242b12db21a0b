//! A table of the tree, with the rows that belong to it.

use super::super::error::Place;
use super::super::table::{self, Fallback, Row};
use super::super::tree::{Content, Entry, Table, Value};
use super::super::validate;

/// A table of the tree with its path in the table of keys.
pub(super) struct Section<'a> {
    pub table: &'a Table,
    pub place: Place,
    /// `route[]`, `route[].sse`, or empty for the top level.
    pub path: String,
}

impl<'a> Section<'a> {
    pub(super) fn row(&self, name: &str) -> Option<&'static Row> {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        let row = table::row(&path);
        debug_assert!(row.is_some(), "{path} is not in the table of keys");
        row
    }

    /// Whether the table of keys has such a key here.
    pub(super) fn has_row(&self, name: &str) -> bool {
        table::row(&format!("{}.{name}", self.path)).is_some()
    }

    /// As people write it: `[[route]]`, `sse`.
    pub(super) fn spoken(&self) -> String {
        match self.path.strip_suffix("[]") {
            Some(list) if !list.contains('[') => format!("[[{list}]]"),
            _ => self.path.trim_end_matches("[]").rsplit('.').next().unwrap_or_default().to_owned(),
        }
    }

    /// The value as it was written.
    pub(super) fn value(&self, name: &str) -> Option<&'a Value> {
        self.table.entry(name)
    }

    pub(super) fn table(&self, name: &str) -> Option<Section<'a>> {
        let row = self.row(name)?;
        let value = self.value(name)?;
        match &value.content {
            Content::Table(table) => Some(Section { table, place: value.place.clone(), path: row.inside() }),
            _ => None,
        }
    }

    /// The tables of a list, or the one that stands for a list.
    pub(super) fn tables(&self, name: &str) -> Vec<Section<'a>> {
        let Some(row) = self.row(name) else { return Vec::new() };
        let section = |value: &'a Value| match &value.content {
            Content::Table(table) => Some(Section { table, place: value.place.clone(), path: row.inside() }),
            _ => None,
        };
        match self.value(name) {
            Some(Value { content: Content::List(items), .. }) => items.iter().filter_map(section).collect(),
            Some(value) => section(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// The value, if it is valid for the key.
    pub(super) fn fitting(&self, name: &str) -> Option<&'a Content> {
        let row = self.row(name)?;
        self.value(name).map(|value| &value.content).filter(|content| validate::fits(row, content))
    }

    pub(super) fn whole(&self, name: &str) -> u64 {
        match (self.fitting(name), self.row(name).map(|row| row.fallback)) {
            (Some(Content::Whole(whole)), _) => u64::try_from(*whole).unwrap_or_default(),
            (_, Some(Fallback::Whole(whole))) => whole,
            _ => 0,
        }
    }

    pub(super) fn size(&self, name: &str) -> usize {
        usize::try_from(self.whole(name)).unwrap_or(usize::MAX)
    }

    pub(super) fn switch(&self, name: &str) -> bool {
        match (self.fitting(name), self.row(name).map(|row| row.fallback)) {
            (Some(Content::Switch(switch)), _) => *switch,
            (_, Some(Fallback::Switch(switch))) => switch,
            _ => false,
        }
    }

    /// The value, or the default if the key is missing.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match (self.fitting(name), self.value(name), self.row(name)?.fallback) {
            (Some(Content::Text(text)), _, _) => Some(text.clone()),
            (_, None, Fallback::Text(text)) => Some(text.to_owned()),
            _ => None,
        }
    }

    /// The names and texts of a table whose names are free.
    pub(super) fn pairs(&self, name: &str) -> Vec<(String, String)> {
        let Some(Value { content: Content::Table(table), .. }) = self.value(name) else { return Vec::new() };
        let pair = |entry: &Entry| match &entry.value.content {
            Content::Text(text) => Some((entry.name.clone(), text.clone())),
            _ => None,
        };
        table.entries.iter().filter_map(pair).collect()
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        match self.value(name).map(|value| &value.content) {
            Some(Content::List(items)) => {
                let text = |item: &Value| match &item.content {
                    Content::Text(text) => Some(text.clone()),
                    _ => None,
                };
                items.iter().filter_map(text).collect()
            }
            _ => self.text(name).into_iter().collect(),
        }
    }
}
