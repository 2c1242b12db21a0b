//! A server decides about clients: it is asked once for each request, and without its answer no client is let in.

use super::access::{lines, logged, outcome};
use super::centrifuge::NOW;
use super::seeds::seeds;
use super::*;
use crate::conn::auth::{Auth, AuthBy, Auths};
use crate::conn::forward_auth::{ForwardAuth, ForwardBy};
use crate::conn::route::{ANY_METHOD, AcceptRoute, AuthId, ProxyRoute};
use crate::driver::sim::{DialFate, SimService};
use crate::proto::upstream::{UpstreamId, UpstreamRule};

const TIMEOUT: Duration = Duration::from_secs(1);
const TTL_S: u64 = 900;

/// A shard, the server that decides, one that has the application, and a client that has nothing to do with any of it.
struct Stage {
    bench: Bench,
    judge: SimService,
    app: SimService,
    bystander: Peer,
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 9, 0, number], 80))
}

fn settings(change: impl FnOnce(&mut UpstreamRule)) -> Settings {
    let room = || ChannelTemplate::parse("room.{room}").unwrap();
    let websocket =
        RouteTarget::WebSocket(WebSocketRoute { channel: Some(room()), publish: true, ..WebSocketRoute::default() });
    let accept = AcceptRoute {
        service: Service::new("jobs").unwrap(),
        channel: ChannelTemplate::parse("job.{user}.{id}").unwrap(),
        event: "result".into(),
        timeout: 60 * SECOND,
        keep: 60 * SECOND,
        user: None,
        headers: Box::default(),
    };
    let proxy = RouteTarget::Proxy(Box::new(ProxyRoute::new(UpstreamId(1))));
    let routes = [
        route("/page", RouteTarget::page("text/plain", b"page")),
        route("/sse/in/{room}", RouteTarget::Sse { channels: vec![room()], retry: SECOND }),
        route("/in/{room}", websocket),
        route("/protocol", RouteTarget::Centrifuge(Box::default())),
        Route { methods: vec!["POST".into()], ..route("/jobs", RouteTarget::Accept(accept)) },
        Route { methods: vec![ANY_METHOD.into()], ..route("/api/*", proxy) },
    ];
    let mut settings = super::settings();
    add_routes(&mut settings, routes.into_iter().map(|route| Route { auth: [AuthId(0)].into(), ..route }));
    settings.process_mut().unix_time = || NOW;
    let mut rule = UpstreamRule::new("auth").with("10.9.0.0:80", address(0));
    change(&mut rule);
    with(settings, |generation| {
        let forward = ForwardAuth {
            by: ForwardBy::Server { upstream: UpstreamId(0), path: "/verify".into() },
            send: vec!["Cookie".into()],
            copy: vec!["X-Groups".into(), "X-User".into()],
            user: "X-User".into(),
            timeout: TIMEOUT,
            ttl_s: TTL_S,
        };
        generation.upstreams = [rule, UpstreamRule::new("app").with("10.9.0.1:80", address(1))].into();
        generation.auths = Auths::new(vec![Auth { name: "session".into(), by: AuthBy::Forward(Box::new(forward)) }]);
        generation.ping_interval = Duration::from_secs(3_600);
    })
}

fn stage_with(change: impl FnOnce(&mut UpstreamRule)) -> Stage {
    let mut bench = Bench::new(1, logged(settings(change), false));
    let (judge, app) = (bench.world.serve_calm(address(0)), bench.world.serve_calm(address(1)));
    let bystander = bench.open(0, "/ws/1");
    Stage { bench, judge, app, bystander }
}

fn stage() -> Stage {
    stage_with(|_| {})
}

impl Stage {
    fn run(&mut self) {
        self.bench.run_for(SECOND / 100);
    }

    /// A client has said this, and the server that decides is asked.
    fn asked(&mut self, said: &str) -> (Peer, Peer) {
        let client = self.bench.connect(0, 0);
        client.say(said);
        self.run();
        (client, self.judge().expect("it is asked"))
    }

