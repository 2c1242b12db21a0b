//! Routes and what they lead to.

use std::time::Duration;

use tidegate::gateway::config::{AcceptTarget, RespondTarget, Scheme, Target, TokenKey, UserSource};

use crate::config::{LISTENER, errors, errors_of_variables, parse};

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
fn reads_a_fixed_answer() {
    let route = |keys: &str| format!("{LISTENER}\n[[route]]\npath = \"/*\"\nrespond = {{ {keys} }}\n");
    let target = |keys: &str| parse(&route(keys), &[]).unwrap().routes[0].target.clone();
    let answer = |status, body: &str, headers: &[&str]| {
        let headers = headers.iter().map(|text| (*text).to_owned()).collect();
        Target::Respond(RespondTarget { status, body: body.to_owned(), headers })
    };
    let plain = "Content-Type: text/plain; charset=utf-8";
    assert_eq!(target(""), answer(200, "", &[]));
    assert_eq!(target("body = \"ok\\n\""), answer(200, "ok\n", &[plain]));
    let html = "content-type: text/html";
    assert_eq!(target(&format!("status = 410, body = \"<p>\", headers = \"{html}\"")), answer(410, "<p>", &[html]));
    let location = "Location: https://{host}{uri}";
    assert_eq!(target(&format!("status = 308, headers = [\"{location}\"]")), answer(308, "", &[location]));
}

#[test]
fn tells_a_fixed_answer_that_is_none() {
    for (keys, error) in [
        ("status = 101", "route.respond.status is 101; expected a whole number from 200 to 599"),
        ("status = 302", "route.respond.status is a redirect; expected a Location among its headers"),
        (
            "status = 204, body = \"x\"",
            "route.respond.body \"x\" is set beside the status 204, whose answer has none; expected no body",
        ),
        (
            "headers = [\"X-A: b\", \"Content-Length: 5\"]",
            "route.respond.headers is \"Content-Length: 5\"; expected a header field such as \"Location: https://{host}{uri}\", none about \
             the connection or the body's length",
        ),
    ] {
        let errors = errors(&format!("[[route]]\npath = \"/*\"\nrespond = {{ {keys} }}\n"));
        assert_eq!(errors, [format!("tidegate.toml:5: {error}")]);
    }
}

#[test]
fn reads_the_hosts_and_the_scheme_of_a_route() {
    let keys = "host = [\"shop.example\", \"*.shop.example\"]\nscheme = \"https\"";
    let text = format!("{LISTENER}\n[[route]]\npath = \"/*\"\n{keys}\nsse = {{ channel = \"a\" }}\n");
    let config = parse(&text, &[]).unwrap();
    assert_eq!(config.routes[0].hosts, ["shop.example", "*.shop.example"]);
    assert_eq!(config.routes[0].scheme, Some(Scheme::Https));
}

#[test]
fn tells_a_host_or_a_scheme_that_no_request_has() {
    let expected = "expected a host name or an address without a port such as \"shop.example\", or \"*.shop.example\"";
    for host in ["", "*", "*.", "*.*.a", "a.*", "shop.example:80", "https://shop.example", "*.10.0.0.7"] {
        let route = format!("[[route]]\npath = \"/\"\nhost = {host:?}\nsse = {{ channel = \"a\" }}\n");
        assert_eq!(errors(&route), [format!("tidegate.toml:5: route.host is {host:?}; {expected}")]);
    }
    assert_eq!(
        errors("[[route]]\npath = \"/\"\nscheme = \"ws\"\nsse = { channel = \"a\" }\n"),
        ["tidegate.toml:5: route.scheme is \"ws\"; expected one of \"http\", \"https\""]
    );
}

#[test]
fn tells_a_route_that_one_for_all_its_hosts_hides() {
    let route = |keys: &str| format!("[[route]]\npath = \"/\"\n{keys}sse = {{ channel = \"a\" }}\n");
    let (shop, secure) = ("host = \"Shop.example\"\n", "scheme = \"https\"\n");
    for (first, second) in [(shop, ""), (secure, ""), (shop, "host = \"*.example\"\n"), (secure, "scheme = \"http\"\n")]
    {
        assert!(parse(&format!("{LISTENER}\n{}{}", route(first), route(second)), &[]).is_ok(), "{first} {second}");
    }
    let wide = "host = [\"b\", \"*.EXAMPLE\"]\n";
    for (first, second) in [("", shop), ("", secure), (wide, shop), (shop, shop)] {
        let errors = errors(&(route(first) + &route(second))).join(" ");
        assert!(errors.contains("is never reached") || errors.contains("is the path of an earlier route"), "{errors}");
    }
}

