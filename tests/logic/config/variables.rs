//! Keys from the environment.

use std::path::Path;

use tidegate::gateway::config::{Config, Credentials, Fallback, Kind, Pin, TABLE, Target};

use crate::config::{LISTENER, errors_of_variables, parse};

#[test]
fn lets_variables_win_over_the_file() {
    let text = format!("shards = 3\n{LISTENER}[limits]\nfragments_max = 7\n");
    let config = parse(
        &text,
        &[
            ("TIDEGATE_LIMITS_FRAGMENTS_MAX", "9"),
            ("TIDEGATE_LISTENER_0_ADDRESS", "[::1]:1"),
            ("TIDEGATE_PIN", "false"),
            ("TIDEGATE_BUS_TOKEN", "secret"),
            ("TIDEGATE_CONFIG", "is the command line's"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!(config.limits.fragments_max, 9);
    assert_eq!(config.listeners[0].address.to_string(), "[::1]:1");
    assert_eq!(config.pin, Pin::No);
    assert_eq!(config.bus.unwrap().credentials, Some(Credentials::Token("secret".to_owned())));
    assert_eq!(config.shards, 3);
}

#[test]
fn adds_to_lists_from_variables_in_the_order_of_the_indices() {
    let mut variables: Vec<(String, String)> = (1..=10)
        .rev()
        .map(|index| (format!("TIDEGATE_LISTENER_{index}_ADDRESS"), format!("127.0.0.1:{}", 9000 + index)))
        .collect();
    variables.push(("TIDEGATE_LISTENER_1_TLS_CERTIFICATE".to_owned(), "a.pem".to_owned()));
    variables.push(("TIDEGATE_LISTENER_1_TLS_KEY".to_owned(), "a.key".to_owned()));
    variables.push(("TIDEGATE_LISTENER_2_TLS_0_CERTIFICATE".to_owned(), "b.pem".to_owned()));
    variables.push(("TIDEGATE_LISTENER_2_TLS_0_KEY".to_owned(), "b.key".to_owned()));
    let config = Config::parse(Path::new("/etc/tidegate.toml"), LISTENER, variables).unwrap();
    assert_eq!(config.listeners[10].address.port(), 9010);
    for (index, name) in [(1, "a.pem"), (2, "b.pem")] {
        assert_eq!(config.listeners[index].tls.as_ref().unwrap()[0].certificate, Path::new(name));
    }
}

#[test]
fn reads_a_whole_configuration_from_variables() {
    let config = parse(
        "",
        &[
            ("TIDEGATE_LISTENER_0_ADDRESS", "127.0.0.1:0"),
            ("TIDEGATE_ROUTE_0_PATH", "/a/{b}"),
            ("TIDEGATE_ROUTE_0_ORIGINS_0", "https://a.example"),
            ("TIDEGATE_ROUTE_0_ORIGINS_1", "https://b.example"),
            ("TIDEGATE_ROUTE_0_SSE_CHANNEL", "a.{b}"),
            ("TIDEGATE_ROUTE_1_PATH", "/ws"),
            ("TIDEGATE_ROUTE_1_WEBSOCKET_USER_QUERY", "user"),
        ],
    )
    .unwrap();
    assert_eq!(config.routes[0].origins, ["https://a.example", "https://b.example"]);
    assert!(matches!(&config.routes[1].target, Target::WebSocket(target) if target.user.is_some()));
}

#[test]
fn pinning_is_a_switch_or_left_to_the_gateway() {
    let pin = |text: &str, variables: &[(&str, &str)]| parse(&format!("{text}{LISTENER}"), variables).unwrap().pin;
    assert_eq!(pin("", &[]), Pin::Auto);
    for (word, expected) in [("true", Pin::Yes), ("false", Pin::No), ("\"auto\"", Pin::Auto)] {
        assert_eq!(pin(&format!("pin = {word}\n"), &[]), expected);
        assert_eq!(pin("pin = true\n", &[("TIDEGATE_PIN", word.trim_matches('"'))]), expected);
    }
}

#[test]
fn two_spellings_of_one_value_are_the_same() {
    let with = |name: &str, value: &str| parse(&format!("bus = {{}}\n{LISTENER}"), &[(name, value)]);
    for (yes, no) in
        [("true", "false"), ("TRUE", "False"), ("yes", "no"), ("On", "off"), ("1", "0"), (" true\n", "false ")]
    {
        assert_eq!(with("TIDEGATE_PIN", yes).unwrap().pin, Pin::Yes, "{yes:?}");
        assert_eq!(with("TIDEGATE_PIN", no).unwrap().pin, Pin::No, "{no:?}");
    }
    assert_eq!(with("TIDEGATE_PIN", "AUTO").unwrap().pin, Pin::Auto);
    for bytes in ["1000000", " 1000000\n", "1_000_000", "+1000000"] {
        assert_eq!(with("TIDEGATE_LIMITS_PAYLOAD_BYTES_MAX", bytes).unwrap().limits.payload_bytes_max, 1_000_000);
    }
    for log in ["WARN", "Warn", "warn "] {
        assert_eq!(with("TIDEGATE_LOG", log).unwrap().log, log::LevelFilter::Warn);
    }
    let address = with("TIDEGATE_LISTENER_0_ADDRESS", " 127.0.0.1:1\n").unwrap().listeners[0].address;
    assert_eq!(address.to_string(), "127.0.0.1:1");
    let secret = with("TIDEGATE_BUS_TOKEN", " a b ").unwrap().bus.unwrap().credentials;
    assert_eq!(secret, Some(Credentials::Token(" a b ".to_owned())));
    assert!(with("TIDEGATE_PIN", "2").is_err() && with("TIDEGATE_LOG", "loud").is_err());
}

#[test]
fn tells_a_mistake_in_a_variable_by_its_name() {
    assert_eq!(
        errors_of_variables("", &[("TIDEGATE_LIMITS_MESSAGE_BYTES_MAX", "64k")]),
        ["TIDEGATE_LIMITS_MESSAGE_BYTES_MAX is \"64k\"; expected a whole number of bytes from 1 to 67108864"]
    );
    assert_eq!(
        errors_of_variables("", &[("TIDEGATE_BUS_ADDRESS", "0.0.0.0:1")]),
        ["TIDEGATE_BUS_ADDRESS \"0.0.0.0:1\" can be reached from other machines and has no credentials; expected \
         bus.token, or bus.user and bus.password, or a loopback address"]
    );
    assert_eq!(
        errors_of_variables("", &[("TIDEGATE_ROUTE_0_PATH", "/")]),
        ["TIDEGATE_ROUTE_0_PATH: [[route]] has no target; expected sse, websocket, accept, respond or proxy"]
    );
}

#[test]
fn tells_an_unknown_variable_with_the_nearest_known_one() {
    assert_eq!(
        errors_of_variables("", &[("TIDEGATE_LISTENER_3_ADRESS", "[::1]:1")]),
        ["unknown variable TIDEGATE_LISTENER_3_ADRESS; did you mean TIDEGATE_LISTENER_3_ADDRESS?"]
    );
    assert_eq!(
        errors_of_variables("", &[("TIDEGATE_SEA", "1")]),
        ["unknown variable TIDEGATE_SEA; `tidegate config` lists the keys"]
    );
}

#[test]
fn ignores_what_is_set_for_a_service_beside_it_and_keeps_its_own() {
    let config = parse(
        LISTENER,
        &[
            ("TIDEGATE_PORT", "tcp://10.96.0.7:8080"),
            ("TIDEGATE_SERVICE_HOST", "10.96.0.7"),
            ("TIDEGATE_BUS_PORT_4222_TCP_ADDR", "10.96.0.8"),
            ("TIDEGATE_BUS_ADDRESS", "127.0.0.1:4222"),
        ],
    )
    .unwrap();
    assert_eq!(config.bus.unwrap().address.port(), 4222);
    assert_eq!(config.links, ["TIDEGATE_BUS_PORT_4222_TCP_ADDR", "TIDEGATE_PORT", "TIDEGATE_SERVICE_HOST"]);
    assert_eq!(
        errors_of_variables("", &[("TIDEGATE_BUS_PORT", "4222")]),
        ["unknown variable TIDEGATE_BUS_PORT; `tidegate config` lists the keys"]
    );
}

#[test]
fn tells_an_index_that_leaves_a_gap() {
    assert_eq!(
        errors_of_variables("", &[("TIDEGATE_LISTENER_3_ADDRESS", "[::1]:1")]),
        ["TIDEGATE_LISTENER_3_ADDRESS leaves a gap; expected 1 as the index"]
    );
}

#[test]
fn takes_every_key_from_a_variable() {
    for row in TABLE {
        let Some(variable) = row.variable() else { continue };
        let variable = variable.replace("_N_", "_0_");
        // No key takes it, so that the error names the variable.
        let value = if matches!(row.kind, Kind::Secret) { "" } else { "\0" };
        let lines = parse(LISTENER, &[(&variable, value)]).expect_err(&variable);
        assert!(lines.iter().any(|line| line.starts_with(&format!("{variable} is "))), "{lines:?}");
        assert!(!matches!(row.fallback, Fallback::Required("")), "{} has an example", row.path);
    }
}
