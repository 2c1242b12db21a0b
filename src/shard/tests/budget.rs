//! One write of a stranger costs others no more than a few turns, and the rooms that it floods get every message in
//! order.

use super::seeds::seeds;
use super::*;
use crate::driver::sim::Random;
use crate::shard::budget::Budget;

/// Little fits into a turn, and a room is large from a few clients on.
const SMALL: Budget = Budget {
    share: 400,
    share_time: SECOND,
    quantum: 40,
    worker_quantum: 80,
    fan_out_at_once: 8,
    withdrawn_at_once: 2,
    owed_max: 1_000,
};

fn bench(shards: u16) -> Bench {
    let mut bench = Bench::new(shards, settings());
    bench.shards.iter_mut().flatten().for_each(|shard| shard.core.desk.meter.budget = SMALL);
    bench
}

/// Turns of a shard until `is_over`; each takes as long as bytes are under way, so that this is no part of the wait.
fn turns(bench: &mut Bench, shard: usize, mut is_over: impl FnMut(&mut Bench) -> bool) -> usize {
    let mut turns = 0;
    while !is_over(bench) {
        turns += 1;
        assert!(turns < 10_000, "it comes to an end");
        bench.turn(shard);
        let now = bench.world.now();
        bench.world.advance_to(now + Duration::from_micros(100));
    }
    turns
}

/// What event streams have got, as the texts of their events.
fn said(listener: &mut Peer) -> Vec<String> {
    let heard = listener.hear();
    heard
        .lines()
        .filter_map(|line| line.strip_prefix("data: ").or(line.strip_prefix("data:")))
        .map(str::to_owned)
        .collect()
}

