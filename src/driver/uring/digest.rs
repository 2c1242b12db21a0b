//! The handling of a kernel completion: something is ready, or the rest is submitted.

use std::io;
use std::net::Shutdown;

use ahash::AHashMap;

use super::UringDriver;
use super::ring::{Done, Op};
use crate::base::Key;
use crate::driver::attached::Flag;
use crate::driver::sockets::Ready;
use crate::driver::{Driver, socket};
use crate::limits;

impl UringDriver {
    /// The next work, unless other work was queued before it or there is none.
    pub(super) fn digest(&mut self, done: Done) -> Option<Ready> {
        match done.op {
            Op::Send => self.on_sent(Key::from_bits(done.value), done),
            Op::Readable => self.on_readable(Key::from_bits(done.value), done),
            Op::Connect => {
                let now = self.now();
                self.sockets.dialled(Key::from_bits(done.value), done.outcome().map(drop), now)
            }
            Op::Accept => {
                let index = done.value as usize;
                self.sockets.arrived(index);
                if !done.more {
                    self.watch_listener(index);
                }
                None
            }
            Op::Wake => {
                let was_woken = self.waker.take();
                if !done.more {
                    drop(self.watch_waker());
                }
                was_woken.then_some(Ready::Woken)
            }
            // Too late: the operation to cancel has completed, or is about to.
            Op::Cancel => None,
        }
    }

    /// The connection may be gone: the last completion of a poll comes after `Closed`.
    fn on_readable(&mut self, key: Key, done: Done) -> Option<Ready> {
        const ENDS: i32 = (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) as i32;
        let connection = self.sockets.connections.find(key)?;
        if !done.more {
            connection.clear(Flag::Watched);
        }
        if done.result >= 0 {
            return self.sockets.readable(key, done.result & ENDS != 0);
        }
        if connection.is(Flag::Closing) {
            return None;
        }
        // As after any end: a batch in flight comes back when the kernel releases it.
        if let Some(socket) = &connection.socket {
            socket::shutdown(socket, Shutdown::Both);
        }
        if let Some(left_out) = self.sockets.fold.say(&"io_uring cannot watch", self.now()) {
            let error = io::Error::from_raw_os_error(-done.result);
            log::warn!("io_uring cannot watch another socket: {error}{left_out}");
        }
        self.sockets.readable(key, true)
    }

    fn on_sent(&mut self, key: Key, done: Done) -> Option<Ready> {
        let connection = self.sockets.connections.expect(key);
        let is_closing = connection.is(Flag::Closing);
        let Some(batch) = &mut connection.batch else { unreachable!("a completion of {key:?} without a batch") };
        let outcome = match done.outcome() {
            Ok(count) => {
                batch.advance(count);
                match () {
                    _ if batch.is_empty() => Ok(()),
                    _ if is_closing => Err(io::ErrorKind::ConnectionAborted),
                    _ if count == 0 => Err(io::ErrorKind::WriteZero),
                    _ => {
                        self.send_on(key);
                        return None;
                    }
                }
            }
            Err(error) if error.raw_os_error() == Some(libc::EINTR) && !is_closing => {
                self.send_on(key);
                return None;
            }
            Err(_) if is_closing => Err(io::ErrorKind::ConnectionAborted),
            Err(error) => Err(error.kind()),
        };
        connection.finish_sending();
        self.put_away_message(key);
        let sent = Ready::Sent(key, outcome);
        if !is_closing {
            return Some(sent);
        }
        self.sockets.connections.expect(key).socket = None;
        self.sockets.ready.extend([sent, Ready::Closed(key)]);
        None
    }

    fn put_away_message(&mut self, key: Key) {
        if self.messages.is_empty() {
            return;
        }
        if let Some(message) = self.messages.remove(&key.slot)
            && self.spare_messages.len() < limits::URING_MESSAGES_POOLED_MAX
        {
            self.spare_messages.push(message);
        }
        if self.messages.is_empty() && self.messages.capacity() > limits::SENDS_PER_ROUND {
            // After a burst; in quiet times it is never that large.
            self.messages = AHashMap::new();
        }
    }
}
