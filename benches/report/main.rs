//! The report: runs the benchmarks, and makes docs/benchmarks.md of what they say.
//!
//! ```text
//!  plan --(cargo bench --json)--> figures.jsonl --> sections: prose, tables, marks, plots --> docs/benchmarks.md
//!                                       '---------> road: what a million connections would take --'
//! ```
//!
//! A benchmark that is missing or fails leaves a gap with its reason, never a page that cannot be written. No figure on the
//! page stands in this program: all are read from the record or from the machine, but for the marks, which are promises.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

mod machine;
mod marks;
mod page;
mod plan;
mod plot;
mod road;
mod runs;
mod sections;
mod stalls;
mod table;

use plan::{Form, PLAN, Planned};
use runs::Record;

/// Runs the benchmarks and writes docs/benchmarks.md with its plots.
#[derive(Debug, Parser)]
#[command(name = "report", max_term_width = 100)]
#[command(after_help = "Examples:
  make bench
  make bench LONG=1
  cargo run --release --example report -- fanout echo
  cargo run --release --example report -- --render")]
struct Args {
    /// Only these runs; the others keep their figures (see figures.jsonl for the names)
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
    /// The sizes and times of the marks: hours instead of minutes
    #[arg(long)]
    long: bool,
    /// Measures nothing: writes the page anew from the figures that are there
    #[arg(long, conflicts_with_all = ["runs", "long"])]
    render: bool,
    /// Where the page goes, its figures and plots into the folder of the same name
    #[arg(long, value_name = "FILE", default_value = "docs/benchmarks.md")]
    page: PathBuf,
}

fn main() -> ExitCode {
    match report(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("report: {message}");
            ExitCode::FAILURE
        }
    }
}

fn report(args: &Args) -> Result<(), String> {
    let folder = args.page.with_extension("");
    let figures = folder.join("figures.jsonl");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let record = if args.render { read(&figures)? } else { measure(args, &figures)? };
    write(&args.page, &folder, &record)
}

fn measure(args: &Args, figures: &Path) -> Result<Record, String> {
    runs::build_all()?;
    let form = if args.long { Form::Long } else { Form::Short };
    let find = |name: &String| PLAN.iter().find(|planned| planned.name == name);
    let chosen: Vec<&Planned> = match args.runs.as_slice() {
        [] => PLAN.iter().collect(),
        names => {
            let found = |name| find(name).ok_or_else(|| format!("there is no run {name:?}: {}", known_runs()));
            names.iter().map(found).collect::<Result<_, _>>()?
        }
    };
    let mut record = if args.runs.is_empty() { None } else { read(figures).ok() };
    for planned in chosen {
        for order in planned.orders(form, record.as_ref()) {
            let newer = Record::measure(&order, form);
            let is_done = newer.run(planned.name).is_some_and(|run| run.failure.is_none());
            match &mut record {
                Some(record) => record.update(newer),
                None => record = Some(newer),
            }
            // After each: what has been measured is not lost when a later one is interrupted.
            record.iter().try_for_each(|record| write_file(figures, &record.text()))?;
            if is_done {
                break;
            }
        }
    }
    record.ok_or_else(|| "nothing was measured".to_owned())
}

fn known_runs() -> String {
    PLAN.iter().map(|planned| planned.name).collect::<Vec<_>>().join(", ")
}

fn write(page: &Path, folder: &Path, record: &Record) -> Result<(), String> {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let written = page::write(record, name)?;
    for (file, svg) in &written.plots {
        let path = folder.join(file);
        write_file(&path, svg)?;
    }
    write_file(page, &written.text)?;
    eprintln!("report: {} and {} plots are written", page.display(), written.plots.len());
    Ok(())
}

fn read(figures: &Path) -> Result<Record, String> {
    let text = fs::read_to_string(figures).map_err(|error| format!("{}: {error}", figures.display()))?;
    Record::parse(&text).map_err(|words| format!("{}, {words}", figures.display()))
}

fn write_file(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
