//! WebSockets that servers serve, at random: two ends that talk, finish or break, a network with faults, kicks and a drain. What
//! either end hears is a prefix of what the other one has said, and a Close of the gateway at a border of it at most.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::tunnels::{close_some, settings_of, switched, upgrade};
use super::*;
use crate::proto::ws::frame::HEADER_BYTES_MAX;
use crate::proto::ws::{Follow, FrameStand};
use crate::shard::tests::seeds::seeds;

const ROUNDS: usize = 200;

/// All bytes that were sent in one direction of a tunnel.
type Said = Rc<RefCell<Vec<u8>>>;

/// One end of a tunnel.
struct Talker {
    end: Endpoint,
    is_client: bool,
    /// The head of the other side's first words, before the frames.
    head: Option<Vec<u8>>,
    said: Said,
    to_say: Vec<u8>,
    other_said: Said,
    heard: Vec<u8>,
    /// So much of it is what was said.
    checked: usize,
    has_finished: bool,
}

impl Talker {
    fn new(end: Endpoint, is_client: bool, (said, other_said): (Said, Said)) -> Talker {
        Talker {
            end,
            is_client,
            head: Some(Vec::new()),
            said,
            to_say: Vec::new(),
            other_said,
            heard: Vec::new(),
            checked: 0,
            has_finished: false,
        }
    }

    /// False once it has gone.
    fn act(&mut self, world: &World) -> bool {
        let below = |bound| world.random_below(bound);
        if below(3) > 0 {
            let mut bytes = Vec::new();
            self.end.read_at_most(1 + below(60_000) as usize, &mut bytes);
            self.hear(&bytes);
        }
        if self.head.is_none() && !self.has_finished && self.to_say.is_empty() && below(3) > 0 {
            let len = [0, 5, 125, 126, 3_000, 90_000][below(6) as usize];
            let opcode = [Opcode::Text, Opcode::Binary, Opcode::Ping][below(3) as usize];
            let len = if opcode == Opcode::Ping { len.min(125) } else { len };
            let payload = vec![below(256) as u8; len];
            match self.is_client {
                true => frame::write_masked(&mut self.to_say, true, opcode, &payload, [9, 8, 7, below(256) as u8]),
                false => frame::write(&mut self.to_say, opcode, &payload),
            }
        }
        let most = (1 + below(50_000) as usize).min(self.to_say.len());
        let sent = self.end.write(&self.to_say[..most]);
        self.said.borrow_mut().extend(self.to_say.drain(..sent));
        if self.head.is_none() && below(60) == 0 && !self.has_finished {
            self.has_finished = true;
            self.to_say.clear();
            self.end.shutdown_write();
        }
        below(90) > 0 && self.end.is_open()
    }

    fn hear(&mut self, bytes: &[u8]) {
        match &mut self.head {
            Some(head) => {
                head.extend_from_slice(bytes);
                let Some(at) = memchr::memmem::find(head, b"\r\n\r\n") else { return };
                self.heard = head.split_off(at + 4);
                let is_open = !self.is_client || head.starts_with(b"HTTP/1.1 101 ");
                self.head = if is_open { None } else { Some(Vec::new()) };
                if !is_open {
                    self.heard.clear();
                }
            }
            None => self.heard.extend_from_slice(bytes),
        }
        self.check();
    }

    fn check(&mut self) {
        let said = self.other_said.borrow();
        let unchecked = said[self.checked..].iter().zip(&self.heard[self.checked..]);
        self.checked += unchecked.take_while(|(said, heard)| said == heard).count();
        let common = self.checked;
        if common == self.heard.len() {
            return;
        }
        // A Close may begin as the frame that would have followed.
        let is_own = |at: usize| {
            let rest = &self.heard[at..];
            let is_close = rest.len() <= HEADER_BYTES_MAX + limits::CONTROL_BYTES_MAX && rest[0] == 0x88;
            let (mut before, mut follow) = (said[..at].to_vec(), Follow::default());
            let mut input = &mut before[..];
            while follow.next(&mut input, false).is_some() {}
            is_close && input.is_empty() && follow.stand() == FrameStand::Border
        };
        assert!((common.saturating_sub(HEADER_BYTES_MAX)..=common).any(is_own), "a Close at a border, or nothing");
    }
}

