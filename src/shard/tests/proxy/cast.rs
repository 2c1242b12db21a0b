//! Clients, servers of every kind and a network with faults, at random: no byte of one request reaches another one's client.
//!
//! ```text
//!  Asker: one request after the other --> gateway --> Host: reads whole requests; answers, or does not, as its mood is
//!    '-- what it hears is a prefix of what was said to its own request, and whole only if that was --'
//! ```
//!
//! Meanwhile servers go down and come back, are drained, and one is at other addresses each time.
//!
//! - **PAIRED**: the census of a shard checks it, again and again.
//! - **ONE ANSWER**: nothing follows an answer.
//! - **CLEAN REUSE**: each answer names its request, and so does each piece of a body.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::base::{Address, Key};
use crate::mesh::upstreams::UpstreamMail;
use crate::proto::http::{Body, BodyStep, next_answer, next_head};
use crate::proto::upstream::{ServerId, ServerName};
use crate::shard::tests::access::{lines, logged};
use crate::shard::tests::seeds::seeds;

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"];
const ROUNDS: usize = 250;

/// What belongs to a request, and to no other: its name, again and again.
fn content(kind: &str, tag: u64) -> Vec<u8> {
    let count = match tag % 11 {
        0 => 0,
        1 => 20_000,
        few => few as usize * 7,
    };
    format!("{kind}{tag};").repeat(count).into_bytes()
}

/// The fields that frame a body, and the body in that framing.
fn framed(is_chunked: bool, content: &[u8]) -> (String, Vec<u8>) {
    if !is_chunked {
        return (format!("Content-Length: {}\r\n", content.len()), content.to_vec());
    }
    let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    let chunks: Vec<u8> = content.chunks(999).flat_map(chunk).collect();
    ("Transfer-Encoding: chunked\r\n".to_owned(), [&chunks[..], b"0\r\n\r\n"].concat())
}

/// A client that sends one request after the other, and checks what it hears.
#[derive(Default)]
struct Asker {
    end: Option<Endpoint>,
    tag: u64,
    is_head: bool,
    to_send: Vec<u8>,
    heard: Vec<u8>,
    /// The head of its answer has been read: whether it is a server's, and the rest of its body.
    answer: Option<(bool, Body)>,
    content: Vec<u8>,
    is_asking: bool,
}

impl Asker {
    fn act(&mut self, bench: &Bench, next_tag: &mut u64, answered: &mut usize) {
        let below = |bound| bench.world.random_below(bound);
        let Some(end) = &self.end else {
            *self = Asker { end: bench.world.connect(address(0, 0)), ..Asker::default() };
            return;
        };
        if !self.is_asking {
            (self.tag, self.is_asking) = (*next_tag, true);
            *next_tag += 1;
            let method = METHODS[below(METHODS.len() as u64) as usize];
            self.is_head = method == "HEAD";
            let has_body = matches!(method, "POST" | "PUT" | "PATCH");
            let (fields, body) = match has_body {
                true => framed(below(2) == 0, &content("q", self.tag)),
                false => Default::default(),
            };
            let expect = if has_body && below(4) == 0 { "Expect: 100-continue\r\n" } else { "" };
            self.to_send = format!("{method} /api/{} HTTP/1.1\r\nHost: a\r\n{expect}{fields}\r\n", self.tag).into();
            self.to_send.extend_from_slice(&body);
        }
        let sent = end.write(&self.to_send);
        self.to_send.drain(..sent);
        if below(60) == 0 {
            // It goes away, one way or the other.
            if let Some(end) = self.end.take()
                && below(2) == 0
            {
                end.reset();
            }
            return;
        }
        if below(3) > 0 {
            end.read_at_most(1 + below(40_000) as usize, &mut self.heard);
        }
        let is_over = !end.is_open();
        self.hear(answered);
        if is_over {
            self.end = None;
        }
    }