    fn judge(&self) -> Option<Peer> {
        self.judge.accept().map(Peer::new)
    }

    /// The answer to a client if the server says this to a request for a page.
    fn verdict(&mut self, said: &str) -> String {
        let (mut client, judge) = self.asked(&get("/page"));
        judge.say(said);
        self.run();
        drop(judge);
        self.run();
        client.hear()
    }

    fn closed(&self, reason: CloseReason) -> u64 {
        self.bench.closed(0, reason)
    }

    fn end(mut self) {
        expect_echo(&mut self.bench, &mut self.bystander);
        drop(self.bystander);
        self.bench.run_for(limits::KEEP_ALIVE_TIMEOUT + 2 * limits::CLOSE_TIMEOUT);
        assert_eq!(self.bench.census(0), Census::default(), "nothing is left");
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nCookie: sid=1\r\nX-Secret: s\r\nX-User: root\r\n\r\n")
}

/// The same for what opens a stream.
fn open(path: &str) -> String {
    request(path).replace("Host: a\r\n", "Host: a\r\nCookie: sid=1\r\n")
}

const IN: &str = "HTTP/1.1 200 OK\r\nX-User: ann\r\nX-Groups: staff\r\nX-Other: o\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_request_waits_for_the_verdict_and_its_server_is_told_the_user() {
    let mut stage = stage();
    let (mut client, mut judge) = stage.asked(&get("/api/a?b=c"));
    let asked = judge.hear();
    assert!(asked.starts_with("GET /verify HTTP/1.1\r\nHost: 10.9.0.0:80\r\nCookie: sid=1\r\n"), "{asked}");
    assert!(asked.contains("X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /api/a?b=c\r\n"), "{asked}");
    assert!(!asked.contains("X-Secret") && !asked.contains("root"), "{asked}");
    assert!(stage.app.accept().is_none(), "the application hears nothing before");
    assert_eq!((client.hear().as_str(), stage.bench.census(0).server_checks), ("", 1));
    judge.say(IN);
    stage.run();
    let mut app = Peer::new(stage.app.accept().expect("the request goes on"));
    let heard = app.hear();
    assert!(heard.contains("\r\nX-User: ann\r\n") && heard.contains("\r\nX-Groups: staff\r\n"), "{heard}");
    assert!(!heard.contains("root") && !heard.contains("X-Other") && heard.contains("X-Secret: s"), "{heard}");
    app.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    stage.run();
    assert!(client.hear().ends_with("\r\n\r\nhi"));
    client.say(get("/page"));
    stage.run();
    assert!(stage.judge().is_none() && judge.hear().starts_with("GET /verify "), "asked again, on the same connection");
    judge.say(IN);
    stage.run();
    assert!(client.hear().ends_with("page"));
    drop((client, judge, app));
    stage.end();
}

#[test]
fn the_path_that_the_server_judges_is_the_path_that_is_served() {
    let mut stage = stage();
    for (path, judged) in [
        ("//%61pi///%61dmin?%61", "/api/admin?%61"),
        ("/api/caf%c3%a9", "/api/caf%C3%A9"),
        ("/sse/in/%72oom", "/sse/in/room"),
    ] {
        let (client, mut judge) = stage.asked(&get(path));
        let asked = judge.hear();
        assert!(asked.contains(&format!("\r\nX-Forwarded-Uri: {judged}\r\n")), "{path}: {asked}");
        drop((client, judge));
        stage.run();
    }
    stage.end();
}

#[test]
fn a_request_that_waits_has_one_line_which_tells_its_own_server() {
    let mut stage = stage();
    for (verdict, expected) in [
        (IN, ("request", 200, "")),
        (IN, ("request", 200, "")),
        ("HTTP/1.1 500 E\r\n\r\n", ("request", 503, "auth_unavailable")),
    ] {
        let (client, judge) = stage.asked(&get("/api/a"));
        judge.say(verdict);
        drop(judge);
        stage.run();
        if let Some(app) = stage.app.accept().map(Peer::new) {
            app.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
        }
        stage.bench.run_for(2 * limits::ACCESS_LOG_DELAY);
        let told = lines(stage.bench.log.as_ref().expect("there is a log"));
        assert_eq!(told.iter().map(outcome).collect::<Vec<_>>(), [expected], "{told:?}");
        assert_eq!(told[0]["auth"], "session");
        if expected.1 == 200 {
            assert_eq!((&told[0]["upstream"], &told[0]["user"]), (&"app".into(), &"ann".into()), "{told:?}");
        }
        drop(client);
    }
    stage.end();
}

