//! `[[auth]]`, `[access]` and `route.auth`: what is read, and which keys and names do not fit together.

use tidegate::conn::certified::CertifiedName;
use tidegate::gateway::config::{AuthKey, ClientAuth, ClientProof, DeciderBy, ForwardTo, Right, Target, TokenRules};

use crate::config::{LISTENER, errors, parse};

const APP: &str = "[[auth]]\nname = \"app\"\njwt = { hmac_secret = \"s\" }\n";
const ROUTE: &str = "[[route]]\npath = \"/events/{e}\"\nsse = { channel = \"events.{e}\" }\n";

fn key(auth: &ClientAuth) -> &AuthKey {
    match &auth.proof {
        ClientProof::Token(rules) => &rules.key,
        _ => panic!("it has no keys"),
    }
}

#[test]
fn reads_an_auth_with_its_defaults_and_one_that_says_everything() {
    let text = format!(
        "{LISTENER}{APP}[[auth]]\nname = \"id\"\ntoken = [\"cookie:session\", \"subprotocol\"]\nuser = \"email\"\n\
         channels = \"rooms\"\nrequire = {{ scope = \"push\" }}\nheaders = {{ \"X-User\" = \"sub\", \"X-Roles\" = \"roles\" }}\n\
         jwt = {{ issuer = \"https://id.example\", audience = \"tidegate\", keys = \"jwks.json\", algorithms = [\"ES256\"], leeway_s = 5 }}\n"
    );
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let auth = |name: &str, rules| ClientAuth { name: name.into(), proof: ClientProof::Token(Box::new(rules)) };
    let first = TokenRules {
        issuer: None,
        audience: None,
        algorithms: Vec::new(),
        leeway_s: 30,
        key: AuthKey::Secret("s".into()),
        carriers: vec!["header".into()],
        user: "sub".into(),
        channels: None,
        publish: None,
        required: Vec::new(),
        headers: Vec::new(),
    };
    let second = TokenRules {
        issuer: Some("https://id.example".into()),
        audience: Some("tidegate".into()),
        algorithms: vec!["ES256".into()],
        leeway_s: 5,
        key: AuthKey::Set("jwks.json".into()),
        carriers: vec!["cookie:session".into(), "subprotocol".into()],
        user: "email".into(),
        channels: Some("rooms".into()),
        publish: None,
        required: vec![pair("scope", "push")],
        headers: vec![pair("X-User", "sub"), pair("X-Roles", "roles")],
    };
    assert_eq!(parse(&text, &[]).unwrap().auths, [auth("app", first), auth("id", second)]);
    let variables =
        [("TIDEGATE_AUTH_0_NAME", "app"), ("TIDEGATE_AUTH_0_JWT_HMAC_SECRET", " s "), ("TIDEGATE_ACCESS_AUTH", "app")];
    let config = parse(&format!("{LISTENER}{ROUTE}"), &variables).unwrap();
    assert_eq!(
        (key(&config.auths[0]), &*config.routes[0].auth),
        (&AuthKey::Secret(" s ".into()), &["app".to_owned()][..])
    );
    assert!(!format!("{config:?}").contains("\" s \""), "a secret is never shown");
}

#[test]
fn a_route_has_its_own_auth_or_that_of_all_or_none() {
    let route = |path: &str, auth: &str| format!("[[route]]\npath = \"{path}\"\n{auth}sse = {{ channel = \"a\" }}\n");
    let (own, open) = ("auth = [\"other\", \"app\"]\n", "auth = \"none\"\n");
    let other = APP.replace("app", "other");
    let routes = [route("/a", ""), route("/b", own), route("/c", open)].concat();
    let text = format!("{LISTENER}[access]\nauth = \"app\"\n{APP}{other}{routes}");
    let config = parse(&text, &[]).unwrap();
    let auths: Vec<&[String]> = config.routes.iter().map(|route| &*route.auth).collect();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(auths, [&names(&["app"])[..], &names(&["other", "app"]), &[]]);
}

