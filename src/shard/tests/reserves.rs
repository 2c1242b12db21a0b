//! A shard whose descriptors are for others: what clients leave to workers and operators.

use super::*;

/// With so many connections a shard takes no further client.
const ROOM: u64 = 8;

fn full() -> (Bench, Vec<Peer>) {
    let mut settings = settings();
    settings.process_mut().shard_connections_max = ROOM;
    let mut bench = Bench::new(1, settings);
    let clients = (0..ROOM).map(|number| bench.open(0, &format!("/ws/{number}"))).collect();
    (bench, clients)
}

#[test]
fn a_full_shard_serves_workers_and_operators_and_tells_clients() {
    let (mut bench, mut clients) = full();
    let mut refused: Vec<Peer> = (0..20).map(|_| bench.connect(0, 0)).collect();
    refused.iter().for_each(|peer| peer.say(request("/ws/1")));
    bench.run_for(SECOND / 10);
    let told = refused.iter_mut().map(Peer::hear).filter(|heard| heard.starts_with("HTTP/1.1 503 "));
    assert_eq!(told.count() as u64, ROOM / 4, "the others are closed at once: words for all would take the reserve");
    assert!(bench.closed(0, CloseReason::TooManyConnections) >= 20 - ROOM / 4);
    // Neither counts as a client, although the shard has more connections than clients may take.
    let mut admin = bench.connect(0, ADMIN);
    admin.say("GET /ready HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut worker = bench.connect(0, BUS);
    worker.say("PING\r\n");
    clients[0].say(text(b"still there"));
    bench.run_for(SECOND / 10);
    assert!(admin.hear().starts_with("HTTP/1.1 200 "));
    assert!(worker.hear().ends_with("PONG\r\n"));
    assert!(clients[0].hear().contains("still there"));
    // Clients come in again when some have gone and the reserve is whole.
    drop((admin, worker, refused));
    clients.truncate(4);
    bench.run_for(SECOND);
    let newcomer = bench.open(0, "/ws/1");
    assert!(newcomer.end.is_open());
}

#[test]
fn after_a_failed_accept_clients_wait_and_others_do_not() {
    let mut bench = Bench::new(1, settings());
    let Shard { driver, core } = bench.shards[0].as_mut().expect("it runs");
    let error = io::Error::from_raw_os_error(libc::EMFILE);
    core.entrances.accept_failed(&mut core.desk, ListenerId(ADMIN), &error);
    driver.pause_accept(ListenerId(ADMIN));
    core.entrances.rest_fronts(driver, core.desk.now);
    let mut worker = bench.connect(0, BUS);
    let mut client = bench.connect(0, 0);
    client.say(request("/sse/1"));
    bench.run_for(limits::ACCEPT_BACKOFF / 2);
    assert!(worker.hear().starts_with("INFO ") && client.hear().is_empty());
    bench.run_for(limits::ACCEPT_BACKOFF);
    assert!(client.hear().starts_with("HTTP/1.1 200 "), "the pause is short");
}