#[test]
fn every_kind_of_route_waits_and_streams_end_when_their_time_is_over() {
    let mut stage = stage();
    let job = "POST /jobs HTTP/1.1\r\nHost: a\r\nCookie: sid=1\r\nContent-Length: 3\r\n\r\njob";
    let mut clients = Vec::new();
    let mut judge: Option<Peer> = None;
    for said in [&open("/sse/in/1"), &open("/in/1"), &open("/protocol"), job] {
        let client = stage.bench.connect(0, 0);
        client.say(said);
        stage.run();
        let judge = judge.get_or_insert_with(|| stage.judge().expect("it is asked"));
        assert!(judge.hear().starts_with("GET /verify "), "{said}");
        judge.say(IN);
        stage.run();
        clients.push(client);
    }
    let heard: Vec<String> = clients.iter_mut().map(Peer::hear).collect();
    for (heard, status) in heard.iter().zip(["200", "101", "101", "202"]) {
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{heard}");
    }
    assert!(heard[3].contains("\"channel\":\"job.ann."), "{}", heard[3]);
    stage.bystander.say(text(b"hello"));
    stage.run();
    assert!(clients[0].hear().contains("data: hello") && clients[1].hear().ends_with("hello"));
    stage.bench.run_for(Duration::from_secs(TTL_S + 2));
    assert!(
        clients[0].hear().ends_with("event: tg.end\ndata: {\"reason\":\"expired\"}\n\n") && clients[0].has_last_chunk()
    );
    assert!(clients[1].is_at_end() && clients[2].is_at_end());
    stage.bystander = stage.bench.open(0, "/ws/1");
    drop((clients, judge));
    stage.end();
}

#[test]
fn refusals_reach_the_client_and_a_stream_is_not_redirected() {
    let mut stage = stage();
    let login = "HTTP/1.1 302 Found\r\nLocation: https://id.example/login\r\nSet-Cookie: a=b\r\nX-User: root\r\nContent-Length: 5\r\n\r\nlogin";
    let heard = stage.verdict(login);
    assert!(
        heard.starts_with("HTTP/1.1 302 Found\r\nLocation: https://id.example/login\r\nSet-Cookie: a=b\r\n"),
        "{heard}"
    );
    assert!(heard.ends_with("\r\n\r\nlogin") && !heard.contains("root"), "{heard}");
    let heard = stage.verdict("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"a\"\r\nContent-Length: 2\r\n\r\nno");
    assert!(heard.starts_with("HTTP/1.1 401 ") && heard.contains("WWW-Authenticate: Basic realm=\"a\"\r\n"), "{heard}");
    assert!(stage.verdict("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").starts_with("HTTP/1.1 403 "));
    for path in ["/sse/in/1", "/in/1", "/protocol"] {
        let (mut client, judge) = stage.asked(&open(path));
        judge.say(login);
        stage.run();
        let heard = client.hear();
        assert!(heard.starts_with("HTTP/1.1 401 ") && !heard.contains("id.example"), "{path}: {heard}");
        drop((client, judge));
        stage.run();
    }
    assert_eq!(stage.closed(CloseReason::AuthRefused), 6);
    stage.end();
}

