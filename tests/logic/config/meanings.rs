//! What is well formed and useless is a mistake; what is legal and probably not meant is a doubt.

use crate::config::{LISTENER, errors, parse};

/// The doubts about `text` after a bus and a listener (three lines).
fn doubts(text: &str) -> Vec<String> {
    parsed(&format!("bus = {{}}\n{LISTENER}{text}")).unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
}

fn parsed(text: &str) -> Result<Vec<String>, Vec<String>> {
    parse(text, &[]).map(|config| config.doubts)
}

const NEWS: &str = "sse = { channel = \"news\" }\n";

fn route(path: &str, more: &str) -> String {
    format!("[[route]]\npath = {path:?}\n{more}")
}

#[test]
fn a_pattern_has_no_parameters() {
    let braces = "has braces, which no pattern reads as a parameter";
    assert_eq!(
        errors("[[channel]]\nname = \"room.{room}\"\n"),
        [format!("tidegate.toml:4: channel.name \"room.{{room}}\" {braces}; expected \"room.*\"")]
    );
    for name in ["channels", "publish_to"] {
        let target = format!("websocket = {{ protocol = \"centrifuge-json\", {name} = [\"news\", \"a.{{b}}.c\"] }}\n");
        assert_eq!(
            errors(&route("/ws", &target)),
            [format!("tidegate.toml:5: route.websocket.{name} \"a.{{b}}.c\" {braces}; expected \"a.*.c\"")]
        );
    }
}

#[test]
fn a_rule_behind_one_that_matches_all_of_it_is_never_reached() {
    for (first, second) in [("room.*", "room.a"), (">", "news"), ("a.>", "a.*.c")] {
        assert_eq!(
            errors(&format!("[[channel]]\nname = {first:?}\n[[channel]]\nname = {second:?}\n")),
            [format!(
                "tidegate.toml:6: channel.name {second:?} is never reached: {first:?} comes earlier and matches all of it; \
                 expected this one first"
            )]
        );
        assert_eq!(doubts(&format!("[[channel]]\nname = {second:?}\n[[channel]]\nname = {first:?}\n")), [""; 0]);
    }
}

#[test]
fn a_route_behind_one_that_takes_its_requests_is_never_reached() {
    let accept = "accept = { service = \"bookings\" }\n";
    for (first, second) in [
        (route("/{any}", NEWS), route("/news", NEWS)),
        (route("/a/{b}", NEWS), route("/a/{c}", NEWS)),
        (route("/bookings", accept), route("/bookings/{booking}", NEWS)),
        (route("/{any}", "method = [\"GET\", \"POST\"]\nsse = { channel = \"a\" }\n"), route("/b", NEWS)),
    ] {
        let told = errors(&format!("{first}{second}"));
        assert!(told.len() == 1 && told[0].contains("is never reached: "), "{told:?}");
        assert!(told[0].ends_with("comes earlier and takes its requests; expected this one first"), "{told:?}");
    }
    let told = errors(&format!("{}{}", route("/bookings/{booking}", NEWS), route("/bookings", accept)));
    assert!(told.len() == 1 && told[0].contains("has its results below it, where \"/bookings/{booking}\""), "{told:?}");
    let partly = route("/news", "method = [\"GET\", \"POST\"]\nsse = { channel = \"news\" }\n");
    assert_eq!(
        doubts(&format!("{}{partly}", route("/{any}", NEWS))),
        ["tidegate.toml:8: warning: route.path \"/news\" does not get GET: \"/{any}\" comes earlier"]
    );
    for (first, second) in [("/news", "/{any}"), ("/{a}/b", "/a/{b}"), ("/{a}", "/"), ("/{a}", "/a/b")] {
        assert_eq!(doubts(&format!("{}{}", route(first, NEWS), route(second, NEWS))), [""; 0], "{first} {second}");
    }
}

#[test]
fn a_method_that_asks_for_no_stream_is_a_mistake() {
    for method in ["CONNECT", "OPTIONS", "TRACE"] {
        let told = errors(&route("/a", &format!("method = {method:?}\n{NEWS}")));
        assert!(told.len() == 1 && told[0].contains("no page uses for a stream"), "{told:?}");
    }
}

#[test]
fn an_address_within_another_is_taken() {
    let listener = |address: &str| format!("[[listener]]\naddress = {address:?}\n");
    for (second, clashes) in [
        ("0.0.0.0:8080", true),
        ("127.0.0.1:8080", true),
        ("127.0.0.2:8080", false),
        ("0.0.0.0:8081", false),
        ("[::]:8080", false),
        ("[::1]:8080", false),
    ] {
        let outcome = parse(&format!("{LISTENER}{}", listener(second)), &[]);
        assert_eq!(outcome.is_err(), clashes, "{second}");
    }
    assert_eq!(
        errors("[bus]\naddress = \"0.0.0.0:8080\"\ntoken = \"secret\"\n"),
        [
            "tidegate.toml:4: bus.address 0.0.0.0:8080 is taken by another listener, on 127.0.0.1:8080; expected another port, or one \
          address"
        ]
    );
    assert!(parse(&format!("{}{}", listener("[::]:1"), listener("[::1]:1")), &[]).is_err());
}