#[test]
fn tells_names_that_are_no_auths_and_keys_that_do_not_fit() {
    let keys = "expected keys, hmac_secret, hmac_secret_file, rsa_public_key, ecdsa_public_key or ed25519_public_key";
    let route = |auth: &str| format!("{APP}{}", ROUTE.replace("sse", &format!("{auth}\nsse")));
    for (text, expected) in [
        (route("auth = \"apps\""), "tidegate.toml:8: route.auth \"apps\" has \"apps\", which is no [[auth]]; did you mean \"app\"?".to_owned()),
        (route("auth = [\"app\", \"none\"]"), "tidegate.toml:8: route.auth has \"none\" beside others; expected one or the other".into()),
        (route("auth = []"), "tidegate.toml:8: route.auth is an empty list; expected the name of an [[auth]], or \"none\"".into()),
        (format!("[access]\nauth = \"x\"\n{APP}"), "tidegate.toml:4: access.auth \"x\" has \"x\", which is the name of no [[auth]]; expected the name of one, or \"none\"".into()),
        ("[[auth]]\nname = \"a\"\n".to_owned(), "tidegate.toml:3: [[auth]] proves nothing; expected jwt, forward or certificate".into()),
        ("[[auth]]\nname = \"none\"\njwt = { hmac_secret = \"s\" }\n".to_owned(), "tidegate.toml:4: auth.name is \"none\"; expected a name of letters, digits, \"-\" and \"_\", not \"none\"".into()),
        ("[[auth]]\nname = \"a\"\njwt = { issuer = \"b\" }\n".to_owned(), format!("tidegate.toml:5: jwt needs one key; {keys}")),
        ("[[auth]]\nname = \"a\"\njwt = { hmac_secret = \"b\", keys = \"c\" }\n".to_owned(), format!("tidegate.toml:5: jwt needs one key; {keys}")),
        (format!("{APP}{APP}"), "tidegate.toml:7: auth.name \"app\" is the name of an earlier [[auth]]; expected another".into()),
        (format!("{APP}token = \"cookie\"\n"), "tidegate.toml:6: auth.token is \"cookie\"; expected \"header\", \"cookie:NAME\", \"subprotocol\" or \"query:NAME\"".into()),
        (format!("{APP}require = {{ admin = true }}\n"), "tidegate.toml:6: auth.require has \"admin\" = true; expected a table of claims and their values, such as { scope = \"push\" }".into()),
        (format!("{APP}headers = {{ \"X-Forwarded-User\" = \"sub\" }}\n"), "tidegate.toml:6: auth.headers has \"X-Forwarded-User\" = \"sub\"; expected a table of header fields and claims, such as { \"X-User\" = \"sub\" }, none that the gateway sets itself".into()),
    ] {
        assert_eq!(errors(&text), [expected], "{text}");
    }
}

