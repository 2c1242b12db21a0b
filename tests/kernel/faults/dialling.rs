//! A driver that dials while system calls fail: the dial alone fails, with an outcome, and leaves nothing.

use std::io::ErrorKind::{
    AddrInUse, AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable, OutOfMemory, PermissionDenied,
    TimedOut, WouldBlock,
};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tidegate::base::{Batch, Key, Slots};
use tidegate::driver::clock::Clock;
use tidegate::driver::epoll::EpollDriver;
use tidegate::driver::uring::{UringDriver, UringOptions};
use tidegate::driver::{Completion, Driver, Remote, Waker, socket};

use super::gateway::PATIENCE;
use super::injection::Injection;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A server, a driver that dials it, and a bystander: a connection that was dialled before anything failed.
struct Dialler<D> {
    driver: D,
    keys: Slots<()>,
    server: TcpListener,
    remote: Remote,
}

impl<D: Driver<Socket = OwnedFd>> Dialler<D> {
    fn new(driver: D) -> Dialler<D> {
        let server = TcpListener::bind((LOCALHOST, 0)).expect("a port is free");
        let remote = Remote::Tcp(server.local_addr().expect("it is bound"));
        Dialler { driver, keys: Slots::new(1), server, remote }
    }

    /// Turns until `pick` finds what is awaited.
    fn until<T>(&mut self, mut pick: impl FnMut(Completion<'_, OwnedFd>) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "what is awaited does not come");
            let deadline = self.driver.now() + Duration::from_millis(10);
            self.driver.wait(deadline).expect("wait");
            while let Some(completion) = self.driver.next() {
                if let Some(picked) = pick(completion) {
                    return picked;
                }
            }
        }
    }

    fn dial(&mut self, from: Option<IpAddr>) -> (Key, Result<(), io::ErrorKind>) {
        let key = self.keys.insert(());
        self.driver.connect(&self.remote, from, key);
        let outcome = self.until(|completion| match completion {
            Completion::Connected { key: of, outcome } if of == key => Some(outcome),
            other => panic!("{other:?}"),
        });
        (key, outcome)
    }

    fn connection(&mut self) -> (Key, TcpStream) {
        let (key, outcome) = self.dial(None);
        assert_eq!(outcome, Ok(()));
        (key, self.server.accept().expect("it is in the queue").0)
    }

    /// The kernel may have connected what the driver has given up.
    fn forget_queue(&self) {
        self.server.set_nonblocking(true).expect("nonblocking");
        while self.server.accept().is_ok() {}
        self.server.set_nonblocking(false).expect("blocking");
    }

    fn close(&mut self, key: Key) {
        self.driver.close(key);
        self.until(|completion| match completion {
            Completion::Closed { key: of } if of == key => Some(()),
            other => panic!("{other:?}"),
        });
        self.keys.remove(key);
    }

