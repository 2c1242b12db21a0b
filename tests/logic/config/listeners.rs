//! Listeners, the bus and the admin listener.

use std::path::Path;

use tidegate::gateway::config::{AccessLog, ApiSecret, Config, Credentials, LineFormat, LogTarget, Scope};

use crate::config::{LISTENER, errors, parse};

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
    assert_eq!(
        errors("[admin]\naddress = \"[::]:9180\"\nallow_remote = true\n"),
        ["tidegate.toml:5: admin.allow_remote lets every machine that reaches it publish and disconnect; expected \
             admin.token or admin.tokens beside it"]
    );
    let text = format!("{LISTENER}[admin]\naddress = \"[::]:9180\"\nallow_remote = true\n");
    let variables = [("TIDEGATE_ADMIN_TOKEN", "0123456789abcdef")];
    let config = parse(&text, &variables).unwrap();
    assert_eq!(config.admin.unwrap().tokens[0].scopes, Scope::ALL);
    assert_eq!(config.doubts.len(), 1, "{:?}", config.doubts);
    assert!(config.doubts[0].contains("without TLS: tokens go over the network as they are"));
}

#[test]
fn reads_the_tokens_of_the_admin_listener() {
    let text = format!(
        "{LISTENER}[admin]\ntoken_file = \"all\"\ntokens = [{{ token = \"s3cret-s3cret-s3\", scopes = \"read\" }}, \
         {{ token_file = \"orders\", scopes = [\"publish\", \"send\"] }}]\n"
    );
    let config = parse(&text, &[]).unwrap();
    let tokens = config.admin.unwrap().tokens;
    let scopes: Vec<&[Scope]> = tokens.iter().map(|token| &token.scopes[..]).collect();
    assert_eq!(scopes, [&Scope::ALL[..], &[Scope::Read], &[Scope::Publish, Scope::Send]]);
    assert_eq!(tokens[2].secret, ApiSecret::File("orders".into()));
    assert!(!format!("{tokens:?}").contains("s3cret"));
}

