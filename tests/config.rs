//! The configuration: what is read, what is refused and in which words.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate::gateway::config::{
    self, AcceptTarget, CertificateFiles, Config, Credentials, Delivery, DriverChoice, Fallback, Keep, Kind, Queue,
    Rule, SseTarget, TABLE, Target, TokenKey, UserSource, WebSocketTarget,
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
websocket = { service = "rides", user = { header = "X-Driver-Id" } }

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
    assert_eq!(config.admin.unwrap().address.port(), 9180);
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
    };
    let queue = Queue { bytes: 65_536, ..Queue::default() };
    let drop = Rule { delivery: Delivery::Drop, queue, ..Rule::default() };
    let expected = [("driver.location.*", history), ("driver.>", Rule::default()), ("grid.*", latest), ("log.*", drop)];
    assert_eq!(channels, expected);
    assert_eq!(config.limits.message_bytes_max, 100);
    assert_eq!(config.limits.ping_interval, Duration::from_secs(5));
    assert_eq!(config.limits.fragments_max, tidegate::limits::FRAGMENTS_MAX);
}

#[test]
fn reads_a_route_of_the_client_protocol() {
    let text = format!(
        "{LISTENER}\n[[route]]\npath = \"/{{tenant}}/connect\"\nwebsocket = {{ protocol = \"centrifuge-json\", service = \"desk\", \
         channels = [\"room.>\", \"news\"], publish_to = \"room.*\", server_side = \"tenant.{{tenant}}\", \
         token = {{ hmac_secret = \"very secret\" }} }}\n"
    );
    let config = parse(&text, &[]).unwrap();
    let Target::Centrifuge(target) = &config.routes[0].target else { panic!("{config:?}") };
    assert_eq!((target.service.as_deref(), &target.user), (Some("desk"), &None));
    assert_eq!(
        (&target.channels[..], &target.publish_to[..]),
        (&["room.>".into(), "news".into()][..], &["room.*".into()][..])
    );
    assert_eq!(target.server_side, ["tenant.{tenant}"]);
    assert_eq!(target.token, Some(TokenKey::Hmac("very secret".to_owned())));
    assert!(!format!("{config:?}").contains("very secret"), "secrets are not for logs");
}

#[test]
fn refuses_keys_of_the_other_protocol() {
    let errors =
        |websocket: &str| errors(&format!("[[route]]\npath = \"/a\"\nwebsocket = {{ {websocket} }}\n")).join("\n");
    for (websocket, words) in [
        ("protocol = \"centrifuge\"", "expected one of \"raw\", \"centrifuge-json\""),
        ("protocol = \"centrifuge-json\"", "websocket leads nowhere; expected at least one of channels"),
        ("protocol = \"centrifuge-json\", channel = \"a\", service = \"s\"", "is for protocol = \"raw\" alone"),
        ("service = \"s\", channels = \"a\"", "is for protocol = \"centrifuge-json\" alone"),
        ("protocol = \"centrifuge-json\", channels = \"tg.>\"", "expected a pattern such as"),
        ("protocol = \"centrifuge-json\", server_side = \"a.{b}\"", "uses {b}; expected parameters of the path"),
        ("protocol = \"centrifuge-json\", token = { }", "token needs one key"),
        (
            "protocol = \"centrifuge-json\", token = { hmac_secret = \"a\", rsa_public_key = \"b\" }",
            "token needs one key",
        ),
        (
            "protocol = \"centrifuge-json\", token = { hmac_secret = \"a\" }, user = { query = \"u\" }",
            "is set beside a token",
        ),
    ] {
        assert!(errors(websocket).contains(words), "{websocket}: {}", errors(websocket));
    }
}

#[test]
fn reads_several_certificates_relative_to_the_file() {
    let text = "[[listener]]\naddress = \"127.0.0.1:1\"\n\
                [[listener.tls]]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n\
                [[listener.tls]]\ncertificate = \"b.pem\"\nkey = \"b.key\"\n";
    let config = Config::parse(Path::new("/etc/tidegate/tidegate.toml"), text, []).unwrap();
    let tls = config.listeners[0].tls.as_ref().unwrap();
    assert_eq!(tls[1].certificate, Path::new("/etc/tidegate/b.pem"));
}