#[test]
fn limits_that_contradict_each_other_are_told() {
    for (limits, words) in [
        ("peer_timeout_s = 10\n", "limits.peer_timeout_s makes limits.peer_timeout_s 10 and limits.send_timeout_s 20"),
        ("send_timeout_s = 90\n", "limits.send_timeout_s makes limits.peer_timeout_s 60 and limits.send_timeout_s 90"),
        (
            "handshake_wait_s = 11\n",
            "limits.handshake_wait_s makes limits.handshake_wait_s 11 and limits.handshake_timeout_s 10",
        ),
        ("outbox_bytes_max = 524288\n", "limits.outbox_bytes_max makes limits.outbox_bytes_max 524288 and"),
    ] {
        let told = doubts(&format!("[limits]\n{limits}"));
        assert!(told.len() == 1 && told[0].starts_with(&format!("tidegate.toml:5: warning: {words}")), "{told:?}");
    }
    let history = "[[channel]]\nname = \"a\"\nhistory = {}\n";
    assert_eq!(
        errors(&format!("{history}[limits]\nhistory_bytes_max = 0\n")),
        [
            "tidegate.toml:7: limits.history_bytes_max is 0, and a [[channel]] has a history; expected more, or no history"
        ]
    );
    assert_eq!(doubts(&format!("{history}[limits]\nhistory_bytes_max = 1000\n")).len(), 1);
    assert_eq!(doubts("[limits]\nhistory_bytes_max = 0\n"), [""; 0], "nothing is to be kept");
}

#[test]
fn what_has_no_effect_is_told() {
    for (text, words) in [
        ("[[channel]]\nname = \"a\"\npresence_grace_s = 3\n", "has no effect without presence = true"),
        (
            "[[channel]]\nname = \"a\"\nqueue = { bytes = 2000000 }\n",
            "is more than limits.outbox_bytes_max, 1048576, the bound in force",
        ),
        ("[admin]\nallow_remote = true\n", "has no effect on a loopback address"),
        (
            "[trust]\nnetworks = [\"10.0.0.0/8\", \"0.0.0.0/0\"]\n",
            "has every address: each client can give itself any address; expected those of the proxies",
        ),
        ("[trust]\nheader = \"forwarded\"\n", "has no effect without trust.networks"),
        (&route("/a", &format!("origins = [\"*\", \"https://a.example\"]\n{NEWS}")), "and other entries"),
        (
            &route("/a", &format!("method = [\"GET\", \"GET\"]\n{NEWS}")),
            "has \"GET\", which \"GET\" beside it includes",
        ),
        (&route("/a", "sse = { channels = [\"a\", \"b\", \"a\"] }\n"), "has \"a\", which \"a\" beside it includes"),
        (
            &route("/a", "websocket = { protocol = \"centrifuge-json\", channels = [\"room.a\", \"room.*\"] }\n"),
            "has \"room.a\", which \"room.*\" beside it includes",
        ),
    ] {
        let told = doubts(text);
        assert!(told.len() == 1 && told[0].contains(": warning: ") && told[0].ends_with(words), "{text}: {told:?}");
    }
}

#[test]
fn what_nobody_serves_or_publishes_is_told() {
    let sse = route("/a", NEWS);
    let service = route("/b", "websocket = { service = \"rides\" }\n");
    assert_eq!(
        parsed(&format!("{LISTENER}{sse}{service}")).unwrap(),
        [
            "tidegate.toml:5: warning: route.sse.channel \"news\" gets no messages: there is no [bus], no [admin] and no route that \
             publishes",
            "tidegate.toml:8: warning: route.websocket.service \"rides\" has no workers: there is no [bus] for them to connect to",
        ]
    );
    assert_eq!(parsed(&format!("bus = {{}}\n{LISTENER}{sse}{service}")), Ok(Vec::new()));
    assert_eq!(parsed(&format!("admin = {{}}\n{LISTENER}{sse}")), Ok(Vec::new()));
    let publishes = route("/c", "websocket = { channel = \"news\", publish = true }\n");
    assert_eq!(parsed(&format!("{LISTENER}{sse}{publishes}")), Ok(Vec::new()));
}

#[test]
fn a_doubt_about_a_variable_names_it() {
    let config = parse(LISTENER, &[("TIDEGATE_LIMITS_PEER_TIMEOUT_S", "10")]).unwrap();
    assert!(config.doubts[0].starts_with("warning: TIDEGATE_LIMITS_PEER_TIMEOUT_S makes"), "{:?}", config.doubts);
}
