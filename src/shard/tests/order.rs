//! What one publisher says comes to each worker in order, over all subjects, and its PONG comes after all of that.

use super::*;

const CONNECT: &str = "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n";
const COUNT: usize = 120;

/// 120 messages on as many subjects, every third named, so that only its owner knows whether it is a repetition.
fn burst() -> String {
    (0..COUNT)
        .map(|number| match number % 3 {
            0 => {
                let headers = format!("NATS/1.0\r\nNats-Msg-Id: {number}\r\n\r\n");
                format!("HPUB t.{number} {} {}\r\n{headers}{number:03}\r\n", headers.len(), headers.len() + 3)
            }
            _ => format!("PUB t.{number} 3\r\n{number:03}\r\n"),
        })
        .collect()
}

/// The numbers that have come for a subscription, or for each of those with one number.
fn numbers(heard: &str) -> Vec<usize> {
    let lines = heard.split("\r\n").filter(|line| line.len() == 3);
    lines.filter_map(|line| line.parse().ok()).collect()
}

#[test]
fn one_publisher_is_heard_in_order_over_all_subjects() {
    for shards in [1, 2, 4] {
        let mut bench = Bench::new(shards, settings());
        let exact: String = (0..COUNT).map(|number| format!("SUB t.{number} {number}\r\n")).collect();
        let members = "SUB t.* q 1\r\n".to_owned();
        let ways = ["SUB t.* 1\r\n".to_owned(), "SUB > 1\r\n".to_owned(), exact, members];
        let mut listeners: Vec<Peer> = (0..)
            .zip(ways.iter().cycle().take(8))
            .map(|(number, subs)| {
                let worker = bench.connect(number % shards, BUS);
                worker.say(format!("{CONNECT}{subs}PING\r\n"));
                worker
            })
            .collect();
        bench.run_for(SECOND);
        listeners.iter_mut().for_each(|listener| assert!(listener.hear().ends_with("PONG\r\n")));
        let mut publisher = bench.connect(0, BUS);
        publisher.say(format!("{CONNECT}SUB t.* 1\r\nPING\r\n"));
        bench.run_for(SECOND / 10);
        publisher.hear();
        publisher.say(burst() + "PING\r\n");
        // The others do not turn: what waits for a verdict waits, and so do what follows it and the PONG.
        bench.run_some_for(SECOND / 10, |shard| shard == 0);
        let early = publisher.hear();
        assert_eq!(early.ends_with("PONG\r\n"), shards == 1, "{shards} shards");
        bench.run_for(SECOND);
        let heard = early + &publisher.hear();
        assert_eq!(numbers(&heard), (0..COUNT).collect::<Vec<_>>(), "its own, {shards} shards");
        assert!(heard.ends_with("PONG\r\n"));
        let mut members = Vec::new();
        for (number, listener) in listeners.iter_mut().enumerate() {
            let heard = numbers(&listener.hear());
            assert!(heard.is_sorted(), "{shards} shards, {}: {heard:?}", &ways[number % 4][..9]);
            match number % 4 {
                3 => members.extend(heard),
                _ => assert_eq!(heard.len(), COUNT, "{shards} shards, {}", &ways[number % 4][..9]),
            }
        }
        members.sort_unstable();
        assert_eq!(members, (0..COUNT).collect::<Vec<_>>(), "one member each");
        for shard in 0..shards {
            let Census { lines, pongs_owed, backlog, .. } = bench.census(shard.into());
            assert_eq!((lines, pongs_owed, backlog), (0, 0, 0), "shard {shard}");
        }
    }
}

