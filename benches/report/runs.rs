//! What the benchmarks said: run by run, kept as lines of JSON beside the page that is made of them.
//!
//! ```text
//!  plan --> cargo bench --bench NAME -- --json ... --> rows --> Record <--> figures.jsonl --> page
//! ```

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::machine;
use crate::plan::{Form, Order};
use crate::stalls::{self, Stalls};

/// How often the machine's free memory is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// One line of a benchmark: a median over its runs.
#[derive(Clone, Debug, Default)]
pub struct Row(pub Map<String, Value>);

impl Row {
    pub fn text(&self, field: &str) -> Option<&str> {
        self.0.get(field)?.as_str()
    }

    pub fn figure(&self, field: &str) -> Option<f64> {
        self.0.get(field)?.as_f64().filter(|figure| figure.is_finite())
    }

    /// Whether all these fields have these words.
    pub fn is(&self, fields: &[(&str, &str)]) -> bool {
        fields.iter().all(|(field, words)| self.text(field) == Some(words))
    }

    /// Who was measured.
    pub fn server(&self) -> &str {
        self.text("target").unwrap_or_default()
    }

    pub fn is_gateway(&self) -> bool {
        matches!(self.server(), "epoll" | "uring")
    }
}

/// One benchmark with one set of options.
pub struct Run {
    /// As the plan calls it.
    pub name: String,
    pub command: String,
    pub seconds: f64,
    /// The most by which the machine's free memory shrank: both ends, and the kernel for both.
    pub memory_bytes: f64,
    /// Of the machine, just before.
    pub stalls: Option<Stalls>,
    /// Why there are no rows, or not all.
    pub failure: Option<String>,
    /// The commit and the day, if they are others than those of the page.
    pub measured: Option<String>,
    pub rows: Vec<Row>,
}

/// Everything that a page is made of.
pub struct Record {
    pub facts: Map<String, Value>,
    pub form: Form,
    pub runs: Vec<Run>,
}

impl Record {
    pub fn run(&self, name: &str) -> Option<&Run> {
        self.runs.iter().find(|run| run.name == name)
    }

    /// The rows of a run; none if it was not measured.
    pub fn rows(&self, name: &str) -> &[Row] {
        self.run(name).map_or(&[], |run| &run.rows)
    }

    /// Measures one run. If it fails, that is recorded.
    pub fn measure(order: &Order, form: Form) -> Record {
        let facts = machine::facts();
        let command = order.command();
        eprintln!("report: {command}");
        let stalls = Some(stalls::watch(machine::cores()));
        let started = Instant::now();
        let (outcome, memory_bytes) = watching_memory(|| said(order));
        let (rows, failure) = match outcome {
            Ok((lines, failure)) => (medians(&lines), failure),
            Err(words) => (Vec::new(), Some(words)),
        };
        let (name, seconds) = (order.name.to_owned(), started.elapsed().as_secs_f64());
        Record {
            facts,
            form,
            runs: vec![Run { name, command, seconds, memory_bytes, stalls, failure, measured: None, rows }],
        }
    }

    /// What was measured now replaces what was measured earlier, run by run.
    pub fn update(&mut self, newer: Record) {
        let (before, now) = (stamp(&self.facts), stamp(&newer.facts));
        for run in self.runs.iter_mut().filter(|_| before != now) {
            run.measured.get_or_insert_with(|| before.clone());
        }
        self.facts = newer.facts;
        self.form = newer.form;
        for run in newer.runs {
            match self.runs.iter_mut().find(|own| own.name == run.name) {
                Some(own) => *own = run,
                None => self.runs.push(run),
            }
        }
    }

    /// As the file has it, a line for each run and one for each of its rows.
    pub fn text(&self) -> String {
        let mut lines = vec![json!({ "machine": self.facts, "form": self.form.name() })];
        for run in &self.runs {
            let Run { name, command, failure, .. } = run;
            let (seconds, memory) = (run.seconds.round(), run.memory_bytes);
            lines.push(json!({
                "run": name, "command": command, "seconds": seconds, "memory_bytes": memory, "failure": failure,
                "stalls_share": run.stalls.map(|stalls| stalls.share),
                "stalls_longest_ms": run.stalls.map(|stalls| stalls.longest_ms),
                "measured": run.measured,
            }));
            lines.extend(run.rows.iter().map(|row| json!({ "row": row.0 })));
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    pub fn parse(text: &str) -> Result<Record, String> {
        let mut record = Record { facts: Map::new(), form: Form::Short, runs: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            let wrong = || format!("line {}: not what the report writes", index + 1);
            let mut line: Value = serde_json::from_str(line).map_err(|_| wrong())?;
            if let Some(Value::Object(facts)) = line.get_mut("machine").map(Value::take) {
                record.facts = facts;
                record.form = line["form"].as_str().and_then(Form::of).ok_or_else(wrong)?;
            } else if let Some(Value::Object(row)) = line.get_mut("row").map(Value::take) {
                record.runs.last_mut().ok_or_else(wrong)?.rows.push(Row(row));
            } else {
                let text = |name: &str| line[name].as_str().map(str::to_owned);
                let stalls = line["stalls_share"].as_f64().zip(line["stalls_longest_ms"].as_f64());
                record.runs.push(Run {
                    name: text("run").ok_or_else(wrong)?,
                    command: text("command").ok_or_else(wrong)?,
                    seconds: line["seconds"].as_f64().unwrap_or_default(),
                    memory_bytes: line["memory_bytes"].as_f64().unwrap_or_default(),
                    stalls: stalls.map(|(share, longest_ms)| Stalls { share, longest_ms }),
                    failure: text("failure"),
                    measured: text("measured"),
                    rows: Vec::new(),
                });
            }
        }
        Ok(record)
    }
}

/// The commit and the day of a measurement.
fn stamp(facts: &Map<String, Value>) -> String {
    let fact = |name: &str| facts.get(name).and_then(Value::as_str).unwrap_or("unknown");
    format!("{} on {}", fact("commit"), fact("date"))
}

/// What `work` returns, and the most memory that the machine had less meanwhile.
fn watching_memory<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let free = || machine::meminfo("MemAvailable").unwrap_or_default();
    let before = free();
    let least = AtomicU64::new(before);
    let is_over = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                least.fetch_min(free(), Ordering::Relaxed);
                thread::sleep(LOOK_INTERVAL);
            }
        });
        let outcome = work();
        is_over.store(true, Ordering::Relaxed);
        outcome
    });
    (outcome, before.saturating_sub(least.into_inner()) as f64)
}

