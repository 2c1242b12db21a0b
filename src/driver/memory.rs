//! The memory of the process, which holds keys, and other processes.

use std::io;

/// From now on no core dump is written, whatever ends the process, and no process of the same user reads this memory:
/// neither a debugger nor `/proc/PID/mem` (PR_SET_DUMPABLE, proc_pid(5)). Only root does, and processes with
/// CAP_SYS_PTRACE.
pub fn hide() -> io::Result<()> {
    const NOT_DUMPABLE: libc::c_ulong = 0;
    // SAFETY: this option takes a number and touches no memory of ours.
    match unsafe { libc::prctl(libc::PR_SET_DUMPABLE, NOT_DUMPABLE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
