//! Upstreams, and routes that give requests to them.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate::gateway::config::{
    Balance, Config, HashedPart, HealthRule, ProxyHost, ProxyTarget, Remote, ServerAddress, ServerName, Target,
    UpstreamRule, UpstreamServer, UpstreamTls,
};

use crate::config::{LISTENER, errors, parse};

const APP: &str = "[[upstream]]\nname = \"app\"\nservers = \"127.0.0.1:3000\"\n";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn read(text: &str) -> Config {
    parse(&format!("{LISTENER}{text}"), &[]).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// The target of a route with this proxy.
fn proxy(upstreams: &str, proxy: &str) -> (ProxyTarget, Config) {
    let config = read(&format!("{upstreams}[[route]]\npath = \"/api/{{room}}/*\"\nproxy = {proxy}\n"));
    let Target::Proxy(target) = config.routes[0].target.clone() else { panic!("{config:?}") };
    (*target, config)
}

#[test]
fn reads_an_upstream() {
    let config = read(
        "[[upstream]]\nname = \"app\"\nservers = [\"10.0.0.8:3000\", \"[::1]:80\", \"unix:/run/app.sock\"]\nbalance = \"hash\"\n\
         hash = { cookie = \"sid\" }\nsticky = { cookie = \"tg_app\" }\nconnect_timeout_ms = 1500\nkeep_alive_s = 9\nidle_max = 5\n\
         in_flight_max = 500\nqueue_max = 7\nqueue_wait_ms = 250\nfails_max = 2\neject_s = 20\nslow_start_s = 0\n\
         source = [\"10.0.0.2\", \"fd00::2\"]\n",
    );
    let rule = UpstreamRule {
        balance: Balance::Hash(HashedPart::Cookie("sid".into())),
        sticky: Some("tg_app".into()),
        connect_timeout: Duration::from_millis(1_500),
        keep_alive: Duration::from_secs(9),
        idle_max: 5,
        in_flight_max: Some(500),
        queue_max: 7,
        queue_wait: Duration::from_millis(250),
        fails_max: 2,
        eject: Duration::from_secs(20),
        slow_start: Duration::ZERO,
        sources: vec!["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
        ..UpstreamRule::new("app")
    };
    let socket = Remote::Unix(std::path::Path::new("/run/app.sock").into());
    let rule = rule
        .with("10.0.0.8:3000", address("10.0.0.8:3000"))
        .with("[::1]:80", address("[::1]:80"))
        .with("unix:/run/app.sock", socket);
    assert_eq!(config.upstreams, [rule]);
    assert!(config.doubts.is_empty(), "{:?}", config.doubts);
    let defaults = UpstreamRule::new("app").with("127.0.0.1:3000", address("127.0.0.1:3000"));
    assert_eq!(read(APP).upstreams, [defaults]);
}

#[test]
fn reads_each_part_that_chooses_a_server() {
    for (hash, part) in [
        ("cookie = \"a\"", HashedPart::Cookie("a".into())),
        ("header = \"X-A\"", HashedPart::Header("X-A".into())),
        ("query = \"a\"", HashedPart::Query("a".into())),
        ("parameter = \"a\"", HashedPart::Parameter("a".into())),
        ("by = \"address\"", HashedPart::Address),
    ] {
        let config = read(&format!("{APP}balance = \"hash\"\nhash = {{ {hash} }}\n"));
        assert_eq!(config.upstreams[0].balance, Balance::Hash(part));
    }
}

#[test]
fn reads_a_proxied_route() {
    let (target, config) = proxy(APP, "\"app\"");
    let defaults = ProxyTarget {
        upstream: "app".to_owned(),
        strip: None,
        host: ProxyHost::Client,
        body_bytes_max: None,
        response_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(60),
        stream_idle: Duration::from_secs(3_600),
        retries: 1,
        has_websockets: true,
        has_encoded_slashes: false,
        takes_any_name: false,
        calls_events_back: true,
    };
    assert_eq!((&target, &config.routes[0].methods[..]), (&defaults, &["*".to_owned()][..]));
    assert_eq!(proxy(APP, "{ upstream = \"app\" }").0, defaults);
    let (target, _) = proxy(
        APP,
        "{ upstream = \"app\", strip = \"/api\", host = \"app.internal:80\", body_bytes_max = 5, response_timeout_s = 6, \
         idle_timeout_s = 7, stream_idle_s = 8, retries = 0, websocket = false, encoded_slashes = true, header_names = \"lenient\", \
         event_stream_errors = \"status\" }",
    );
    let all = ProxyTarget {
        upstream: "app".to_owned(),
        strip: Some("/api".to_owned()),
        host: ProxyHost::Named("app.internal:80".to_owned()),
        body_bytes_max: Some(5),
        response_timeout: Duration::from_secs(6),
        idle_timeout: Duration::from_secs(7),
        stream_idle: Duration::from_secs(8),
        retries: 0,
        has_websockets: false,
        has_encoded_slashes: true,
        takes_any_name: true,
        calls_events_back: false,
    };
    assert_eq!(target, all);
    for (text, host) in [("client", ProxyHost::Client), ("upstream", ProxyHost::Upstream)] {
        assert_eq!(proxy(APP, &format!("{{ upstream = \"app\", host = \"{text}\" }}")).0.host, host);
    }
}

fn name(host: &str, port: u16) -> ServerAddress {
    ServerName { host: host.into(), port }.into()
}

#[test]
fn reads_names_and_health() {
    let text = "[[upstream]]\nname = \"app\"\nservers = [\"App.internal:3000\", \"localhost:80\", \"10.0.0.8:3000\"]\nresolve_s = 3\n";
    let health =
        "health = { path = \"/health?deep=1\", interval_s = 7, timeout_s = 3, rise = 1, fall = 5, status = \"204\" }\n";
    let config = read(&format!("{text}{health}"));
    let expected = HealthRule {
        interval: Duration::from_secs(7),
        timeout: Duration::from_secs(3),
        rise: 1,
        fall: 5,
        statuses: 204..=204,
        ..HealthRule::new("/health?deep=1")
    };
    let rule = UpstreamRule { resolve: Duration::from_secs(3), health: Some(expected), ..UpstreamRule::new("app") }
        .with("App.internal:3000", name("app.internal", 3000))
        .with("localhost:80", name("localhost", 80))
        .with("10.0.0.8:3000", address("10.0.0.8:3000"));
    assert_eq!(config.upstreams, [rule]);
    assert!(config.doubts.is_empty(), "{:?}", config.doubts);
    assert_eq!(config.upstreams[0].servers[0].host(), "App.internal:3000");
    let defaults = read(&format!("{APP}health = {{ path = \"/\" }}\n"));
    assert_eq!(defaults.upstreams[0].health, Some(HealthRule::new("/")));
    let hurried = read(&format!("{APP}health = {{ path = \"/\", interval_s = 1 }}\n"));
    let second = Duration::from_secs(1);
    let expected = HealthRule { interval: second, timeout: second, ..HealthRule::new("/") };
    assert_eq!(hurried.upstreams[0].health, Some(expected), "the default follows");
    let doubts = read(&format!("{APP}resolve_s = 3\n")).doubts;
    assert!(doubts[0].to_string().contains("has no effect, because no server is configured by its name"), "{doubts:?}");
}

#[test]
fn reads_tls_to_servers() {
    let of = |tls: &str| read(&format!("{APP}tls = {tls}\n")).upstreams[0].tls.clone();
    assert_eq!(of("{}"), Some(UpstreamTls::default()));
    let all = UpstreamTls {
        name: Some("app.internal".into()),
        ca: Some("ca.pem".into()),
        own: Some(("me.pem".into(), "me.key".into())),
    };
    let text = "{ name = \"app.internal\", ca = \"ca.pem\", certificate = \"me.pem\", key = \"me.key\" }";
    assert_eq!(of(text), Some(all));
    let (target, config) = proxy("", "\"https://app.internal\"");
    let rule = UpstreamRule { tls: Some(UpstreamTls::default()), ..UpstreamRule::new("https://app.internal") };
    assert_eq!(
        (&*target.upstream, &config.upstreams[0]),
        ("https://app.internal", &rule.with("app.internal:443", name("app.internal", 443)))
    );
    for (keys, error) in [
        ("tls = { key = \"a\" }", "upstream.tls.key \"a\" is set without upstream.tls.certificate; expected both"),
        (
            "tls = { certificate = \"a\" }",
            "upstream.tls.certificate \"a\" is set without upstream.tls.key; expected both",
        ),
        ("tls = { name = \"a b\" }", "expected a host name or an address such as \"app.internal\""),
    ] {
        let found = errors(&format!("{APP}{keys}\n"));
        assert!(found.len() == 1 && found[0].contains(error), "{found:#?} is not {error}");
    }
    let unnamed = errors("[[upstream]]\nname = \"a\"\nservers = \"unix:/run/a\"\ntls = {}\n");
    assert!(unnamed[0].contains("for which TLS needs the name of its certificate; expected tls.name"), "{unnamed:?}");
}

#[test]
fn tells_a_health_that_cannot_be() {
    for (keys, error) in [
        ("", "health has no path; expected a path such as \"/health\""),
        ("path = \"health\"", "upstream.health.path is \"health\"; expected a path such as \"/health\""),
        ("path = \"/a b\"", "expected a path such as \"/health\""),
        ("path = \"/\", timeout_s = 9", "is more than the 5 s between two probes; expected at most as long"),
        ("path = \"/\", status = \"ok\"", "expected a status such as \"200\", or a range such as \"200-399\""),
        ("path = \"/\", status = \"399-200\"", "expected a status such as \"200\", or a range such as \"200-399\""),
        ("path = \"/\", status = \"100\"", "expected a status such as \"200\", or a range such as \"200-399\""),
        ("path = \"/\", rise = 0", "upstream.health.rise is 0; expected"),
    ] {
        let found = errors(&format!("{APP}health = {{ {keys} }}\n"));
        assert!(found.len() == 1 && found[0].contains(error), "{found:#?} is not {error}");
    }
}

#[test]
fn a_url_is_an_upstream_of_its_own_and_the_same_one_wherever_it_is_named() {
    for (url, server, remote) in [
        ("http://127.0.0.1:3000", "127.0.0.1:3000", address("127.0.0.1:3000").into()),
        ("http://127.0.0.1/", "127.0.0.1:80", address("127.0.0.1:80").into()),
        ("http://[::1]", "[::1]:80", address("[::1]:80").into()),
        ("http://app.internal:3000", "app.internal:3000", name("app.internal", 3000)),
        ("http://localhost/", "localhost:80", name("localhost", 80)),
        ("unix:/run/a", "unix:/run/a", Remote::Unix(std::path::Path::new("/run/a").into()).into()),
    ] {
        for written in [format!("\"{url}\""), format!("{{ upstream = \"{url}\" }}")] {
            let (target, config) = proxy(APP, &written);
            assert_eq!((target.upstream.as_str(), config.upstreams.len()), (url, 2));
            assert_eq!(config.upstreams[1].servers, [UpstreamServer::new(url, server, remote.clone())]);
        }
    }
    let route = |path: &str| format!("[[route]]\npath = \"{path}\"\nproxy = \"http://127.0.0.1:3000\"\n");
    assert_eq!(read(&(route("/a/*") + &route("/b/*"))).upstreams.len(), 1);
}

#[test]
fn tells_an_upstream_that_cannot_be() {
    let expected = "expected an address or a name with its port, such as \"10.0.0.7:3000\" or \"app.internal:3000\", or \"unix:/run/app.sock\"";
    for server in [
        "app.internal",
        "app:0",
        "10.0.0.300:80",
        "a/b:1",
        "127.0.0.1",
        "0.0.0.0:80",
        "10.0.0.7:0",
        "unix:app.sock",
        "",
    ] {
        let text = format!("[[upstream]]\nname = \"app\"\nservers = \"{server}\"\n");
        assert_eq!(errors(&text), [format!("tidegate.toml:5: upstream.servers is {server:?}; {expected}")]);
    }
    for (keys, error) in [
        (
            "name = \"a b\"\nservers = \"10.0.0.7:1\"",
            "upstream.name is \"a b\"; expected a name of letters, digits, \"-\" and \"_\"",
        ),
        ("name = \"a\"\nservers = []", "upstream.servers is an empty list; expected a server, or a list of servers"),
        (
            "name = \"a\"\nservers = [\"10.0.0.7:1\", \"[::ffff:10.0.0.7]:1\"]",
            "upstream.servers has \"[::ffff:10.0.0.7]:1\" twice; expected each server once",
        ),
        (
            "name = \"a\"\nservers = \"[::1]:1\"\nsource = \"10.0.0.2\"",
            "upstream.source \"10.0.0.2\" has no address of the family of \"[::1]:1\"; expected one",
        ),
        (
            "name = \"a\"\nservers = \"[::1]:1\"\nbalance = \"hash\"",
            "upstream.balance \"hash\" needs the key hash; expected hash = { cookie = \"…\" }",
        ),
        ("name = \"a\"\nservers = \"[::1]:1\"\nhash = { by = \"address\" }", "upstream.hash needs balance = \"hash\""),
        (
            "name = \"a\"\nservers = \"[::1]:1\"\nbalance = \"hash\"\nhash = { }",
            "hash has none of cookie, header, query, parameter and by; expected one of them",
        ),
        (
            "name = \"a\"\nservers = \"[::1]:1\"\nbalance = \"hash\"\nhash = { by = \"address\", query = \"a\" }",
            "hash has more than one of cookie, header, query, parameter and by; expected one of them",
        ),
        ("name = \"a\"\nservers = \"[::1]:1\"\nsticky = { }", "sticky has no cookie; expected the name of a cookie"),
        ("servers = \"[::1]:1\"", "[[upstream]] has no name; expected a name of letters, digits, \"-\" and \"_\""),
        (
            "name = \"a\"",
            "[[upstream]] has no servers; expected an address or a name with its port, such as \"10.0.0.7:3000\"",
        ),
    ] {
        let found = errors(&format!("[[upstream]]\n{keys}\n"));
        assert!(found.len() == 1 && found[0].contains(error), "{found:#?} is not {error}");
    }
    assert!(errors(&format!("{APP}{APP}"))[0].contains("is the name of an earlier [[upstream]]; expected another"));
}

#[test]
fn tells_a_proxied_route_that_leads_nowhere() {
    for (route, error) in [
        ("proxy = \"ap\"", "route.proxy \"ap\" names no [[upstream]]; did you mean \"app\"?"),
        (
            "proxy = { upstream = \"other\" }",
            "route.proxy.upstream \"other\" names no [[upstream]]; expected the name of one, or a URL such as \"http://127.0.0.1:3000\"",
        ),
        (
            "proxy = \"http://10.0.0.300\"",
            "names no server; expected a URL such as \"http://127.0.0.1:3000\" or \"http://app.internal:3000\"",
        ),
        ("proxy = \"http://10.0.0.7/api\"", "has more than a host and a port; expected a URL such as"),
        ("proxy = \"10.0.0.7:80\"", "expected the name of an [[upstream]], or a URL such as \"http://127.0.0.1:3000\""),
        ("proxy = \"unix:a\"", "has no absolute path of a socket; expected a URL such as \"unix:/run/app.sock\""),
        ("proxy = { }", "proxy has no upstream; expected the name of an [[upstream]], or a URL such as"),
        ("proxy = 5", "route.proxy is 5; expected a table, or a name of an [[upstream]] or a URL"),
        (
            "proxy = { upstream = \"app\", host = \"a/b\" }",
            "route.proxy.host is \"a/b\"; expected \"client\", \"upstream\", or a host",
        ),
        (
            "proxy = { upstream = \"app\", strip = \"/ap\" }",
            "route.proxy.strip \"/ap\" is no beginning of the path \"/api/{room}\"; expected whole segments of it",
        ),
        (
            "proxy = { upstream = \"app\", strip = \"/api/\" }",
            "is \"/api/\"; expected a beginning of the path such as \"/api\"",
        ),
        (
            "proxy = \"app\"\nmethod = [\"GET\", \"TRACE\"]",
            "has TRACE, which no server gets from here; expected other methods",
        ),
        ("proxy = \"app\"\nrespond = { }", "[[route]] has more than one of sse, websocket, accept, respond and proxy"),
        (
            "proxy = \"rooms\"",
            "route.proxy \"rooms\" chooses its server by {hall}, which the path \"/api/{room}\" does not have",
        ),
    ] {
        let rooms = "[[upstream]]\nname = \"rooms\"\nservers = \"127.0.0.1:1\"\nbalance = \"hash\"\nhash = { parameter = \"hall\" }\n";
        let found = errors(&format!("{APP}{rooms}[[route]]\npath = \"/api/{{room}}\"\n{route}\n"));
        assert!(found.len() == 1 && found[0].contains(error), "{found:#?} is not {error}");
    }
    let none = errors("[[route]]\npath = \"/\"\n");
    assert!(
        none[0].ends_with("[[route]] has no target; expected sse, websocket, accept, respond or proxy"),
        "{none:?}"
    );
}

#[test]
fn warns_of_what_has_no_effect() {
    let route = "[[route]]\npath = \"/*\"\nproxy = \"http://127.0.0.1:8080\"\n";
    for (text, doubt) in [
        (format!("{APP}queue_max = 5\n"), "upstream.queue_max has no effect without in_flight_max"),
        (
            "[[upstream]]\nname = \"a\"\nservers = \"unix:/a\"\nsource = \"10.0.0.2\"\n".to_owned(),
            "upstream.source \"10.0.0.2\" has no effect on unix sockets",
        ),
        (route.to_owned(), "leads to 127.0.0.1:8080, where this gateway listens itself"),
        (APP.replace("3000", "8080"), "leads to 127.0.0.1:8080, where this gateway listens itself"),
    ] {
        let doubts = read(&text).doubts;
        assert!(doubts.len() == 1 && doubts[0].contains(doubt), "{doubts:?} is not {doubt}");
    }
}

#[test]
fn a_route_to_an_upstream_hides_those_behind_it() {
    let behind = "[[route]]\npath = \"/a\"\nrespond = { }\n";
    let route = |keys: &str| format!("{APP}[[route]]\npath = \"/*\"\nproxy = \"app\"\n{keys}");
    let found = errors(&(route("") + behind));
    assert!(found[0].contains("is never reached: \"/*\" comes earlier"), "{found:?}");
    assert!(read(&(route("method = \"POST\"\n") + behind)).doubts.is_empty());
}
