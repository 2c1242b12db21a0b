//! One listener: a multishot accept, and the sockets that it delivered during a pause.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd};

use super::connection::Armed;
use super::ring::Done;
use crate::driver::ListenerId;
use crate::driver::socket::{self, Listener};

pub struct Listening {
    pub id: ListenerId,
    pub listener: Listener,
    /// Between `listen` or `resume_accept` and `pause_accept` or a failure.
    pub is_open: bool,
    pub accepting: Armed,
    /// Accepted before the kernel had heard of a pause; delivered when it is over. Bounded by the completion queue.
    pub held: Vec<(OwnedFd, SocketAddr)>,
}

/// What a completion of the accept means.
pub enum Arrival {
    Socket(OwnedFd, SocketAddr),
    /// The one connection failed or has gone already, or the accept was cancelled.
    Nothing,
    Failed(io::Error),
}

impl Listening {
    pub fn new(id: ListenerId, listener: Listener) -> Listening {
        Listening { id, listener, is_open: true, accepting: Armed::No, held: Vec::new() }
    }

    pub fn on_done(&mut self, done: Done) -> Arrival {
        if !done.more {
            self.accepting = Armed::No;
        }
        match done.outcome() {
            Ok(_) => {
                let socket = accepted(done);
                // A multishot accept has no room for the address.
                match socket::peer_addr(&socket) {
                    Ok(peer) => Arrival::Socket(socket, peer),
                    Err(_) => Arrival::Nothing,
                }
            }
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => Arrival::Nothing,
            Err(error) if socket::is_fault_of_one_connection(&error) => Arrival::Nothing,
            Err(error) => {
                self.is_open = false;
                Arrival::Failed(error)
            }
        }
    }
}

/// The descriptor that a successful accept's completion carries.
pub fn accepted(done: Done) -> OwnedFd {
    // SAFETY: the kernel put a new descriptor into our table and into this completion alone, which is consumed here.
    unsafe { OwnedFd::from_raw_fd(done.result) }
}