#[test]
fn refuses_keys_of_the_other_protocol() {
    let errors =
        |websocket: &str| errors(&format!("[[route]]\npath = \"/a\"\nwebsocket = {{ {websocket} }}\n")).join("\n");
    for (websocket, words) in [
        ("protocol = \"centrifuge\"", "expected one of \"raw\", \"centrifuge-json\""),
        ("protocol = \"centrifuge-json\"", "websocket has no target; expected at least one of channels"),
        ("protocol = \"centrifuge-json\", channel = \"a\", service = \"s\"", "needs protocol = \"raw\""),
        ("service = \"s\", channels = \"a\"", "needs protocol = \"centrifuge-json\""),
        ("protocol = \"centrifuge-json\", channels = \"tg.>\"", "expected a pattern such as"),
        ("protocol = \"centrifuge-json\", server_side = \"a.{b}\"", "uses {b}; expected parameters of the path"),
        ("protocol = \"centrifuge-json\", token = { }", "token needs one key"),
        (
            "protocol = \"centrifuge-json\", token = { hmac_secret = \"a\", rsa_public_key = \"b\" }",
            "token needs one key",
        ),
        (
            "protocol = \"centrifuge-json\", token = { hmac_secret = \"a\" }, user = { query = \"u\", unverified = true }",
            "is set beside a token",
        ),
    ] {
        assert!(errors(websocket).contains(words), "{websocket}: {}", errors(websocket));
    }
}

#[test]
fn tells_a_path_that_is_no_template() {
    for path in ["rooms", "/a/*/b", "/*/"] {
        let error = format!(
            "tidegate.toml:4: route.path is {path:?}; expected a path such as \"/rooms/{{room}}\" whose parameters are whole \
             segments with distinct names, or \"/api/*\""
        );
        assert_eq!(errors(&format!("[[route]]\npath = {path:?}\nsse = {{ channel = \"a\" }}\n")), [error]);
    }
}

#[test]
fn tells_a_path_that_no_browser_asks_for_with_the_one_that_it_does() {
    for (path, words) in [
        ("/a%20b", "has an escape, and is compared with paths whose escapes are resolved; expected \"/a b\""),
        ("/a/../b", "has a dot segment, which browsers resolve; expected \"/b\""),
        ("/a?b", "has a query or a fragment, which is no part of a path; expected \"/a\""),
        ("//a", "has an empty segment, which is no name and may lead to another host; expected \"/a\""),
        ("/a%2Fb", "has an escape, and is compared with paths whose escapes are resolved; expected a path without it"),
    ] {
        let text = format!("[[route]]\nmethod = \"GET\"\npath = \"{path}\"\nsse = {{ channel = \"a\" }}\n");
        assert_eq!(errors(&text), [format!("tidegate.toml:5: route.path {path:?} {words}")]);
        let variables =
            errors_of_variables("[[route]]\nsse = { channel = \"a\" }\n", &[("TIDEGATE_ROUTE_0_PATH", path)]);
        assert_eq!(variables, [format!("TIDEGATE_ROUTE_0_PATH {path:?} {words}")]);
    }
    for path in ["/caf\u{e9}", "/a b", "/100%", "/{x}/"] {
        assert_eq!(
            parse(&format!("{LISTENER}[[route]]\npath = \"{path}\"\nsse = {{ channel = \"a\" }}\n"), &[])
                .unwrap()
                .routes[0]
                .path,
            path
        );
    }
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
        ["tidegate.toml:3: [[route]] has no target; expected sse, websocket, accept, respond or proxy"]
    );
    assert_eq!(
        errors("[[route]]\npath = \"/\"\nsse = { channel = \"a\" }\nwebsocket = { channel = \"a\" }\n"),
        [
            "tidegate.toml:3: [[route]] has more than one of sse, websocket, accept, respond and proxy; expected one of them"
        ]
    );
}

