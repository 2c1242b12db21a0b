//! What is shown: a table of medians for people, lines of JSON for programs.

use std::fs;
use std::io::IsTerminal;
use std::time::Duration;

use serde_json::{Value, json};

use crate::load::{Outcome, Pace};
use crate::process::Target;
use crate::{Args, Kind};

/// One phase of one process.
pub struct Sample {
    pub target: Target,
    pub pace: Pace,
    pub run: u32,
    pub outcome: Outcome,
    /// Used by the process that is measured, during the phase.
    pub process_cpu: Duration,
    /// Used by the load.
    pub load_cpu: Duration,
}

/// The figures of a sample, in the order of [`COLUMNS`].
type Figures = [f64; COLUMNS.len()];

/// Name in JSON, head of the column, digits after the point.
const COLUMNS: [(&str, &str, usize); 6] = [
    ("deliveries_per_s", "deliveries/s", 0),
    ("p50_ms", "p50 ms", 2),
    ("p99_ms", "p99 ms", 2),
    ("max_ms", "max ms", 2),
    ("cpu_s_per_million", "CPU s per million", 2),
    ("load_cpu_s_per_million", "load's CPU s", 2),
];
/// The column that is compared with the floor's.
const CPU: usize = 4;

pub struct Report<'a> {
    args: &'a Args,
    samples: Vec<Sample>,
}

impl Sample {
    fn figures(&self) -> Figures {
        let Outcome { deliveries, elapsed, latencies } = &self.outcome;
        let millions = *deliveries as f64 / 1e6;
        let ms = |ns: u64| ns as f64 / 1e6;
        [
            *deliveries as f64 / elapsed.as_secs_f64(),
            ms(latencies.value_at_quantile(0.5)),
            ms(latencies.value_at_quantile(0.99)),
            ms(latencies.max()),
            self.process_cpu.as_secs_f64() / millions,
            self.load_cpu.as_secs_f64() / millions,
        ]
    }
}

impl<'a> Report<'a> {
    pub fn new(args: &'a Args) -> Report<'a> {
        Report { args, samples: Vec::new() }
    }

    pub fn add(&mut self, sample: Sample) {
        if self.args.json {
            println!("{}", json_line(&sample, json!({ "run": sample.run }), &sample.figures()));
        }
        self.samples.push(sample);
    }

    pub fn finish(&self) {
        match self.args.json {
            true => self.each_median(|sample, figures, ratio| {
                let what = json!({ "runs": self.args.runs, "cpu_to_floor": ratio });
                println!("{}", json_line(sample, what, figures));
            }),
            false => self.table(),
        }
    }

    fn table(&self) {
        println!("{}\n", self.circumstances());
        let heads: Vec<&str> = COLUMNS.iter().map(|(_, head, _)| *head).collect();
        println!("| phase | server | {} | CPU to floor |", heads.join(" | "));
        println!("|---|---|{}", "--:|".repeat(COLUMNS.len() + 1));
        self.each_median(|sample, figures, ratio| {
            let cells: Vec<String> =
                COLUMNS.iter().zip(figures).map(|((_, _, digits), figure)| format!("{figure:.digits$}")).collect();
            let (phase, target) = (sample.pace.name(), sample.target.name());
            println!("| {phase} | {target} | {} | {ratio:.2} |", cells.join(" | "));
        });
        if std::io::stdout().is_terminal() {
            println!(
                "\nfloor: a loop of write(2) of the same bytes to as many sockets. load's CPU s: of this process, per million."
            );
        }
    }

    /// Visits each phase of each target once, with the median of each figure and the ratio of its CPU to the floor's.
    fn each_median(&self, mut visit: impl FnMut(&Sample, &Figures, f64)) {
        let mut firsts: Vec<&Sample> = self.samples.iter().filter(|sample| sample.run == 1).collect();
        firsts.sort_by_key(|sample| sample.pace.name() != "paced");
        let mut floor = f64::NAN;
        for first in firsts {
            let figures = self.medians(first.target, first.pace);
            if first.target == Target::Floor {
                floor = figures[CPU];
            }
            visit(first, &figures, figures[CPU] / floor);
        }
    }

    fn medians(&self, target: Target, pace: Pace) -> Figures {
        let is_it = |sample: &&Sample| sample.target == target && sample.pace == pace;
        let figures: Vec<Figures> = self.samples.iter().filter(is_it).map(Sample::figures).collect();
        std::array::from_fn(|column| median(figures.iter().map(|figures| figures[column]).collect()))
    }

    fn circumstances(&self) -> String {
        let Args { subscribers, kind, bytes, rate, window, seconds, runs, shards, tls, .. } = self.args;
        let who = match kind {
            Kind::Both => "half WebSocket, half event streams",
            Kind::Ws => "WebSocket",
            Kind::Sse => "event streams",
        };
        let tls = if *tls { "TLS (the floor is plain)" } else { "plain" };
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let runs = if *runs == 1 { "one run".to_owned() } else { format!("medians of {runs} runs") };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        format!(
            "{subscribers} subscribers ({who}, {tls}), {bytes} bytes a message, shards: {shards}; paced: {rate} messages/s, \
             flat out: window of {window}; {runs} of {seconds} s a phase; Linux {}, {cores} cores",
            kernel.trim()
        )
    }
}

fn json_line(sample: &Sample, mut line: Value, figures: &Figures) -> Value {
    line["server"] = sample.target.name().into();
    line["phase"] = sample.pace.name().into();
    for ((name, ..), figure) in COLUMNS.iter().zip(figures) {
        line[*name] = (*figure).into();
    }
    line
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}