fn play(seed: u64) -> usize {
    let world = World::seeded(seed);
    let hosts: Vec<SocketAddr> = (0..2).map(|number| SocketAddr::from(([10, 9, 0, number], 80))).collect();
    let settings = settings_of(&hosts, seed.is_multiple_of(2));
    let mut bench = Bench::within(world.clone(), 1, settings);
    let services: Vec<SimService> = hosts.iter().map(|host| world.serve(*host)).collect();
    // The bytes of a client's server, and the client's own, by the client's number.
    let mut waiting: HashMap<u64, (Said, Said)> = HashMap::new();
    let (mut talkers, mut asked): (Vec<Talker>, Vec<(Endpoint, Vec<u8>)>) = Default::default();
    let (mut next_tag, mut opened) = (1, 0);
    let drains = seed.is_multiple_of(5);
    for round in 0..ROUNDS {
        bench.run_for(Duration::from_millis(5 + world.random_below(200)));
        if drains && round == ROUNDS * 3 / 4 {
            bench.drain();
        }
        if drains && bench.is_over() {
            break;
        }
        if talkers.len() < 12
            && let Some(end) = world.connect(address(0, 0))
        {
            let (says, hears) = (Said::default(), Said::default());
            let head = upgrade("").replace("/api/chat?room=1", &format!("/api/{next_tag}"));
            if end.write(head.as_bytes()) == head.len() {
                waiting.insert(next_tag, (hears.clone(), says.clone()));
                talkers.push(Talker::new(end, true, (says, hears)));
            }
            next_tag += 1;
        }
        asked.extend(services.iter().filter_map(SimService::accept).map(|end| (end, Vec::new())));
        for (end, mut head) in std::mem::take(&mut asked) {
            end.read_at_most(2_000, &mut head);
            if !head.ends_with(b"\r\n\r\n") {
                if end.is_open() {
                    asked.push((end, head));
                }
                continue;
            }
            let head = String::from_utf8(head).expect("a head is text");
            let tag = head.strip_prefix("GET /api/").and_then(|rest| rest.split(' ').next()?.parse().ok());
            // A request that was repeated has other ends.
            let says = waiting.remove(&tag.expect("a tag"));
            let answer = switched("");
            if let Some(says) = says
                && end.write(answer.as_bytes()) == answer.len()
            {
                opened += 1;
                talkers.push(Talker { head: None, ..Talker::new(end, false, says) });
            }
        }
        talkers.retain_mut(|talker| talker.act(&world));
        if world.random_below(40) == 0 {
            close_some(&bench);
        }
        if !bench.is_over() {
            let _paired = bench.census(0);
        }
    }
    world.calm_down();
    drop((talkers, asked, services));
    if !drains {
        bench.run_for(limits::KEEP_ALIVE_TIMEOUT + 5 * limits::SEND_TIMEOUT);
        assert_eq!(bench.census(0), Census::default(), "nothing is left");
        assert_eq!(bench.core(0).desk.counters().tunnels.value(), 0);
    } else {
        bench.run_for(limits::DRAIN_SPREAD + 4 * limits::DRAIN_GRACE);
        assert!(bench.is_over(), "a drain ends");
    }
    opened
}

#[test]
fn whatever_both_ends_and_the_network_do_each_hears_what_the_other_has_said() {
    let mut opened = 0;
    for seed in seeds(0..12) {
        println!("TIDEGATE_SEED={seed}");
        opened += play(seed);
    }
    assert!(opened > 0, "some are opened");
}
