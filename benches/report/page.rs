//! The page: its head, how to read it, the marks, a section for each benchmark, the road to a million.

use crate::machine;
use crate::marks::{self, Mark};
use crate::plan::Form;
use crate::road;
use crate::runs::{Record, Run};
use crate::sections::{SECTIONS, Section};
use crate::table::{line, table};

pub struct Page {
    pub text: String,
    /// File names and what is in them.
    pub plots: Vec<(String, String)>,
}

/// Of the cores, what may be in use by others before figures are taken.
const BUSY_SHARE: f64 = 0.25;

const HEAD: &str = "\
# Benchmarks

How much memory a connection takes, what a message costs, how long it is on its way: measured by the programs in
[benches/](../benches), each beside the least that the kernel asks for the same. `make bench` measures the short form
and writes this page; `make bench LONG=1` takes the sizes and times of the marks. Every table says the command that
shows it.

";

const HOW_TO_READ: &str = "\
## How to read this page

**The floor** is a program of a few dozen lines with nothing in it but the system calls: a loop that accepts, or writes
the same bytes to as many sockets, or sends them back. It is measured in the same run, on the same machine, by the same
load, and it speaks no protocol at all. No gateway can be below it; the distance to it is what a gateway adds, and the
only figure here that means something on another machine.

**Bytes per connection** are counted where they are spent. *User* is the anonymous memory of the process, from
smaps_rollup. *Kernel* is what the memory cgroup of the process is charged besides: file, inode, dentry, epoll entry or
ring, and whatever lies in socket buffers. One structure is charged to no cgroup, because the kernel allocates it while
it handles a packet: the accepted socket's own structure, an object of 2,368 bytes of which 13 share 32 KiB, so 2,520 bytes
are added for it. *All in* is process + kernel, that sum included: what the machine really has to have. Each figure is
the growth from before the connections to after them, divided by their number.

**CPU** is the time that all threads of the measured process spent on a processor, in user space and in the kernel
(schedstat, to the nanosecond). *Per million* is seconds for a million deliveries, round trips or whatever the table
counts, which is the same as microseconds for one. The load runs in another process and says its own CPU in its own
column: on one machine the two compete for the same cores, and a reader should know how much of the machine was busy
asking.

**Latency** counts from the moment at which a message was *due*, not from the moment at which it was sent. The difference
is called coordinated omission: a load that waits for a slow answer before it sends the next request leaves out exactly
the requests that would have had to wait, and so reports a stall of a second as one slow request instead of a thousand.
Here the schedule does not wait. Where a phase goes flat out there is no schedule, and latency counts from publication.
Percentiles are those of all deliveries (HdrHistogram, three digits); none is an average of percentiles.

**A machine stands still** at times: the host of a virtual one takes its cores away for milliseconds and often counts that
nowhere. So a thread on each core reads the clock for three seconds before each run, and gaps of half a millisecond and
more are shown beside the command. Where they are a hundredth of the time, the 99th percentile of any latency is theirs.

**Shards float** here unless the cores are known to be the gateway's own: the harness leaves `pin = \"auto\"`
([configuration.md](configuration.md)) as users get it. It gives the gateway no cores of its own, because the load runs on
the same ones, and a pinned shard would have to wait for it there. Figures of before 2026-11-30 are of pinned shards, so
compare later ones with them only where the cores are not full.

**Servers.** *tidegate, epoll* and *tidegate, io_uring* are the same gateway on its two drivers. *nginx + nchan* is
measured where it is installed (Debian: libnginx-mod-nchan).

";

pub fn write(record: &Record, folder: &str) -> Result<Page, String> {
    let mut page = Page { text: HEAD.to_owned(), plots: Vec::new() };
    page.text += &facts(record);
    page.text += HOW_TO_READ;
    let all_marks: Vec<&Mark> = SECTIONS.iter().flat_map(|section| section.marks).collect();
    page.text += "## The marks\n\n";
    page.text += "What the project has promised, and the worst figure of each driver for it. Where one is missed, \
                  [profiles.md](profiles.md) shows where the rest goes.";
    if record.form == Form::Short {
        page.text += " The short form is smaller and briefer than the marks ask for: take it for a hint.";
    }
    page.text += "\n\n";
    page.text += &marks::summary(&all_marks, record);
    for section in SECTIONS {
        page.add(section, record, folder)?;
    }
    page.text += &road::section(record);
    Ok(page)
}

fn facts(record: &Record) -> String {
    let mut text = "| | |\n|---|---|\n".to_owned();
    for (name, words) in machine::in_order(&record.facts) {
        text += &line([name.to_owned(), words.to_owned()].into_iter());
    }
    let has_peer = record.runs.iter().any(|run| run.rows.iter().any(|row| row.server() == "nchan"));
    if !has_peer {
        let is_missing = machine::in_order(&record.facts).all(|(name, _)| name != "nginx");
        let what =
            if is_missing { "nginx is not installed" } else { "its nchan module is not installed, or was left out" };
        text += &format!("\nnginx + nchan: not measured, {what}.\n");
    }
    if let Some((load, cores)) = busy(record) {
        text += &format!(
            "\n**The machine was busy when this was measured (a load average of {load} before, on {cores} cores): compare \
             within a run, and take no figure by itself.**\n"
        );
    }
    text + "\n"
}