fn messages(count: usize) -> Vec<u8> {
    (0..count).flat_map(|number| text(number.to_string().as_bytes())).collect()
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn one_write_into_a_large_room_costs_a_bystander_a_few_turns() {
    const MESSAGES: usize = 300;
    let mut bench = bench(1);
    let mut listeners: Vec<Peer> = (0..40).map(|_| bench.open(0, "/sse/large")).collect();
    let mut bystander = bench.open(0, "/sse/quiet");
    let stranger = bench.open(0, "/ws/large");
    let speaker = bench.open(0, "/ws/quiet");
    stranger.say(messages(MESSAGES));
    bench.turn(0);
    for number in 0..20 {
        speaker.say(text(number.to_string().as_bytes()));
        let mut heard = Vec::new();
        let turns = turns(&mut bench, 0, |_| {
            heard.append(&mut said(&mut bystander));
            !heard.is_empty()
        });
        assert_eq!(heard, numbers(number..number + 1));
        assert!(turns <= 3, "{turns} turns");
    }
    assert!(bench.core(0).desk.subscribers.is_spreading(), "the flood goes on all the while");
    bench.run_for(SECOND);
    for listener in &mut listeners {
        assert_eq!(said(listener), numbers(0..MESSAGES));
    }
    let desk = &bench.core(0).desk;
    assert_eq!((desk.subscribers.owed(), desk.parked.len()), (Default::default(), 0));
}

#[test]
fn a_client_that_sends_much_goes_on_after_those_that_send_little() {
    let mut bench = bench(1);
    let stranger = bench.open(0, "/ws/small");
    let mut others: Vec<Peer> = (0..30).map(|_| bench.open(0, "/ws/quiet")).collect();
    bench.run_for(SECOND);
    stranger.say(messages(1_000));
    bench.turn(0);
    for other in &mut others {
        other.say(text(b"x"));
    }
    let before = bench.core(0).desk.counters().received.value();
    let mut heard = 0;
    let turns = turns(&mut bench, 0, |_| {
        heard += others.iter_mut().map(|other| other.hear().matches('x').count()).sum::<usize>();
        heard == 30 * 30
    });
    let received = bench.core(0).desk.counters().received.value() - before;
    assert!(turns <= 20 && received < 500, "{turns} turns, {received} messages");
    bench.run_for(SECOND);
    assert_eq!(bench.core(0).desk.counters().received.value(), 1_030);
}

#[test]
fn publishers_into_large_rooms_wait_while_the_shard_is_behind_and_all_is_delivered() {
    const MESSAGES: usize = 50;
    let mut bench = bench(1);
    let mut listeners: Vec<Peer> = (0..100).map(|_| bench.open(0, "/sse/large")).collect();
    let strangers: Vec<Peer> = (0..20).map(|_| bench.open(0, "/ws/large")).collect();
    strangers.iter().for_each(|stranger| stranger.say(messages(MESSAGES)));
    let mut most = 0;
    turns(&mut bench, 0, |bench| {
        let desk = &bench.core(0).desk;
        most = most.max(desk.subscribers.owed().deliveries);
        desk.counters().received.value() == 20 * MESSAGES as u64
    });
    // Each publisher may have caused one fan-out before it is told to wait.
    assert!(most > SMALL.owed_max && most <= SMALL.owed_max + 20 * 120, "{most} deliveries owed");
    bench.run_for(SECOND);
    for listener in &mut listeners {
        let heard = said(listener);
        assert_eq!(heard.len(), 20 * MESSAGES);
        let of = |text: &str| heard.iter().filter(|heard| *heard == text).count();
        assert!((0..MESSAGES).all(|number| of(&number.to_string()) == 20));
    }
}

#[test]
fn publishers_wait_for_another_shard_that_is_behind() {
    let mut bench = bench(2);
    let room = room_of(0, 2);
    let mut listeners: Vec<Peer> = (0..50).map(|_| bench.open(1, &format!("/sse/{room}"))).collect();
    let stranger = bench.open(0, &format!("/ws/{room}"));
    stranger.say(messages(400));
    // The second shard takes its mail and is far behind; then only the first one works.
    turns(&mut bench, 1, |bench| {
        bench.turn(0);
        bench.core(1).desk.subscribers.owed().deliveries > SMALL.owed_max
    });
    (0..100).for_each(|_| bench.turn(0));
    assert!(bench.core(0).desk.meter.is_another_behind());
    assert_eq!(bench.core(0).desk.parked.len(), 1, "the stranger is not read");
    let received = bench.core(0).desk.counters().received.value();
    assert!(received < 400, "{received} messages are read");
    bench.run_for(SECOND);
    for listener in &mut listeners {
        assert_eq!(said(listener), numbers(0..400));
    }
}

#[test]
fn a_client_that_comes_or_leaves_amid_a_fan_out_gets_what_was_said_while_it_was_there() {
    let mut bench = bench(1);
    let mut first: Vec<Peer> = (0..60).map(|_| bench.open(0, "/sse/large")).collect();
    let stranger = bench.open(0, "/ws/large");
    stranger.say(messages(30));
    turns(&mut bench, 0, |bench| bench.core(0).desk.subscribers.owed().deliveries > 300);
    let late = bench.connect(0, 0);
    late.say(request("/sse/large"));
    first.swap_remove(7).end.reset();
    bench.run_for(SECOND);
    let mut late = late;
    let heard = said(&mut late);
    assert_eq!(heard, numbers(30 - heard.len()..30), "a part that ends with the last");
    stranger.say(text(b"end"));
    bench.run_for(SECOND);
    for listener in &mut first {
        let mut all = numbers(0..30);
        all.push("end".into());
        assert_eq!(said(listener), all);
    }
    assert_eq!(said(&mut late), ["end"]);
}

#[test]
fn the_answer_to_a_close_comes_after_what_was_on_its_way() {
    const CODE: [u8; 2] = 3_072_u16.to_be_bytes();
    let mut bench = bench(1);
    let mut listeners: Vec<Peer> = (0..20).map(|_| bench.open(0, "/ws/large")).collect();
    let speaker = bench.open(0, "/ws/large");
    speaker.say(messages(3));
    let mut goodbye = Vec::new();
    frame::write_masked(&mut goodbye, true, Opcode::Close, &CODE, [1, 2, 3, 4]);
    listeners.iter().for_each(|listener| listener.say(goodbye.clone()));
    bench.run_for(SECOND);
    let mut heard_something = 0;
    for listener in &mut listeners {
        let heard = listener.hear();
        assert!(heard.as_bytes().ends_with(&CODE), "{heard:?}");
        heard_something += usize::from(heard.contains('0'));
    }
    assert!(heard_something > 0, "events were on their way");
}

#[test]
fn a_worker_that_ends_a_connection_after_its_pong_cuts_nothing_that_it_said_before() {
    let mut bench = bench(1);
    bench.shards[0].as_mut().expect("it runs").core.desk.meter.budget.share = 20;
    let mut listeners: Vec<Peer> = (0..60).map(|_| bench.open(0, "/sse/large")).collect();
    let mut worker = bench.connect(0, BUS);
    worker.say("CONNECT {}\r\n");
    bench.run_for(SECOND);
    worker.hear();
    worker.say("PUB room.large 4\r\nlast\r\nPING\r\n");
    turns(&mut bench, 0, |_| worker.hear().contains("PONG"));
    assert!(bench.core(0).desk.subscribers.is_spreading(), "the fan-out is under way");
    let keys: Vec<Key> = bench.core(0).desk.slots.keys().collect();
    for key in keys {
        let id = conn_id(bench.core(0), key);
        worker.say(format!("PUB tg.conn.{id}.close 0\r\n\r\n"));
    }
    bench.run_for(SECOND);
    for listener in &mut listeners {
        assert_eq!(said(listener), ["last"]);
        assert!(listener.is_at_end());
    }
}

#[test]
fn connections_that_are_late_in_one_moment_are_ended_in_pieces() {
    const CLIENTS: u64 = 200;
    let mut bench = bench(1);
    let late: Vec<Peer> = (0..CLIENTS).map(|_| bench.open(0, "/ws/quiet")).collect();
    let mut bystander = bench.open(0, "/ws/other");
    let mut part = Vec::new();
    frame::write_masked(&mut part, false, Opcode::Text, b"a part", [1, 2, 3, 4]);
    late.iter().for_each(|peer| peer.say(part.clone()));
    bench.run_for(settings().generation.message_timeout - SECOND / 10);
    let (mut pieces, mut heard) = (0, 0);
    turns(&mut bench, 0, |bench| {
        if bench.core(0).desk.work.due.is_empty() {
            let now = bench.world.now();
            bench.world.advance_to(now + SECOND / 1_000);
        } else {
            pieces += 1;
            bystander.say(text(b"x"));
        }
        heard += bystander.hear().matches('x').count();
        bench.closed(0, CloseReason::MessageTooSlow) == CLIENTS
    });
    assert!(pieces >= 5, "{pieces} pieces");
    bench.run_for(SECOND / 10);
    heard += bystander.hear().matches('x').count();
    assert_eq!(heard, pieces, "the bystander is served all the while");
}

/// A budget of which nearly nothing fits into a turn, or the real one.
fn drawn(random: &mut Random) -> Budget {
    match random.below(4) {
        0 => Budget::default(),
        _ => Budget {
            share: 1 + random.below(300),
            share_time: SECOND,
            quantum: 1 + random.below(60),
            worker_quantum: 1 + random.below(100),
            fan_out_at_once: random.below(8) as usize,
            withdrawn_at_once: random.below(3) as usize,
            owed_max: random.below(300) as usize,
        },
    }
}

/// Something of which a stranger sends as much as it can: publications into a room with many clients, pings, requests, or a
/// part of a message.
fn flood(random: &mut Random) -> Vec<u8> {
    let count = 1 + random.below(40) as usize;
    match random.below(5) {
        0 | 1 => messages(count),
        2 => (0..count).fold(Vec::new(), |mut bytes, _| {
            frame::write_masked(&mut bytes, true, Opcode::Ping, b"", [1, 2, 3, 4]);
            bytes
        }),
        3 => text(&vec![b'x'; random.below(3_000) as usize]),
        _ => text(b"part")[..3].to_vec(),
    }
}

/// Strangers come, flood and leave, in any order, while a bystander says something in a room of its own and waits for it. Each
/// turn does at least one piece of each kind of work, so the bystander waits for no more turns than others are before it.
fn bystand(seed: u64) {
    let mut random = Random::new(seed);
    let mut bench = Bench::new(1, settings());
    bench.shards[0].as_mut().expect("it runs").core.desk.meter.budget = drawn(&mut random);
    let mut bystander = bench.open(0, "/ws/quiet");
    let mut strangers: Vec<Peer> = (0..2 + random.below(12)).map(|_| bench.open(0, "/ws/large")).collect();
    for number in 0..30 {
        for _ in 0..random.below(8) {
            let chosen = random.below(strangers.len() as u64) as usize;
            match random.below(8) {
                0 => strangers.swap_remove(chosen).end.reset(),
                1 | 2 => drop(strangers[chosen].hear()),
                _ => _ = strangers[chosen].end.write(&flood(&mut random)),
            }
            while strangers.len() < 2 {
                let stranger = bench.connect(0, 0);
                stranger.say(request("/ws/large"));
                strangers.push(stranger);
            }
        }
        let word = format!("word {number}.");
        bystander.say(text(word.as_bytes()));
        // Before its message, its delivery and its send there may be all completions of the others, and their sends.
        let turns_max = 40 + 8 * bench.census(0).connections.max(strangers.len());
        let mut heard = String::new();
        let turns = turns(&mut bench, 0, |_| {
            heard += &bystander.hear();
            heard.contains(&word)
        });
        assert!(turns <= turns_max, "seed {seed}: the bystander waits {turns} turns of {turns_max}");
    }
}

#[test]
fn a_bystander_waits_for_few_turns_whatever_strangers_do() {
    seeds(0..100).for_each(bystand);
}

#[test]
fn clients_with_many_channels_that_leave_together_are_forgotten_in_pieces() {
    const CLIENTS: usize = 30;
    let mut bench = bench(1);
    let rooms = |number: usize| (0..16).map(move |room| format!("many.{number}.{room}"));
    let mut streams: Vec<Peer> = Vec::new();
    for number in 0..CLIENTS {
        let channels = rooms(number).map(|room| ChannelTemplate::parse(&room).unwrap()).collect();
        let path = format!("/many/{number}");
        let many = RouteTarget::Sse { channels, retry: SECOND };
        add_routes(&mut bench.shards[0].as_mut().expect("it runs").core.desk.settings, [route(&path, many)]);
        streams.push(bench.open(0, &path));
    }
    let mut bystander = bench.open(0, "/ws/quiet");
    bench.run_for(SECOND / 10);
    let before = bench.core(0).desk.subscribers.len();
    assert!(before >= CLIENTS * 16);
    streams.into_iter().for_each(|stream| stream.end.reset());
    let (mut pieces, mut said, mut heard) = (0, 0, 0);
    turns(&mut bench, 0, |bench| {
        pieces += usize::from(!bench.core(0).desk.work.withdraw.is_empty());
        bystander.say(text(b"x"));
        said += 1;
        heard += bystander.hear().matches('x').count();
        bench.core(0).desk.subscribers.len() == 1
    });
    assert!(pieces >= 5, "{pieces} pieces");
    bench.run_for(SECOND / 10);
    heard += bystander.hear().matches('x').count();
    assert_eq!(heard, said, "the bystander is served all the while");
    assert!(bench.core(0).desk.work.withdraw.is_empty());
}
