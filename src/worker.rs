//! In-process workers: a thread of the embedding program that takes part in the bus without a socket.
//!
//! ```text
//!  shards --tell lane (lock-free)--> Worker::recv        Worker::publish --ask lane--> the shard it concerns
//! ```
//!
//! ```no_run
//! use std::time::{Duration, Instant};
//! use tidegate::worker::{Received, Worker};
//!
//! fn echo(mut worker: Worker) {
//!     worker.serve("echo").expect("a valid name");
//!     loop {
//!         match worker.recv(Instant::now() + Duration::from_secs(1)) {
//!             Received::Message(message) => drop(worker.reply(&message, &message.payload)),
//!             Received::Nothing => {}
//!             Received::Stopped => return,
//!         }
//!     }
//! }
//! ```
#![warn(missing_docs)]

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::TrySendError;

use crate::base::{Address, Key, Place};
use crate::hub::{Member, Membership, owner_of_message};
use crate::mesh::drain::DrainMail;
use crate::mesh::memberships::MembershipMail;
use crate::mesh::{Mail, Mailbox, Mesh, Publish, Reach};
use crate::proto::bus::HeaderBlock;
use crate::proto::bus::headers::is_valid_name;
use crate::proto::event::Message;
use crate::proto::reserved::destination::Destination;
use crate::proto::reserved::headers::{DISTINCT_HEADER, EVENT_HEADER, ID_HEADER, OPCODE_HEADER};
use crate::proto::reserved::{is_own_event, subjects};
use crate::proto::subject::{Pattern, Subject, SubjectError};

/// The queue group of [`Worker::serve`]: one of its members gets each message.
pub const SERVICE_QUEUE: &str = "workers";
/// How long a publish waits while the gateway is overloaded.
const ROOM_WAIT: Duration = Duration::from_secs(1);
/// How long a subscription may take: every shard has to confirm it.
const REGISTRATION_WAIT: Duration = Duration::from_secs(5);

/// One thread's end of the mesh. Dropping it ends its subscriptions.
pub struct Worker {
    place: Place,
    mesh: Mesh,
    mailbox: Mailbox,
    memberships: Vec<Membership>,
    /// Messages that arrived while a subscription was being confirmed.
    early: VecDeque<Message>,
    is_stopped: bool,
    /// `limits.payload_bytes_max`, of headers and payload together, as on the bus.
    payload_bytes_max: usize,
}

/// The result of [`Worker::recv`].
#[derive(Debug)]
pub enum Received {
    /// A message of a subject that the worker subscribes to.
    Message(Message),
    /// The deadline came first.
    Nothing,
    /// The gateway is ending; there will be no further messages.
    Stopped,
}

/// The reason why a message or subscription is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The subject, the pattern or the name of the service is malformed.
    Subject(SubjectError),
    /// The name is not valid for a header.
    HeaderName(String),
    /// Only the gateway publishes to this subject, or sends an event of this name.
    Reserved(String),
    /// The message has no reply subject.
    NoReply,
    /// Headers and payload together are longer than `limits.payload_bytes_max`.
    TooLong {
        /// The length of the message.
        bytes: usize,
        /// The accepted length.
        bytes_max: usize,
    },
    /// The gateway had no room for the message within a second; it was not sent.
    Overloaded,
    /// The gateway has ended.
    Stopped,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Subject(error) => error.fmt(f),
            Error::HeaderName(name) => write!(f, "{name:?} is no name of a header"),
            Error::Reserved(name) => {
                write!(f, "{name:?} is the gateway's own; any name that does not begin with \"tg.\" is free")
            }
            Error::NoReply => f.write_str("the message has no reply subject"),
            Error::TooLong { bytes, bytes_max } => {
                write!(f, "a message of {bytes} bytes is too long; limits.payload_bytes_max takes {bytes_max}")
            }
            Error::Overloaded => f.write_str("the gateway is overloaded; the message was not sent"),
            Error::Stopped => f.write_str("the gateway has ended"),
        }
    }
}