    fn hear(&mut self, answered: &mut usize) {
        loop {
            let mut input = &mut self.heard[..];
            match &mut self.answer {
                None => {
                    let Some(head) = next_answer(&mut input, self.is_head).expect("a head of an answer") else {
                        return;
                    };
                    if !head.is_interim() {
                        assert!(self.is_asking, "an answer that no request has asked for: {head:?}");
                        let tag = head.header("x-tag").map(str::to_owned);
                        assert!(
                            tag.as_deref().is_none_or(|tag| tag == self.tag.to_string()),
                            "{tag:?} to {}",
                            self.tag
                        );
                        assert!(tag.is_some() || head.status >= 400, "a refusal has no tag, an answer has: {head:?}");
                        self.answer = Some((tag.is_some(), Body::new(head.body, u64::MAX).unwrap()));
                    }
                }
                Some((is_servers, body)) => match body.next(&mut input).expect("a body in its framing") {
                    BodyStep::Data(piece) => self.content.extend_from_slice(piece),
                    BodyStep::NeedMore => {
                        let left = input.len();
                        self.heard.drain(..self.heard.len() - left);
                        return self.check(false);
                    }
                    BodyStep::End => {
                        let (is_servers, left) = (*is_servers, input.len());
                        self.heard.drain(..self.heard.len() - left);
                        self.check(is_servers && !self.is_head);
                        self.content.clear();
                        *answered += usize::from(is_servers);
                        (self.answer, self.is_asking) = (None, !self.to_send.is_empty());
                        assert!(left == 0, "ONE ANSWER");
                        if self.is_asking {
                            // An early answer: the connection ends, and the rest of the request is of no use.
                            self.end = None;
                        }
                        return;
                    }
                },
            }
            let left = input.len();
            self.heard.drain(..self.heard.len() - left);
        }
    }

    /// What it has heard is what was said to its own request.
    fn check(&self, is_whole: bool) {
        let Some((true, _)) = self.answer else { return };
        let said = content("a", self.tag);
        assert!(said.starts_with(&self.content), "request {}: other bytes than its own", self.tag);
        assert!(!is_whole || said == self.content, "request {}: {} of {}", self.tag, self.content.len(), said.len());
    }
}

/// A connection that a server has accepted.
struct HostEnd {
    end: Endpoint,
    heard: Vec<u8>,
    /// The request in hand: its tag, its body, and the content so far.
    request: Option<(u64, Body, Vec<u8>)>,
    is_to_head: bool,
    to_send: Vec<u8>,
    /// After so many more bytes it closes, or is reset.
    closes_after: Option<usize>,
    is_mute: bool,
    has_answered: bool,
}

impl HostEnd {
    fn new(end: Endpoint) -> HostEnd {
        HostEnd {
            end,
            heard: Vec::new(),
            request: None,
            is_to_head: false,
            to_send: Vec::new(),
            closes_after: None,
            is_mute: false,
            has_answered: false,
        }
    }

    /// False once it has gone.
    fn act(&mut self, world: &World, seen: &mut HashMap<u64, usize>) -> bool {
        let below = |bound| world.random_below(bound);
        if below(3) > 0 {
            self.end.read_at_most(1 + below(40_000) as usize, &mut self.heard);
        }
        self.hear(world, seen);
        let most = self.closes_after.unwrap_or(usize::MAX).min(self.to_send.len());
        let sent = self.end.write(&self.to_send[..most]);
        self.to_send.drain(..sent);
        self.closes_after = self.closes_after.map(|left| left - sent);
        // It may close at any time, idle or not, unless the end is a part of what it says.
        let closes = self.closes_after.is_none() && below(200) == 0;
        let is_over = self.closes_after == Some(0) || !self.end.is_open() || closes;
        !is_over
    }

