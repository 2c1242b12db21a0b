//! Mistakes that any file can have: unknown keys, wrong types, values out of range.

use std::path::Path;

use tidegate::gateway::config::Config;

use crate::config::{errors, parse};

#[test]
fn tells_an_unknown_key_with_the_nearest_known_one() {
    let text = "[[listener]]\nadress = \"127.0.0.1:8080\"\n";
    assert_eq!(
        parse(text, &[]).unwrap_err(),
        ["tidegate.toml:2: unknown key \"adress\" in [[listener]]; did you mean \"address\"?"]
    );
}

#[test]
fn tells_an_unknown_key_with_what_is_known_when_nothing_is_near() {
    assert_eq!(
        errors("[bus]\nnonsense = 1\n"),
        ["tidegate.toml:4: unknown key \"nonsense\" in [bus]; expected one of address, user, password, token"]
    );
    assert_eq!(errors("[limts]\n"), ["tidegate.toml:3: unknown key \"limts\"; did you mean \"limits\"?"]);
    assert_eq!(
        errors("[[route]]\npath = \"/\"\nsse = { chanel = \"a\" }\n"),
        ["tidegate.toml:5: unknown key \"chanel\" in route.sse; did you mean \"channel\"?"]
    );
}

#[test]
fn tells_a_value_of_the_wrong_type() {
    assert_eq!(
        errors("[limits]\nmessage_bytes_max = \"64k\"\n"),
        ["tidegate.toml:4: limits.message_bytes_max is \"64k\"; expected a whole number of bytes from 1 to 67108864"]
    );
    assert_eq!(
        errors("[limits]\nfragments_max = 1.5\n"),
        ["tidegate.toml:4: limits.fragments_max is 1.5; expected a whole number from 1 to 1000000"]
    );
    assert_eq!(
        errors("[limits]\nfragments_max = []\n"),
        ["tidegate.toml:4: limits.fragments_max is a list; expected a whole number from 1 to 1000000"]
    );
    assert_eq!(
        parse("pin = \"yes\"\n[[listener]]\naddress = \"[::1]:1\"\n", &[]).unwrap_err(),
        ["tidegate.toml:1: pin is \"yes\"; expected true, false or \"auto\""]
    );
    assert_eq!(
        parse("bus = 1\n[[listener]]\naddress = \"[::1]:1\"\n", &[]).unwrap_err(),
        ["tidegate.toml:1: bus is 1; expected a table"]
    );
}

#[test]
fn tells_one_table_where_a_list_is_needed() {
    assert_eq!(
        parse("[listener]\naddress = \"[::1]:1\"\n", &[]).unwrap_err(),
        ["tidegate.toml:1: listener is one table; expected [[listener]]"]
    );
}

#[test]
fn tells_a_number_out_of_range() {
    assert_eq!(
        errors("[limits]\nping_interval_s = 0\n"),
        ["tidegate.toml:4: limits.ping_interval_s is 0; expected a whole number of seconds from 1 to 3600"]
    );
    assert_eq!(
        errors("[limits]\nping_interval_s = -3\n"),
        ["tidegate.toml:4: limits.ping_interval_s is -3; expected a whole number of seconds from 1 to 3600"]
    );
}

#[test]
fn tells_a_word_that_is_none_of_the_choices() {
    assert_eq!(
        parse("driver = \"kqueue\"\n[[listener]]\naddress = \"[::1]:1\"\n", &[]).unwrap_err(),
        ["tidegate.toml:1: driver is \"kqueue\"; expected one of \"auto\", \"epoll\", \"uring\""]
    );
}

#[test]
fn tells_a_missing_key() {
    assert_eq!(
        parse("[[listener]]\n", &[]).unwrap_err(),
        [
            "tidegate.toml:1: [[listener]] has no address; expected an IP address and a port such as \"127.0.0.1:8080\" or \
         \"[::]:8443\""
        ]
    );
    assert_eq!(
        parse("[[listener]]\naddress = \"[::1]:1\"\ntls = { certificate = \"a\" }\n", &[]).unwrap_err(),
        ["tidegate.toml:3: tls has no key; expected the path of a file"]
    );
}

#[test]
fn tells_a_syntax_error_with_its_line() {
    let lines = parse("[[listener]]\naddress = \"127.0.0.1:1\n", &[]).unwrap_err();
    assert!(lines.len() == 1 && lines[0].starts_with("tidegate.toml:2: not valid TOML: "), "{lines:?}");
    let lines = parse("shards = 1\nshards = 2\n", &[]).unwrap_err();
    assert!(lines[0].starts_with("tidegate.toml:2: not valid TOML: duplicate key"), "{lines:?}");
}

#[test]
fn tells_all_mistakes_in_the_order_of_the_file() {
    let lines = errors("[limits]\nfragments_max = 0\nping_intervall_s = 1\n[[route]]\npath = \"x\"\n");
    let places: Vec<&str> = lines.iter().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(places, ["tidegate.toml:4", "tidegate.toml:5", "tidegate.toml:7"]);
}

#[test]
fn tells_an_outbox_that_holds_no_two_messages() {
    assert_eq!(
        errors("[limits]\noutbox_bytes_max = 5000\n"),
        ["tidegate.toml:4: limits.outbox_bytes_max is 5000; expected at least twice limits.message_bytes_max"]
    );
    assert_eq!(
        errors("[limits]\nmessage_bytes_max = 16777216\n"),
        ["tidegate.toml:4: limits.message_bytes_max is 16777216; expected at most 524288, half of \
         limits.outbox_bytes_max; or raise that"]
    );
}

#[test]
fn tells_a_file_that_cannot_be_read() {
    let errors = Config::load(Some(Path::new("no/such.toml")), []).unwrap_err();
    assert_eq!(errors.to_string(), "no/such.toml: cannot be read: No such file or directory (os error 2)");
}
