//! Services: the number of their workers, and the clients that no worker has served.

use serde_json::json;

use super::centrifuge::{Client, settings};
use super::*;
use crate::shard::services::ServiceFailure;

/// Workers of the service, as the first shard has counted them.
fn workers(bench: &Bench, service: &str) -> u64 {
    let counters = bench.core(0).desk.counters().services.iter().find(|own| services::name(&own.subject) == service);
    counters.expect("a service of the configuration").workers.value()
}

fn failures(bench: &Bench, service: &str, failure: ServiceFailure) -> u64 {
    let all = bench.core(0).desk.counters.iter().flat_map(|counters| &counters.services);
    all.filter(|own| services::name(&own.subject) == service).map(|own| own.failed(failure).value()).sum()
}

#[test]
fn workers_are_counted_wherever_they_are_and_once() {
    let mut bench = Bench::new(3, settings());
    let named = &bench.core(0).desk.counters().services;
    let named: Vec<&str> = named.iter().map(|own| services::name(&own.subject)).collect();
    assert_eq!(named, ["desk", "echo"], "each once, however many routes name it");
    let connect = |bench: &mut Bench, shard, subjects: &str| {
        let mut worker = bench.connect(shard, BUS);
        worker.say(format!("CONNECT {{\"verbose\":false}}\r\n{subjects}PING\r\n"));
        bench.run_for(SECOND / 10);
        assert!(worker.hear().ends_with("PONG\r\n"));
        worker
    };
    let plain = connect(&mut bench, 0, "SUB tg.service.desk 1\r\n");
    assert_eq!((workers(&bench, "desk"), workers(&bench, "echo")), (1, 0));
    let group = connect(&mut bench, 2, "SUB tg.service.* workers 1\r\n");
    let _watching = connect(&mut bench, 1, "SUB > 1\r\nSUB tg.service.* 2\r\nSUB tg.service.other 3\r\n");
    assert_eq!((workers(&bench, "desk"), workers(&bench, "echo")), (2, 1), "who watches serves nobody");
    group.say("UNSUB 1\r\n");
    bench.run_for(SECOND / 10);
    assert_eq!((workers(&bench, "desk"), workers(&bench, "echo")), (1, 0));
    drop(plain);
    bench.run_for(SECOND);
    assert_eq!((workers(&bench, "desk"), workers(&bench, "echo")), (0, 0));
}

#[test]
fn whom_no_worker_serves_is_counted_by_the_service_and_the_reason() {
    let mut bench = Bench::new(2, settings());
    let (mut client, _) = Client::connected(&mut bench, "/open", json!({}));
    let call = |id: u32| json!({"id": id, "rpc": {"method": "book", "data": 1}});
    client.say(&[call(2), call(3)]);
    bench.run_for(SECOND);
    assert_eq!(client.texts()[1]["error"]["code"], 100);
    assert_eq!(failures(&bench, "desk", ServiceFailure::NoWorker), 2);
    let silent = bench.connect(1, BUS);
    silent.say("CONNECT {\"verbose\":false}\r\nSUB tg.service.desk 1\r\n");
    bench.run_for(SECOND);
    client.say(&[call(4)]);
    for _ in 0..4 {
        bench.run_for(limits::CALL_TIMEOUT / 3);
        client.say(&[json!({})]);
    }
    assert_eq!(failures(&bench, "desk", ServiceFailure::NoAnswer), 1);
    drop(silent);
    bench.run_for(SECOND);
    client.say(&[json!({"send": {"data": 1}})]);
    bench.run_for(limits::SERVICE_WAIT + SECOND);
    assert_eq!(failures(&bench, "desk", ServiceFailure::Unserved), 1);
    let counts = [ServiceFailure::NoWorker, ServiceFailure::NoAnswer].map(|failure| failures(&bench, "desk", failure));
    assert_eq!((counts, bench.closed(0, CloseReason::NoWorker)), ([2, 1], 1));
}
