//! What the benchmarks share: the process that is measured, the load, and what is printed.
//!
//! ```text
//!  this process                                            the process that is measured, in a memory cgroup of its own
//!  bench --> Crew: threads, a descriptor table each ---->  this program again: the gateway on epoll or io_uring,
//!    |         connections, publisher, tally               a floor; or nginx, HAProxy
//!    '----> Process: start, CPU, memory ---- /proc, cgroup --'
//!    '----> Report: a line of JSON for each row, a table of medians for people
//! ```
//!
//! Both ends are apart so that their CPU and their memory are. Whatever is sent carries its number and the time at which
//! it was due, by the one clock of the load: every delivery is checked, and its latency has no coordinated omission in it.

pub mod blocking;
pub mod certificate;
pub mod cpu;
pub mod floor;
mod foreign;
pub mod gateway;
pub mod group;
pub mod half;
pub mod load;
pub mod memory;
mod nchan;
pub mod options;
pub mod process;
pub mod progress;
pub mod promise;
pub mod proxies;
pub mod report;
pub mod session;

use std::process::ExitCode;

use clap::Parser;

/// The allocator of the binary, and what it is told: what is measured is what is shipped.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// jemalloc looks for this name when it starts.
#[unsafe(export_name = "malloc_conf")]
pub static MALLOC_CONF: &std::ffi::CStr = tidegate::limits::MALLOC_CONF;

/// A benchmark's `main`: the measured process if its parent says so, the measurement otherwise.
pub fn main<Args: Parser>(name: &str, measure: impl FnOnce(&Args) -> Result<(), String>) -> ExitCode {
    let mut words = std::env::args().skip(1);
    let outcome = options::raise_descriptor_limit().and_then(|()| match words.next().as_deref() {
        Some(process::SERVE) => process::serve(&words.collect::<Vec<_>>()),
        _ => measure(&Args::parse()),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{name}: {message}");
            ExitCode::FAILURE
        }
    }
}
