//! A program on the bus: it listens in many ways, works for the service, answers questions, and asks some.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tidegate::driver::sim::Endpoint;

use crate::bus::{Bus, Message};
use crate::clients::ECHO;
use crate::ear::{Ear, Group, LOOSE_GROUP, Pattern};
use crate::ledger::Ledger;

pub struct Worker {
    pub id: u32,
    pub bus: Bus,
    roles: BTreeMap<u64, Role>,
    /// What each PONG that is awaited will mean.
    awaited: VecDeque<Milestone>,
    pongs_seen: usize,
    /// Questions that wait for an answer, by their reply subject.
    questions: BTreeMap<String, Question>,
    questions_asked: usize,
}

/// What a subscription is for.
enum Role {
    Ear(Ear),
    Limited {
        ear: Ear,
        left: usize,
    },
    Service(Service),
    Responder {
        is_open: bool,
    },
    Inbox,
    /// Given up, and the gateway has not confirmed that; what comes for it meanwhile is not followed.
    Brief,
}

#[derive(Default)]
struct Service {
    seen: BTreeSet<String>,
    closed: BTreeSet<String>,
}

enum Milestone {
    Opened(u64),
    Closed(u64),
}

/// Whom a question is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    Responder,
    Nobody,
}

impl Worker {
    pub fn new(id: u32, endpoint: Endpoint) -> Worker {
        Worker {
            id,
            bus: Bus::new(endpoint, ""),
            roles: BTreeMap::new(),
            awaited: VecDeque::new(),
            pongs_seen: 0,
            questions: BTreeMap::new(),
            questions_asked: 0,
        }
    }

    /// One of many kinds; `room` is where it listens, if it listens to one.
    pub fn of_some_kind(id: u32, endpoint: Endpoint, room: u64, may_serve: bool, choice: u64) -> Worker {
        let mut worker = Worker::new(id, endpoint);
        let room = format!("room.{room}");
        match choice % 6 {
            0 => {}
            1 => drop(worker.listen(&room, Pattern::Channel(room.clone()), None)),
            2 => drop(worker.listen("room.*", Pattern::Below("room."), None)),
            3 => drop(worker.listen("room.>", Pattern::Below("room."), Some(LOOSE_GROUP))),
            _ if may_serve => worker.serve(),
            _ => drop(worker.listen(&room, Pattern::Channel(room.clone()), Some(LOOSE_GROUP))),
        }
        worker
    }

    // --- listening ---------------------------------------------------------------------------------------------------

    pub fn listen(&mut self, subject: &str, pattern: Pattern, group: Option<&'static str>) -> u64 {
        let sid = self.bus.subscribe(subject, group.unwrap_or_default());
        let group = group.map(|name| Group::new(name, self.id));
        let ear = Ear::of_worker(format!("worker {} on {subject}", self.id), pattern, group);
        self.enter(sid, Role::Ear(ear));
        sid
    }

    /// Listens to so many messages.
    pub fn listen_to_some(&mut self, subject: &str, pattern: Pattern, count: usize) {
        let sid = self.bus.subscribe(subject, "");
        self.bus.unsubscribe(sid, count as u64);
        let ear = Ear::of_worker(format!("worker {} on some of {subject}", self.id), pattern, None);
        self.enter(sid, Role::Limited { ear, left: count });
    }

    /// Subscribes and changes its mind, before it can know that it was subscribed.
    pub fn listen_briefly(&mut self, subject: &str, group: Option<&'static str>) {
        let sid = self.bus.subscribe(subject, group.unwrap_or_default());
        self.bus.unsubscribe(sid, 0);
        self.roles.insert(sid, Role::Brief);
        self.bus.ping();
        self.awaited.push_back(Milestone::Closed(sid));
    }

    pub fn serve(&mut self) {
        let sid = self.bus.subscribe(&format!("tg.service.{ECHO}"), "workers");
        self.enter(sid, Role::Service(Service::default()));
    }

    pub fn respond(&mut self) {
        let sid = self.bus.subscribe("ask.responder", "");
        self.enter(sid, Role::Responder { is_open: false });
    }

    /// Answers questions; works for the service, too, unless others do.
    pub fn respond_or_serve(&mut self, others_serve: bool) {
        self.respond();
        if !others_serve {
            self.serve();
        }
    }

