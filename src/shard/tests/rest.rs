//! Clients of the client protocol that send more commands than they may: they are read more slowly.

use serde_json::{Value, json};

use super::centrifuge::{Client, settings};
use super::*;

const PER_SECOND: u32 = 100;

fn bench() -> Bench {
    let mut settings = settings();
    settings.generation_mut().commands_per_second = PER_SECOND;
    Bench::new(2, settings)
}

fn ids(said: &[Value]) -> Vec<u64> {
    said.iter().filter_map(|said| said["id"].as_u64()).collect()
}

#[test]
fn a_client_that_sends_too_fast_is_read_more_slowly_and_loses_nothing() {
    let mut bench = bench();
    let (mut fast, _) = Client::connected(&mut bench, "/open", json!({}));
    let (mut bystander, _) = Client::connected(&mut bench, "/open", json!({}));
    let credit = limits::COMMAND_CREDIT.as_secs() * u64::from(PER_SECOND);
    let last = credit + 400;
    let commands: Vec<Value> = (2..=last).map(|id| json!({"id": id, "ping": {}})).collect();
    commands.chunks(200).for_each(|frame| fast.say(frame));
    bench.run_for(SECOND);
    let first = ids(&fast.texts());
    assert!((credit..credit + 200).contains(&(first.len() as u64)), "{} at once", first.len());
    for id in 2..5 {
        bystander.say(&[json!({"id": id, "ping": {}})]);
        bench.run_for(SECOND);
        assert_eq!(ids(&bystander.texts()), [id], "another client notices nothing");
    }
    bench.run_for(2 * SECOND);
    let all = [first, ids(&fast.texts())].concat();
    assert_eq!(all, (2..=last).collect::<Vec<_>>());
    assert!(
        (10..100).contains(&bench.core(0).desk.counters().rests.value()),
        "{}",
        bench.core(0).desk.counters().rests.value()
    );
    // The end of its input is found although it rests.
    commands.chunks(200).for_each(|frame| fast.say(frame));
    bench.run_for(SECOND);
    drop(fast);
    bench.run_for(30 * SECOND);
    assert_eq!(bench.census(0).connections, 1);
}

#[test]
fn names_that_a_client_makes_up_are_begun_at_a_pace() {
    let mut bench = bench();
    let (mut inventor, _) = Client::connected(&mut bench, "/open", json!({}));
    let mut begun = 0;
    for frame in 0..4 {
        let names = (0..100).map(|name| format!("room.kept.{frame}-{name}"));
        let commands = names.flat_map(|name| {
            [json!({"id": 2, "subscribe": {"channel": name}}), json!({"id": 3, "unsubscribe": {"channel": name}})]
        });
        inventor.say(&commands.collect::<Vec<_>>());
    }
    for _ in 0..10 {
        bench.run_for(SECOND);
        begun += ids(&inventor.texts()).iter().filter(|id| **id == 2).count() as u32;
    }
    let commands = (limits::COMMAND_CREDIT.as_secs() as u32 + 10) * PER_SECOND;
    let most = commands / (2 + limits::COMMANDS_PER_SUBSCRIPTION) + 1;
    assert!((most / 2..=most).contains(&begun), "{begun} of {most}");
}