    fn hear(&mut self, world: &World, seen: &mut HashMap<u64, usize>) {
        loop {
            let mut input = &mut self.heard[..];
            match &mut self.request {
                None => {
                    let Some(head) = next_head(&mut input).expect("the gateway's requests are well-formed") else {
                        return;
                    };
                    assert!(
                        self.to_send.is_empty() || self.is_mute || self.closes_after.is_some(),
                        "one request at a time"
                    );
                    let tag: u64 = head.path.rsplit('/').next().unwrap().parse().unwrap();
                    assert_eq!(head.fields().iter().filter(|field| field.name == "Via").count(), 1);
                    assert!(head.header("expect").is_none());
                    *seen.entry(tag).or_default() += 1;
                    let is_repeatable = matches!(head.method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE");
                    assert!(
                        seen[&tag] == 1 || seen[&tag] == 2 && head.body.is_empty() && is_repeatable,
                        "{} {tag} came {} times",
                        head.method,
                        seen[&tag]
                    );
                    (self.is_to_head, self.has_answered) = (head.method == "HEAD", false);
                    self.request = Some((tag, Body::new(head.body, u64::MAX).unwrap(), Vec::new()));
                    drop(head);
                    let left = input.len();
                    self.heard.drain(..self.heard.len() - left);
                    if world.random_below(12) == 0 {
                        self.answer(world, tag);
                    }
                    continue;
                }
                Some((tag, body, so_far)) => match body.next(&mut input).expect("in its framing") {
                    BodyStep::Data(piece) => {
                        so_far.extend_from_slice(piece);
                        assert!(content("q", *tag).starts_with(so_far), "request {tag}: other bytes than its own");
                    }
                    BodyStep::NeedMore => {
                        let left = input.len();
                        self.heard.drain(..self.heard.len() - left);
                        return;
                    }
                    BodyStep::End => {
                        let (tag, left) = (*tag, input.len());
                        self.request = None;
                        self.heard.drain(..self.heard.len() - left);
                        if !self.has_answered {
                            self.answer(world, tag);
                        }
                        continue;
                    }
                },
            }
            let left = input.len();
            self.heard.drain(..self.heard.len() - left);
        }
    }

    /// Answers as its mood is. (What comes behind a whole answer can be late, and is then the answer to the next request: no
    /// proxy can tell.)
    fn answer(&mut self, world: &World, tag: u64) {
        let below = |bound| world.random_below(bound);
        self.has_answered = true;
        let said = content("a", tag);
        let mood = below(14);
        if mood == 0 {
            self.is_mute = true;
            return;
        }
        if mood == 1 {
            self.to_send.extend_from_slice(b"SSH-2.0-OpenSSH_9.2\r\n");
            self.closes_after = Some(1 + below(60) as usize);
            return;
        }
        if below(4) == 0 {
            let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n";
            self.to_send.extend_from_slice(interim.repeat(1 + below(6) as usize).as_bytes());
        }
        let is_until_end = mood == 2;
        let (fields, body) = match is_until_end {
            true => ("Connection: close\r\n".to_owned(), said),
            false => framed(below(2) == 0, &said),
        };
        self.to_send.extend_from_slice(format!("HTTP/1.1 200 OK\r\nX-Tag: {tag}\r\n{fields}\r\n").as_bytes());
        if !self.is_to_head {
            self.to_send.extend_from_slice(&body);
        }
        match mood {
            // With a reset its client knows no better; a clean end before its time it must not take for the whole.
            2 => self.closes_after = Some(self.to_send.len()),
            3 => self.closes_after = Some(below(self.to_send.len() as u64 + 1) as usize),
            _ => {}
        }
    }
}

/// The shard learns something about one of its servers: where it is, how it is, or what its operator wants.
fn tell_something(bench: &Bench, hosts: &[SocketAddr]) {
    let below = |bound: u64| bench.world.random_below(bound);
    let server = |number: u64| ServerId { upstream: UpstreamId(0), server: number as u8 };
    let mail = match below(4) {
        0 | 1 => {
            let addresses = hosts.iter().copied().filter(|_| below(2) == 0).collect();
            UpstreamMail::Found { server: server(2), addresses }
        }
        2 => UpstreamMail::Probed { server: server(below(3)), is_up: below(2) == 0 },
        _ => {
            let asker = Address { place: Place(0), key: Key { slot: 0, generation: 0 } };
            UpstreamMail::Drain { server: server(below(3)), is_drained: below(3) == 0, asker }
        }
    };
    assert!(bench.mesh.try_send(Place(0), Mail::Upstreams(mail)).is_ok());
    bench.mesh.wake(Place(0));
}

fn play(seed: u64) -> usize {
    let world = World::seeded(seed);
    let hosts: Vec<SocketAddr> = (0..4).map(|number| SocketAddr::from(([10, 9, 0, number], 80))).collect();
    let mut rule = UpstreamRule::new("app");
    for host in &hosts[..2] {
        rule = rule.with(&host.to_string(), *host);
    }
    // At some of all addresses, or at none.
    rule = rule.with("app.internal:80", ServerName { host: "app.internal".into(), port: 80 });
    rule.in_flight_max = seed.is_multiple_of(3).then_some(2);
    let mut target = ProxyRoute::new(UpstreamId(0));
    (target.response_timeout, target.idle_timeout) = (5 * SECOND, 5 * SECOND);
    let mut settings = logged(settings(), false);
    settings.generation_mut().upstreams = [rule].into();
    let methods = vec![crate::conn::route::ANY_METHOD.into()];
    add_routes(&mut settings, [Route { methods, ..route("/api/*", RouteTarget::Proxy(Box::new(target))) }]);
    let mut bench = Bench::within(world.clone(), 1, settings);
    let services: Vec<SimService> = hosts.iter().map(|host| world.serve(*host)).collect();
    let (mut askers, mut ends): (Vec<Asker>, Vec<HostEnd>) = ((0..6).map(|_| Asker::default()).collect(), Vec::new());
    let mut told = Vec::new();
    let (mut next_tag, mut answered, mut seen) = (1, 0, HashMap::new());
    for _ in 0..ROUNDS {
        bench.run_for(Duration::from_millis(5 + world.random_below(200)));
        ends.extend(services.iter().filter_map(SimService::accept).map(HostEnd::new));
        ends.retain_mut(|end| end.act(&world, &mut seen));
        askers.iter_mut().for_each(|asker| asker.act(&bench, &mut next_tag, &mut answered));
        if world.random_below(5) == 0 {
            tell_something(&bench, &hosts);
        }
        let _paired = bench.census(0);
        told.extend(lines(bench.log.as_ref().expect("there is a log")));
    }
    world.calm_down();
    drop((askers, ends, services));
    bench.run_for(limits::KEEP_ALIVE_TIMEOUT + 5 * limits::SEND_TIMEOUT);
    let census = bench.census(0);
    assert_eq!(census, Census::default(), "nothing is left");
    let counters = bench.core(0).desk.counters();
    assert_eq!((bench.core(0).desk.settings.access.open(), counters.access_log_lost.value()), (0, 0));
    told.extend(lines(bench.log.as_ref().expect("there is a log")));
    let ids: HashSet<&str> = told.iter().map(|line| line["id"].as_str().expect("each has one")).collect();
    assert_eq!(ids.len(), told.len(), "a request has one line");
    let whole = told.iter().filter(|line| line["status"] == 200 && line.get("reason").is_none()).count();
    assert!(whole >= answered, "{whole} lines for {answered} answers");
    assert_eq!((counters.proxied.value(), counters.proxied_waiting.value(), counters.upstream_idle.value()), (0, 0, 0));
    answered
}

#[test]
fn whatever_clients_servers_and_the_network_do_each_request_has_its_own_answer_or_none() {
    let mut answered = 0;
    for seed in seeds(0..24) {
        println!("TIDEGATE_SEED={seed}");
        answered += play(seed);
    }
    assert!(answered > 0, "somebody is served");
}