impl std::error::Error for Error {}

impl From<SubjectError> for Error {
    fn from(error: SubjectError) -> Error {
        Error::Subject(error)
    }
}

impl Worker {
    pub(crate) fn new(place: Place, mesh: Mesh, mailbox: Mailbox, payload_bytes_max: usize) -> Worker {
        let (memberships, early) = Default::default();
        Worker { place, mesh, mailbox, memberships, early, is_stopped: false, payload_bytes_max }
    }

    /// Receives clients' messages of `service`, shared with its other workers: all messages of one connection go to one
    /// worker.
    pub fn serve(&mut self, service: &str) -> Result<(), Error> {
        self.subscribe(subjects::service(service)?.as_str(), Some(SERVICE_QUEUE))
    }

    /// Subscribes to a subject, wildcards allowed. The subscription is in force when this returns.
    pub fn subscribe(&mut self, pattern: &str, queue: Option<&str>) -> Result<(), Error> {
        let slot = self.memberships.len() as u32;
        let key = Key { slot, generation: 0 };
        let membership = Membership {
            pattern: Pattern::new(pattern)?,
            queue: queue.map(Into::into),
            member: Member { place: self.place, key, sub: key },
        };
        let waiting = Some(Address { place: self.place, key });
        // Recorded first: if only some shards learn of it, they must learn of its end.
        self.memberships.push(membership.clone());
        for shard in (0..self.mesh.shards()).map(Place) {
            self.send(shard, Mail::Memberships(MembershipMail::Enlist { membership: membership.clone(), waiting }))?;
        }
        self.await_registration(key)
    }

    fn await_registration(&mut self, key: Key) -> Result<(), Error> {
        let deadline = Instant::now() + REGISTRATION_WAIT;
        let mut missing = self.mesh.shards();
        while missing > 0 {
            match self.mailbox.wait(deadline) {
                Ok(Some(Mail::Memberships(MembershipMail::Registered { key: confirmed }))) if confirmed == key => {
                    missing -= 1
                }
                Ok(Some(mail)) => {
                    if let Some(message) = self.open(mail) {
                        self.early.push_back(message);
                    }
                }
                Ok(None) => return Err(Error::Overloaded),
                Err(_) => self.is_stopped = true,
            }
            if self.is_stopped {
                return Err(Error::Stopped);
            }
        }
        Ok(())
    }

    /// The next message, or `Nothing` if none has come before `deadline`.
    pub fn recv(&mut self, deadline: Instant) -> Received {
        if let Some(message) = self.early.pop_front() {
            return Received::Message(message);
        }
        while !self.is_stopped {
            match self.mailbox.wait(deadline) {
                Ok(Some(mail)) => {
                    if let Some(message) = self.open(mail) {
                        return Received::Message(message);
                    }
                }
                Ok(None) => return Received::Nothing,
                Err(_) => self.is_stopped = true,
            }
        }
        Received::Stopped
    }

    fn open(&mut self, mail: Mail) -> Option<Message> {
        match mail {
            Mail::Deliver(delivery) | Mail::Direct { delivery, .. } => Some(Arc::unwrap_or_clone(delivery.message)),
            Mail::Drain(DrainMail::Begin) => {
                self.is_stopped = true;
                None
            }
            _ => None,
        }
    }

    /// Publishes to a channel, a service, `tg.conn.<id>` or `tg.user.<user>`. Waits while the gateway is full.
    pub fn publish(&self, subject: &str, headers: &[(&str, &str)], payload: &[u8]) -> Result<(), Error> {
        let mut block = HeaderBlock::new();
        for (name, value) in headers {
            if !is_valid_name(name) {
                return Err(Error::HeaderName((*name).to_owned()));
            }
            if name.eq_ignore_ascii_case(EVENT_HEADER) && is_own_event(value.trim()) {
                return Err(Error::Reserved((*value).to_owned()));
            }
            block.push(name, value);
        }
        let headers = (!headers.is_empty()).then(|| block.finish());
        let subject = Subject::new(subject)?;
        self.post(Message::new(subject, None, headers, payload.into()))
    }