#[test]
fn the_keys_of_an_issuer_may_be_at_a_url() {
    let read = |jwt: &str| parse(&format!("{LISTENER}[[auth]]\nname = \"a\"\njwt = {{ {jwt} }}\n"), &[]);
    for (url, server, path, is_tls) in [
        ("https://id.example/.well-known/jwks.json", "id.example:443", "/.well-known/jwks.json", true),
        ("https://id.example:8443/?a=b", "id.example:8443", "/?a=b", true),
        ("https://192.0.2.1", "192.0.2.1:443", "/", true),
        ("http://127.0.0.1:9000/keys", "127.0.0.1:9000", "/keys", false),
        ("http://[::1]/keys?a=b", "[::1]:80", "/keys?a=b", false),
        ("http://localhost:9000/keys", "localhost:9000", "/keys", false),
    ] {
        let config = read(&format!("keys = \"{url}\", keys_stale_max_s = 600")).unwrap();
        let AuthKey::Published(set) = key(&config.auths[0]) else { panic!("another kind of key") };
        assert_eq!((&*set.server.servers[0].text, &*set.path, set.stale_max_s), (server, path, 600), "{url}");
        assert_eq!((set.server.tls.is_some(), &*set.url), (is_tls, url));
        assert!(config.doubts.iter().all(|doubt| doubt.contains("protects nothing")), "{:?}", config.doubts);
    }
    let wrong = |jwt: &str| errors(&format!("[[auth]]\nname = \"a\"\njwt = {{ {jwt} }}\n"));
    for (jwt, words) in [
        ("keys = \"http://id.example/jwks.json\"", "is fetched in clear, where others could put their own keys"),
        ("keys = \"http://192.0.2.1/jwks.json\"", "is fetched in clear"),
        ("keys = \"ftp://id.example/jwks.json\"", "expected a URL such as"),
        ("keys = \"https://user@id.example/jwks.json\"", "expected a URL such as"),
        ("keys = \"https://id.example/jwks.json#a\"", "expected a URL such as"),
        ("keys = \"https:///jwks.json\"", "expected a URL such as"),
        ("keys = \"https://id.example?a=b\"", "expected a URL such as"),
        ("keys = \"jwks.json\", keys_ca = \"ca.pem\"", "keys_ca \"ca.pem\" has no effect unless keys is a URL"),
        ("keys = \"http://127.0.0.1/a\", keys_ca = \"ca.pem\"", "has no effect on a URL without https"),
        ("keys = \"https://id.example/a\", hmac_secret = \"s\"", "jwt needs one key"),
    ] {
        let said = wrong(jwt);
        assert!(said.len() == 1 && said[0].contains(words), "{jwt}: {said:?}");
    }
    let doubts = read("keys = \"jwks.json\", keys_stale_max_s = 600").unwrap().doubts;
    assert!(doubts.iter().any(|doubt| doubt.contains("has no effect unless keys is a URL")), "{doubts:?}");
}

#[test]
fn a_server_may_decide_about_clients() {
    const FORWARD: &str =
        "[[auth]]\nname = \"s\"\nforward = { upstream = \"http://127.0.0.1:9\", user = \"X-User\" }\n";
    let config = parse(&format!("{LISTENER}{FORWARD}"), &[]).unwrap();
    let ClientProof::Forward(rules) = &config.auths[0].proof else { panic!("another proof") };
    let server = ForwardTo::Upstream { name: "http://127.0.0.1:9".to_owned(), path: "/".to_owned() };
    assert_eq!((&rules.to, &*rules.user), (&server, "X-User"));
    assert_eq!((rules.timeout.as_millis(), rules.ttl_s, rules.send.len(), rules.copy.len()), (1_000, 900, 0, 0));
    assert_eq!(config.upstreams.len(), 1, "the server of a URL is an upstream");
    let with = |old: &str, new: &str| errors(&FORWARD.replace(old, new));
    for (old, new, words) in [
        ("http://127.0.0.1:9", "auth", "auth.forward.upstream \"auth\" names no [[upstream]]"),
        ("upstream = \"http://127.0.0.1:9\", ", "", "forward asks nothing; expected upstream or service"),
        (" }", ", service = \"login\" }", "is set beside upstream; expected one of them"),
        ("upstream = \"http://127.0.0.1:9\"", "service = \"a.b\"", "expected the name of a service"),
        (
            "upstream = \"http://127.0.0.1:9\"",
            "service = \"login\", path = \"/verify\"",
            "auth.forward.path \"/verify\" is about a server, and workers have none",
        ),
        (", user = \"X-User\"", "", "user"),
        ("X-User", "Host", "auth.forward.user is \"Host\"; expected a header field such as"),
        (" }", ", send = [\"Upgrade\"] }", "expected a header field such as \"Cookie\", none of the connection"),
        (" }", ", send = [\"X-Forwarded-For\"] }", "expected a header field such as \"Cookie\""),
        (" }", ", copy = [\"Set_Cookie\"] }", "expected a header field such as \"X-Groups\""),
        (" }", ", path = \"verify\" }", "expected a path that begins with"),
        (" }", ", timeout_ms = 60000 }", "expected"),
        (" }", " }\nchannels = \"c\"", "auth.channels \"c\" is about the claims of a token"),
        (" }", " }\ntoken = \"cookie:a\"", "is about tokens, and forward has none"),
        (" }", " }\njwt = { hmac_secret = \"s\" }", "auth.forward is set beside jwt; expected one of them"),
    ] {
        let said = with(old, new);
        assert!(said.len() == 1 && said[0].contains(words), "{new}: {said:?}");
    }
    let token = "[[route]]\npath = \"/a\"\nwebsocket = { protocol = \"centrifuge-json\", token = { auth = \"s\" } }\n";
    let said = errors(&format!("{FORWARD}{token}"));
    assert!(said[0].contains("is an auth without tokens"), "{said:?}");
}