#[test]
fn tells_tokens_of_the_admin_listener_that_are_none() {
    for (text, words) in [
        (
            "token = \"a\"\ntoken_file = \"b\"\n",
            "admin.token_file \"b\" is set beside token; expected one or the other",
        ),
        ("tokens = []\n", "admin.tokens is an empty list; expected a table, or a list of tables"),
        ("tokens = { scopes = \"read\" }\n", "a token has no text; expected token or token_file"),
        ("tokens = { token = \"a\", scopes = [] }\n", "is an empty list; expected a scope, or a list of scopes"),
        ("tokens = { token = \"a\", scopes = \"all\" }\n", "expected \"publish\", \"read\", \"send\""),
        ("tokens = { token = \"a\" }\n", "[[admin.tokens]] has no scopes"),
    ] {
        let errors = errors(&format!("[admin]\n{text}"));
        assert!(errors.len() == 1 && errors[0].contains(words), "{text}: {errors:?}");
    }
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
fn tells_an_address_of_many() {
    for address in ["224.0.0.1:80", "255.255.255.255:80", "[ff02::1]:80", "[::ffff:239.1.2.3]:80"] {
        assert_eq!(
            parse(&format!("[[listener]]\naddress = \"{address}\"\n"), &[]).unwrap_err(),
            [format!(
                "tidegate.toml:2: listener.address \"{address}\" is not an address that clients can connect to; expected one \
                 of this machine"
            )]
        );
    }
}

#[test]
fn takes_the_two_spellings_of_an_ipv4_address_for_one() {
    let config = parse("[[listener]]\naddress = \"[::ffff:127.0.0.1]:8081\"\n", &[]).unwrap();
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:8081");
    assert_eq!(
        errors("[bus]\naddress = \"[::ffff:127.0.0.1]:8080\"\n"),
        ["tidegate.toml:4: bus.address 127.0.0.1:8080 is taken by another listener; expected an address of its own"]
    );
    assert_eq!(
        errors("[[listener]]\naddress = \"[::ffff:0.0.0.0]:8080\"\n"),
        [
            "tidegate.toml:4: listener.address 0.0.0.0:8080 is taken by another listener, on 127.0.0.1:8080; expected another \
          port, or one address"
        ]
    );
    // Loopback is loopback: neither needs credentials or allow_remote.
    let private = "[bus]\naddress = \"[::ffff:127.0.0.1]:1\"\n[admin]\naddress = \"[::ffff:127.0.0.1]:2\"\n";
    assert!(parse(&format!("{LISTENER}{private}"), &[]).is_ok());
    assert!(parse(&format!("{LISTENER}[admin]\naddress = \"[::ffff:10.0.0.1]:2\"\n"), &[]).is_err());
}

#[test]
fn tells_what_is_no_network() {
    for network in ["10.0.0.1/8", "10.0.0.0/33", "lb.internal", "*", ""] {
        assert_eq!(
            errors(&format!("[trust]\nnetworks = [\"::1\", {network:?}]\n")),
            [format!(
                "tidegate.toml:4: trust.networks is {network:?}; expected an IP address, or a network such as \"10.0.0.0/8\" or \
                 \"2001:db8::/32\" without bits behind its prefix"
            )]
        );
    }
    let trust = parse(&format!("{LISTENER}[trust]\nnetworks = [\"10.0.0.0/8\", \"::1\"]\n"), &[]).unwrap().trust;
    assert_eq!(
        (trust.networks.as_slice(), trust.header),
        (&["10.0.0.0/8".into(), "::1".into()][..], Default::default())
    );
}

#[test]
fn tells_a_listener_that_nothing_introduces() {
    let listener = |key: &str| format!("[[listener]]\naddress = \"127.0.0.1:1\"\nproxy_protocol = {key}\n");
    for (key, words) in [
        ("{ }", "proxy_protocol has no from; expected an IP address, or a network"),
        ("{ from = [] }", "listener.proxy_protocol.from is an empty list; expected a network, or a list of networks"),
        ("{ from = \"lb\" }", "listener.proxy_protocol.from is \"lb\"; expected an IP address, or a network"),
        ("true", "listener.proxy_protocol is true; expected a table"),
    ] {
        let told = parse(&listener(key), &[]).unwrap_err();
        assert!(told.len() == 1 && told[0].starts_with(&format!("tidegate.toml:3: {words}")), "{told:?}");
    }
    let config = parse(&listener("{ from = [\"10.0.0.0/8\", \"::1\"] }"), &[]).unwrap();
    assert_eq!(config.listeners[0].proxy_protocol_from, ["10.0.0.0/8", "::1"]);
}

#[test]
fn clients_of_a_tls_listener_may_have_to_show_certificates() {
    let listener =
        |tls: &str, clients: &str| format!("[[listener]]\naddress = \"127.0.0.1:1\"\n{tls}clients = {clients}\n");
    let tls = "tls = { certificate = \"a.pem\", key = \"a.key\" }\n";
    let config =
        Config::parse(Path::new("/etc/tidegate.toml"), &listener(tls, "{ ca = \"c.pem\", crl = \"/l.pem\" }"), [])
            .unwrap();
    let clients = config.listeners[0].clients.as_ref().unwrap();
    assert_eq!((&*clients.ca, clients.crl.as_deref()), (Path::new("/etc/c.pem"), Some(Path::new("/l.pem"))));
    assert!(clients.is_required);
    let config = parse(&listener(tls, "{ ca = \"c.pem\", required = false }"), &[]).unwrap();
    assert!(!config.listeners[0].clients.as_ref().unwrap().is_required);
    for (tls, clients, words) in [
        ("", "{ ca = \"c.pem\" }", "listener.clients has no effect without tls"),
        (tls, "{ }", "clients has no ca"),
        (tls, "true", "listener.clients is true; expected a table"),
    ] {
        let told = parse(&listener(tls, clients), &[]).unwrap_err();
        assert!(told.len() == 1 && told[0].contains(words), "{told:?}");
    }
}

#[test]
fn tells_a_host_that_no_request_names() {
    for host in ["*", "*.internal", "tidegate:9180", "http://tidegate", ""] {
        assert_eq!(
            errors(&format!("[admin]\nhosts = [\"tidegate\", {host:?}]\n")),
            [format!(
                "tidegate.toml:4: admin.hosts is {host:?}; expected the name of a host such as \"tidegate.internal\", without \
                 port and wildcards"
            )]
        );
    }
    assert_eq!(
        parse("[[listener]]\naddress = \"127.0.0.1:1\"\nhosts = \"*.example\"\n", &[]).unwrap_err(),
        [
            "tidegate.toml:3: listener.hosts is \"*.example\"; expected the name of a host such as \"tidegate.internal\", \
          without port and wildcards"
        ]
    );
    let text = format!("{LISTENER}hosts = [\"gate.example\", \"b\"]\n");
    assert_eq!(parse(&text, &[]).unwrap().listeners[0].hosts, ["gate.example", "b"]);
    let text = format!("{LISTENER}[admin]\nhosts = \"Tidegate.internal\"\n");
    assert_eq!(parse(&text, &[]).unwrap().admin.unwrap().hosts, ["Tidegate.internal"]);
}

#[test]
fn an_access_log_has_a_file_or_stdout_and_two_choices() {
    let log = |text: &str| parse(&format!("{LISTENER}[access_log]\n{text}"), &[]).unwrap().access_log.unwrap();
    let json = AccessLog { target: LogTarget::Stdout, format: LineFormat::Json, tells_opens: false, tells_tcp: false };
    assert_eq!(log("file = \"stdout\"\n"), json);
    let both = log("file = \"/var/log/a\"\nformat = \"combined\"\nstreams = \"both\"\n");
    let target = LogTarget::File("/var/log/a".into());
    assert_eq!(both, AccessLog { target, format: LineFormat::Combined, tells_opens: true, tells_tcp: false });
    assert!(log("file = \"stdout\"\ntcp = true\n").tells_tcp);
    let told = errors("[access_log]\nfile = \"a\"\nformat = \"combined\"\ntcp = true\n");
    assert!(told.len() == 1 && told[0].contains("access_log.tcp"), "{told:?}");
    assert_eq!(parse(LISTENER, &[]).unwrap().access_log, None);
    let told = errors("[access_log]\n");
    assert!(told.len() == 1 && told[0].contains("access_log has no file"), "{told:?}");
    let told = errors("[access_log]\nfile = \"a\"\nformat = \"clf\"\n");
    assert!(told.len() == 1 && told[0].contains("expected one of \"json\", \"combined\""), "{told:?}");
}

#[test]
fn reads_an_admin_listener_at_a_path() {
    let at_path = |text: &str| {
        let config = Config::parse(Path::new("/etc/tidegate.toml"), &format!("{LISTENER}[admin]\n{text}"), []);
        let admin = config.unwrap().admin.unwrap();
        (admin.address.map(|address| address.to_string()), admin.socket)
    };
    assert_eq!(at_path("socket = \"/run/a.sock\"\n"), (None, Some("/run/a.sock".into())));
    assert_eq!(at_path("socket = \"a.sock\"\n"), (None, Some("/etc/a.sock".into())));
    let both = at_path("socket = \"/run/a.sock\"\naddress = \"127.0.0.1:9181\"\n");
    assert_eq!(both, (Some("127.0.0.1:9181".to_owned()), Some("/run/a.sock".into())));
    // The default address is not taken then.
    let text = "[[listener]]\naddress = \"127.0.0.1:9180\"\n[admin]\nsocket = \"/run/a.sock\"\n";
    assert!(parse(text, &[]).is_ok());
    let long = format!("[admin]\nsocket = \"/{}\"\n", "x".repeat(107));
    assert!(errors(&long)[0].contains("expected the path of a socket, at most 107 bytes"));
}
