//! What has been confirmed hears everything that is published afterwards, however shards and messages meet.

use super::*;

/// A worker that has been greeted, on the shard `place`.
fn worker(bench: &mut Bench, place: u16) -> Peer {
    let mut worker = bench.connect(place, BUS);
    worker.say("CONNECT {\"verbose\":false,\"headers\":true}\r\nPING\r\n");
    bench.run_for(SECOND / 10);
    assert!(worker.hear().ends_with("PONG\r\n"));
    worker
}

/// As nats-py sends them: the PING of a `flush` overtakes the SUB that it is to flush.
#[test]
fn a_pong_counts_for_subscriptions_that_came_with_the_ping() {
    for (pattern, queue) in [("room.{room}", ""), ("room.*", ""), ("room.{room}", "group ")] {
        let mut bench = Bench::new(2, settings());
        let (mut listener, publisher) = (worker(&mut bench, 0), worker(&mut bench, 1));
        let room = room_of(1, 2);
        listener.say(format!("PING\r\nSUB {} {queue}1\r\n", pattern.replace("{room}", &room)));
        // The other shard does not know of it yet.
        bench.run_some_for(SECOND / 10, |shard| shard == 0);
        assert_eq!(listener.hear(), "", "{pattern} {queue}");
        bench.run_for(SECOND / 10);
        assert_eq!(listener.hear(), "PONG\r\n");
        publisher.say(format!("PUB room.{room} 5\r\nhello\r\n"));
        bench.run_for(SECOND / 10);
        assert!(listener.hear().contains("hello"), "{pattern} {queue}");
    }
}

/// A listener comes, is confirmed, and hears; all the while others come and go on the same channel, and messages are published.
#[test]
fn whoever_is_confirmed_hears_what_is_published_next_at_every_turn() {
    for shards in 1..=3_u16 {
        for delay_us in 0..60 {
            let mut bench = Bench::new(shards, settings());
            let room = room_of(delay_us % u16::min(shards, 2), shards);
            let noise = worker(&mut bench, 0);
            let publisher = worker(&mut bench, shards - 1);
            let mut listener = worker(&mut bench, (shards - 1) / 2);
            let passing = worker(&mut bench, (shards - 1) / 2);
            passing.say(format!("SUB room.{room} 7\r\n"));
            bench.run_for(Duration::from_micros(delay_us.into()));
            // Its subject's first listener leaves while the second comes.
            passing.say("UNSUB 7\r\n");
            noise.say(format!("PUB room.{room} 1\r\nx\r\n"));
            bench.run_for(Duration::from_micros((delay_us / 2).into()));
            listener.say(format!("SUB room.{room} 1\r\nPING\r\n"));
            let mut heard = String::new();
            while !heard.contains("PONG\r\n") {
                bench.run_for(Duration::from_micros(50));
                heard += &listener.hear();
            }
            publisher.say(format!("PUB room.{room} 5\r\nhello\r\n"));
            bench.run_for(SECOND / 10);
            heard += &listener.hear();
            assert_eq!(heard.matches("hello").count(), 1, "{shards} shards, {delay_us} us: {heard:?}");
        }
    }
}

/// Two tabs of a user: what is published when both have been answered comes to both, on whatever shards they are.
#[test]
fn every_tab_of_a_user_hears_what_is_published_when_all_are_open() {
    for shards in 1..=3_u16 {
        for (first, second) in (0..shards).flat_map(|first| (0..shards).map(move |second| (first, second))) {
            for delay_us in (0..600).step_by(50) {
                let mut bench = Bench::new(shards, settings());
                let publisher = worker(&mut bench, shards - 1);
                let mut tabs = [bench.connect(first, 0), bench.connect(second, 0)];
                tabs[0].say(request("/echo?user=ann"));
                bench.run_for(Duration::from_micros(delay_us));
                tabs[1].say(request("/echo?user=ann"));
                let mut open = [false; 2];
                while open != [true; 2] {
                    bench.run_for(Duration::from_micros(50));
                    for (tab, is_open) in tabs.iter_mut().zip(&mut open) {
                        *is_open |= tab.hear().contains(" 101 ");
                    }
                }
                publisher.say("PUB tg.user.ann 5\r\nhello\r\n");
                bench.run_for(SECOND / 10);
                for tab in &mut tabs {
                    assert!(tab.hear().contains("hello"), "{shards} shards, {first} and {second}, {delay_us} us");
                }
            }
        }
    }
}

/// A worker that answers to the user of the client that it hears of has to reach this client, on whatever shard the user's
/// subject is.
#[test]
fn a_service_hears_of_a_client_when_its_subscriptions_are_in_force() {
    let is_elsewhere = |user: &String| owner_of(&format!("tg.user.{user}"), 2) == Place(1);
    let user = (0..).map(|number| format!("u{number}")).find(is_elsewhere).expect("names are spread");
    let mut bench = Bench::new(2, settings());
    let mut worker = worker(&mut bench, 0);
    worker.say("SUB tg.service.echo workers 1\r\n");
    bench.run_for(SECOND / 10);
    let mut client = bench.connect(0, 0);
    client.say(request(&format!("/echo?user={user}")));
    // The owner of the user's subject does not know of the client yet.
    bench.run_some_for(SECOND / 10, |shard| shard == 0);
    assert_eq!((client.hear(), worker.hear()), (String::new(), String::new()));
    bench.run_for(SECOND / 10);
    assert!(client.hear().contains(" 101 ") && worker.hear().contains("Tg-Kind: open"));
    // One that goes meanwhile has been there: its end is read when it may speak.
    let passing = bench.connect(0, 0);
    passing.say(request(&format!("/echo?user={user}")));
    bench.run_some_for(SECOND / 10, |shard| shard == 0);
    passing.end.reset();
    bench.run_for(SECOND);
    let heard = worker.hear();
    assert!(heard.find("Tg-Kind: open").unwrap() < heard.find("Tg-Kind: close").unwrap());
    assert_eq!(bench.census(0).opening, 0);
}