#[test]
fn accepts_the_annotated_defaults_and_reads_them_as_the_defaults() {
    let text = config::annotated();
    let config = parse(&text, &[]).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"));
    let defaults = Config::default();
    assert_eq!(config.limits, defaults.limits);
    assert_eq!(
        (config.shards, config.pin, config.driver, config.log),
        (defaults.shards, defaults.pin, defaults.driver, defaults.log)
    );
    assert_eq!((config.listeners.len(), config.routes.len()), (1, 1));
    assert!(config.bus.is_some() && config.admin.is_some());
}

#[test]
fn names_every_key_in_the_annotated_defaults() {
    let text = config::annotated();
    for row in TABLE {
        assert!(text.contains(row.name()), "{}", row.path);
        assert!(text.lines().all(|line| line.len() <= 120), "lines fit a terminal");
    }
}

#[test]
fn keeps_the_reference_page_as_the_table_renders_it() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let written = std::fs::read_to_string(page).unwrap();
    assert!(written == config::markdown(), "run `tidegate config --markdown > docs/configuration.md`");
}

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
    assert_eq!(errors("[limit]\n"), ["tidegate.toml:3: unknown key \"limit\"; did you mean \"limits\"?"]);
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
        ["tidegate.toml:1: pin is \"yes\"; expected true or false"]
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
fn tells_an_address_that_is_none() {
    assert_eq!(
        parse("[[listener]]\naddress = \"localhost\"\n", &[]).unwrap_err(),
        ["tidegate.toml:2: listener.address is \"localhost\"; expected an IP address and a port such as \
         \"127.0.0.1:8080\" or \"[::]:8443\""]
    );
}