/// What cargo's child prints, and why it failed, if it did: the last thing that it said.
fn said(order: &Order) -> Result<(Vec<String>, Option<String>), String> {
    let child = Command::new(cargo()).args(order.arguments()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("cargo did not start: {error}"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (Some(stdout), Some(stderr)) = (stdout, stderr) else { return Err("a pipe was asked for".to_owned()) };
    let listener = thread::spawn(move || {
        let lines = BufReader::new(stderr).lines().map_while(Result::ok).inspect(|line| eprintln!("{line}"));
        reason(lines)
    });
    let lines = BufReader::new(stdout).lines().map_while(Result::ok).collect();
    let status = child.wait().map_err(|error| error.to_string())?;
    let reason = listener.join().ok().flatten();
    Ok((lines, (!status.success()).then(|| reason.unwrap_or_else(|| status.to_string()))))
}

/// Builds all benchmarks, so that no run pays for that. What does not build fails again when it is to run, and says why.
pub fn build_all() -> Result<(), String> {
    let status = Command::new(cargo()).args(["bench", "--quiet", "--no-run"]).status();
    status.map(drop).map_err(|error| format!("cargo did not start: {error}"))
}

fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// Why a run failed: cargo's error, or the last thing that the benchmark said.
fn reason(lines: impl Iterator<Item = String>) -> Option<String> {
    let (mut error, mut last) = (None, None);
    for line in lines.filter(|line| !line.trim().is_empty() && !line.starts_with(' ')) {
        // Cargo's own account of a benchmark that ended in an error says less than the benchmark did.
        if line.starts_with("error: bench failed") || line.starts_with("Caused by:") {
            break;
        }
        if error.is_none() && line.starts_with("error") {
            error = Some(line.clone());
        }
        last = Some(line);
    }
    error.or(last)
}

/// A benchmark prints each run with its number, and then each median.
fn medians(lines: &[String]) -> Vec<Row> {
    let rows = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).map(Row);
    rows.filter(|row| row.0.get("run").is_none_or(|run| run == "median")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn takes_medians_and_rows_without_runs() {
        let said =
            lines("{\"run\":1,\"target\":\"a\"}\nnoise\n{\"run\":\"median\",\"target\":\"b\"}\n{\"target\":\"c\"}");
        let servers: Vec<String> = medians(&said).iter().map(|row| row.server().to_owned()).collect();
        assert_eq!(servers, ["b", "c"]);
    }

    #[test]
    fn a_record_survives_its_text() {
        let text = "{\"form\":\"long\",\"machine\":{\"cores\":\"2\"}}\n\
                    {\"command\":\"cargo bench\",\"failure\":null,\"measured\":\"a on b\",\"memory_bytes\":4.0,\"run\":\"echo\",\"seconds\":3.0,\
                    \"stalls_longest_ms\":2.0,\"stalls_share\":0.01}\n\
                    {\"row\":{\"p99_ms\":1.5,\"target\":\"epoll\"}}\n";
        let record = Record::parse(text).unwrap();
        assert_eq!(record.text(), text);
        assert_eq!(record.rows("echo")[0].figure("p99_ms"), Some(1.5));
        assert_eq!(record.runs[0].stalls, Some(Stalls { share: 0.01, longest_ms: 2.0 }));
        assert_eq!(Record::parse("{\"row\":{}}").err().as_deref(), Some("line 1: not what the report writes"));
    }

    #[test]
    fn a_run_that_is_not_measured_again_keeps_its_commit() {
        let record = |commit: &str, runs: &[&str]| {
            let runs: String = runs.iter().map(|name| format!("{{\"command\":\"c\",\"run\":\"{name}\"}}\n")).collect();
            let facts = format!("{{\"commit\":\"{commit}\",\"date\":\"today\"}}");
            Record::parse(&format!("{{\"form\":\"short\",\"machine\":{facts}}}\n{runs}")).unwrap()
        };
        let mut all = record("a", &["echo", "proxy", "tunnel"]);
        all.update(record("b", &["proxy"]));
        all.update(record("b", &["tunnel"]));
        all.update(record("c", &["tunnel"]));
        let measured = ["echo", "proxy", "tunnel"].map(|name| all.run(name).unwrap().measured.clone());
        assert_eq!(measured, [Some("a on today".to_owned()), Some("b on today".to_owned()), None]);
    }

    #[test]
    fn a_failure_has_the_reason_that_was_given() {
        let of = |text: &str| reason(lines(text).into_iter());
        let missing = "error: no bench target named `x`\nhelp: available bench targets:\n    fanout\n";
        assert_eq!(of(missing).as_deref(), Some("error: no bench target named `x`"));
        let failed = "storm: only 3 of 5\nerror: bench failed, to rerun pass `--bench storm`\n\nCaused by:\n  exit";
        assert_eq!(of(failed).as_deref(), Some("storm: only 3 of 5"));
        assert_eq!(of(""), None);
    }
}