#[test]
fn whatever_else_the_server_says_no_client_is_let_in() {
    let mut stage = stage();
    for said in [
        "HTTP/1.1 500 No\r\nX-User: ann\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 404 No\r\nX-User: ann\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-User: \r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-User: ann\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-User: ann\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX-User: ann\r\nContent-Length: 9\r\n\r\ncut",
        "HTTP/1.1 103 Hi\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
        "",
    ] {
        let heard = stage.verdict(said);
        assert!(heard.starts_with("HTTP/1.1 503 ") && heard.contains("\r\nRetry-After: "), "{said:.60}: {heard}");
        assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "{heard}");
    }
    assert_eq!(stage.closed(CloseReason::AuthUnavailable), 10);
    stage.bench.run_for(limits::UPSTREAM_EJECT_MAX);
    stage.bystander = stage.bench.open(0, "/ws/1");
    stage.end();
}

#[test]
fn a_server_that_hangs_or_is_not_there_costs_its_requests_their_time_and_nothing_else() {
    for fate in [DialFate::Answered, DialFate::Refused, DialFate::Silent] {
        let mut stage = stage();
        (0..2).for_each(|_| stage.judge.decide(fate));
        let (mut page, mut events) = (stage.bench.connect(0, 0), stage.bench.connect(0, 0));
        page.say(get("/page") + &get("/no/such"));
        events.say(open("/sse/in/1"));
        stage.run();
        let is_refused = matches!(fate, DialFate::Refused);
        assert_eq!(page.hear().is_empty(), !is_refused);
        let _hanging: Vec<Option<Peer>> = (0..2).map(|_| stage.judge()).collect();
        stage.bench.run_for(TIMEOUT);
        if !is_refused {
            assert_eq!(stage.closed(CloseReason::AuthUnavailable), 2);
            let heard = page.hear();
            assert!(
                heard.starts_with("HTTP/1.1 503 ") && heard.contains("HTTP/1.1 404 "),
                "the next one is served: {heard}"
            );
        }
        let heard = events.hear();
        assert!(
            heard.starts_with("HTTP/1.1 200 ") && heard.contains("retry: 5000"),
            "an EventSource comes back: {heard}"
        );
        assert_eq!(stage.bench.census(0).server_checks, 0);
        drop((page, events));
        stage.end();
    }
}

#[test]
fn a_client_that_goes_away_ends_the_question() {
    let mut stage = stage();
    let (client, mut judge) = stage.asked(&get("/page"));
    client.end.reset();
    stage.run();
    assert!(judge.is_at_end() || judge.end.broken().is_some());
    assert_eq!(stage.bench.census(0).server_checks, 0);
    drop(judge);
    stage.end();
}

#[test]
fn a_rush_waits_for_free_servers_and_more_than_may_wait_are_sent_back() {
    let mut stage = stage_with(|rule| (rule.in_flight_max, rule.queue_max) = (Some(2), 3));
    let mut clients: Vec<Peer> = (0..8)
        .map(|_| {
            let client = stage.bench.connect(0, 0);
            client.say(get("/page"));
            client
        })
        .collect();
    stage.run();
    let mut judges: Vec<Peer> = std::iter::from_fn(|| stage.judge()).collect();
    assert_eq!(judges.len(), 2);
    for _ in 0..4 {
        for judge in &mut judges {
            if !judge.hear().is_empty() {
                judge.say(IN);
            }
        }
        stage.run();
    }
    let heard: Vec<String> = clients.iter_mut().map(Peer::hear).collect();
    let count = |status: &str| heard.iter().filter(|heard| heard.starts_with(&format!("HTTP/1.1 {status} "))).count();
    assert_eq!((count("200"), count("503")), (5, 3), "{heard:?}");
    drop((clients, judges));
    stage.end();
}

#[test]
fn a_request_that_leads_back_to_the_gateway_asks_no_more() {
    let mut stage = stage();
    let via = stage.bench.core(0).desk.settings.process.name.pseudonym().to_owned();
    let mut client = stage.bench.connect(0, 0);
    client.say(get("/page").replace("Host: a\r\n", &format!("Host: a\r\nVia: 1.1 {via}\r\n")));
    stage.run();
    assert!(client.hear().starts_with("HTTP/1.1 503 ") && stage.judge().is_none());
    drop(client);
    stage.end();
}

