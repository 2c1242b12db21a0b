//! The configuration: what is read, what is refused and in which words.

mod auth;
mod channels;
mod client_limits;
mod listeners;
mod meanings;
mod mistakes;
mod rendered;
mod routes;
mod upstreams;
mod variables;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate::gateway::config::{
    CertificateFiles, Config, Delivery, DriverChoice, Keep, Queue, Rule, SseTarget, Target, UserSource, WebSocketTarget,
};

const LISTENER: &str = "[[listener]]\naddress = \"127.0.0.1:8080\"\n";

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(Path::new("tidegate.toml"), text, variables).map_err(|errors| errors.lines().collect())
}

/// The errors of `text` after a listener (two lines).
fn errors(text: &str) -> Vec<String> {
    parse(&format!("{LISTENER}{text}"), &[]).expect_err("a mistake is refused")
}

fn errors_of_variables(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    parse(&format!("{LISTENER}{text}"), variables).expect_err("a mistake is refused")
}

#[test]
fn reads_the_front_of_the_design() {
    let config = parse(
        r#"
shards = 2
driver = "epoll"

[[listener]]
address = "0.0.0.0:8443"
tls = { certificate = "cert.pem", key = "/etc/key.pem" }

[bus]
address = "127.0.0.1:4222"

[admin]
address = "127.0.0.1:9180"

[[route]]
path = "/api/sse/drivers/{driver}/location"
sse = { channel = "driver.location.{driver}" }

[[route]]
path = "/ws/rides"
origins = "https://example.com"
websocket = { service = "rides", user = { header = "X-Driver-Id", unverified = true }, subprotocols = ["b", "a"], headers = "User-Agent" }

[[route]]
path = "/ws/rooms/{room}"
websocket = { channel = "room.{room}", publish = true }

[[channel]]
name = "driver.location.*"
history = { messages = 10, age = "1m" }

[[channel]]
name = "driver.>"

[[channel]]
name = "grid.*"
delivery = "latest"
history = { messages = 1, age = "1h", newcomers = true }
queue = { messages = 500 }
distinct = true
presence = true
presence_grace_s = 2

[[channel]]
name = "log.*"
delivery = "drop"
queue = { bytes = 65536 }

[limits]
message_bytes_max = 100
ping_interval_s = 5
"#,
        &[],
    )
    .unwrap();
    assert_eq!((config.shards, config.driver), (2, DriverChoice::Epoll));
    let files = CertificateFiles { certificate: PathBuf::from("cert.pem"), key: PathBuf::from("/etc/key.pem") };
    assert_eq!(config.listeners[0].tls, Some(vec![files]));
    assert_eq!(config.bus.unwrap().credentials, None);
    assert_eq!(config.admin.unwrap().address.unwrap().port(), 9180);
    let location = SseTarget { channels: vec!["driver.location.{driver}".to_owned()], retry: Duration::from_secs(2) };
    assert_eq!(config.routes[0].target, Target::Sse(location));
    assert_eq!(config.routes[0].methods, ["GET"]);
    assert_eq!(config.routes[1].origins, ["https://example.com"]);
    let rides = WebSocketTarget {
        channel: None,
        service: Some("rides".to_owned()),
        publish: false,
        user: Some(UserSource::Header("X-Driver-Id".to_owned())),
        control: false,
        subprotocols: vec!["b".to_owned(), "a".to_owned()],
        headers: vec!["User-Agent".to_owned()],
    };
    assert_eq!(config.routes[1].target, Target::WebSocket(rides));
    let keep = Keep { messages: 10, bytes: tidegate::limits::HISTORY_BYTES, age: Duration::from_secs(60) };
    let channels: Vec<_> =
        config.channels.iter().map(|channel| (channel.name.as_str(), channel.rule.clone())).collect();
    let history = Rule { history: Some(keep), ..Rule::default() };
    let queue = Queue { messages: 500, ..Queue::default() };
    let last = Keep { messages: 1, age: Duration::from_secs(3600), ..keep };
    let latest = Rule {
        history: Some(last),
        is_for_newcomers: true,
        delivery: Delivery::Latest,
        queue,
        is_distinct: true,
        has_presence: true,
        presence_grace: Duration::from_secs(2),
        is_shared: false,
    };
    let queue = Queue { bytes: 65_536, ..Queue::default() };
    let drop = Rule { delivery: Delivery::Drop, queue, ..Rule::default() };
    let expected = [("driver.location.*", history), ("driver.>", Rule::default()), ("grid.*", latest), ("log.*", drop)];
    assert_eq!(channels, expected);
    assert_eq!(config.limits.message_bytes_max, 100);
    assert_eq!(config.limits.ping_interval, Duration::from_secs(5));
    assert_eq!(config.limits.fragments_max, tidegate::limits::FRAGMENTS_MAX);
}

/// Parts of configurations, good and bad, that random texts are put together from.
const PARTS: &[&str] = &[
    "[[listener]]\n",
    "[listener]\n",
    "[[route]]\n",
    "[bus]\n",
    "[admin]\n",
    "[limits]\n",
    "address = ",
    "path = ",
    "sse = ",
    "websocket = ",
    "tls = ",
    "user = ",
    "token = ",
    "channel = ",
    "message_bytes_max = ",
    "publish = ",
    "method = ",
    "\"127.0.0.1:1\"",
    "\"0.0.0.0:2\"",
    "\"/a/{b}\"",
    "\"a.{b}\"",
    "\"\\u001b\"",
    "{ ",
    " }",
    "[ ",
    " ]",
    ", ",
    "\n",
    "true",
    "7",
    "-1",
    "1.5",
    "\"\"\"",
    "'",
    "\"",
    "=",
    ".",
    "é",
    "\u{1b}",
    "\u{2028}",
    "\r",
    "#TIDEGATE_BUS_TOKEN=x\n",
    "#TIDEGATE_ROUTE_0_SSE_CHANNEL=a.{b}\n",
    "#TIDEGATE_LISTENER_0_TLS_KEY=k\n",
    "#TIDEGATE_\u{1b}=1\n",
];

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, cases: 2_000, ..Default::default() })]

    #[test]
    fn keeps_its_promises_for_texts_of_any_parts(parts in proptest::collection::vec(proptest::sample::select(PARTS), 0..40)) {
        crate::checks::config::check(parts.concat().as_bytes(), &[]);
    }
}