#[test]
fn a_certificate_may_name_the_user() {
    let auth = |table: &str| format!("[[auth]]\nname = \"c\"\ncertificate = {table}\n");
    for (table, name, header) in [
        ("{ }", CertifiedName::Uri, None),
        ("{ user = \"san_dns\", header = \"X-User\" }", CertifiedName::Dns, Some("X-User")),
        ("{ user = \"san_email\" }", CertifiedName::Email, None),
        ("{ user = \"subject_cn\" }", CertifiedName::CommonName, None),
    ] {
        let config = parse(&format!("{LISTENER}{}", auth(table)), &[]).unwrap();
        let ClientProof::Certificate(rules) = &config.auths[0].proof else { panic!("another proof") };
        assert_eq!((rules.name, rules.header.as_deref()), (name, header));
        assert!(config.doubts.iter().any(|doubt| doubt.contains("no listener has clients")), "{:?}", config.doubts);
    }
    for (table, words) in [
        ("{ user = \"cn\" }", "auth.certificate.user is \"cn\"; expected"),
        ("{ header = \"Host\" }", "expected a header field such as"),
        ("{ }\nrequire = { a = \"b\" }", "is about the claims of a token, and certificate has none"),
        ("{ }\nforward = { upstream = \"http://127.0.0.1:9\", user = \"X-User\" }", "is set beside"),
    ] {
        let said = errors(&auth(table));
        assert!(said.len() == 1 && said[0].contains(words), "{table}: {said:?}");
    }
}

#[test]
fn tells_a_user_beside_an_auth() {
    let user = "user = { header = \"X-User\", unverified = true }";
    for (target, key) in [
        (format!("websocket = {{ service = \"a\", {user} }}"), "websocket.user"),
        (format!("accept = {{ service = \"a\", {user} }}"), "accept.user"),
        (
            "websocket = { protocol = \"centrifuge-json\", token = { hmac_secret = \"s\" } }".to_owned(),
            "websocket.token",
        ),
    ] {
        let said = errors(&format!("{APP}[[route]]\npath = \"/a\"\nauth = \"app\"\n{target}\n"));
        assert_eq!(
            said,
            [format!(
                "tidegate.toml:9: route.{key} is set beside an auth, whose token names the user; expected one of them"
            )]
        );
    }
    let text = format!("{LISTENER}{APP}[[route]]\npath = \"/a\"\nauth = \"app\"\nwebsocket = {{}}\n");
    assert!(parse(&text, &[]).is_ok(), "a route whose only use is the user");
    let text = format!(
        "{LISTENER}{APP}[[route]]\npath = \"/a\"\nauth = \"app\"\naccept = {{ service = \"a\", channel = \"x.{{user}}\" }}\n"
    );
    assert!(parse(&text, &[]).is_ok(), "the channel of a result is named after the user");
}

#[test]
fn the_tokens_of_connect_may_be_taken_by_an_auth() {
    let route = |token: &str| {
        format!(
            "{APP}[[route]]\npath = \"/a\"\nwebsocket = {{ protocol = \"centrifuge-json\", token = {{ {token} }} }}\n"
        )
    };
    let config = parse(&format!("{LISTENER}{}", route("auth = \"app\"")), &[]).unwrap();
    let Target::Centrifuge(target) = &config.routes[0].target else { panic!("another target") };
    assert_eq!((target.token_auth.as_deref(), &target.token, &config.doubts), (Some("app"), &None, &Vec::new()));
    for (token, words) in [
        ("auth = \"apps\"", "route.websocket.token.auth \"apps\" is the name of no [[auth]]; expected the name of one"),
        (
            "auth = \"app\", hmac_secret = \"s\"",
            "route.websocket.token.hmac_secret is set beside auth, which has keys of its own; expected one of them",
        ),
    ] {
        assert_eq!(errors(&route(token)), [format!("tidegate.toml:8: {words}")]);
    }
}

