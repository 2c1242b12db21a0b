//! Workers that break the bus's rules: `-ERR`, and the end where NATS ends.

use std::io::Read;

use tidegate::conn::Door;
use tidegate::gateway::Builder;
use tidegate::gateway::config::Config;

use crate::support::*;

#[test]
fn what_nats_closes_for_is_closed_for() {
    let rows = [
        ("BOGUS a b\r\n", "-ERR 'Unknown Protocol Operation'\r\n"),
        ("GET / HTTP/1.1\r\n\r\n", "-ERR 'Unknown Protocol Operation'\r\n"),
        ("PUB a 2000000\r\n", "-ERR 'Maximum Payload Violation'\r\n"),
        ("PUB a 1\r\nxyz\r\n", "-ERR 'Unknown Protocol Operation'\r\n"),
        // Without a word, so that packages come back.
        ("CONNECT nonsense\r\n", ""),
        ("PUB a\r\n", ""),
    ];
    on_both_drivers("", |gateway| {
        for (said, error) in rows {
            let mut worker = bus(gateway);
            let answer = worker.send(said).read_all();
            let errors = usize::from(!error.is_empty());
            assert!(answer.starts_with(error) && answer.matches("-ERR").count() == errors, "{said:?} got {answer:?}");
        }
        let long = format!("SUB {} 1\r\n", "x".repeat(10_000));
        assert!(bus(gateway).send(long).read_all().starts_with("-ERR 'maximum control line exceeded'\r\n"));
        expect_nobody(gateway);
    });
}

#[test]
fn what_nats_forgives_is_forgiven() {
    let rows = [
        ("PUB a..b 0\r\n\r\n", "-ERR 'Invalid Publish Subject'\r\n"),
        ("PUB a.* 0\r\n\r\n", "-ERR 'Invalid Publish Subject'\r\n"),
        ("SUB a..b 1\r\n", "-ERR 'Invalid Subject'\r\n"),
        ("SUB tg.conn.> 1\r\n", "-ERR 'Permissions Violation for Subscription to \"tg.conn.>\"'\r\n"),
        ("PUB tg.event.x 0\r\n\r\n", "-ERR 'Permissions Violation for Publish to \"tg.event.x\"'\r\n"),
        ("UNSUB nothing\r\n", ""),
        ("SUB a.b 1\r\nUNSUB 1\r\n", ""),
    ];
    on_both_drivers("", |gateway| {
        let mut worker = bus(gateway);
        for (said, error) in rows {
            let answer = worker.send(format!("{said}PING\r\n")).read_until("PONG\r\n");
            assert_eq!(answer, format!("{error}PONG\r\n"), "{said:?}");
        }
        drop(worker);
        expect_nobody(gateway);
    });
}

#[test]
fn strangers_are_told_so_and_leave() {
    let build = |driver: &str| {
        let text = format!("driver = \"{driver}\"\nshards = 2\n{ROUTES}");
        let secrets = [("TIDEGATE_BUS_USER", "ann"), ("TIDEGATE_BUS_PASSWORD", "secret")];
        let secrets = secrets.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::parse(std::path::Path::new("test.toml"), &text, secrets);
        Builder::new(config.unwrap_or_else(|errors| panic!("{errors}")))
    };
    on_both_drivers_with(build, |gateway| {
        let address = gateway.address(Door::Bus, false).unwrap();
        for said in [
            "CONNECT {}\r\n",
            "CONNECT {\"user\":\"ann\",\"pass\":\"guess\"}\r\n",
            "CONNECT {\"user\":\"ann\",\"pass\":\"secret\\u0000\"}\r\n",
            "CONNECT {\"auth_token\":\"secret\"}\r\n",
            "SUB > 1\r\n",
            "PUB a 1000000\r\n",
        ] {
            let answer = Raw::connect(address).send(said).read_all();
            assert!(answer.starts_with("INFO "), "{answer}");
            assert!(answer.ends_with("\r\n-ERR 'Authorization Violation'\r\n"), "{said:?} got {answer:?}");
        }
        let mut friend = Raw::connect(address);
        friend.send("CONNECT {\"user\":\"ann\",\"pass\":\"secret\"}\r\nPING\r\n").read_until("\r\nPONG\r\n");
        drop(friend);
        assert_eq!(metric(gateway, "closed_total:bus_authorization"), 6);
        expect_nobody(gateway);
    });
}

#[test]
fn a_worker_that_reads_nothing_is_closed_and_its_publisher_goes_on() {
    let message = format!("PUB a.b 1000000\r\n{}\r\n", "x".repeat(1_000_000));
    on_both_drivers("", |gateway| {
        let mut slow = bus(gateway);
        slow.send("SUB a.b 1\r\nPING\r\n").read_until("PONG\r\n");
        let mut publisher = bus(gateway);
        publisher.send("SUB a.b 1\r\nPING\r\n").read_until("PONG\r\n");
        let mut own = vec![0; message.len() - "PUB a.b".len() + "MSG a.b 1".len()];
        // More than the outbox of a worker and the buffers of two sockets hold. How far the slow one's shard is with it
        // nobody promises: the two workers may have come to different shards.
        for _ in 0..100 {
            publisher.send(&message).read_exact(&mut own).expect("its own message");
        }
        await_that("the slow one is closed", || metric(gateway, "closed_total:slow_consumer") == 1);
        publisher.send(&message).read_exact(&mut own).expect("its own message");
        drop((slow, publisher));
        expect_nobody(gateway);
    });
}
