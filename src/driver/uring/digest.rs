//! What a completion of the kernel becomes: something ready, something put aside, or a submission of the rest.

use std::io;
use std::net::Shutdown;

use io_uring::types::CancelBuilder;

use super::accept::Arrival;
use super::connection::Armed;
use super::ring::{Done, Op};
use super::send::Sending;
use super::{Ready, UringDriver};
use crate::base::Key;
use crate::driver::socket;
use crate::limits;

impl UringDriver {
    /// Takes one completion from the kernel; false if there was none.
    pub(super) fn digest(&mut self) -> bool {
        let Some(done) = self.ring.pop() else { return false };
        match done.op {
            Op::Receive => self.on_received(Key::from_bits(done.value), done),
            Op::Send => self.on_sent(Key::from_bits(done.value), done),
            Op::Accept => self.on_accepted(done.value as usize, done),
            Op::Wake => self.on_wake(done),
            // It came too late; what it was to cancel has completed, or is about to.
            Op::Cancel => {}
        }
        true
    }

    fn on_received(&mut self, key: Key, done: Done) {
        let connection = self.connections.expect(key);
        if !done.more {
            connection.receiving = Armed::No;
        }
        match (done.outcome(), done.buffer) {
            (Ok(count @ 1..), Some(buffer)) => self.on_bytes(key, buffer, count),
            (outcome, buffer) => {
                if let Some(buffer) = buffer {
                    self.buffers.give_back(buffer);
                }
                match outcome.map_err(|error| (error.raw_os_error(), error.kind())) {
                    Ok(_) => self.on_end(key, Ok(())),
                    // Out of buffers (those that came back meanwhile will do), or our own cancellation.
                    Err((Some(libc::ENOBUFS | libc::ECANCELED | libc::EINTR), _)) => {}
                    Err((_, kind)) => self.on_end(key, Err(kind)),
                }
            }
        }
        let connection = self.connections.expect(key);
        if connection.asked && connection.receiving == Armed::No && connection.stash.is_empty() {
            self.arm_receive(key);
        }
        self.settle(key);
    }

    /// Delivers the bytes if they were asked for, and otherwise puts them aside.
    fn on_bytes(&mut self, key: Key, buffer: u16, count: usize) {
        let buffer_bytes = self.buffers.buffer_bytes();
        let connection = self.connections.expect(key);
        if connection.closing {
            self.buffers.give_back(buffer);
        } else if connection.asked && connection.stash.is_empty() {
            connection.asked = false;
            self.ready.push_back(Ready::Received(key, buffer, count));
        } else {
            let stashed = connection.stash.push(self.buffers.bytes(buffer, count), buffer_bytes);
            self.buffers.give_back(buffer);
            if stashed >= buffer_bytes && connection.receiving == Armed::Yes {
                connection.receiving = Armed::Ending;
                self.cancel(CancelBuilder::user_data(Op::Receive.user_data(key.to_bits())));
            }
        }
    }

    fn on_end(&mut self, key: Key, end: Result<(), io::ErrorKind>) {
        let connection = self.connections.expect(key);
        let waits = connection.asked && connection.stash.is_empty();
        connection.stash.push_end(end);
        if waits {
            connection.asked = false;
            self.ready.push_back(Ready::Finished(key, end));
        }
    }

    fn on_sent(&mut self, key: Key, done: Done) {
        let connection = self.connections.expect(key);
        let Some(sending) = &mut connection.sending else { unreachable!("a completion of {key:?} without a batch") };
        let outcome = match done.outcome() {
            Ok(count) => {
                sending.batch.advance(count);
                match () {
                    _ if sending.batch.is_empty() => Ok(()),
                    _ if connection.closing => Err(io::ErrorKind::ConnectionAborted),
                    _ if count == 0 => Err(io::ErrorKind::WriteZero),
                    _ => return self.send_on(key),
                }
            }
            Err(error) if error.raw_os_error() == Some(libc::EINTR) && !connection.closing => return self.send_on(key),
            Err(_) if connection.closing => Err(io::ErrorKind::ConnectionAborted),
            Err(error) => Err(error.kind()),
        };
        self.report_sent(key, outcome);
    }

    fn report_sent(&mut self, key: Key, outcome: Result<(), io::ErrorKind>) {
        let connection = self.connections.expect(key);
        let Some(Sending { batch, message }) = connection.sending.take() else { return };
        if let (true, Some(socket)) = (connection.shutdown_follows, &connection.socket) {
            socket::shutdown(socket, Shutdown::Write);
        }
        if self.messages.len() < limits::BATCHES_POOLED_MAX {
            self.messages.extend(message);
        }
        self.ready.push_back(Ready::Sent(key, batch, outcome));
        self.settle(key);
    }

    fn on_accepted(&mut self, index: usize, done: Done) {
        let listening = &mut self.listeners[index];
        match listening.on_done(done) {
            Arrival::Socket(socket, peer) => self.ready.push_back(Ready::Accepted(index, socket, peer)),
            Arrival::Nothing => {}
            Arrival::Failed(error) => self.ready.push_back(Ready::AcceptFailed(index, error)),
        }
        let listening = &self.listeners[index];
        if listening.is_open && listening.accepting == Armed::No {
            self.arm_accept(index);
        }
    }

    fn on_wake(&mut self, done: Done) {
        if self.waker.take() {
            self.ready.push_back(Ready::Woken);
        }
        if !done.more {
            drop(self.arm_waker());
        }
    }

    /// Ends a closed connection as soon as the kernel has nothing of it.
    pub(super) fn settle(&mut self, key: Key) {
        let connection = self.connections.expect(key);
        if connection.is_settled() && connection.socket.take().is_some() {
            self.ready.push_back(Ready::Closed(key));
        }
    }
}
