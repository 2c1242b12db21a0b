//! Readiness, signs of life and the end, as systemd hears of them.

use std::net::TcpStream;

use crate::systemd::service::{Folder, Manager, Start, configuration, open_stream};

#[test]
fn says_that_it_is_ready_when_it_listens_and_that_it_stops_when_told() {
    for driver in ["epoll", "uring"] {
        let folder = Folder::new();
        let manager = Manager::listen(&folder);
        let text = configuration("127.0.0.1:0");
        let mut served = Start { folder: &folder, configuration: &text, driver, socket: None, variables: &[] }.serve();
        let first = manager.next();
        assert_eq!(first[0], "READY=1", "the first word");
        assert!(first[1].starts_with("STATUS=Connections: 0, on 2 shards over "), "{first:?}");
        TcpStream::connect(served.http).expect("who is ready listens");
        served.terminate();
        let last = std::iter::from_fn(|| Some(manager.next())).find(|news| news.contains(&"STOPPING=1".to_owned()));
        // The configuration's 20 s, and what last words may take.
        assert!(last.is_some_and(|news| news.contains(&"EXTEND_TIMEOUT_USEC=30000000".to_owned())));
        assert!(served.wait().success());
    }
}

#[test]
fn gives_signs_of_life_while_idle_and_none_while_a_shard_is_stuck() {
    for driver in ["epoll", "uring"] {
        let folder = Folder::new();
        let manager = Manager::listen(&folder);
        let text = configuration("127.0.0.1:0");
        let variables = [("WATCHDOG_USEC", "400000")];
        let mut served =
            Start { folder: &folder, configuration: &text, driver, socket: None, variables: &variables }.serve();
        let client = open_stream(served.http);
        (0..5).for_each(|_| manager.expect("WATCHDOG=1"));

        let stopped = Stopped::new(served.thread("shard-1"));
        served.expect_log("shards [1] have not turned");
        // What was said before the beat that found it may still be in the socket: skip as much as that can be.
        let is_status = |news: &[String]| news.iter().any(|line| line.starts_with("STATUS="));
        let mut news: Vec<Vec<String>> = Vec::new();
        while news.iter().filter(|news| is_status(news)).count() < 12 {
            news.push(manager.next());
        }
        let late = &news[news.len() - 6..];
        assert!(late.iter().all(|news| !news.contains(&"WATCHDOG=1".to_owned())), "{late:?}");

        drop((stopped, client));
        manager.expect("WATCHDOG=1");
        served.terminate();
        manager.expect("STOPPING=1");
        assert!(served.wait().success());
    }
}

/// One thread of another process, held still until this is dropped; the others run on.
struct Stopped(i32);

impl Stopped {
    fn new(thread: i32) -> Stopped {
        ptrace(libc::PTRACE_SEIZE, thread);
        ptrace(libc::PTRACE_INTERRUPT, thread);
        let mut status = 0;
        // SAFETY: waitpid writes the status that it is given.
        let waited = unsafe { libc::waitpid(thread, &mut status, libc::__WALL) };
        assert_eq!(waited, thread, "it has stopped");
        Stopped(thread)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        ptrace(libc::PTRACE_DETACH, self.0);
    }
}

fn ptrace(request: libc::c_uint, thread: i32) {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: none of the three requests reads or writes memory of this process.
    let outcome = unsafe { libc::ptrace(request, thread, nothing, nothing) };
    assert_eq!(outcome, 0, "a child may be traced: {}", std::io::Error::last_os_error());
}
