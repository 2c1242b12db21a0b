//! What is shown: a table of medians for people, lines of JSON for programs.

use std::fs;
use std::io::IsTerminal;

use serde_json::{Map, Value};

use crate::options::Common;

/// One figure of a row. NaN stands for what cannot be told: `-` in the table, null in JSON.
pub type Figure = (&'static str, f64);

/// What was measured of one target in one phase of one run.
pub struct Row {
    pub target: &'static str,
    pub phase: &'static str,
    /// What else tells it from other rows: transport, size.
    pub marks: Vec<(&'static str, String)>,
    pub figures: Vec<Figure>,
}

/// A figure that the table shows: name in JSON, head, digits after the point.
pub struct Column(pub &'static str, pub &'static str, pub usize);

/// A figure beside the same one of another row of the same phase: the floor's, usually.
pub struct Ratio {
    pub figure: &'static str,
    /// In JSON, and the column's head.
    pub name: &'static str,
    pub head: &'static str,
    /// The row that is compared with.
    pub to: fn(&Row, &Row) -> bool,
}

/// Whether a row is as promised, under this name in JSON and at the head of the last column. `None`: nothing is promised.
struct Verdict {
    name: &'static str,
    of: fn(&Row) -> Option<bool>,
}

pub struct Report<'a> {
    bench: &'static str,
    common: &'a Common,
    /// Of the run: the same in each line of JSON.
    options: Vec<(&'static str, Value)>,
    columns: &'static [Column],
    ratios: &'static [Ratio],
    verdict: Option<Verdict>,
    rows: Vec<(u32, Row)>,
}

impl Row {
    fn is_same(&self, other: &Row) -> bool {
        self.target == other.target && self.phase == other.phase && self.marks == other.marks
    }

    /// NaN if it has none of that name.
    pub fn figure(&self, name: &str) -> f64 {
        self.figures.iter().find(|(known, _)| *known == name).map_or(f64::NAN, |(_, figure)| *figure)
    }
}

impl Verdict {
    fn words(&self, row: &Row) -> &'static str {
        match (self.of)(row) {
            Some(true) => "held",
            Some(false) => "**broken**",
            None => "",
        }
    }
}

impl<'a> Report<'a> {
    pub fn new(
        bench: &'static str,
        common: &'a Common,
        columns: &'static [Column],
        ratios: &'static [Ratio],
        options: Vec<(&'static str, Value)>,
    ) -> Report<'a> {
        Report { bench, common, options, columns, ratios, verdict: None, rows: Vec::new() }
    }

    /// With a last column that says whether each row is as promised.
    #[must_use]
    pub fn with_verdict(self, name: &'static str, of: fn(&Row) -> Option<bool>) -> Report<'a> {
        Report { verdict: Some(Verdict { name, of }), ..self }
    }

    pub fn add(&mut self, run: u32, row: Row) {
        if self.common.json {
            println!("{}", self.json_line(Value::from(run), &row, &[]));
        }
        self.rows.push((run, row));
    }

    /// The medians, after everything is measured. `note` says in a sentence what stands in the table.
    pub fn finish(self, note: &str) {
        let medians = self.medians();
        let ratios: Vec<Vec<Figure>> = medians.iter().map(|row| self.ratios_of(row, &medians)).collect();
        if self.common.json {
            for (row, ratios) in medians.iter().zip(&ratios) {
                println!("{}", self.json_line(Value::from("median"), row, ratios));
            }
            return;
        }
        println!("{}: {}\n", self.bench, self.circumstances());
        self.print_table(&medians, &ratios);
        if std::io::stdout().is_terminal() {
            println!("\n{note}");
        }
    }

    fn print_table(&self, medians: &[Row], ratios: &[Vec<Figure>]) {
        let marks: Vec<&str> =
            medians.first().map_or_else(Vec::new, |row| row.marks.iter().map(|mark| mark.0).collect());
        // A column that no row has a figure for would only be wide.
        let columns: Vec<&Column> =
            self.columns.iter().filter(|column| medians.iter().any(|row| !row.figure(column.0).is_nan())).collect();
        let heads = columns.iter().map(|column| column.1).chain(self.ratios.iter().map(|ratio| ratio.head));
        let heads: Vec<&str> = heads.collect();
        let words: Vec<&str> = ["phase", "server"].into_iter().chain(marks).collect();
        let verdict = self.verdict.as_ref().map_or_else(String::new, |verdict| format!(" {} |", verdict.name));
        println!("| {} | {} |{verdict}", words.join(" | "), heads.join(" | "));
        let rule = if self.verdict.is_some() { "---|" } else { "" };
        println!("|{}{}{rule}", "---|".repeat(words.len()), "--:|".repeat(heads.len()));
        for (row, ratios) in medians.iter().zip(ratios) {
            let figures = columns.iter().map(|Column(name, _, digits)| in_words(row.figure(name), *digits));
            let ratios = ratios.iter().map(|(_, ratio)| in_words(*ratio, 2));
            let words = [row.phase, row.target].into_iter().chain(row.marks.iter().map(|mark| mark.1.as_str()));
            let cells: Vec<String> = words.map(str::to_owned).chain(figures).chain(ratios).collect();
            let verdict =
                self.verdict.as_ref().map_or_else(String::new, |verdict| format!(" {} |", verdict.words(row)));
            println!("| {} |{verdict}", cells.join(" | "));
        }
    }

    /// Each row once, with the median of each figure over the runs, phases together.
    fn medians(&self) -> Vec<Row> {
        let mut firsts: Vec<&Row> = Vec::new();
        for (_, row) in &self.rows {
            if !firsts.iter().any(|first| first.is_same(row)) {
                firsts.push(row);
            }
        }
        let phases: Vec<&str> = firsts.iter().map(|row| row.phase).collect();
        let place = |row: &Row| phases.iter().position(|phase| *phase == row.phase);
        firsts.sort_by(|one, other| place(one).cmp(&place(other)).then(one.marks.cmp(&other.marks)));
        let median_of = |first: &Row, name| {
            let same = self.rows.iter().filter(|(_, row)| row.is_same(first));
            median(same.map(|(_, row)| row.figure(name)).collect())
        };
        let medians = firsts.into_iter().map(|first| Row {
            target: first.target,
            phase: first.phase,
            marks: first.marks.clone(),
            figures: first.figures.iter().map(|(name, _)| (*name, median_of(first, name))).collect(),
        });
        medians.collect()
    }

    fn ratios_of(&self, row: &Row, medians: &[Row]) -> Vec<Figure> {
        let ratio = |ratio: &Ratio| {
            let candidates = medians.iter().filter(|other| (ratio.to)(row, other));
            let best = candidates.max_by_key(|other| other.phase == row.phase);
            best.map_or(f64::NAN, |other| row.figure(ratio.figure) / other.figure(ratio.figure))
        };
        self.ratios.iter().map(|it| (it.name, ratio(it))).collect()
    }

    fn json_line(&self, run: Value, row: &Row, ratios: &[Figure]) -> Value {
        let mut line = Map::new();
        line.insert("bench".into(), self.bench.into());
        line.insert("run".into(), run);
        line.insert("target".into(), row.target.into());
        line.insert("phase".into(), row.phase.into());
        line.extend(row.marks.iter().map(|(name, mark)| ((*name).to_owned(), mark.as_str().into())));
        line.extend(self.options.iter().map(|(name, option)| ((*name).to_owned(), option.clone())));
        line.extend(row.figures.iter().chain(ratios).map(|(name, figure)| ((*name).to_owned(), (*figure).into())));
        if let Some(verdict) = &self.verdict {
            line.insert(verdict.name.into(), verdict.words(row).into());
        }
        Value::Object(line)
    }

    fn circumstances(&self) -> String {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runs = self.common.runs;
        let runs = if runs == 1 { "one run".to_owned() } else { format!("medians of {runs} runs") };
        let options: Vec<String> = self.options.iter().map(|(name, value)| format!("{name} {value}")).collect();
        format!("{}; {runs}; Linux {}, {cores} cores", options.join(", "), kernel.trim())
    }
}

fn in_words(figure: f64, digits: usize) -> String {
    if !figure.is_finite() {
        return "-".to_owned();
    }
    let text = format!("{figure:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), String::new()), |(a, b)| (a, format!(".{b}")));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let groups: Vec<&str> =
        whole.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    format!("{sign}{}{rest}", groups.join(","))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!(in_words(1_234_567.0, 0), "1,234,567");
        assert_eq!(in_words(-1_234.5, 1), "-1,234.5");
        assert_eq!(in_words(12.345, 2), "12.35");
        assert_eq!(in_words(f64::NAN, 2), "-");
    }

    #[test]
    fn a_median_of_two_lies_between_them() {
        assert_eq!(median(vec![3.0, 1.0]), 2.0);
        assert_eq!(median(vec![3.0, 1.0, 9.0]), 3.0);
    }
}