#[test]
fn tells_a_missing_listener() {
    assert_eq!(
        parse("", &[]).unwrap_err(),
        ["tidegate.toml: there is no [[listener]]; expected at least one, with an address"]
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
fn tells_a_bus_without_credentials_off_loopback() {
    assert_eq!(
        errors("[bus]\naddress = \"0.0.0.0:4222\"\n"),
        ["tidegate.toml:4: bus.address \"0.0.0.0:4222\" can be reached from other machines and has no credentials; \
         expected bus.token, or bus.user and bus.password, or a loopback address"]
    );
    let config = parse(&format!("{LISTENER}[bus]\naddress = \"0.0.0.0:4222\"\ntoken = \"s3cret\"\n"), &[]).unwrap();
    let credentials = config.bus.unwrap().credentials.unwrap();
    assert_eq!(credentials, Credentials::Token("s3cret".to_owned()));
    assert!(!format!("{credentials:?}").contains("s3cret"));
}

#[test]
fn tells_credentials_that_do_not_fit_together() {
    assert_eq!(
        errors("[bus]\nuser = \"a\"\n"),
        ["tidegate.toml:4: bus.user \"a\" is set without bus.password; expected both"]
    );
    assert_eq!(
        errors("[bus]\npassword = \"s3cret\"\n"),
        ["tidegate.toml:4: bus.password is set without bus.user; expected both"]
    );
    assert_eq!(
        errors("[bus]\nuser = \"a\"\npassword = \"b\"\ntoken = \"s3cret\"\n"),
        ["tidegate.toml:6: bus.token is set beside a user or a password; expected one or the other"]
    );
}

#[test]
fn shows_no_secret_in_an_error() {
    assert_eq!(
        errors("[bus]\ntoken = 12345\n"),
        ["tidegate.toml:4: bus.token is not a text; expected a text that is not empty"]
    );
}

#[test]
fn tells_an_admin_listener_off_loopback() {
    assert_eq!(
        errors("[admin]\naddress = \"[::]:9180\"\n"),
        [
            "tidegate.toml:4: admin.address \"[::]:9180\" can be reached from other machines; expected a loopback address, \
         or admin.allow_remote = true"
        ]
    );
    let text = format!("{LISTENER}[admin]\naddress = \"[::]:9180\"\nallow_remote = true\n");
    assert!(parse(&text, &[]).is_ok());
}

#[test]
fn tells_an_address_that_is_taken() {
    assert_eq!(
        errors("[bus]\naddress = \"127.0.0.1:8080\"\n"),
        ["tidegate.toml:4: bus.address 127.0.0.1:8080 is taken by another listener; expected an address of its own"]
    );
    assert!(parse("[[listener]]\naddress = \"[::1]:0\"\n[[listener]]\naddress = \"[::1]:0\"\n", &[]).is_ok());
}

#[test]
fn tells_a_path_that_is_no_template() {
    assert_eq!(
        errors("[[route]]\npath = \"rooms\"\nsse = { channel = \"a\" }\n"),
        [
            "tidegate.toml:4: route.path is \"rooms\"; expected a path such as \"/rooms/{room}\" whose parameters are whole \
         segments with distinct names"
        ]
    );
}

#[test]
fn tells_a_channel_that_is_no_subject_or_reserved() {
    for channel in ["a b", "a.*", "tg.user.{x}", "{x}.y"] {
        assert_eq!(
            errors(&format!("[[route]]\npath = \"/{{x}}\"\nsse = {{ channel = \"{channel}\" }}\n")),
            [format!(
                "tidegate.toml:5: route.sse.channel is \"{channel}\"; expected a subject such as \"room.{{room}}\": no \
             wildcards, nothing below \"tg\" or \"_INBOX\", parameters as whole tokens and not the first of several"
            )]
        );
    }
}

#[test]
fn tells_a_parameter_that_the_path_does_not_have() {
    assert_eq!(
        errors("[[route]]\npath = \"/rooms/{room}\"\nsse = { channel = \"room.{rom}\" }\n"),
        [
            "tidegate.toml:5: route.sse.channel \"room.{rom}\" uses {rom}, which \"/rooms/{room}\" does not have; did you \
         mean {room}?"
        ]
    );
    assert_eq!(
        errors("[[route]]\npath = \"/\"\nwebsocket = { channel = \"room.{room}\" }\n"),
        [
            "tidegate.toml:5: route.websocket.channel \"room.{room}\" uses {room}; expected parameters of the path \"/\" only"
        ]
    );
}

#[test]
fn tells_a_route_without_or_with_two_targets() {
    assert_eq!(
        errors("[[route]]\npath = \"/\"\n"),
        ["tidegate.toml:3: [[route]] has no target; expected sse, websocket or accept"]
    );
    assert_eq!(
        errors("[[route]]\npath = \"/\"\nsse = { channel = \"a\" }\nwebsocket = { channel = \"a\" }\n"),
        ["tidegate.toml:3: [[route]] has more than one of sse, websocket and accept; expected one of them"]
    );
}

#[test]
fn tells_a_websocket_that_leads_nowhere() {
    assert_eq!(
        errors("[[route]]\npath = \"/\"\nwebsocket = {}\n"),
        ["tidegate.toml:5: websocket leads nowhere; expected at least one of channel, service and user"]
    );
    assert_eq!(
        errors("[[route]]\npath = \"/\"\nwebsocket = { service = \"a\", publish = true }\n"),
        ["tidegate.toml:5: route.websocket.publish is true without a channel; expected channel"]
    );
}

#[test]
fn tells_a_user_that_is_named_nowhere_or_twice() {
    assert_eq!(
        errors("[[route]]\npath = \"/\"\nwebsocket = { user = {} }\n"),
        ["tidegate.toml:5: user is named nowhere; expected header or query"]
    );
    assert_eq!(
        errors("[[route]]\npath = \"/\"\nwebsocket = { user = { header = \"a\", query = \"b\" } }\n"),
        ["tidegate.toml:5: user has both header and query; expected one of them"]
    );
}

#[test]
fn tells_a_method_that_does_not_fit() {
    assert_eq!(
        errors("[[route]]\npath = \"/\"\nmethod = \"get\"\nsse = { channel = \"a\" }\n"),
        ["tidegate.toml:5: route.method is \"get\"; expected a method in upper case such as \"GET\""]
    );
    assert_eq!(
        errors("[[route]]\npath = \"/\"\nmethod = \"POST\"\nwebsocket = { channel = \"a\" }\n"),
        ["tidegate.toml:5: route.method \"POST\" does not open a WebSocket; expected \"GET\""]
    );
}

#[test]
fn reads_a_route_that_accepts() {
    let text = "[[route]]\npath = \"/a/{b}\"\naccept = { service = \"s\", channel = \"c.{user}.{b}.{id}\", timeout_s = 5, \
                user = { query = \"u\" } }\n";
    let config = parse(&format!("{LISTENER}{text}"), &[]).unwrap();
    assert_eq!(config.routes[0].methods, ["POST"]);
    let accept = AcceptTarget {
        service: "s".to_owned(),
        channel: "c.{user}.{b}.{id}".to_owned(),
        event: "tg.result".to_owned(),
        timeout: Duration::from_secs(5),
        keep: Duration::from_secs(300),
        user: Some(UserSource::Query("u".to_owned())),
    };
    assert_eq!(config.routes[0].target, Target::Accept(accept));
}

#[test]
fn tells_a_route_that_cannot_accept() {
    for (keys, error) in [
        (
            "accept = {}",
            "5: accept has no service; expected one token of a subject: without dots, wildcards and white space",
        ),
        (
            "accept = { service = \"s\", channel = \"c.{user}\" }",
            "5: route.accept.channel \"c.{user}\" uses {user}; expected parameters of the path \"/a\" only",
        ),
        (
            "method = \"GET\"\naccept = { service = \"s\" }",
            "5: route.method \"GET\" has GET, HEAD or OPTIONS beside accept; expected methods such as \"POST\"",
        ),
        (
            "accept = { service = \"s\", event = \"\" }",
            "5: route.accept.event is \"\"; expected the name of an event: one line \
          that is not empty",
        ),
        (
            "accept = { service = \"s\", timeout_s = 0 }",
            "5: route.accept.timeout_s is 0; expected a whole number of seconds from 1 \
          to 86400",
        ),
    ] {
        assert_eq!(errors(&format!("[[route]]\npath = \"/a\"\n{keys}\n")), [format!("tidegate.toml:{error}")]);
    }
    for (path, error) in [
        ("/a/", "\"/a/\" ends with a slash, and results are read below it; expected it without"),
        ("/{id}", "\"/{id}\" has the parameter {id}, which accept gives a meaning; expected another name"),
    ] {
        let text = format!("[[route]]\npath = \"{path}\"\naccept = {{ service = \"s\" }}\n");
        assert_eq!(errors(&text), [format!("tidegate.toml:4: route.path {error}")]);
    }
}

#[test]
fn tells_an_origin_with_a_path() {
    assert_eq!(
        errors("[[route]]\npath = \"/\"\norigins = [\"*\", \"https://a.b/\"]\nsse = { channel = \"a\" }\n"),
        [
            "tidegate.toml:5: route.origins is \"https://a.b/\"; expected an origin such as \"https://example.com\", or \"*\" \
         for any"
        ]
    );
}

#[test]
fn tells_a_route_that_an_earlier_one_hides() {
    let route = "[[route]]\npath = \"/\"\nsse = { channel = \"a\" }\n";
    assert_eq!(
        errors(&route.repeat(2)),
        ["tidegate.toml:7: route.path \"/\" is the path of an earlier route with the same method; expected another"]
    );
}

#[test]
fn tells_a_channel_that_is_no_pattern_or_stands_twice() {
    let expected = "expected a pattern such as \"room.*\" or \"driver.>\": nothing below \"tg\" or \"_INBOX\", `*` for one token, \
                    `>` for all that follow";
    for name in ["tg.>", "a..b", ">.a"] {
        assert_eq!(
            errors(&format!("[[channel]]\nname = {name:?}\n")),
            [format!("tidegate.toml:4: channel.name is {name:?}; {expected}")]
        );
    }
    assert_eq!(
        errors("[[channel]]\nname = \"a\"\n[[channel]]\nname = \"a\"\n"),
        ["tidegate.toml:6: channel.name \"a\" is the name of an earlier [[channel]]; expected another"]
    );
    assert_eq!(errors("[[channel]]\n"), [format!("tidegate.toml:3: [[channel]] has no name; {expected}")]);
}

#[test]
fn tells_an_age_that_is_no_time() {
    for age in ["5", "5 minutes", "0s", "400d"] {
        assert_eq!(
            errors(&format!("[[channel]]\nname = \"a\"\nhistory = {{ age = {age:?} }}\n")),
            [format!(
                "tidegate.toml:5: channel.history.age is {age:?}; expected a time such as \"30s\", \"5m\", \"12h\" or \"7d\"; a \
                 year at most"
            )]
        );
    }
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
    assert!(!config.pin);
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
        ["TIDEGATE_ROUTE_0_PATH: [[route]] has no target; expected sse, websocket or accept"]
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

#[path = "fuzz/checks/config.rs"]
mod check;

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, cases: 2_000, ..Default::default() })]

    #[test]
    fn keeps_its_promises_for_texts_of_any_parts(parts in proptest::collection::vec(proptest::sample::select(PARTS), 0..40)) {
        check::check(parts.concat().as_bytes(), &[]);
    }
}
