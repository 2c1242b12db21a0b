//! Commands of workers to clients, with a reply subject, and their outcomes.

use serde_json::json;

use super::centrifuge::Client;
use super::*;

const DONE: &str = "MSG _INBOX.1 1 0\r\n\r\n";
const NO_CHANNEL: &str = "NATS/1.0 400 Bad Request\r\n";
const TOO_MANY: &str = "NATS/1.0 429 Too Many Channels\r\n";
const NO_CALL: &str = "NATS/1.0 410 Gone\r\n";
const NOBODY: &str = "NATS/1.0 503\r\n";

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

fn says(heard: &str, status: &str) -> bool {
    heard.starts_with("HMSG _INBOX.1 1 ") && heard.contains(status) && heard.matches("MSG ").count() == 1
}

/// The id of the last connection that a shard has accepted.
pub(super) fn id_of_last(bench: &Bench, shard: usize) -> String {
    let core = bench.core(shard);
    let mut keys = (0..core.desk.slots.len() as u32).filter_map(|slot| core.desk.slots.key_at(slot));
    let key = keys.rfind(|key| core.desk.slots.get(*key).is_some_and(|conn| conn.session.is_client())).unwrap();
    conn_id(core, key).to_string()
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

#[test]
fn a_command_to_a_connection_is_answered_once_it_is_obeyed() {
    for shard in 0..2 {
        for path in ["/echo?user=ann", "/ws/1", "/sse/1"] {
            let mut bench = Bench::new(2, settings());
            let mut worker = worker(&mut bench);
            let mut client = bench.open(shard, path);
            let command = |verb: &str| format!("tg.conn.{}.{verb}", id_of_last(&bench, shard.into()));
            let [subscribe, unsubscribe, close, answer, dance] =
                ["subscribe", "unsubscribe", "close", "answer.7", "dance"].map(command);
            for (command, payload, expected) in [
                (&subscribe, "news", DONE),
                (&subscribe, "news", DONE),
                (&unsubscribe, "old", DONE),
                (&subscribe, "two words", NO_CHANNEL),
                (&subscribe, "tg.user.ann", NO_CHANNEL),
                (&unsubscribe, "", NO_CHANNEL),
                (&answer, "late", NO_CALL),
                (&dance, "", NOBODY),
            ] {
                let heard = request(&mut bench, &mut worker, command, payload);
                assert!(heard == expected || says(&heard, expected), "{path}, {command} {payload}: {heard}");
            }
            worker.say("PUB news 2\r\nhi\r\n");
            bench.run_for(SECOND / 10);
            assert!(client.hear().contains("hi"), "{path}: it is subscribed");
            assert_eq!(request(&mut bench, &mut worker, &close, ""), DONE, "{path}");
            bench.run_for(limits::CLOSE_TIMEOUT + SECOND);
            assert!(says(&request(&mut bench, &mut worker, &close, ""), NOBODY), "{path}: it has gone");
        }
    }
}

#[test]
fn a_command_to_a_user_has_one_answer_wherever_its_connections_are() {
    for home in 0..2 {
        let user = user_of(home);
        let mut bench = Bench::new(2, settings());
        let mut worker = worker(&mut bench);
        let command = |verb: &str| format!("tg.user.{user}.{verb}");
        assert!(says(&request(&mut bench, &mut worker, &command("close"), ""), NOBODY));
        let path = format!("/echo?user={user}");
        let mut tabs: Vec<Peer> = [0, 1, 1].iter().map(|shard| bench.open(*shard, &path)).collect();
        assert_eq!(request(&mut bench, &mut worker, &command("subscribe"), "news"), DONE);
        worker.say("PUB news 2\r\nhi\r\n");
        bench.run_for(SECOND / 10);
        assert!(tabs.iter_mut().all(|tab| tab.hear().contains("hi")));
        assert!(says(&request(&mut bench, &mut worker, &command("subscribe"), "a..b"), NO_CHANNEL));
        assert_eq!(request(&mut bench, &mut worker, &command("unsubscribe"), "news"), DONE);
        assert!(says(&request(&mut bench, &mut worker, &command("close"), "goodbye"), NO_CHANNEL));
        assert_eq!(request(&mut bench, &mut worker, &command("close"), ""), DONE);
        bench.run_for(limits::CLOSE_TIMEOUT + SECOND);
        assert!(says(&request(&mut bench, &mut worker, &command("close"), ""), NOBODY));
        assert!((0..2).all(|shard| bench.census(shard).backlog == 0));
    }
}

#[test]
fn a_connection_that_has_no_room_for_a_channel_does_not_get_it() {
    let mut bench = Bench::new(1, settings());
    let mut worker = worker(&mut bench);
    let _client = bench.open(0, "/ws/1");
    let subscribe = format!("tg.conn.{}.subscribe", id_of_last(&bench, 0));
    for number in 1..limits::CHANNELS_PER_CONNECTION_MAX {
        assert_eq!(request(&mut bench, &mut worker, &subscribe, &format!("news.{number}")), DONE);
    }
    assert!(says(&request(&mut bench, &mut worker, &subscribe, "news.0"), TOO_MANY));
}

#[test]
fn a_reply_subject_that_no_worker_may_publish_to_gets_no_answer() {
    let mut bench = Bench::new(1, settings());
    let mut worker = worker(&mut bench);
    worker.say("SUB > 2\r\n");
    let _client = bench.open(0, "/ws/1");
    let id = id_of_last(&bench, 0);
    for reply in ["tg.event.drain", "tg.request.1", "a..b", "a.*"] {
        worker.say(format!("PUB tg.conn.{id}.subscribe {reply} 4\r\nnews\r\nPING\r\n"));
        bench.run_for(SECOND / 10);
        assert_eq!(worker.hear(), "PONG\r\n", "{reply}");
    }
}

#[test]
fn a_client_of_the_client_protocol_obeys_as_well() {
    let mut bench = Bench::new(1, centrifuge::settings());
    let mut worker = worker(&mut bench);
    worker.say("SUB tg.service.desk 2\r\n");
    let (client, answer) = Client::connected(&mut bench, "/open", json!({}));
    let id = answer["connect"]["client"].as_str().unwrap().to_owned();
    let command = |verb: &str| format!("tg.conn.{id}.{verb}");
    worker.hear();
    for (verb, payload, expected) in [
        ("subscribe", "news", DONE),
        ("subscribe", "news", DONE),
        ("subscribe", "a..b", NO_CHANNEL),
        ("unsubscribe", "news", DONE),
        ("unsubscribe", "news", DONE),
        ("answer.7", "{}", NO_CALL),
    ] {
        let heard = request(&mut bench, &mut worker, &command(verb), payload);
        assert!(heard == expected || says(&heard, expected), "{verb} {payload}: {heard}");
    }
    client.say(&[json!({"id": 2, "rpc": {"method": "fare", "data": {}}})]);
    bench.run_for(SECOND / 10);
    let asked = worker.hear();
    let reply = asked.split(' ').find(|word| word.contains(".answer.")).expect("the worker is asked").to_owned();
    assert_eq!(request(&mut bench, &mut worker, &reply, "{}"), DONE);
    assert!(says(&request(&mut bench, &mut worker, &reply, "{}"), NO_CALL), "it has been answered");
    for number in 0..limits::CHANNELS_PER_CONNECTION_MAX {
        assert_eq!(request(&mut bench, &mut worker, &command("subscribe"), &format!("news.{number}")), DONE);
    }
    assert!(says(&request(&mut bench, &mut worker, &command("subscribe"), "news"), TOO_MANY));
    assert!(request(&mut bench, &mut worker, &command("close"), "").ends_with(DONE), "behind the news of the end");
}

#[test]
fn a_subscription_is_in_force_when_the_worker_hears_that_it_is_done() {
    let mut bench = Bench::new(3, settings());
    let mut worker = worker(&mut bench);
    let mut client = bench.open(1, "/echo?user=ann");
    let room = room_of(2, 3);
    let subscribe = format!("tg.conn.{}.subscribe", id_of_last(&bench, 1));
    worker.say(format!("PUB {subscribe} _INBOX.1 {}\r\nroom.{room}\r\n", room.len() + 5));
    bench.run_some_for(SECOND / 10, |shard| shard != 2);
    assert_eq!(worker.hear(), "", "the channel's owner does not know of the client yet");
    bench.run_for(SECOND / 10);
    assert_eq!(worker.hear(), DONE);
    worker.say(format!("PUB room.{room} 2\r\nhi\r\n"));
    bench.run_for(SECOND / 10);
    assert!(client.hear().contains("hi"));
}
