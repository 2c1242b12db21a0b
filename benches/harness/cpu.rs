//! CPU time of a process: of all its threads, in user space and in the kernel.

use std::fs;
use std::io;
use std::time::Duration;

/// What this process has used so far.
pub fn own() -> Result<Duration, String> {
    of("self")
}

/// The first word of schedstat is the time on a CPU in nanoseconds (Documentation/scheduler/sched-stats.rst); the ticks of
/// `stat` would be too coarse. Threads that have ended are not in it.
pub fn of(process: &str) -> Result<Duration, String> {
    let folder = format!("/proc/{process}/task");
    let mut cpu = Duration::ZERO;
    for task in fs::read_dir(&folder).map_err(|error| format!("{folder}: {error}"))? {
        let path = task.map_err(|error| format!("{folder}: {error}"))?.path().join("schedstat");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // It ended in between.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => continue,
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let first = text.split_whitespace().next().and_then(|word| word.parse().ok());
        cpu += Duration::from_nanos(first.ok_or_else(|| format!("{}: no time in {text:?}", path.display()))?);
    }
    Ok(cpu)
}

/// Whether an error of a file below /proc says that its process has gone.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// From now on this thread, and those that it starts, leave the cores to others that want them: it stands for a machine of
/// its own.
pub fn step_back() -> Result<(), String> {
    const NICENESS: libc::c_int = 10;
    // SAFETY: setpriority takes numbers alone; 0 is the calling thread, as Linux counts niceness for each.
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) } {
        0 => Ok(()),
        _ => Err(format!("niceness: {}", std::io::Error::last_os_error())),
    }
}