#[test]
fn a_repetition_comes_to_no_worker_and_its_asker_hears_that_it_is_one() {
    for owner in 0..2 {
        let mut bench = Bench::new(2, settings());
        let subject = format!("room.{}", room_of(owner, 2));
        let mut worker = bench.connect(1, BUS);
        worker.say(format!("{CONNECT}SUB room.* 1\r\nPING\r\n"));
        let (mut one, mut other) = (bench.connect(0, BUS), bench.connect(1, BUS));
        one.say(format!("{CONNECT}SUB _INBOX.a.* 1\r\nPING\r\n"));
        other.say(format!("{CONNECT}SUB _INBOX.b.* 1\r\nPING\r\n"));
        bench.run_for(SECOND / 10);
        [&mut worker, &mut one, &mut other].into_iter().for_each(|peer| drop(peer.hear()));
        let ask = |inbox: &str| format!("HPUB {subject} {inbox} 28 29\r\nNATS/1.0\r\nNats-Msg-Id: b\r\n\r\ny\r\n");
        one.say(ask("_INBOX.a.1"));
        bench.run_for(SECOND / 10);
        assert!(worker.hear().contains(" _INBOX.a.1 ") && one.hear().is_empty());
        other.say(ask("_INBOX.b.2"));
        one.say(ask("_INBOX.a.3"));
        bench.run_for(SECOND / 10);
        assert_eq!(worker.hear(), "");
        for (asker, inbox) in [(&mut other, "_INBOX.b.2"), (&mut one, "_INBOX.a.3")] {
            assert_eq!(asker.hear(), format!("HMSG {inbox} 1 26 26\r\nNATS/1.0 409 Duplicate\r\n\r\n\r\n"));
        }
    }
}

#[test]
fn whoever_declines_an_echo_hears_nothing_of_its_own_from_a_group_either() {
    for (own, another) in [(0, 0), (0, 1), (1, 0)] {
        let mut bench = Bench::new(2, settings());
        let mut silent = bench.connect(own, BUS);
        silent.say(CONNECT.replace('}', ",\"echo\":false}") + "SUB q g 1\r\nSUB r 2\r\nPUB q r 1\r\nx\r\nPING\r\n");
        bench.run_for(SECOND / 10);
        let heard = silent.hear();
        assert!(heard.ends_with("HMSG r 2 16 16\r\nNATS/1.0 503\r\n\r\n\r\nPONG\r\n"), "{heard}");
        let mut other = bench.connect(another, BUS);
        other.say(format!("{CONNECT}SUB q g 1\r\nPING\r\n"));
        bench.run_for(SECOND / 10);
        other.hear();
        (0..10).for_each(|_| silent.say("PUB q 1\r\nx\r\n"));
        bench.run_for(SECOND / 10);
        assert_eq!((other.hear().matches("MSG q 1 1\r\n").count(), silent.hear().as_str()), (10, ""));
    }
}

/// Numbers as good as chance, the same for each seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 += 1;
        crate::base::mix(self.0) % bound
    }
}

/// A worker that publishes, and hears itself.
struct Publisher {
    peer: Peer,
    name: u64,
    said: usize,
    /// The numbers of what is no repetition.
    taken: Vec<usize>,
    /// How many of those go before each PING.
    pinged: Vec<usize>,
    heard: String,
    named: Option<(String, usize)>,
}

impl Publisher {
    fn publish(&mut self, chance: &mut Chance) {
        let number = self.said;
        self.said += 1;
        let payload = format!("{}{number:03}", self.name);
        let (subject, id) = match (chance.below(6), self.named.take()) {
            // A repetition of what was named last.
            (0, Some((subject, id))) => (subject, Some(id)),
            (1 | 2, _) => (format!("p{}.{}", self.name, chance.below(30)), Some(number)),
            _ => (format!("p{}.{}", self.name, chance.below(30)), None),
        };
        if id.is_none_or(|id| id == number) {
            self.taken.push(number);
        }
        match id {
            None => self.peer.say(format!("PUB {subject} 4\r\n{payload}\r\n")),
            Some(id) => {
                let headers = format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n");
                let total = headers.len() + 4;
                self.peer.say(format!("HPUB {subject} {} {total}\r\n{headers}{payload}\r\n", headers.len()));
                self.named = Some((subject, id));
            }
        }
    }

    fn ping(&mut self) {
        self.pinged.push(self.taken.len());
        self.peer.say("PING\r\n");
    }

