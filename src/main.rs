//! The program `tidegate`: the command line around the library, which other programs can embed without it.

mod cli;

/// Fragmentation after a hundred thousand handshakes decides how many connections fit: see
/// docs/lifecycle/connection.md, "Memory". An embedding program chooses its own allocator.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// jemalloc looks up this name at start.
#[cfg(feature = "jemalloc")]
#[unsafe(export_name = "malloc_conf")]
pub static MALLOC_CONF: &std::ffi::CStr = tidegate::limits::MALLOC_CONF;

fn main() -> std::process::ExitCode {
    cli::main()
}
