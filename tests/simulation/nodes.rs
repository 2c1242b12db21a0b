//! Two gateways whose ids name them: what one calls a connection or a request names nothing at the other, even where the other has
//! one with the same digits.
//!
//! ```text
//!  worker of A --tg.conn.<A>.<digits>--> A: the client has it
//!              --tg.conn.<B>.<digits>--> A: 503, whatever <digits> are there
//!              --tg.conn.<digits>------> A: 503, too
//! ```

use serde_json::Value;
use std::time::Duration;

use tidegate::base::NodeId;
use tidegate::conn::Door;
use tidegate::driver::sim::{Endpoint, Random};

use crate::bus::{Bus, Message};
use crate::fleet::{Fleet, GATEWAYS, Players};
use crate::gateway::{Kept, STALLS, Shape, address_on};
use crate::http::{self, Answers, Head};
use crate::line::Line;
use crate::seeds::seeds;
use crate::sweep::{attempt, sweep};
use crate::websocket::{self, Phase, WebSocket};

/// As the gateways are told, and as they write it.
const NODES: [(u32, &str); GATEWAYS] = [(0x0a, "0000000a"), (0xb0b0_b0b0, "b0b0b0b0")];
const INBOX: &str = "_INBOX.1";
/// Messages of a worker, to clients here and elsewhere.
const SAID: usize = 20;
/// Longer than everything that is on its way takes, bytes one by one, and shorter than a result is kept.
const REST: Duration = Duration::from_secs(8);
/// How often it is looked whether the requests have come to workers.
const LOOK: Duration = Duration::from_millis(10);

/// A worker, its client, and one that has posted a request.
struct Home {
    worker: Bus,
    heard: Vec<Message>,
    client: WebSocket,
    has_greeted: bool,
    asker: Option<Answers>,
    answers: Vec<(Head, Vec<u8>)>,
}

impl Home {
    fn new(connect: &dyn Fn(Door) -> Endpoint) -> Home {
        let mut worker = Bus::new(connect(Door::Bus), "");
        for service in ["tg.service.echo", "tg.service.jobs"] {
            worker.subscribe(service, "workers");
        }
        worker.subscribe(INBOX, "");
        let client = WebSocket::new(Line::new(connect(Door::Front)), "/ws/me?user=ann", 1);
        Home { worker, heard: Vec::new(), client, has_greeted: false, asker: None, answers: Vec::new() }
    }

    fn header(&self, kind: &str, name: &str) -> Option<String> {
        let message = self.heard.iter().find(|message| message.header("Tg-Kind") == Some(kind))?;
        message.header(name).map(str::to_owned)
    }

    /// The client, as the worker knows it, once it does.
    fn conn(&self) -> Option<String> {
        self.header("message", "Tg-Conn")
    }

    /// The request likewise.
    fn request(&self) -> Option<String> {
        self.header("request", "Tg-Request")
    }
}

impl Players for Home {
    fn poll(&mut self) {
        self.worker.poll();
        self.heard.append(&mut self.worker.received);
        self.client.poll();
        if !self.has_greeted && self.client.phase == Phase::Open {
            // It waits for the worker.
            self.client.send_text("hello");
            self.has_greeted = true;
        }
        let Some(asker) = &mut self.asker else { return };
        asker.line.poll();
        while let Some(answer) = asker.take() {
            self.answers.push(answer);
        }
    }
}

/// What an id consists of: the node and the digits.
fn parts(id: &str) -> (&str, &str) {
    id.split_once('.').expect("a node and digits")
}

impl Fleet<Home> {
    fn run(&mut self) {
        self.live(REST);
        let conns: Vec<String> = self.sites.iter().filter_map(|site| site.players.conn()).collect();
        assert_eq!(conns.len(), GATEWAYS, "the workers know their clients");
        self.speak_to_clients(&conns);
        self.post_requests();
        let requests: Vec<String> = self.sites.iter().filter_map(|site| site.players.request()).collect();
        self.end_requests(&requests);
        for (site, (_, node)) in NODES.into_iter().enumerate() {
            self.assert_all_ids_say(site, node, &conns[site], &requests[site]);
        }
        self.assert_read(&requests);
    }

    /// In what the client and its workers are told.
    fn assert_all_ids_say(&self, site: usize, node: &str, conn: &str, request: &str) {
        let home = &self.sites[site].players;
        assert_eq!((parts(conn).0, parts(conn).1.len()), (node, 16), "{conn}");
        assert_eq!((parts(request).0, parts(request).1.len()), (node, 34), "{request}");
        let replies: Vec<&str> = home.heard.iter().filter_map(|message| message.reply.as_deref()).collect();
        assert!(replies.contains(&&*format!("tg.conn.{conn}")) && replies.contains(&&*format!("tg.request.{request}")));
        let (head, body) = &home.answers[0];
        assert_eq!((head.status, head.field("location")), (202, Some(&*format!("/jobs/{request}"))));
        let receipt: Value = serde_json::from_slice(body).expect("a receipt");
        assert_eq!(receipt["id"], request);
        assert_eq!(receipt["channel"], format!("request.{}", request.replace('.', "%2E")));
    }