    /// All that it has heard of itself, in order, and each PONG behind all that it stands for.
    fn check(&mut self) {
        self.heard += &self.peer.hear();
        let (mut own, mut pongs) = (0, 0);
        for line in self.heard.split("\r\n") {
            if line == "PONG" {
                assert!(own >= self.pinged[pongs], "PONG {pongs} comes after {own} of {}", self.pinged[pongs]);
                pongs += 1;
            } else if line.len() == 4 {
                assert_eq!(line[1..].parse(), Ok(self.taken[own]), "in order");
                own += 1;
            }
        }
    }
}

#[test]
fn order_and_pongs_hold_whichever_shards_turn_when() {
    const WAYS: [&str; 4] = ["SUB > 1\r\n", "SUB p0.* 1\r\nSUB p1.> 2\r\n", "SUB p0.* g 1\r\nSUB p1.* g 2\r\n", ""];
    for seed in seeds::seeds(0..30) {
        let mut chance = Chance(seed << 32);
        let shards = 2 + chance.below(3) as u16;
        let mut bench = Bench::new(shards, settings());
        let exact: String = (0..60).map(|n| format!("SUB p{}.{} {n}\r\n", n / 30, n % 30)).collect();
        let mut somewhere = |bench: &mut Bench, subs: &str| {
            let peer = bench.connect(chance.below(shards.into()) as u16, BUS);
            peer.say(format!("{CONNECT}{subs}PING\r\n"));
            bench.run_for(SECOND);
            peer
        };
        let ways = WAYS.map(|subs| if subs.is_empty() { &exact } else { subs });
        let mut listeners: Vec<Peer> = ways.iter().chain([&ways[2]]).map(|subs| somewhere(&mut bench, subs)).collect();
        let mut publishers: Vec<Publisher> = (0..2)
            .map(|name| {
                let mut peer = somewhere(&mut bench, &format!("SUB p{name}.> 1\r\n"));
                peer.hear();
                let (said, taken, pinged, heard) = Default::default();
                Publisher { peer, name, said, taken, pinged, heard, named: None }
            })
            .collect();
        listeners.iter_mut().for_each(|listener| drop(listener.hear()));
        for _ in 0..40 {
            for publisher in &mut publishers {
                (0..chance.below(5)).for_each(|_| publisher.publish(&mut chance));
                if chance.below(3) == 0 {
                    publisher.ping();
                }
            }
            let turning = chance.below(1 << shards);
            bench.run_some_for(SECOND / 1000, |shard| turning & 1 << shard != 0);
            publishers.iter_mut().for_each(Publisher::check);
        }
        publishers.iter_mut().for_each(Publisher::ping);
        bench.run_for(SECOND);
        let heard: Vec<String> = listeners.iter_mut().map(Peer::hear).collect();
        for publisher in &mut publishers {
            publisher.check();
            assert_eq!(publisher.heard.matches("PONG\r\n").count(), publisher.pinged.len(), "seed {seed}");
            let of_it = |heard: &String| -> Vec<usize> {
                let lines = heard.split("\r\n").filter(|line| line.len() == 4);
                let own = lines.filter_map(|line| line.strip_prefix(&publisher.name.to_string()));
                own.filter_map(|number| number.parse().ok()).collect()
            };
            let heard: Vec<Vec<usize>> = heard.iter().map(of_it).collect();
            for way in [0, 1, 3] {
                assert_eq!(heard[way], publisher.taken, "seed {seed}, way {way}");
            }
            let mut group = [&heard[2][..], &heard[4]].concat();
            assert!(heard[2].is_sorted() && heard[4].is_sorted(), "seed {seed}: members hear in order");
            group.sort_unstable();
            assert_eq!(group, publisher.taken, "seed {seed}: one member each");
        }
        for shard in 0..shards {
            let Census { lines, pongs_owed, backlog, .. } = bench.census(shard.into());
            assert_eq!((lines, pongs_owed, backlog), (0, 0, 0), "seed {seed}, shard {shard}");
        }
    }
}