/// The answer of the server that decides: whole, in part, or none at all.
fn some_verdict(world: &World) -> (Vec<u8>, bool) {
    let said = match world.random_below(8) {
        0..=3 => IN.to_owned(),
        4 => "HTTP/1.1 302 Found\r\nLocation: /login\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nlogin\r\n0\r\n\r\n"
            .to_owned(),
        5 => "HTTP/1.1 403 No\r\nConnection: close\r\n\r\nno".to_owned(),
        6 => "HTTP/1.1 500 No\r\nX-User: ann\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => "SSH-2.0-OpenSSH\r\n".to_owned(),
    };
    let is_cut = world.random_below(6) == 0;
    let length = if is_cut { world.random_below(said.len() as u64) as usize } else { said.len() };
    (said.as_bytes()[..length].to_vec(), is_cut || world.random_below(10) == 0)
}

/// Clients ask, wait and leave over a network with faults; both servers answer, dawdle and break off.
fn storm(seed: u64) -> usize {
    let world = World::seeded(seed);
    let limited = seed.is_multiple_of(2);
    let settings = settings(|rule| rule.in_flight_max = limited.then_some(2));
    let mut bench = Bench::within(world.clone(), 1, settings);
    let (judge, app) = (world.serve(address(0)), world.serve(address(1)));
    let (mut clients, mut judges): (Vec<Peer>, Vec<Peer>) = Default::default();
    let mut apps: Vec<(Peer, Vec<u8>)> = Vec::new();
    let mut answered = 0;
    let below = |bound| world.random_below(bound);
    for _ in 0..300 {
        match below(5) {
            0 | 1 => {
                if let Some(end) = world.connect(address_of_front()) {
                    let path = ["/page", "/api/a", "/sse/in/1", "/in/1"][below(4) as usize];
                    let said = if path.contains("in") { open(path) } else { get(path) };
                    end.write(said.repeat(1 + usize::from(path == "/page") * below(3) as usize).as_bytes());
                    clients.push(Peer::new(end));
                }
            }
            2 if !clients.is_empty() => {
                let client = clients.swap_remove(below(clients.len() as u64) as usize);
                if below(2) == 0 {
                    client.end.reset();
                }
            }
            _ => {}
        }
        judges.extend(judge.accept().map(Peer::new));
        apps.extend(app.accept().map(|end| (Peer::new(end), Vec::new())));
        judges.retain_mut(|judge| {
            if judge.hear_bytes().is_empty() || below(8) == 0 {
                return judge.end.is_open() && below(60) > 0;
            }
            let (said, is_over) = some_verdict(&world);
            judge.end.write(&said);
            !is_over
        });
        apps.retain_mut(|(app, heard)| {
            heard.extend(app.hear_bytes());
            while let Some(end) = memchr::memmem::find(heard, b"\r\n\r\n") {
                let head: Vec<u8> = heard.drain(..end + 4).collect();
                let head = String::from_utf8_lossy(&head);
                assert!(head.contains("\r\nX-User: ann\r\n") && !head.contains("root"), "none passes unknown: {head}");
                app.end.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
            }
            app.end.is_open()
        });
        for client in &mut clients {
            answered += memchr::memmem::find_iter(&client.hear_bytes(), b"HTTP/1.1 ").count();
        }
        bench.run_for(Duration::from_millis(5 + below(150)));
        let _paired = bench.census(0);
    }
    world.calm_down();
    drop((clients, judges, apps, judge, app));
    bench.run_for(limits::KEEP_ALIVE_TIMEOUT + 5 * limits::SEND_TIMEOUT);
    assert_eq!(bench.census(0), Census::default(), "nothing is left");
    answered
}

fn address_of_front() -> SocketAddr {
    super::address(0, 0)
}

#[test]
fn whatever_clients_and_servers_do_none_is_let_in_without_a_verdict_and_nothing_stays() {
    let mut answered = 0;
    for seed in seeds(0..24) {
        println!("TIDEGATE_SEED={seed}");
        answered += storm(seed);
    }
    assert!(answered > 0, "somebody is served");
}