    /// Messages to the client of this gateway arrive, and no others. For each of the others the worker gets "no responders".
    fn speak_to_clients(&mut self, conns: &[String]) {
        let mut expected = [const { Vec::new() }; GATEWAYS];
        let mut strays = [0; GATEWAYS];
        for number in 0..SAID {
            let site = self.random.below(GATEWAYS as u64) as usize;
            let other = (site + 1) % GATEWAYS;
            let digits = parts(&conns[site]).1;
            let words = format!("{number} of gateway {site}");
            // The other's client; one of the other's node that has the digits of the client here; the same of no node.
            let stray = match self.random.below(5) {
                0 => Some(conns[other].clone()),
                1 => Some(format!("{}.{digits}", NODES[other].1)),
                2 => Some(digits.to_owned()),
                _ => None,
            };
            let command = ["", "", ".close", ".unsubscribe"][self.random.below(4) as usize];
            let worker = &mut self.sites[site].players.worker;
            match stray {
                Some(id) => {
                    worker.publish(&format!("tg.conn.{id}{command}"), INBOX, words.as_bytes());
                    strays[site] += 1;
                }
                None => {
                    worker.publish(&format!("tg.conn.{}", conns[site]), "", words.as_bytes());
                    expected[site].push(websocket::Message::Text(words));
                }
            }
            let pause = Duration::from_micros(self.random.below(20_000));
            self.live(pause);
        }
        self.live(REST);
        for (site, expected) in expected.into_iter().enumerate() {
            let home = &mut self.sites[site].players;
            assert_eq!(std::mem::take(&mut home.client.received), expected, "client of gateway {site}");
            assert_eq!(home.client.phase, Phase::Open);
            assert_eq!(home.take_strays(), strays[site], "worker of gateway {site}");
        }
    }

    fn post_requests(&mut self) {
        for (host, site) in self.sites.iter_mut().enumerate() {
            let endpoint = self.world.connect_calm(address_on(host as u8, Door::Front, false)).expect("it listens");
            let asker = site.players.asker.insert(Answers::new(Line::new(endpoint)));
            asker.line.say(b"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        }
        let longest = self.world.now() + REST;
        while self.sites.iter().any(|site| site.players.request().is_none()) {
            assert!(self.world.now() < longest, "the requests come to workers");
            self.live(LOOK);
        }
    }

    /// A result counts at the gateway that has accepted the request.
    fn end_requests(&mut self, requests: &[String]) {
        for site in 0..GATEWAYS {
            let other = (site + 1) % GATEWAYS;
            let digits = parts(&requests[site]).1;
            let strays = [requests[other].clone(), format!("{}.{digits}", NODES[other].1), digits.to_owned()];
            let worker = &mut self.sites[site].players.worker;
            for id in &strays {
                worker.publish(&format!("tg.request.{id}"), INBOX, b"stray");
            }
            worker.publish(&format!("tg.request.{}", requests[site]), INBOX, b"ready");
        }
        self.live(REST);
        for (site, own) in self.sites.iter_mut().enumerate() {
            assert_eq!(own.players.take_strays(), 3, "worker of gateway {site}");
        }
    }

    /// By the id that its client was given, and at that gateway alone.
    fn assert_read(&mut self, requests: &[String]) {
        for site in &mut self.sites {
            site.players.answers.clear();
            let asker = site.players.asker.as_mut().expect("it has posted");
            for id in requests {
                http::say_request(&mut asker.line, &format!("/jobs/{id}"), &[]);
            }
        }
        self.live(REST);
        for (site, own) in self.sites.iter().enumerate() {
            assert_eq!(own.players.answers.len(), requests.len());
            for (about, (head, body)) in own.players.answers.iter().enumerate() {
                if about != site {
                    assert_eq!(head.status, 404, "gateway {site} of the other's request");
                    continue;
                }
                let document: Value = serde_json::from_slice(body).expect("a document");
                assert_eq!(document["id"], *requests[site]);
                assert_eq!((&document["status"], &document["result"]), (&"done".into(), &"ready".into()));
            }
        }
    }
}

impl Home {
    /// How many times the worker got "no responders"; its inbox gets nothing else.
    fn take_strays(&mut self) -> usize {
        let is_answer = |message: &mut Message| message.subject == INBOX;
        let answers: Vec<Message> = self.heard.extract_if(.., is_answer).collect();
        assert!(answers.iter().all(|answer| answer.status() == Some(503)), "{answers:?}");
        answers.len()
    }
}

#[test]
fn an_id_names_nothing_at_the_gateway_of_another_node() {
    let shape = |host: usize, random: &mut Random| {
        // One seed for both: their connections and requests have the same digits now and then.
        let shape = Shape { seed: 7, ..Shape::drawn(random, STALLS, |_| Kept::nothing()) };
        Shape { node: NodeId::new(NODES[host].0), ..shape }
    };
    sweep(&seeds(0..100), |seed| attempt(seed, || Fleet::new(seed, 0x0DE5, shape, Home::new).run()));
}
