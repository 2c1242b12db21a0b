//! Tables of Markdown out of rows.

use crate::plot::grouped;
use crate::runs::Row;

/// A column: the field it shows, its head, and how.
#[derive(Clone, Copy)]
pub struct Column(pub &'static str, pub &'static str, pub Show);

#[derive(Clone, Copy)]
pub enum Show {
    Words,
    /// So many digits after the point.
    Number(usize),
}

impl Column {
    fn cell(&self, row: &Row) -> Option<String> {
        match self.2 {
            Show::Words => row.text(self.0).map(|words| server_name(words).to_owned()),
            Show::Number(digits) => row.figure(self.0).map(|figure| grouped(figure, digits)),
        }
    }
}

/// As people call them.
pub fn server_name(server: &str) -> &str {
    match server {
        "epoll" => "tidegate, epoll",
        "uring" => "tidegate, io_uring",
        "floor" => "floor",
        "floor uring" => "floor, io_uring",
        "nchan" => "nginx + nchan",
        other => other,
    }
}

/// Without the columns that no row has. `mark` says what the last cell of each row is, if there is to be one.
pub fn table(rows: &[Row], columns: &[Column], mark: Option<&dyn Fn(&Row) -> String>) -> String {
    let columns: Vec<&Column> =
        columns.iter().filter(|column| rows.iter().any(|row| column.cell(row).is_some())).collect();
    let mut heads: Vec<&str> = columns.iter().map(|column| column.1).collect();
    let mut rules: Vec<&str> =
        columns.iter().map(|column| if matches!(column.2, Show::Words) { "---" } else { "--:" }).collect();
    if mark.is_some() {
        heads.push("mark");
        rules.push("---");
    }
    let mut text =
        line(heads.iter().map(|head| (*head).to_owned())) + &line(rules.iter().map(|rule| (*rule).to_owned()));
    for row in rows {
        let cells = columns.iter().map(|column| column.cell(row).unwrap_or_else(|| "–".to_owned()));
        text += &line(cells.chain(mark.map(|mark| mark(row))));
    }
    text
}

/// One line of a table.
pub fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}
