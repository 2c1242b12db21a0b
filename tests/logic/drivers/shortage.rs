//! What the kernel drivers do when descriptors run out, and when io_uring is not to be had.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::{Barrier, mpsc};
use std::thread;

use tidegate::driver::{Choice, Driver, DriverKind, Waker, choose, socket, uring};

use crate::drivers::kernel::{Epoll, KernelWorld, Make, Uring};
use crate::drivers::stage::{Event, LISTENER, Peer, Read, Stage, World};

#[test]
fn epoll_accepts_again_after_running_out_of_descriptors() {
    accepts_again_after_running_out_of_descriptors::<Epoll>();
}

#[test]
fn uring_accepts_again_after_running_out_of_descriptors() {
    accepts_again_after_running_out_of_descriptors::<Uring>();
}

/// Shard and peers have tables of their own; the shard fills its to the limit, and nobody else notices.
fn accepts_again_after_running_out_of_descriptors<M: Make + 'static>() {
    if let Some(why) = M::missing() {
        return eprintln!("skipped: {why}");
    }
    socket::private_descriptor_table().unwrap();
    let (tell_address, address) = mpsc::channel();
    let (tell_filled, filled) = mpsc::channel();
    let shard = thread::spawn(move || {
        let mut stage = Stage::new(KernelWorld::<M>::new());
        // One connection before the shortage: what is open goes on working.
        tell_address.send(stage.world.address()).unwrap();
        let socket = stage.accepted();
        let key = stage.attach(socket);
        let filling = fill_table();
        tell_filled.send(()).unwrap();
        expect_no_descriptor(stage.event());
        stage.send(key, b"still here");
        assert!(matches!(stage.event(), Event::Sent(_, _, Ok(()))));
        // Nothing is tried until it is asked for, and then it is.
        stage.turn();
        assert!(stage.events.is_empty());
        stage.driver().resume_accept(LISTENER);
        expect_no_descriptor(stage.event());
        drop(filling);
        stage.driver().resume_accept(LISTENER);
        let second = stage.accepted();
        stage.attach(second);
    });
    let address: SocketAddr = address.recv().unwrap();
    let mut first = TcpStream::connect(address).unwrap();
    filled.recv().unwrap();
    let _second = TcpStream::connect(address).unwrap();
    assert_eq!(Peer::read(&mut first, &mut [0; 64]), Read::Bytes(10));
    shard.join().unwrap();
}

fn expect_no_descriptor(event: Event) {
    let Event::AcceptFailed(error) = event else { panic!("{event:?}") };
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
}

fn fill_table() -> Vec<OwnedFd> {
    let first = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let mut all = Vec::new();
    while let Ok(another) = first.try_clone() {
        all.push(another);
    }
    all.push(first);
    all
}

#[test]
fn epoll_holds_more_sockets_than_one_table_may() {
    in_child(
        "drivers::shortage::epoll_holds_more_sockets_than_one_table_may",
        holds_more_sockets_than_one_table_may::<Epoll>,
    );
}

#[test]
fn uring_holds_more_sockets_than_one_table_may() {
    in_child(
        "drivers::shortage::uring_holds_more_sockets_than_one_table_may",
        holds_more_sockets_than_one_table_may::<Uring>,
    );
}

const LIMIT: u64 = 256;
const SOCKETS_PER_SHARD: usize = 200;
const SHARDS: usize = 2;

fn holds_more_sockets_than_one_table_may<M: Make>() {
    if let Some(why) = M::missing() {
        return eprintln!("skipped: {why}");
    }
    let limit = libc::rlimit { rlim_cur: LIMIT, rlim_max: LIMIT };
    // SAFETY: setrlimit reads the structure; this process runs nothing but this test.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    const { assert!((SOCKETS_PER_SHARD * SHARDS) as u64 > LIMIT) };

    let everything_is_open = Barrier::new(2 * SHARDS);
    thread::scope(|scope| {
        for _ in 0..SHARDS {
            let everything_is_open = &everything_is_open;
            let (tell_address, address) = mpsc::channel();
            // Opened before the table is a private one, used from outside of it.
            let waker = Waker::new().unwrap();
            let shards_waker = waker.clone();
            scope.spawn(move || {
                socket::private_descriptor_table().unwrap();
                let mut stage = Stage::new(KernelWorld::<M>::with_waker(shards_waker));
                tell_address.send(stage.world.address()).unwrap();
                let keys: Vec<_> = (0..SOCKETS_PER_SHARD)
                    .map(|_| {
                        let socket = stage.accepted();
                        stage.attach(socket)
                    })
                    .collect();
                everything_is_open.wait();
                for &key in &keys {
                    stage.send(key, b".");
                    assert!(matches!(stage.event(), Event::Sent(_, _, Ok(()))));
                }
                assert!(matches!(stage.event(), Event::Woken));
            });
            scope.spawn(move || {
                socket::private_descriptor_table().unwrap();
                let address: SocketAddr = address.recv().unwrap();
                let mut peers: Vec<_> = (0..SOCKETS_PER_SHARD).map(|_| TcpStream::connect(address).unwrap()).collect();
                everything_is_open.wait();
                for peer in &mut peers {
                    assert_eq!(Peer::read(peer, &mut [0; 8]), Read::Bytes(1));
                }
                waker.wake();
            });
        }
    });
}

#[test]
fn a_filter_that_forbids_io_uring_is_reported_and_epoll_taken() {
    thread::spawn(|| {
        refuse_io_uring_with(libc::EPERM);
        let why = uring::probe().unwrap_err();
        assert!(why.contains("forbidden"), "{why}");
        assert!(!why.contains('\n'));
        assert_eq!(choose(Choice::Auto), (DriverKind::Epoll, Some(why.clone())));
        assert_eq!(choose(Choice::Uring), (DriverKind::Epoll, Some(why)));
    })
    .join()
    .unwrap();
}

#[test]
fn a_kernel_without_io_uring_is_reported() {
    thread::spawn(|| {
        refuse_io_uring_with(libc::ENOSYS);
        assert!(uring::probe().unwrap_err().contains("missing"));
    })
    .join()
    .unwrap();
}

/// From now on io_uring_setup fails with `errno` in the calling thread.
fn refuse_io_uring_with(errno: i32) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let line = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut lines = [
        line(LOAD, 0, 0, 0), // the system call's number
        line(JUMP_IF_EQUAL, 0, 1, libc::SYS_io_uring_setup as u32),
        line(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        line(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: lines.len() as u16, filter: lines.as_mut_ptr() };
    // SAFETY: the call takes integers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the program and its lines live until the call returns; the kernel copies them.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) }, 0);
}

/// Set in a child that runs one test alone.
const CHILD: &str = "TIDEGATE_TEST_CHILD";

/// Runs `body` in a process of its own: this test binary again, with `name` alone.
fn in_child(name: &str, body: fn()) {
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let run =
        Command::new(std::env::current_exe().unwrap()).args(["--exact", name, "--nocapture"]).env(CHILD, "1").output();
    let run = run.unwrap();
    assert!(run.status.success(), "{name} in a child: {}\n{}", run.status, String::from_utf8_lossy(&run.stderr));
}
