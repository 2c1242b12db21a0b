//! The marks: what the project has promised, and whether the rows keep it.

use crate::plot::grouped;
use crate::runs::{Record, Row, Run};
use crate::table::{line, server_name};

/// One promise about one figure of the gateway.
pub struct Mark {
    /// What must hold, before the bound.
    pub what: &'static str,
    /// The same beside a row that says the rest.
    pub short: &'static str,
    /// Of which run.
    pub run: &'static str,
    /// Fields that a row has if the promise is about it.
    pub of: &'static [(&'static str, &'static str)],
    pub figure: fn(&Row, &Record) -> Option<f64>,
    pub bound: Bound,
    pub unit: &'static str,
    pub digits: usize,
}

#[derive(Clone, Copy)]
pub enum Bound {
    Below(f64),
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    pub fn is_met(self, figure: f64) -> bool {
        match self {
            Bound::Below(bound) => figure < bound,
            Bound::AtMost(bound) => figure <= bound,
            Bound::AtLeast(bound) => figure >= bound,
        }
    }

    fn value(self) -> f64 {
        match self {
            Bound::Below(bound) | Bound::AtMost(bound) | Bound::AtLeast(bound) => bound,
        }
    }
}

impl Mark {
    /// The bound in words.
    fn asked(&self) -> String {
        let word = match self.bound {
            Bound::Below(_) => "below",
            Bound::AtMost(_) => "at most",
            Bound::AtLeast(_) => "at least",
        };
        format!("{word} {}{}", grouped(self.bound.value(), self.digits), self.unit)
    }

    /// The figure of a row, if the mark is about it.
    fn of_row(&self, row: &Row, run: &Run, record: &Record) -> Option<f64> {
        let is_meant = run.name == self.run && row.is_gateway() && row.is(self.of);
        if is_meant { (self.figure)(row, record) } else { None }
    }

    fn verdict(&self, figure: f64) -> String {
        format!("{}{} {}", grouped(figure, self.digits), self.unit, word(self.bound.is_met(figure)))
    }

    /// The worst figure of a driver: a promise about several rows is kept by all of them.
    fn worst(&self, server: &str, record: &Record) -> Option<f64> {
        let run = record.run(self.run)?;
        let rows = run.rows.iter().filter(|row| row.server() == server);
        let figures = rows.filter_map(|row| self.of_row(row, run, record));
        match self.bound {
            Bound::AtLeast(_) => figures.min_by(f64::total_cmp),
            Bound::Below(_) | Bound::AtMost(_) => figures.max_by(f64::total_cmp),
        }
    }
}

fn word(is_met: bool) -> &'static str {
    if is_met { "met" } else { "**missed**" }
}

/// What a table says beside a row of the gateway: the marks that it is measured by.
pub fn beside(marks: &[Mark], row: &Row, run: &Run, record: &Record) -> String {
    let about = marks.iter().filter_map(|mark| Some((mark, mark.of_row(row, run, record)?)));
    let words: Vec<String> = about
        .map(|(mark, figure)| format!("{} {}: {}", mark.short, mark.asked(), word(mark.bound.is_met(figure))))
        .collect();
    words.join("; ")
}

/// All marks with the figures of both drivers.
pub fn summary(marks: &[&Mark], record: &Record) -> String {
    let drivers = ["epoll", "uring"];
    let heads = ["what", "mark"].into_iter().chain(drivers.map(server_name)).map(str::to_owned);
    let mut text = line(heads) + "|---|---|---|---|\n";
    for mark in marks {
        let figures = drivers.map(|driver| {
            let figure = mark.worst(driver, record);
            figure.map_or_else(|| "not measured".to_owned(), |figure| mark.verdict(figure))
        });
        text += &line([mark.what.to_owned(), mark.asked()].into_iter().chain(figures));
    }
    text
}