    /// Answers a message. The answer to a client's message goes to its connection, as text or binary like the message.
    pub fn reply(&self, message: &Message, payload: &[u8]) -> Result<(), Error> {
        let subject = message.reply.clone().ok_or(Error::NoReply)?;
        Subject::check(subject.as_str())?;
        let headers = message.header(OPCODE_HEADER).filter(|opcode| *opcode == "binary").map(|opcode| {
            let mut block = HeaderBlock::new();
            block.push(OPCODE_HEADER, opcode);
            block.finish()
        });
        self.post(Message::new(subject, None, headers, payload.into()))
    }

    fn post(&self, message: Message) -> Result<(), Error> {
        if !message.destination().takes_publications() {
            return Err(Error::Reserved(message.subject.as_str().to_owned()));
        }
        let bytes = message.headers.as_ref().map_or(0, |headers| headers.len()) + message.payload.len();
        if bytes > self.payload_bytes_max {
            return Err(Error::TooLong { bytes, bytes_max: self.payload_bytes_max });
        }
        let shards = self.mesh.shards();
        let publish = Publish::new(message, None);
        match publish.message.destination() {
            Destination::Conn { id, .. } if self.mesh.is_shard(id.place()) => {
                self.send(id.place(), Mail::ToConn { key: id.key(), publish: Box::new(publish) })
            }
            Destination::Request(place) | Destination::Decision(place) if self.mesh.is_shard(place) => {
                self.send(place, Mail::Publish(Box::new(publish)))
            }
            Destination::Revoke => self.send(self.speaker(), Mail::Publish(Box::new(publish))),
            Destination::Service => self.send(self.speaker(), Mail::Spread(Box::new(publish))),
            Destination::Channel | Destination::Inbox | Destination::User { .. } => {
                let owner = owner_of_message(&publish.message, shards);
                // Only the owner of the subject knows whether such a message is a repetition.
                if [ID_HEADER, DISTINCT_HEADER].iter().any(|name| publish.message.header(name).is_some()) {
                    let publish = Publish { reach: Reach::All, ..publish };
                    return self.send(owner, Mail::Publish(Box::new(publish)));
                }
                let for_clients = Publish::new(publish.message.clone(), None);
                self.send(self.speaker(), Mail::Spread(Box::new(publish)))?;
                self.send(owner, Mail::Publish(Box::new(for_clients)))
            }
            _ => Ok(()),
        }
    }

    /// The shard through which all its messages to workers go, so that each worker gets them in order.
    fn speaker(&self) -> Place {
        Place(self.place.0 % self.mesh.shards())
    }

    /// A full mailbox makes the worker wait: that is its back-pressure. The wait is bounded, because the shard may be
    /// waiting for this worker to take its mail.
    fn send(&self, to: Place, mut mail: Mail) -> Result<(), Error> {
        let deadline = Instant::now() + ROOM_WAIT;
        loop {
            match self.mesh.try_send(to, mail) {
                Ok(()) => {
                    self.mesh.wake(to);
                    return Ok(());
                }
                Err(TrySendError::Disconnected(_)) => return Err(Error::Stopped),
                Err(TrySendError::Full(_)) if Instant::now() >= deadline => return Err(Error::Overloaded),
                Err(TrySendError::Full(unsent)) => {
                    mail = unsent;
                    std::thread::yield_now();
                }
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        for membership in std::mem::take(&mut self.memberships) {
            for shard in (0..self.mesh.shards()).map(Place) {
                // A shard that has ended, or is too full for a second, learns of it when a delivery finds no worker.
                let _ = self.send(shard, Mail::Memberships(MembershipMail::Resign { membership: membership.clone() }));
            }
        }
    }
}
