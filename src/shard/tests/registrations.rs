//! Workers that subscribe to more than can be counted at once.

use super::*;

#[test]
fn a_burst_of_subscriptions_on_many_shards_is_in_force_at_the_pong() {
    const SHARDS: u16 = 32;
    const COUNT: usize = 3_000;
    let mut bench = Bench::new(SHARDS, settings());
    let mut worker = bench.connect(0, BUS);
    worker.say("CONNECT {\"verbose\":false}\r\n");
    let burst: String = (0..COUNT).map(|number| format!("SUB a q {number}\r\n")).collect();
    worker.say(burst + "PING\r\n");
    for round in 0.. {
        assert!(round < 6, "it is answered");
        bench.run_for(10 * SECOND);
        if worker.hear().contains("PONG\r\n") {
            break;
        }
    }
    for shard in 0..SHARDS {
        assert_eq!(bench.census(shard.into()).members, COUNT, "shard {shard}");
    }
}