    fn notices_nothing(&mut self, (key, peer): &mut (Key, TcpStream)) {
        let mut batch = Box::new(Batch::new());
        batch.push(b"there");
        self.driver.send(*key, batch);
        self.until(|completion| matches!(completion, Completion::Sent { outcome: Ok(()), .. }).then_some(()));
        let mut heard = [0; 5];
        peer.read_exact(&mut heard).expect("it is sent");
        peer.write_all(&heard).expect("it is taken");
        self.driver.recv(*key);
        let back = self.until(|completion| match completion {
            Completion::Received { bytes, .. } => Some(bytes.to_vec()),
            other => panic!("{other:?}"),
        });
        assert_eq!(back, b"there");
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/thread-self/fd").expect("a table").count()
}

/// Injects an error into a thread that dials once, and says how the dial ended.
fn dial_under<D: Driver<Socket = OwnedFd>>(
    make: fn(Waker) -> D,
    (call, error, which): (&str, &str, &str),
    from: Option<IpAddr>,
) -> Result<(), io::ErrorKind> {
    let _box = crate::shared();
    let (tell_thread, thread) = mpsc::channel();
    let (tell_injected, injected) = mpsc::channel();
    thread::scope(|scope| {
        let dialler = scope.spawn(move || {
            socket::private_descriptor_table().expect("unshare");
            let mut dialler = Dialler::new(make(Waker::new().expect("eventfd")));
            let mut bystander = dialler.connection();
            dialler.notices_nothing(&mut bystander);
            let before = descriptors();
            let path = std::fs::read_link("/proc/thread-self").expect("a link");
            let number = path.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("it ends with a number");
            tell_thread.send(number).expect("the test waits");
            injected.recv().expect("strace has attached");

            let (key, outcome) = dialler.dial(from);
            dialler.notices_nothing(&mut bystander);
            dialler.close(key);
            dialler.forget_queue();
            assert_eq!(descriptors(), before, "{call} {error}: no descriptor is left behind");
            // The key is free, and the next dial is as good as any.
            let mut next = dialler.connection();
            dialler.notices_nothing(&mut next);
            dialler.notices_nothing(&mut bystander);
            outcome
        });
        let injection = Injection::new(thread.recv().expect("it begins"), call, error, which);
        tell_injected.send(()).expect("it waits");
        let outcome = dialler.join().expect("it asserts what it expects");
        drop(injection);
        outcome
    })
}

fn epoll(waker: Waker) -> EpollDriver {
    EpollDriver::new(waker, Clock::start(), Arc::default()).expect("epoll")
}

fn uring(waker: Waker) -> UringDriver {
    UringDriver::new(waker, Clock::start(), Arc::default(), &UringOptions::default()).expect("io_uring")
}

fn every_driver_says(fault: (&str, &str, &str), from: Option<IpAddr>, expected: Result<(), io::ErrorKind>) {
    assert_eq!(dial_under(epoll, fault, from), expected, "epoll {fault:?}");
    assert_eq!(dial_under(uring, fault, from), expected, "uring {fault:?}");
}

#[test]
fn a_connect_that_fails_is_an_outcome() {
    for (error, kind) in [
        ("EADDRNOTAVAIL", AddrNotAvailable),
        ("EAGAIN", WouldBlock),
        ("ECONNREFUSED", ConnectionRefused),
        ("EHOSTUNREACH", HostUnreachable),
        ("ENETUNREACH", NetworkUnreachable),
        ("EPERM", PermissionDenied),
        ("ETIMEDOUT", TimedOut),
    ] {
        every_driver_says(("connect", error, "1"), None, Err(kind));
    }
}

#[test]
fn a_dial_without_resources_is_told_apart_from_a_server_that_fails() {
    for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"] {
        every_driver_says(("socket", error, "1"), None, Err(OutOfMemory));
    }
    for (call, error) in [("connect", "ENOBUFS"), ("setsockopt", "ENOMEM"), ("getsockopt", "ENOBUFS")] {
        every_driver_says((call, error, "1"), None, Err(OutOfMemory));
    }
    for error in ["ENOSPC", "ENOMEM"] {
        assert_eq!(dial_under(epoll, ("epoll_ctl", error, "1"), None), Err(OutOfMemory), "{error}");
    }
}

#[test]
fn a_source_address_that_cannot_be_had_is_an_outcome() {
    for (error, kind) in [("EADDRNOTAVAIL", AddrNotAvailable), ("EADDRINUSE", AddrInUse)] {
        every_driver_says(("bind", error, "1"), Some(LOCALHOST), Err(kind));
    }
}

#[test]
fn an_interrupted_connect_is_tried_again() {
    every_driver_says(("connect", "EINTR", "1..3"), None, Ok(()));
}

#[test]
fn a_ring_without_memory_dials_all_the_same() {
    for error in ["EAGAIN", "ENOMEM"] {
        assert_eq!(dial_under(uring, ("io_uring_enter", error, "1..5"), None), Ok(()), "{error}");
    }
}