    fn enter(&mut self, sid: u64, role: Role) {
        self.roles.insert(sid, role);
        self.bus.ping();
        self.awaited.push_back(Milestone::Opened(sid));
    }

    /// Ends one of its subscriptions, if there is one to end; now and then before it was in force.
    pub fn unsubscribe(&mut self, choice: u64, ledger: &mut Ledger) {
        let is_ear = |role: &Role| matches!(role, Role::Ear(_) | Role::Service(_));
        let sids: Vec<u64> = self.roles.iter().filter(|(_, role)| is_ear(role)).map(|(sid, _)| *sid).collect();
        let is_closing =
            |sid: u64| self.awaited.iter().any(|next| matches!(next, Milestone::Closed(own) if *own == sid));
        let Some(&sid) = sids.get(choice as usize % sids.len().max(1)).filter(|sid| !is_closing(**sid)) else { return };
        ledger.retired.insert(self.id);
        self.bus.unsubscribe(sid, 0);
        self.bus.ping();
        self.awaited.push_back(Milestone::Closed(sid));
    }

    pub fn has_open_responder(&self) -> bool {
        self.roles.values().any(|role| matches!(role, Role::Responder { is_open: true }))
    }

    // --- publishing --------------------------------------------------------------------------------------------------

    pub fn say(&mut self, ledger: &mut Ledger, channel: &str, padding: usize) {
        let payload = ledger.say(channel, self.id, padding);
        if padding.is_multiple_of(2) {
            self.bus.publish(channel, "", payload.as_bytes());
        } else {
            self.bus.publish_with(channel, "", &[("Tg-Key", "k")], payload.as_bytes());
        }
    }

    /// To one connection: `channel` is what the message says it is on.
    pub fn whisper(&mut self, ledger: &mut Ledger, conn: &str, channel: &str, padding: usize) {
        let payload = ledger.say(channel, self.id, padding);
        self.bus.publish(&format!("tg.conn.{conn}"), "", payload.as_bytes());
    }

    pub fn kick(&mut self, ledger: &mut Ledger, conn: &str, client: u32) {
        ledger.kicked.insert(client);
        self.bus.publish(&format!("tg.conn.{conn}.close"), "", b"");
    }

    /// From now on `client` may hear `channel`; it is not told when.
    pub fn subscribe_client(&mut self, ledger: &mut Ledger, conn: &str, client: u32, channel: &str) {
        ledger.granted.insert((client, channel.to_owned()));
        self.bus.publish(&format!("tg.conn.{conn}.subscribe"), "", channel.as_bytes());
    }

    pub fn unsubscribe_client(&mut self, conn: &str, channel: &str) {
        self.bus.publish(&format!("tg.conn.{conn}.unsubscribe"), "", channel.as_bytes());
    }

    pub fn ask(&mut self, subject: &str, question: Question) {
        self.questions_asked += 1;
        let inbox = format!("_INBOX.{}.{}", self.id, self.questions_asked);
        let sid = self.bus.subscribe(&inbox, "");
        self.bus.unsubscribe(sid, 1);
        self.roles.insert(sid, Role::Inbox);
        self.bus.publish(subject, &inbox, inbox.as_bytes());
        self.questions.insert(inbox, question);
    }

    // --- hearing -----------------------------------------------------------------------------------------------------

    pub fn poll(&mut self, ledger: &mut Ledger) {
        self.bus.poll();
        assert!(self.bus.errors.is_empty(), "worker {} is told {:?}", self.id, self.bus.errors);
        // What came behind a PONG in the same read counts as if it came before: it is held to less then.
        for message in std::mem::take(&mut self.bus.received) {
            self.hear(ledger, &message);
        }
        while self.pongs_seen < self.bus.pongs {
            self.pongs_seen += 1;
            match self.awaited.pop_front() {
                Some(Milestone::Opened(sid)) => self.open(ledger, sid),
                Some(Milestone::Closed(sid)) => drop(self.roles.remove(&sid)),
                None => panic!("a PONG for nothing"),
            }
        }
    }

    fn open(&mut self, ledger: &mut Ledger, sid: u64) {
        match self.roles.get_mut(&sid) {
            Some(Role::Ear(ear) | Role::Limited { ear, .. }) => ear.open(ledger),
            Some(Role::Responder { is_open }) => *is_open = true,
            Some(Role::Brief) => drop(self.roles.remove(&sid)),
            Some(Role::Service(_) | Role::Inbox) | None => {}
        }
    }

