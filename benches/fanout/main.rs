//! The fan-out benchmark: how fast one message reaches many subscribers, and what that costs the gateway.
//!
//! ```text
//!  this process: one thread                              the process that is measured: this program again
//!  publisher ---- PUB over the bus ------------------->  gateway on epoll, on io_uring, or the floor:
//!  subscribers <-- a frame or record to each of N -----  a loop of write(2) of the same bytes
//! ```
//!
//! Both ends are apart so that their CPU time is; messages are due, sent and received by one clock. Every subscriber must
//! get every message, whole and in order, or the benchmark fails.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

mod floor;
mod load;
mod process;
mod publisher;
mod report;
mod subscriber;
mod tls;
mod wire;

use load::{Load, Pace};
use process::{Process, Target};
use report::{Report, Sample};
use tls::Certificate;

/// Publishes until caches, allocators and sockets have seen everything once; not reported.
const WARM_UP: Duration = Duration::from_millis(300);
/// A payload says its number and when it was due.
const BYTES_MIN: u64 = 33;
const BYTES_MAX: u64 = 64 * 1024;

/// One channel, many subscribers: deliveries per second, latency, and CPU of the gateway, for each driver and for a bare
/// loop of write(2), the floor.
#[derive(Clone, Debug, Parser)]
#[command(name = "fanout", max_term_width = 100)]
#[command(
    after_help = "Two phases: paced, where latency counts from when a message was due, and flat out, where the next message
follows as soon as fewer than WINDOW are on their way, and latency counts from when it was published.

Examples:
  cargo bench --bench fanout
  cargo bench --bench fanout -- --subscribers 5000 --kind sse --driver uring --runs 5
  cargo bench --bench fanout -- --tls --json"
)]
pub struct Args {
    /// How many listen
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    subscribers: u32,
    /// What they are; `both` is half and half
    #[arg(long, value_enum, default_value = "both")]
    kind: Kind,
    /// Payload of a message
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(BYTES_MIN as i64..=BYTES_MAX as i64))]
    bytes: u32,
    /// Messages per second of the paced phase
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Most messages on their way in the phase that goes flat out; above 1, several may go out in one send
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    window: u32,
    /// Length of each phase
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Everything so many times, taking turns; the table shows medians
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Only these drivers; may be repeated
    #[arg(long, value_enum, default_values = ["epoll", "uring"])]
    driver: Vec<Driver>,
    /// Shards of the gateway; the load takes a core as well
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    shards: u32,
    /// Subscribers connect over TLS; the floor stays plain
    #[arg(long)]
    tls: bool,
    /// One JSON object a line: each run, then each median
    #[arg(long)]
    json: bool,
    /// cargo says that this is a benchmark
    #[arg(long, hide = true)]
    bench: bool,
    /// What this process is, if it is the one that is measured
    #[arg(long, hide = true, value_enum)]
    target: Option<Target>,
    /// Where the certificate lies
    #[arg(long, hide = true)]
    certificate: Option<std::path::PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Both,
    Ws,
    Sse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Driver {
    Epoll,
    Uring,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.target {
        Some(target) => process::serve(target, &args),
        None => measure(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("fanout: {message}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<(), String> {
    let certificate = args.tls.then(Certificate::new).transpose()?;
    let drivers = args.driver.iter().map(|driver| match driver {
        Driver::Epoll => Target::Epoll,
        Driver::Uring => Target::Uring,
    });
    let targets: Vec<Target> = std::iter::once(Target::Floor).chain(drivers).collect();
    let mut report = Report::new(args);
    for run in 1..=args.runs {
        for target in &targets {
            for sample in measure_target(*target, run, args, certificate.as_ref())? {
                report.add(sample);
            }
        }
    }
    report.finish();
    Ok(())
}

/// One process and its subscribers, through both phases.
fn measure_target(
    target: Target,
    run: u32,
    args: &Args,
    certificate: Option<&Certificate>,
) -> Result<Vec<Sample>, String> {
    let process = Process::start(target, args, certificate)?;
    let mut load = Load::open(&process, args, certificate)?;
    let flat_out = Pace::FlatOut { window: args.window as usize };
    load.run(flat_out, WARM_UP, &mut |_| {})?;
    let mut samples = Vec::new();
    for pace in [Pace::Paced { rate: args.rate }, flat_out] {
        let (process_before, load_before) = (process.cpu()?, process::own_cpu()?);
        let progress = Progress { target, pace, run, args };
        let outcome = load.run(pace, Duration::from_secs(args.seconds.into()), &mut |text| progress.show(text));
        progress.clear();
        samples.push(Sample {
            target,
            pace,
            run,
            outcome: outcome?,
            process_cpu: process.cpu()?.saturating_sub(process_before),
            load_cpu: process::own_cpu()?.saturating_sub(load_before),
        });
    }
    Ok(samples)
}

/// A line on the terminal that is written over; nothing where there is none.
struct Progress<'a> {
    target: Target,
    pace: Pace,
    run: u32,
    args: &'a Args,
}

impl Progress<'_> {
    fn show(&self, text: &str) {
        if std::io::stderr().is_terminal() {
            let (target, phase) = (self.target.name(), self.pace.name());
            eprint!("\r\x1b[Krun {} of {}, {target}, {phase}: {text}", self.run, self.args.runs);
        }
    }

    fn clear(&self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}
