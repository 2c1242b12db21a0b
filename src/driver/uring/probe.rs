//! Whether io_uring is available here; if not, the reason in one sentence.

use std::ffi::CStr;
use std::io;

use super::UringOptions;
use super::ring::Ring;

/// Sets up a small version of what a [`super::UringDriver`] needs, and takes it down again.
///
/// No other feature must be checked: deferred task work came with Linux 6.1, after multishot polls (5.13) and
/// cancellation by more than user data (5.19).
///
/// In a thread of its own: the kernel takes a ring down later, and interrupts the thread that made it for that. A
/// caller in the middle of a read with a timeout would see EINTR (signal(7)).
pub fn probe() -> Result<(), String> {
    let prober = std::thread::Builder::new().name("uring-probe".to_owned()).spawn(attempt);
    let outcome = prober.map(|prober| prober.join().expect("the probe asserts nothing"));
    outcome.and_then(|attempt| attempt).map_err(|error| explain(&error))
}

fn attempt() -> io::Result<()> {
    Ring::new(&UringOptions { submissions: 4, completions: 8 }).map(drop)
}

fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => format!("io_uring is missing from this kernel (Linux {})", kernel_release()),
        Some(libc::EPERM | libc::EACCES) => match disabled_setting() {
            Some(value) => format!("io_uring is forbidden here: kernel.io_uring_disabled is {value}"),
            None => format!("io_uring is forbidden here, probably by a seccomp filter: {error}"),
        },
        Some(libc::EINVAL) => {
            format!("io_uring is too old in this kernel (Linux {}; 6.1 or later is needed)", kernel_release())
        }
        Some(libc::ENOMEM) => format!("there is no memory for an io_uring; RLIMIT_MEMLOCK may be too low: {error}"),
        _ => format!("an io_uring cannot be set up: {error}"),
    }
}

/// The value of `kernel.io_uring_disabled` if it forbids anything (1: all but one group, 2: everybody).
fn disabled_setting() -> Option<String> {
    let setting = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    Some(setting.trim().to_owned()).filter(|value| value != "0")
}

fn kernel_release() -> String {
    let mut name = std::mem::MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: uname fills the structure that it is given.
    let failed = unsafe { libc::uname(name.as_mut_ptr()) } != 0;
    if failed {
        return "of unknown release".to_owned();
    }
    // SAFETY: zeroed and then filled, every field is a valid array of characters.
    let name = unsafe { name.assume_init() };
    // SAFETY: the kernel ends the release with a zero within its array.
    let release = unsafe { CStr::from_ptr(name.release.as_ptr()) };
    release.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_sentence() {
        let sentence = |errno| explain(&io::Error::from_raw_os_error(errno));
        assert!(sentence(libc::ENOSYS).contains("missing"));
        assert!(sentence(libc::EPERM).contains("forbidden"));
        assert!(sentence(libc::EINVAL).contains("too old") && sentence(libc::EINVAL).contains(&kernel_release()));
        assert!(sentence(libc::ENOMEM).contains("memory"));
        assert!(sentence(libc::EMFILE).contains("set up"));
    }

    #[test]
    fn the_kernel_says_its_release() {
        assert!(kernel_release().contains('.'));
    }
}
