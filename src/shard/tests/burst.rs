//! A burst of subscriptions while the owner of their channels has no time: what waits is bounded, others are served, and
//! the memory of it comes back.

use serde_json::{Value, json};

use super::centrifuge::{Client, settings};
use super::*;
use crate::proto::channel::{Rule, Rules};
use crate::proto::subject::Pattern;

const CLIENTS: usize = 24;
const CHANNELS: usize = 100;
/// Letters of one step at most: a subscription that watches joins and leaves.
const MAILS_PER_STEP: usize = 8;

fn bench() -> Bench {
    let mut settings = settings();
    let present = Rule { has_presence: true, ..Rule::default() };
    let generation = settings.generation_mut();
    generation.channels = Arc::new(Rules::new([(Pattern::new("room.>").unwrap(), present)]));
    generation.commands_per_second = 1_000_000;
    Bench::new(2, settings)
}

/// Names of channels of the second shard.
fn names(count: usize) -> Vec<String> {
    let names = (0..).map(|number| format!("room.{number}"));
    names.filter(|name| owner_of(name, 2) == Place(1)).take(count).collect()
}

fn subscribe(name: &str) -> Value {
    json!({"id": 2, "subscribe": {"channel": name, "join_leave": true}})
}

fn unsubscribe(name: &str) -> Value {
    json!({"id": 3, "unsubscribe": {"channel": name}})
}

/// Bytes for which the lists of a shard have room, about: an entry of any of them has less than a hundred.
fn room(bench: &Bench, shard: usize) -> usize {
    let desk = &bench.core(shard).desk;
    100 * (desk.post.room() + desk.subscribers.room() + desk.engine.room() + desk.errands.capacity())
}

fn backlog(bench: &Bench) -> usize {
    bench.core(0).desk.post.backlog()
}

#[test]
fn letters_of_any_step_wait_for_an_owner_without_time_and_their_memory_comes_back() {
    let mut bench = bench();
    let (mut bystander, _) = Client::connected(&mut bench, "/open", json!({}));
    let clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connected(&mut bench, "/open", json!({})).0).collect();
    // One frame each: it comes and goes, and does not wait for the owner between its commands.
    let name = names(1).remove(0);
    let frame: Vec<Value> = (0..CHANNELS).flat_map(|_| [subscribe(&name), unsubscribe(&name)]).collect();
    let mut most = 0;
    for client in &clients {
        client.say(&frame);
        bench.run_some_for(SECOND / 100, |shard| shard == 0);
        most = most.max(backlog(&bench));
    }
    assert!(most > limits::BACKLOG_MAILS_HIGH, "a burst: {most}");
    assert!(most <= limits::BACKLOG_MAILS_HIGH + CLIENTS * MAILS_PER_STEP, "{most} letters wait");
    bystander.say(&[json!({"id": 4, "ping": {}})]);
    bench.run_some_for(SECOND / 10, |shard| shard == 0);
    assert_eq!(bystander.texts(), [json!({"id": 4, "ping": {}})], "a step without mail goes on");
    bench.run_for(SECOND);
    assert_eq!((backlog(&bench), bench.census(0).parked), (0, 0));

    // Many channels at once, then all leave.
    let all = names(CLIENTS * CHANNELS);
    for (client, names) in clients.iter().zip(all.chunks(CHANNELS)) {
        client.say(&names.iter().map(|name| subscribe(name)).collect::<Vec<_>>());
    }
    bench.run_for(5 * SECOND);
    assert_eq!(bench.census(1).present, CLIENTS * CHANNELS);
    assert!(room(&bench, 0) > limits::SHARD_BYTES as usize / 5, "a burst: {}", room(&bench, 0));
    drop(clients);
    bench.run_for(10 * SECOND + limits::PRESENCE_GRACE);
    assert_eq!((bench.census(0).connections, bench.census(1).present), (1, 0));
    for shard in [0, 1] {
        assert!(room(&bench, shard) < limits::SHARD_BYTES as usize / 5, "shard {shard}: {}", room(&bench, shard));
    }
    bystander.say(&[json!({"id": 5, "ping": {}})]);
    bench.run_for(SECOND);
    assert!(bystander.texts().contains(&json!({"id": 5, "ping": {}})));
}