/// The load average before the last run, if that is work for a good part of the cores.
fn busy(record: &Record) -> Option<(f64, f64)> {
    let fact = |name: &str| record.facts.get(name)?.as_str()?.parse::<f64>().ok();
    let (load, cores) = (fact(machine::LOAD)?, fact(machine::CORES)?);
    (load > cores * BUSY_SHARE).then_some((load, cores))
}

impl Page {
    fn add(&mut self, section: &Section, record: &Record, folder: &str) -> Result<(), String> {
        self.text += &format!("\n## {}\n\n{}\n", section.title, section.prose);
        for words in (section.findings)(record) {
            self.text += &format!("\n{words}\n");
        }
        for (name, words) in section.runs {
            self.text += &format!("\n### {words}\n\n");
            self.text +=
                &record.run(name).map_or_else(|| "Not measured.\n".to_owned(), |run| part(section, run, record));
        }
        for plot in section.plots {
            if let Some(svg) = (plot.draw)(record) {
                self.text += &format!("\n![{}]({folder}/{})\n", plot.words, plot.file);
                self.plots.push((plot.file.to_owned(), svg?));
            }
        }
        Ok(())
    }
}

/// One run: its command, its table, and why there is not more of it.
fn part(section: &Section, run: &Run, record: &Record) -> String {
    let mut text = format!("`{}`, {} s", run.command, run.seconds.round());
    if let Some(stalls) = run.stalls {
        text += &format!(
            "; before it, the machine stood still for {:.2} % of the time, for up to {:.1} ms",
            stalls.share * 100.0,
            stalls.longest_ms
        );
    }
    if let Some(measured) = &run.measured {
        text += &format!("; measured at {measured}");
    }
    text.push('\n');
    if let Some(failure) = &run.failure {
        let what = if run.rows.is_empty() { "Not measured" } else { "It ended with an error" };
        text += &format!("\n{what}: {failure}\n");
    }
    if !run.rows.is_empty() {
        let has_mark = run.rows.iter().any(|row| !marks::beside(section.marks, row, run, record).is_empty());
        let beside = |row: &_| marks::beside(section.marks, row, run, record);
        text += "\n";
        text += &table(&run.rows, section.columns, has_mark.then_some(&beside));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PLAN;

    fn record(text: &str) -> Record {
        Record::parse(text).unwrap()
    }

    const MACHINE: &str = "{\"form\":\"long\",\"machine\":{\"cores\":\"2\",\"load average before\":\"7.0\"}}\n";

    #[test]
    fn a_page_without_figures_says_so() {
        let page = write(&record(""), "benchmarks").unwrap();
        assert!(page.plots.is_empty());
        assert!(page.text.contains("nginx + nchan: not measured, nginx is not installed."));
        assert!(page.text.contains("Not computed: the memory of a TLS connection was not measured."));
        assert!(!page.text.contains("The machine was busy"));
    }

    #[test]
    fn a_run_that_failed_leaves_its_reason() {
        let failed = "{\"run\":\"echo\",\"command\":\"cargo bench --bench echo\",\"failure\":\"error: no echo\"}\n";
        let page = write(&record(&format!("{MACHINE}{failed}")), "benchmarks").unwrap();
        assert!(page.text.contains("`cargo bench --bench echo`, 0 s\n\nNot measured: error: no echo\n"));
        assert!(page.text.contains("The machine was busy"));
    }

    #[test]
    fn marks_plots_and_the_road_follow_from_the_rows() {
        let row = |target: &str, transport: &str, bytes: u32| {
            format!(
                "{{\"row\":{{\"target\":\"{target}\",\"phase\":\"idle\",\"transport\":\"{transport}\",\
                 \"connections\":10000,\"all_in_bytes\":{bytes},\"user_bytes\":100,\"connects_per_s\":2000}}}}\n"
            )
        };
        let run = "{\"run\":\"connections\",\"command\":\"cargo bench\"}\n";
        let rows = row("floor", "plain", 4000) + &row("epoll", "tls", 4600) + &row("uring", "tls", 4800);
        let page = write(&record(&format!("{MACHINE}{run}{rows}")), "benchmarks").unwrap();
        assert!(
            page.text
                .contains("| idle TLS 1.3 connection, all in | below 4,700 B | 4,600 B met | 4,800 B **missed** |")
        );
        assert!(
            page.text
                .contains("An idle TLS 1.3 connection costs 4,600 bytes on tidegate, epoll, 600 bytes above the floor")
        );
        assert!(page.text.contains("| time of the handshakes | 500 s with both ends"));
        assert!(page.text.contains("The largest number really held: **10,000**"));
        assert_eq!(page.plots[0].0, "bytes-per-connection.svg");
        assert!(page.plots[0].1.contains("4,600 tidegate, epoll") && page.plots[0].1.contains("prefers-color-scheme"));
    }

    #[test]
    fn sections_and_plan_name_the_same_runs() {
        let shown: Vec<&str> = SECTIONS.iter().flat_map(|section| section.runs).map(|run| run.0).collect();
        let planned: Vec<&str> = PLAN.iter().map(|planned| planned.name).collect();
        assert!(planned.iter().all(|name| shown.contains(name)), "every run is shown");
        let marked = SECTIONS.iter().flat_map(|section| section.marks).map(|mark| mark.run);
        assert!(shown.iter().copied().chain(marked).all(|name| planned.contains(&name)), "what is shown is measured");
    }
}
