//! The two queues: submissions for the next enter, and completions as plain values.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue};

use super::UringOptions;

/// The kind of a completion: the upper byte of its user data. The rest is a key or a listener's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Accept = 1,
    Readable = 2,
    Send = 3,
    Wake = 4,
    Cancel = 5,
    Connect = 6,
}

const OP_SHIFT: u32 = 56;

impl Op {
    pub(super) fn user_data(self, value: u64) -> u64 {
        (self as u64) << OP_SHIFT | value
    }

    fn of(user_data: u64) -> Op {
        match user_data >> OP_SHIFT {
            1 => Op::Accept,
            2 => Op::Readable,
            3 => Op::Send,
            4 => Op::Wake,
            5 => Op::Cancel,
            6 => Op::Connect,
            other => unreachable!("no submission of ours is numbered {other}"),
        }
    }
}

/// One completion queue entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub op: Op,
    /// The submission's value.
    pub value: u64,
    /// A count, a mask, or a negated errno.
    pub result: i32,
    /// The submission stays armed and will complete again.
    pub more: bool,
}

impl Done {
    pub(super) fn outcome(&self) -> io::Result<usize> {
        usize::try_from(self.result).map_err(|_| io::Error::from_raw_os_error(-self.result))
    }
}

pub(super) struct Ring {
    uring: IoUring,
    /// Entries that did not fit into the submission queue; they are submitted, in order, before later ones. Each
    /// connection has a few submissions at most, which bounds them.
    backlog: VecDeque<Entry>,
    /// Submissions, except cancellations, whose last completion has not been popped.
    in_flight: usize,
}

/// How long to pause if the kernel has no memory for submissions.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(1);

impl Ring {
    /// Must be called in the thread that will use the ring: the kernel enforces SINGLE_ISSUER.
    pub(super) fn new(options: &UringOptions) -> io::Result<Ring> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(options.completions)
            .build(options.submissions)?;
        Ok(Ring { uring, backlog: VecDeque::new(), in_flight: 0 })
    }

    /// Queues a submission.
    ///
    /// # Safety
    ///
    /// The memory that the entry names stays valid, and unchanged where the kernel reads it, until its last completion
    /// has been popped.
    pub(super) unsafe fn push(&mut self, op: Op, value: u64, entry: Entry) {
        if op != Op::Cancel {
            self.in_flight += 1;
        }
        let entry = entry.user_data(op.user_data(value));
        // SAFETY: the caller keeps the memory that the entry names.
        let is_full = !self.backlog.is_empty() || unsafe { self.uring.submission().push(&entry) }.is_err();
        if is_full {
            self.backlog.push_back(entry);
            // Makes room. An error happens again in `enter`, which reports it.
            drop(self.enter_with(0, EnterFlags::empty(), None));
            self.fill_submissions();
        }
    }

    fn fill_submissions(&mut self) {
        let mut queue = self.uring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: the caller of `Ring::push` keeps the memory that the entry names.
            if unsafe { queue.push(entry) }.is_err() {
                break;
            }
            self.backlog.pop_front();
        }
    }

    /// Submits everything, lets the kernel post completions, and sleeps until there is one or `timeout` has passed.
    /// `Some(ZERO)` does not sleep; `None` sleeps without a limit. May return early.
    pub(super) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        while !self.backlog.is_empty() {
            self.enter_with(0, EnterFlags::empty(), None)?;
            let before = self.backlog.len();
            self.fill_submissions();
            if self.backlog.len() == before {
                break;
            }
        }
        let want = u32::from(timeout != Some(Duration::ZERO) && self.backlog.is_empty());
        self.enter_with(want, EnterFlags::GETEVENTS, timeout)
    }

    fn enter_with(&mut self, want: u32, flags: EnterFlags, timeout: Option<Duration>) -> io::Result<()> {
        let pending = self.uring.submission().len() as u32;
        match self.call(pending, want, flags, timeout) {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR) => Ok(()),
                // No memory for requests, or too many waiting completions: let running requests proceed, and try again.
                Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => {
                    drop(self.call(0, 1, EnterFlags::GETEVENTS, Some(SHORTAGE_PAUSE)));
                    Ok(())
                }
                _ => Err(error),
            },
        }
    }

    fn call(&self, submit: u32, want: u32, flags: EnterFlags, timeout: Option<Duration>) -> io::Result<usize> {
        let timespec = Timespec::from(timeout.unwrap_or_default());
        let mut args = SubmitArgs::new();
        if timeout.is_some() && want > 0 {
            args = args.timespec(&timespec);
        }
        let flags = flags | EnterFlags::EXT_ARG;
        // SAFETY: the arguments are what EXT_ARG says they are and live until the call returns; what the submissions
        // name is kept by the callers of `push`.
        unsafe { self.uring.submitter().enter(submit, want, flags.bits(), Some(&args)) }
    }

    /// The next completion that the kernel has posted.
    pub(super) fn pop(&mut self) -> Option<Done> {
        let entry = self.uring.completion().next()?;
        let more = cqueue::more(entry.flags());
        let op = Op::of(entry.user_data());
        if op != Op::Cancel && !more {
            self.in_flight -= 1;
        }
        Some(Done { op, value: entry.user_data() & !(u64::MAX << OP_SHIFT), result: entry.result(), more })
    }

    pub(super) fn has_completions(&mut self) -> bool {
        !self.uring.completion().is_empty()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }
}