    fn hear(&mut self, ledger: &mut Ledger, message: &Message) {
        let role = self.roles.get_mut(&message.sid);
        let role = role.unwrap_or_else(|| panic!("worker {} has no subscription for {message:?}", self.id));
        match role {
            Role::Ear(ear) => {
                let heard = ear.hear(ledger, &message.payload, None);
                assert_eq!(heard.voice.channel, message.subject, "a message on another subject");
            }
            Role::Limited { ear, left } => {
                ear.hear(ledger, &message.payload, None);
                *left -= 1;
                if *left == 0 {
                    let is_next = |next: &Milestone| matches!(next, Milestone::Opened(sid) if *sid == message.sid);
                    match self.awaited.iter().any(is_next) {
                        // The gateway has read the SUB; the UNSUB with the count follows before the PONG.
                        true => drop(self.roles.insert(message.sid, Role::Brief)),
                        false => drop(self.roles.remove(&message.sid)),
                    }
                }
            }
            Role::Service(service) => {
                service.hear(ledger, message, self.id);
                if message.header("Tg-Kind") == Some("message") {
                    let reply = message.reply.as_deref().expect("a client can be answered");
                    self.bus.publish(reply, "", &message.payload);
                }
            }
            Role::Brief => {}
            Role::Responder { .. } => {
                let reply = message.reply.as_deref().expect("a question has a reply subject");
                self.bus.publish(reply, "", &message.payload);
            }
            Role::Inbox => {
                self.roles.remove(&message.sid);
                self.hear_answer(message);
            }
        }
    }

    fn hear_answer(&mut self, message: &Message) {
        let question = self.questions.remove(&message.subject);
        let question = question.unwrap_or_else(|| panic!("{message:?} answers nothing, or for the second time"));
        match question {
            Question::Responder => {
                assert_eq!(message.status(), None, "nobody is said to listen, but somebody does");
                assert_eq!(message.payload, message.subject.as_bytes(), "the answer to something else");
            }
            Question::Nobody => assert_eq!(message.status(), Some(503), "somebody answers whom there is not"),
        }
    }

    /// Everything has come to rest.
    pub fn assert_settled(&self, ledger: &Ledger, is_draining: bool) {
        for role in self.roles.values() {
            if let Role::Ear(ear) = role {
                ear.assert_order(ledger);
                if self.bus.end().is_none() {
                    ear.assert_complete(ledger);
                }
            }
        }
        if is_draining {
            return;
        }
        assert_eq!(self.bus.end(), None, "worker {} was sent away", self.id);
        assert!(self.bus.is_settled(), "worker {} waits for a PONG", self.id);
        assert!(self.questions.is_empty(), "worker {} waits for {:?}", self.id, self.questions);
    }

    /// Everything that its group must have heard has been heard by somebody.
    pub fn assert_group_complete(&self, ledger: &Ledger, group: &'static str) {
        for role in self.roles.values() {
            let Role::Ear(ear) = role else { continue };
            if ear.is_of(group) {
                for message in ear.due(ledger) {
                    assert!(ledger.is_taken(group, &message), "nobody of group {group} got {message:?}");
                }
            }
        }
    }
}

impl Service {
    fn hear(&mut self, ledger: &mut Ledger, message: &Message, worker: u32) {
        let conn = message.header("Tg-Conn").expect("a client has an id").to_owned();
        assert_eq!(message.reply, Some(format!("tg.conn.{conn}")));
        assert!(!self.closed.contains(&conn), "{conn} was closed, and says {message:?}");
        ledger.serves(&conn, worker);
        match message.header("Tg-Kind") {
            Some("open") => assert!(!self.seen.contains(&conn), "{conn} opens twice, or late"),
            Some("message") => {
                let said = ledger.recognize(&message.payload);
                assert_eq!(said.voice.channel, ECHO, "not said to the service");
                ledger.knows_conn(&conn, said.voice.publisher);
                ledger.take("service", &said, worker);
            }
            Some("close") => drop(self.closed.insert(conn.clone())),
            kind => panic!("{kind:?} is no kind of message"),
        }
        self.seen.insert(conn);
    }
}