#[test]
fn doubts_a_route_that_was_forgotten() {
    let doubts = |routes: &str| parse(&format!("{LISTENER}[admin]\n{APP}{routes}"), &[]).unwrap().doubts;
    let proxy =
        |path: &str, auth: &str| format!("[[route]]\npath = \"{path}\"\n{auth}proxy = \"http://127.0.0.1:3000\"\n");
    let (own, open) = ("auth = \"app\"\n", "auth = \"none\"\n");
    let found = doubts(&(proxy("/x/login", "") + &proxy("/x/*", own)));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("route.path \"/x/login\" is open to everybody, and \"/x/*\" around it has auth"),
        "{found:?}"
    );
    let found = doubts(&(proxy("/admin/*", own) + &proxy("/*", "")));
    assert!(found[0].contains("route.path \"/*\" reaches the servers of \"/admin/*\" without its auth"), "{found:?}");
    assert_eq!(doubts(&(proxy("/x/login", open) + &proxy("/x/*", own))), [""; 0]);
    assert!(doubts("")[0].contains("auth.name \"app\" protects nothing"));
}

#[test]
fn doubts_a_user_that_nothing_proves() {
    let route =
        |user: &str| format!("[[route]]\npath = \"/a\"\nwebsocket = {{ service = \"a\", user = {{ {user} }} }}\n");
    let doubts = |user: &str| parse(&format!("{LISTENER}[bus]\n{}", route(user)), &[]).unwrap().doubts;
    for (user, subject) in [("header = \"X-User\"", "header \"X-User\""), ("query = \"user\"", "query \"user\"")] {
        let found = doubts(user);
        let begin =
            format!("tidegate.toml:6: warning: route.websocket.user.{subject} is believed as it comes: any client");
        assert!(found.len() == 1 && found[0].starts_with(&begin), "{found:?}");
        assert_eq!(doubts(&format!("{user}, unverified = true")), [""; 0]);
    }
    let found = doubts("header = \"X-User\", unverified = false");
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn reads_permissions() {
    let text = format!(
        "{LISTENER}[[permission]]\nchannels = [\"user.{{user}}.>\", \"inbox.{{user}}\"]\nallow = [\"hear\", \"history\"]\n\
         [[permission]]\nchannels = \"news.>\"\nallow = \"publish\"\nrequire = {{ role = \"editor\" }}\n{APP}{ROUTE}auth = \"app\"\n"
    );
    let config = parse(&text, &[]).unwrap();
    let read: Vec<_> = config.permissions.iter().map(|rule| (rule.channels.len(), &rule.rights[..])).collect();
    assert_eq!(read, [(2, &[Right::Hear, Right::History][..]), (1, &[Right::Publish])]);
    assert_eq!(config.permissions[1].required, [("role".to_owned(), "editor".to_owned())]);
    assert!(!config.doubts.iter().any(|doubt| doubt.contains("permission")), "{:?}", config.doubts);
    let route = "[[route]]\npath = \"/c\"\nwebsocket = { protocol = \"centrifuge-json\" }\n";
    let open = "[[permission]]\nchannels = \"news.>\"\nallow = \"hear\"\n";
    assert!(parse(&format!("{LISTENER}{open}{route}"), &[]).is_ok(), "permissions say what its clients may do");
    assert!(errors(route)[0].contains("websocket has no target"));
}

#[test]
fn reads_parts_of_the_application_that_decide() {
    let rule = |ask: &str| format!("[[permission]]\nchannels = \"room.>\"\nallow = \"hear\"\nask = {{ {ask} }}\n");
    let asks = [
        "service = \"rooms\"",
        "service = \"rooms\", cache_s = 0",
        "url = \"https://app.example/may?a=b\"",
        "service = \"rooms\"",
    ];
    let config = parse(&format!("{LISTENER}{}", asks.map(rule).concat()), &[]).unwrap();
    let ids: Vec<_> = config.permissions.iter().map(|rule| rule.decider.map(|id| id.0)).collect();
    assert_eq!(ids, [Some(0), Some(1), Some(2), Some(0)], "each is there once");
    let kept: Vec<_> = config.deciders.iter().map(|rules| (rules.kept.as_secs(), rules.timeout.as_millis())).collect();
    assert_eq!(kept, [(10, 2_000), (0, 2_000), (10, 2_000)]);
    assert_eq!(config.deciders[0].by, DeciderBy::Service("rooms".to_owned()));
    let DeciderBy::Url(url) = &config.deciders[2].by else { panic!("a URL") };
    assert_eq!((&*url.path, url.server.tls.is_some(), url.server.servers.len()), ("/may?a=b", true, 1));
    for (ask, words) in [
        ("", "permission.ask asks nothing; expected service or url"),
        ("cache_s = 1", "permission.ask asks nothing; expected service or url"),
        ("service = \"a\", url = \"http://127.0.0.1/\"", "is set beside service; expected one of them"),
        ("service = \"a.b\"", "expected the name of a service"),
        ("url = \"/may\"", "expected a URL such as \"http://127.0.0.1:3000/authorize\""),
        ("url = \"ftp://app.example/may\"", "expected a URL such as"),
        (
            "url = \"http://127.0.0.1/\", ca = \"ca.pem\"",
            "permission.ask.ca \"ca.pem\" has no effect on a URL without https",
        ),
        ("service = \"a\", ca = \"ca.pem\"", "permission.ask.ca \"ca.pem\" has no effect unless url is set"),
        ("service = \"a\", timeout_ms = 0", "expected"),
        ("service = \"a\", cache_s = 99999", "expected"),
    ] {
        let said = errors(&rule(ask));
        assert!(said.len() == 1 && said[0].contains(words), "{ask}: {said:?}");
    }
    let many: String = (0..65).map(|at| rule(&format!("service = \"s{at}\""))).collect();
    assert!(errors(&many)[0].contains("[[permission]] ask too many places; expected at most 64"));
}

#[test]
fn tells_permissions_that_allow_nothing_or_name_no_channel() {
    for (text, words) in [
        ("allow = \"hear\"\n", "[[permission]] has no channels"),
        ("channels = \"a\"\n", "[[permission]] has no allow"),
        ("channels = []\nallow = \"hear\"\n", "is an empty list; expected a pattern, or a list of patterns"),
        ("channels = \"a\"\nallow = []\n", "is an empty list; expected what is allowed, or a list of that"),
        ("channels = \"a\"\nallow = \"listen\"\n", "expected \"hear\", \"publish\", \"history\" or \"presence\""),
        ("channels = \"tg.user.{user}\"\nallow = \"hear\"\n", "expected a pattern such as \"user.{user}.>\""),
        ("channels = \"a.x{user}\"\nallow = \"hear\"\n", "expected a pattern such as \"user.{user}.>\""),
    ] {
        let errors = errors(&format!("[[permission]]\n{text}"));
        assert!(errors.len() == 1 && errors[0].contains(words), "{text}: {errors:?}");
    }
    let many = "[[permission]]\nchannels = \"a\"\nallow = \"hear\"\n".repeat(257);
    assert!(errors(&many)[0].contains("there are too many [[permission]]; expected at most 256"));
    let claims: String =
        (0..65).map(|at| format!("[[permission]]\nchannels = \"a.{{c{at}}}\"\nallow = \"hear\"\n")).collect();
    assert!(errors(&claims)[0].contains("[[permission]] have too many claims; expected at most 64"));
    let text = format!("{LISTENER}[[permission]]\nchannels = \"room.{{rooms}}\"\nallow = \"hear\"\n");
    let doubts = parse(&text, &[]).unwrap().doubts;
    assert!(doubts.len() == 1 && doubts[0].contains("there is no [[auth]] with jwt"), "{doubts:?}");
}
