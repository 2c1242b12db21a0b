//! `[[limit]]`: what is read, and which keys do not fit together.

use std::time::Duration;

use tidegate::gateway::config::{ClientLimit, Frequency, LimitedBy};

use crate::config::{LISTENER, errors, parse};

const ROUTE: &str = "[[route]]\npath = \"/ws/{room}\"\nwebsocket = { channel = \"room.{room}\", publish = true }\n";

#[test]
fn reads_a_limit_with_its_defaults() {
    let text = format!(
        "{LISTENER}{ROUTE}[[limit]]\nname = \"a\"\nconnections = 5\n[[limit]]\nname = \"b\"\nby = \"network\"\nrequests = \"300/m\"\n\
         burst = 7\nroutes = \"/ws/{{room}}\"\nexcept = \"10.0.0.0/8\"\nmessages = \"2/s\"\nexcess = \"close\"\n"
    );
    let limits = parse(&text, &[]).unwrap().client_limits;
    let network = |ipv4_prefix, ipv6_prefix| LimitedBy::Network { ipv4_prefix, ipv6_prefix };
    let first = ClientLimit {
        name: "a".into(),
        by: network(32, 64),
        connections: Some(5),
        handshake_rate: None,
        request_rate: None,
        message_rate: None,
        burst: None,
        routes: Vec::new(),
        except: Vec::new(),
        closes: false,
    };
    let second = ClientLimit {
        name: "b".into(),
        by: network(24, 48),
        connections: None,
        request_rate: Some(Frequency { count: 300, per: Duration::from_secs(60) }),
        message_rate: Some(Frequency { count: 2, per: Duration::from_secs(1) }),
        burst: Some(7),
        routes: vec!["/ws/{room}".into()],
        except: vec!["10.0.0.0/8".into()],
        closes: true,
        ..first.clone()
    };
    assert_eq!(limits, [first, second]);
    let variables = [("TIDEGATE_LIMIT_0_NAME", "v"), ("TIDEGATE_LIMIT_0_REQUESTS", "5/s")];
    let limits = parse(LISTENER, &variables).unwrap().client_limits;
    assert_eq!((&*limits[0].name, limits[0].request_rate.unwrap().count), ("v", 5));
}

#[test]
fn tells_a_limit_that_bounds_nothing_or_stands_twice() {
    let expected = "expected connections, handshakes, requests or messages";
    assert_eq!(errors("[[limit]]\nname = \"a\"\n"), [format!("tidegate.toml:3: [[limit]] bounds nothing; {expected}")]);
    assert_eq!(
        errors("[[limit]]\nname = \"a\"\nconnections = 1\n[[limit]]\nname = \"a\"\nconnections = 1\n"),
        ["tidegate.toml:7: limit.name \"a\" is the name of an earlier [[limit]]; expected another"]
    );
}

#[test]
fn tells_a_rate_that_is_none() {
    for rate in ["5", "5/d", "0/s", "2000000/s"] {
        assert_eq!(
            errors(&format!("[[limit]]\nname = \"a\"\nrequests = {rate:?}\n")),
            [format!(
                "tidegate.toml:5: limit.requests is {rate:?}; expected a rate such as \"20/s\", \"300/m\" or \"1000/h\"; a \
                 million a second at most"
            )]
        );
    }
}

#[test]
fn tells_what_does_not_fit_together() {
    let of = |lines: &str| errors(&format!("{ROUTE}[[limit]]\nname = \"a\"\n{lines}"));
    assert_eq!(
        of("by = \"user\"\nipv4_prefix = 24\nrequests = \"1/s\"\n"),
        ["tidegate.toml:9: limit.ipv4_prefix is for networks; expected by = \"address\" or \"network\", or no prefix"]
    );
    for lines in ["by = \"route\"\nhandshakes = \"1/s\"\n", "routes = \"/ws/{room}\"\nhandshakes = \"1/s\"\n"] {
        assert_eq!(
            of(lines),
            [
                "tidegate.toml:9: limit.handshakes \"1/s\" is for connections, before their user or route is known; expected by = \
              \"address\" or \"network\", and no routes"
            ]
        );
    }
    assert_eq!(
        of("routes = [\"/ws\"]\nrequests = \"1/s\"\n"),
        [
            "tidegate.toml:8: limit.routes has \"/ws\", which is the path of no [[route]]; expected one of \"/ws/{room}\""
        ]
    );
}

#[test]
fn doubts_what_has_no_effect() {
    let doubts = |lines: &str| {
        let text = format!("{LISTENER}{ROUTE}[[limit]]\nname = \"a\"\n{lines}");
        parse(&text, &[]).unwrap().doubts
    };
    for (lines, words) in [
        ("connections = 1\nburst = 2\n", "limit.burst has no effect without handshakes, requests or messages"),
        ("excess = \"close\"\nconnections = 1\n", "limit.excess \"close\" has no effect without messages"),
        (
            "by = \"user\"\nrequests = \"1/s\"\n",
            "limit.by \"user\" limits nothing: no route has a user, a token or an auth",
        ),
        ("except = \"0.0.0.0/0\"\nrequests = \"1/s\"\n", "has every address: the limit is for none of them"),
    ] {
        let found = doubts(lines);
        assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
    }
    assert_eq!(doubts("excess = \"wait\"\nconnections = 1\n"), [""; 0]);
}
