//! Commands of workers to clients, with a reply subject.

use super::*;

/// A worker with an inbox.
fn worker(bench: &mut Bench) -> Peer {
    let mut worker = bench.connect(0, BUS);
    worker.say("CONNECT {\"headers\":true,\"no_responders\":true,\"verbose\":false}\r\nSUB _INBOX.> 1\r\nPING\r\n");
    bench.run_for(SECOND / 10);
    assert!(worker.hear().ends_with("PONG\r\n"));
    worker
}

/// What a worker hears on its inbox after a command.
fn request(bench: &mut Bench, worker: &mut Peer, subject: &str, payload: &str) -> String {
    worker.say(format!("PUB {subject} _INBOX.1 {}\r\n{payload}\r\n", payload.len()));
    bench.run_for(SECOND / 10);
    worker.hear()
}

/// A user whose subject is owned by this shard of two.
fn user_of(home: u16) -> String {
    let is_at_home = |user: &String| owner_of(&format!("tg.user.{user}"), 2) == Place(home);
    (0..).map(|number| format!("u{number}")).find(is_at_home).expect("names are spread")
}

#[test]
fn a_command_that_is_obeyed_on_one_shard_alone_is_not_said_to_reach_no_client() {
    for (home, shard) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut bench = Bench::new(2, settings());
        let mut worker = worker(&mut bench);
        let user = user_of(home);
        let mut tab = bench.open(shard, &format!("/echo?user={user}"));
        for (verb, payload) in [("subscribe", "news"), ("unsubscribe", "news"), ("close", "")] {
            let heard = request(&mut bench, &mut worker, &format!("tg.user.{user}.{verb}"), payload);
            assert!(!heard.contains(" 503"), "{verb} from shard {home} to shard {shard}: {heard}");
        }
        tab.hear();
        assert_eq!(bench.closed(shard.into(), CloseReason::ClosedByWorker), 1);
        bench.run_for(limits::CLOSE_TIMEOUT + SECOND);
        let heard = request(&mut bench, &mut worker, &format!("tg.user.{user}.close"), "");
        assert!(heard.contains(" 503"), "the user has left: {heard}");
    }
}