#[test]
fn tells_a_websocket_that_leads_nowhere() {
    assert_eq!(
        errors("[[route]]\npath = \"/\"\nwebsocket = {}\n"),
        ["tidegate.toml:5: websocket has no target; expected at least one of channel, service and user"]
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
        ["tidegate.toml:5: user has neither header nor query; expected one of them"]
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
                user = { query = \"u\", unverified = true } }\n";
    let config = parse(&format!("{LISTENER}{text}"), &[]).unwrap();
    assert_eq!(config.routes[0].methods, ["POST"]);
    let accept = AcceptTarget {
        service: "s".to_owned(),
        channel: "c.{user}.{b}.{id}".to_owned(),
        event: "tg.result".to_owned(),
        timeout: Duration::from_secs(5),
        keep: Duration::from_secs(300),
        user: Some(UserSource::Query("u".to_owned())),
        headers: Vec::new(),
    };
    assert_eq!(config.routes[0].target, Target::Accept(accept));
}

#[test]
fn tells_a_route_that_cannot_accept() {
    assert_eq!(
        errors("[[route]]\npath = \"/a/*\"\naccept = { service = \"s\" }\n"),
        [
            "tidegate.toml:4: route.path \"/a/*\" takes all paths below it, but results are read there; expected no \"*\" at \
             the end"
        ]
    );
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
          that is not empty, \"tg.result\" or a name that does not begin with \"tg.\"",
        ),
        (
            "accept = { service = \"s\", event = \"tg.gap\" }",
            "5: route.accept.event is \"tg.gap\"; expected the name of an event: one line \
          that is not empty, \"tg.result\" or a name that does not begin with \"tg.\"",
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
        ("/a/", "\"/a/\" ends with a slash, but results are read below it; expected no slash at the end"),
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
        ["tidegate.toml:5: route.origins is \"https://a.b/\"; expected an origin such as \"https://example.com\" or \
         \"https://*.example.com\", or \"*\" for any"]
    );
}

#[test]
fn tells_a_route_that_an_earlier_one_hides() {
    let route = "[[route]]\npath = \"/\"\nsse = { channel = \"a\" }\n";
    assert_eq!(
        errors(&route.repeat(2)),
        ["tidegate.toml:7: route.path \"/\" is the path of an earlier route with the same method; expected another"]
    );
    assert_eq!(
        errors(&format!("[[route]]\npath = \"/*\"\nsse = {{ channel = \"a\" }}\n{route}")),
        [
            "tidegate.toml:7: route.path \"/\" is never reached: \"/*\" comes earlier and takes its requests; expected this one \
             first"
        ]
    );
}

#[test]
fn a_subprotocol_is_a_token_of_http_and_carries_none_of_a_client() {
    for name in ["a b", "", "bearer.x", "base64url.bearer.authorization.k8s.io.YQ"] {
        let told =
            errors(&format!("[[route]]\npath = \"/a\"\nwebsocket = {{ channel = \"a\", subprotocols = {name:?} }}\n"));
        assert!(told.len() == 1 && told[0].contains("expected the name of a subprotocol"), "{name}: {told:?}");
    }
    let told = errors(
        "[[route]]\npath = \"/a\"\nwebsocket = { protocol = \"centrifuge-json\", channels = \"a\", subprotocols = \"a\" }\n",
    );
    assert!(told.len() == 1 && told[0].contains("subprotocols"), "{told:?}");
    let many = vec!["a"; 17];
    let told =
        errors(&format!("[[route]]\npath = \"/a\"\nwebsocket = {{ channel = \"a\", subprotocols = {many:?} }}\n"));
    assert!(told.len() == 1 && told[0].contains("has 17 names; expected at most 16"), "{told:?}");
}

#[test]
fn workers_get_fields_by_name_but_none_with_a_meaning_to_the_gateway() {
    let route =
        |name: &str| format!("[[route]]\npath = \"/jobs\"\naccept = {{ service = \"jobs\", headers = {name:?} }}\n");
    for name in ["Tg-User", "nats-msg-id", "Content-Type", "traceparent", "X-Request-Id", "Connection", "a b", ""] {
        let told = errors(&route(name));
        assert!(told.len() == 1 && told[0].contains("expected the name of a header field"), "{name}: {told:?}");
    }
    for name in ["User-Agent", "Cookie", "X-Tenant"] {
        let config = parse(&format!("bus = {{}}\n{LISTENER}{}", route(name)), &[]).unwrap();
        let Target::Accept(target) = &config.routes[0].target else { panic!("another target") };
        assert_eq!(target.headers, [name]);
    }
    let told = errors("[[route]]\npath = \"/a\"\nwebsocket = { channel = \"a\", headers = \"User-Agent\" }\n");
    assert!(told.len() == 1 && told[0].contains("has no effect without a service"), "{told:?}");
}
