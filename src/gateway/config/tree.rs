//! The configuration as it was written: tables, lists and scalars, each with its place.

use toml_edit::{Document, Item, TableLike, TomlError};

use super::error::{Error, Place};

#[derive(Clone, Debug)]
pub(super) struct Value {
    pub place: Place,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Text(String),
    Whole(i64),
    Switch(bool),
    /// A value of a kind that no key takes (a float or a date), as it was written.
    Foreign(String),
    List(Vec<Value>),
    Table(Table),
}

/// A table's entries in the order of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub name: String,
    /// The place of the name.
    pub place: Place,
    pub value: Value,
}

impl Table {
    pub(super) fn entry(&self, name: &str) -> Option<&Value> {
        self.entries.iter().find(|entry| entry.name == name).map(|entry| &entry.value)
    }

    pub(super) fn entry_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.entries.iter_mut().find(|entry| entry.name == name).map(|entry| &mut entry.value)
    }
}

/// Reads TOML, without checking keys.
pub(super) fn parse(text: &str) -> Result<Table, Error> {
    let lines = LineIndex::new(text);
    let document = Document::parse(text).map_err(|error| syntax_error(&lines, &error))?;
    Ok(table(&lines, document.as_table()))
}

fn syntax_error(lines: &LineIndex<'_>, error: &TomlError) -> Error {
    let place = error.span().map_or(Place::File, |span| lines.place(span.start));
    let words: Vec<&str> = error.message().split_whitespace().collect();
    Error::new(&place, format!("not valid TOML: {}", words.join(" ")))
}

fn table(lines: &LineIndex<'_>, from: &dyn TableLike) -> Table {
    let mut entries = Vec::new();
    for (name, item) in from.iter() {
        let named = from.key(name).and_then(|key| key.span());
        let place = named.or(item.span()).map_or(Place::File, |span| lines.place(span.start));
        if let Some(value) = value(lines, item, &place) {
            entries.push(Entry { name: name.to_owned(), place, value });
        }
    }
    Table { entries }
}

/// `parent` is the place of an item without one of its own: a table that dotted keys or deeper headers imply.
fn value(lines: &LineIndex<'_>, item: &Item, parent: &Place) -> Option<Value> {
    let place = item.span().map_or_else(|| parent.clone(), |span| lines.place(span.start));
    let content = match item {
        Item::None => return None,
        Item::Table(inner) => Content::Table(table(lines, inner)),
        Item::ArrayOfTables(tables) => Content::List(
            tables
                .iter()
                .map(|inner| Value {
                    place: inner.span().map_or_else(|| place.clone(), |span| lines.place(span.start)),
                    content: Content::Table(table(lines, inner)),
                })
                .collect(),
        ),
        Item::Value(inner) => scalar(lines, inner, &place),
    };
    Some(Value { place, content })
}

fn scalar(lines: &LineIndex<'_>, from: &toml_edit::Value, parent: &Place) -> Content {
    match from {
        toml_edit::Value::String(text) => Content::Text(text.value().clone()),
        toml_edit::Value::Integer(whole) => Content::Whole(*whole.value()),
        toml_edit::Value::Boolean(switch) => Content::Switch(*switch.value()),
        toml_edit::Value::Float(float) => Content::Foreign(float.value().to_string()),
        toml_edit::Value::Datetime(date) => Content::Foreign(date.value().to_string()),
        toml_edit::Value::InlineTable(inner) => Content::Table(table(lines, inner)),
        toml_edit::Value::Array(array) => Content::List(
            array
                .iter()
                .map(|inner| {
                    let place = inner.span().map_or_else(|| parent.clone(), |span| lines.place(span.start));
                    Value { content: scalar(lines, inner, &place), place }
                })
                .collect(),
        ),
    }
}

/// Turns offsets into lines and columns.
struct LineIndex<'a> {
    text: &'a str,
    /// Offset of each line's first byte.
    starts: Vec<usize>,
}

impl<'a> LineIndex<'a> {
    fn new(text: &'a str) -> LineIndex<'a> {
        let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect();
        LineIndex { text, starts }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|&start| start <= offset);
        let before = self.text.get(self.starts[line - 1]..offset).unwrap_or("");
        Place::Line { line, column: before.chars().count() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_line_and_column_of_every_name_and_value() {
        let root = parse("a = 1\n\n[[b]]\n  c = \"é\"\n[[b]]\nd = [ 1,\n 2 ]\n").unwrap();
        assert_eq!(root.entries[0].value.place, Place::Line { line: 1, column: 5 });
        let Content::List(tables) = &root.entries[1].value.content else { panic!("[[b]] is a list") };
        assert_eq!(tables[1].place, Place::Line { line: 5, column: 1 });
        let Content::Table(first) = &tables[0].content else { panic!("of tables") };
        assert_eq!(first.entries[0].place, Place::Line { line: 4, column: 3 });
        let Content::Table(second) = &tables[1].content else { panic!("of tables") };
        let Content::List(items) = &second.entry("d").unwrap().content else { panic!("d is a list") };
        assert_eq!(items[1].place, Place::Line { line: 7, column: 2 });
    }

    #[test]
    fn reports_a_syntax_error_in_one_line_with_its_place() {
        let error = parse("a = 1\nb = \n").unwrap_err();
        assert!(matches!(error.place, Place::Line { line: 2, .. }), "{error:?}");
        assert!(!error.message.contains('\n'));
    }
}
