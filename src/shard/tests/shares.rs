//! One user sends more accepted requests than the store holds: others find room, and their results are kept.

use super::*;
use crate::conn::route::AcceptRoute;

const KEEP: Duration = Duration::from_secs(300);

fn bench() -> Bench {
    let mut settings = settings();
    let target = AcceptRoute {
        service: Service::new("jobs").unwrap(),
        channel: ChannelTemplate::parse("request.{id}").unwrap(),
        event: "result".into(),
        timeout: 60 * SECOND,
        keep: KEEP,
        user: Some(UserField::Query("user".into())),
        headers: Box::default(),
    };
    add_routes(&mut settings, [Route { methods: vec!["POST".into()], ..route("/jobs", RouteTarget::Accept(target)) }]);
    settings.process_mut().accepted_bytes_max = limits::ACCEPTED_BYTES_MIN;
    Bench::new(1, settings)
}

/// The answer to a request of this user.
fn post(bench: &mut Bench, peer: &mut Peer, user: &str, body: &[u8]) -> String {
    peer.say(format!("POST /jobs?user={user} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
    peer.say(body);
    bench.run_for(SECOND / 100);
    peer.hear()
}

#[test]
fn a_user_who_sends_without_end_gets_429_and_another_one_its_result() {
    let mut bench = bench();
    let (mut ann, mut stranger) = (bench.connect(0, 0), bench.connect(0, 0));
    let booked = post(&mut bench, &mut ann, "ann", b"seat 12A");
    assert!(booked.starts_with("HTTP/1.1 202 "), "{booked}");
    let location = booked.split("Location: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap().to_owned();
    let junk = vec![b'x'; 40_000];
    let refused = (0..200).map(|_| post(&mut bench, &mut stranger, "eve", &junk)).find(|it| !it.contains(" 202 "));
    let refused = refused.expect("the store has a bound");
    assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("\r\nRetry-After: "), "{refused}");
    assert_eq!(bench.closed(0, CloseReason::RequestsShare), 1);
    let booked = post(&mut bench, &mut ann, "ann", b"seat 12B");
    assert!(booked.starts_with("HTTP/1.1 202 "), "{booked}");
    // The second of ann's comes after two of the stranger's, one in each round.
    let mut worker = bench.connect(0, BUS);
    worker.say("CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB tg.service.jobs 1\r\n");
    let mut heard = String::new();
    for _ in 0..100 {
        bench.run_for(SECOND / 100);
        heard += &worker.hear();
    }
    let (first, rest) = heard.split_once("seat 12B").expect("it is handed on");
    assert_eq!((first.matches("HMSG ").count(), rest.matches("HMSG ").count() > 20), (4, true));
    let reply = first.split("tg.request.").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
    worker.say(format!("PUB tg.request.{reply} 4\r\nyes!\r\n"));
    bench.run_for(KEEP - SECOND);
    let (mut ann, mut stranger) = (bench.connect(0, 0), bench.connect(0, 0));
    post(&mut bench, &mut stranger, "eve", &junk);
    ann.say(format!("GET {location} HTTP/1.1\r\nHost: a\r\n\r\n"));
    bench.run_for(SECOND / 2);
    let read = ann.hear();
    assert!(read.contains("\"status\":\"done\"") && read.contains("yes!"), "{read}");
}
