//! Requests that end at each of the stages, and what becomes of them if their head is given up before any of these.

mod tokens;

use std::time::Duration;

use proptest::prelude::*;

use super::request::{Arrival, Called, Naming};
use super::*;
use crate::base::{Place, RequestId, Tick};
use crate::conn::auth::{Auths, CredentialCheck, Proofs};
use crate::conn::fixed::{FixedAnswer, FixedField};
use crate::conn::hosts::Hosts;
use crate::conn::origins::{Origins, Page};
use crate::conn::rights::RightRules;
use crate::conn::route::{
    AcceptRoute, CentrifugeRoute, ChannelTemplate, ProxyRoute, Route, RouteTarget, Service, WebSocketRoute,
};
use crate::conn::routes::Routes;
use crate::conn::settings::Settings;
use crate::conn::site::{Scheme, Site};
use crate::conn::turned_away::TurnedAway;
use crate::proto::http::next_head;
use crate::proto::reserved::headers::{QUERY_HEADER, USER_HEADER};
use crate::proto::subject::Subject;
use crate::proto::upstream::UpstreamId;

/// A shard's settings, as far as requests see them.
struct Gate {
    routes: Routes,
    hosts: Hosts,
    auths: Auths,
    proofs: Proofs,
    /// Without permissions.
    settings: Settings,
}

fn route(methods: &[&str], path: &str, origins: &[&str], target: RouteTarget) -> Route {
    Route {
        methods: methods.iter().map(|method| (*method).into()).collect(),
        origins: Origins::new(origins.iter().map(|origin| (*origin).into())),
        request_headers: vec!["X-Extra".into()],
        ..Route::new(path, target).unwrap()
    }
}

fn channel(text: &str) -> ChannelTemplate {
    ChannelTemplate::parse(text).unwrap()
}

fn accept_target(event: &str, user: Option<UserField>) -> RouteTarget {
    RouteTarget::Accept(AcceptRoute {
        service: Service::new("work").unwrap(),
        channel: channel("{kind}.{id}"),
        event: event.into(),
        timeout: Duration::from_secs(60),
        keep: Duration::from_secs(60),
        user,
        headers: Box::default(),
    })
}

impl Gate {
    fn new() -> Gate {
        let header = || Some(UserField::Header("x-user".into()));
        let websocket = WebSocketRoute {
            channel: Some(channel("a.{a}")),
            publish: true,
            user: header(),
            ..WebSocketRoute::default()
        };
        let centrifuge = CentrifugeRoute {
            user: Some(UserField::Query("user".into())),
            server_side: vec![channel("c.{c}"), channel("all")],
            ..CentrifugeRoute::default()
        };
        let stream = |texts: &[&str]| RouteTarget::Sse {
            channels: texts.iter().map(|text| channel(text)).collect(),
            retry: Duration::from_secs(3),
        };
        let page = |body| RouteTarget::page("text/plain", body);
        let proxy = || RouteTarget::Proxy(Box::new(ProxyRoute::new(UpstreamId(0))));
        let app = ["https://app.example"];
        let fields = FixedField::parse("Location: https://{host}{uri}").into_iter().collect();
        let moved = FixedAnswer { status: 308, fields, body: b"".as_slice().into() };
        let secure = Site::new(["gate.example".into()], Some(Scheme::Https));
        let routes = vec![
            route(&["GET", "POST"], "/old/*", &[], RouteTarget::Fixed(Box::new(moved))),
            Route { site: secure, ..route(&["GET"], "/secure/*", &[], page(b"secure")) },
            route(&["GET"], "/", &[], page(b"front")),
            route(&["*"], "/svc/*", &[], proxy()),
            route(&["*"], "/api/*", &app, proxy()),
            route(&["GET"], "/events/{e}", &app, stream(&["e.{e}", "all"])),
            route(&["GET"], "/open/{e}", &["*"], stream(&["{e}"])),
            route(&["GET"], "/ws/{a}", &app, RouteTarget::WebSocket(websocket)),
            route(&["GET"], "/cf/{c}", &app, RouteTarget::Centrifuge(Box::new(centrifuge))),
            route(&["POST", "PUT"], "/jobs/{kind}", &app, accept_target("done", header())),
            route(&["PATCH"], "/jobs/{kind}", &["*"], accept_target("changed", None)),
        ];
        let routes = Routes::new(routes.into_iter().chain(tokens::routes()).collect()).unwrap();
        let hosts = Hosts::new(["gate.example".into()]);
        Gate { routes, hosts, auths: tokens::auths(), proofs: Proofs::default(), settings: Settings::default() }
    }
}

/// One request and its circumstances.
#[derive(Clone, Copy, Debug)]
struct Case<'t> {
    /// The request line without the version, and the lines behind it, each with its end.
    target: &'t str,
    version: &'t str,
    lines: &'t str,
    is_tls: bool,
    has_hosts: bool,
    away: Option<CloseReason>,
}

/// The result of a run of the stages.
#[derive(Debug, PartialEq)]
struct Seen {
    outcome: String,
    bytes: String,
}

impl Case<'_> {
    /// Parses the head from bytes of its own, which are given up when `look` returns, as `exchange` parses it.
    fn parsed<T>(&self, gate: &Gate, look: impl FnOnce(&ClientRequest<'_, '_>) -> T) -> T {
        let mut bytes = format!("{} HTTP/{}\r\n{}\r\n", self.target, self.version, self.lines).into_bytes();
        let mut input = &mut bytes[..];
        let mut head = next_head(&mut input).expect(self.target).expect(self.target);
        head.keep_alive &= self.away.is_none();
        let called = Called { host: None, is_secure: self.is_tls.then_some(true) };
        let hosts = self.has_hosts.then_some(&gate.hosts);
        let check = CredentialCheck { auths: &gate.auths, proofs: &gate.proofs, unix_time: || tokens::NOW };
        let arrival = Arrival {
            node: None,
            called,
            naming: Naming::sample(),
            hosts,
            allowance: None,
            check: Some(check),
            evidence: Default::default(),
            rules: RightRules::of(&gate.settings, &[], Tick::ZERO),
        };
        let turned_away = self.away.map(|reason| TurnedAway { reason, retry_after_s: 7 });
        look(&ClientRequest::new(&head, arrival, &gate.routes, turned_away))
    }

    /// Runs all stages on one head.
    fn in_one_go(&self, gate: &Gate) -> Seen {
        let mut outbox = Outbox::default();
        let outcome = self.parsed(gate, |request| Admission::default().run(request, &mut outbox));
        Seen { outcome: words(outcome, gate), bytes: written(outbox) }
    }

    /// Passes so many stages on one head, and the others on another one.
    fn given_up_after(&self, passed: usize, gate: &Gate) -> Seen {
        let mut outbox = Outbox::default();
        let admission = self.parsed(gate, |request| {
            (0..passed).fold(Admission::default(), |admission, _| match admission.pass(request, &mut outbox) {
                ControlFlow::Continue(next) => next,
                ControlFlow::Break(_) => panic!("it has fewer stages"),
            })
        });
        assert!(outbox.is_empty(), "a wait would have something to undo");
        let outcome = self.parsed(gate, |request| admission.run(request, &mut outbox));
        Seen { outcome: words(outcome, gate), bytes: written(outbox) }
    }

    /// Passes each stage on a head of its own; also the names of the stages, of which the last has the outcome.
    fn stage_by_stage(&self, gate: &Gate) -> (Seen, Vec<&'static str>) {
        let (mut outbox, mut admission, mut names) = (Outbox::default(), Admission::default(), Vec::new());
        loop {
            names.push(name(&admission));
            assert!(outbox.is_empty(), "a wait would have something to undo");
            match self.parsed(gate, |request| admission.pass(request, &mut outbox)) {
                ControlFlow::Continue(next) => admission = next,
                ControlFlow::Break(outcome) => {
                    return (Seen { outcome: words(outcome, gate), bytes: written(outbox) }, names);
                }
            }
        }
    }

    /// Checks that it makes no difference when the head is given up; what is seen, and the stage with the outcome.
    fn same_however_parsed(&self, gate: &Gate) -> (Seen, &'static str) {
        let (seen, names) = self.stage_by_stage(gate);
        for (passed, next) in names.iter().enumerate() {
            assert_eq!(self.given_up_after(passed, gate), seen, "{self:?}, given up before {next}");
        }
        assert_eq!(self.in_one_go(gate), seen, "{self:?}");
        (seen, names[names.len() - 1])
    }
}

fn name(admission: &Admission) -> &'static str {
    match admission {
        Admission::Sender => "Sender",
        Admission::Host => "Host",
        Admission::Path => "Path",
        Admission::Route => "Route",
        Admission::Room(..) => "Room",
        Admission::Rate(..) => "Rate",
        Admission::Origin(..) => "Origin",
        Admission::Form(..) => "Form",
        Admission::Identity(..) => "Identity",
        Admission::Permission(..) => "Permission",
        Admission::Share(..) => "Share",
        Admission::Target(..) => "Target",
    }
}

fn written(mut outbox: Outbox) -> String {
    let bytes = outbox.take().map(|batch| batch.slices().flatten().copied().collect()).unwrap_or_default();
    String::from_utf8(bytes).unwrap()
}

/// All that the connection learns from an outcome.
fn words(run: Run, gate: &Gate) -> String {
    let template = |id: RouteId| &gate.routes[id].template;
    let names = |channels: &[Subject]| channels.iter().map(Subject::to_string).collect::<Vec<_>>().join(" ");
    let page = |page: &Option<Page>| format!("{:?}", page.as_ref().map(Page::cors));
    let outcome = match run {
        Run::Over(outcome) => outcome,
        Run::Waits(waiting) => {
            return format!("waits {:?} in {} {}", waiting.inquiry, name(&waiting.stage), page(&waiting.page));
        }
    };
    match outcome {
        AdmissionOutcome::Answered { keep_alive } => format!("answered {keep_alive}"),
        AdmissionOutcome::Refused(refused) => format!("{refused:?}"),
        AdmissionOutcome::EventStream { route, client, channels, last_id, streaming } => {
            let (route, user, names) = (template(route), client.user(), names(&channels));
            format!("events {route} {user:?} {names} {last_id:?} {streaming:?}")
        }
        AdmissionOutcome::WebSocket { route, identity, channel, subprotocol } => {
            assert_eq!(subprotocol, None, "no route has one");
            let to = identity.channel().map(Subject::as_str);
            format!("websocket {} {:?} {to:?} {}", template(route), identity.user(), names(channel.as_slice()))
        }
        AdmissionOutcome::Centrifuge { route, client, channels } => {
            format!("centrifuge {} {:?} {}", template(route), client.user(), names(&channels))
        }
        AdmissionOutcome::Accept(accepting) => {
            let (id, (asked, owed)) = (RequestId::new(None, Place(3), 5), accepting.finish(Box::from(*b"body")));
            let route = &gate.routes[asked.route];
            let RouteTarget::Accept(target) = &route.target else { panic!("another target accepts nothing") };
            let (channel, key) = (asked.channel(route, target, id).unwrap(), asked.idempotency(route));
            let message = asked.message(route, target, id, &channel);
            let headers = [QUERY_HEADER, USER_HEADER].map(|name| message.header(name));
            format!("accept {} {} {key:?} {message:?} {headers:?} {}", route.template, target.event, page(&owed.page))
        }
        AdmissionOutcome::Proxy { route, client, page: reader, accept } => {
            let kind = if accept.is_some() { "tunnel" } else { "proxy" };
            format!("{kind} {} {:?} {}", template(route), client.user(), page(&reader))
        }
        AdmissionOutcome::Read { route, id, page: reader } => {
            format!("read {} {id} {}", template(route), page(&reader))
        }
    }
}

const WEBSOCKET: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const APP: &str = "Origin: https://app.example\r\n";
const EVIL: &str = "Origin: https://evil.example\r\n";
const ANN: &str = "X-User: ann\r\n";
const ID: &str = "0300000000000000000000000000000005";

/// The stage that has the outcome of a request with these lines, and the beginning of what is written, or of the outcome where nothing is.
fn ends(target: &str, lines: &[&str], change: impl FnOnce(&mut Case<'_>)) -> (&'static str, String) {
    let lines = format!("Host: gate.example\r\n{}", lines.concat());
    let mut case = Case { target, version: "1.1", lines: &lines, is_tls: false, has_hosts: true, away: None };
    change(&mut case);
    let (seen, stage) = case.same_however_parsed(&Gate::new());
    match seen.bytes.as_str() {
        "" => (stage, seen.outcome.split(' ').next().unwrap().to_owned()),
        bytes => (stage, bytes["HTTP/1.1 ".len()..][..3].to_owned()),
    }
}

#[test]
fn each_stage_lets_pass_what_it_should_and_refuses_the_rest() {
    let preflight = "Access-Control-Request-Method: POST\r\n";
    let result = format!("GET /jobs/a/{ID}");
    for (target, lines, stage, answer) in [
        ("GET /", &[APP, EVIL][..], "Sender", "400"),
        ("GET /a/../b", &[], "Path", "400"),
        ("GET /%zz", &[APP], "Path", "400"),
        ("OPTIONS *", &[], "Path", "400"),
        ("GET /nothing", &[APP], "Route", "404"),
        ("POST /", &["Content-Length: 1\r\n"], "Route", "405"),
        ("DELETE /jobs/a", &[APP], "Route", "405"),
        ("OPTIONS /jobs/a", &[APP, preflight], "Route", "204"),
        ("OPTIONS /jobs/a", &[EVIL, preflight], "Route", "403"),
        ("OPTIONS /jobs/a", &[APP], "Route", "405"),
        ("GET /events/a", &[EVIL], "Origin", "403"),
        ("GET /ws/a", &[EVIL, WEBSOCKET], "Origin", "403"),
        (&result, &[EVIL], "Origin", "403"),
        ("GET /ws/a", &[ANN], "Form", "426"),
        ("GET /ws/a", &[&WEBSOCKET.replace("13", "12"), ANN], "Form", "426"),
        ("GET /ws/a", &[&WEBSOCKET.replace("==", ""), ANN], "Form", "400"),
        ("GET /ws/%00", &[WEBSOCKET, APP], "Form", "400"),
        ("GET /cf/a?user=ann", &[WEBSOCKET, "Sec-WebSocket-Protocol: mqtt\r\n"], "Form", "400"),
        ("GET /events/%00", &[], "Form", "400"),
        ("GET /jobs/a/5", &[APP], "Form", "404"),
        ("GET /ws/a", &[WEBSOCKET], "Identity", "401"),
        ("GET /ws/a", &[WEBSOCKET, ANN, ANN], "Identity", "400"),
        ("GET /cf/a?user=", &[WEBSOCKET], "Identity", "400"),
        ("POST /jobs/a", &[APP], "Identity", "401"),
        ("POST /jobs/%00", &[ANN], "Target", "400"),
        ("POST /jobs/a", &[ANN, "Idempotency-Key: \"\r\n"], "Target", "400"),
        ("GET /", &[], "Target", "200"),
        ("GET /old", &[EVIL], "Origin", "403"),
        ("GET /svc/a", &[EVIL], "Target", "proxy"),
        ("PROPFIND /svc", &[], "Target", "proxy"),
        ("OPTIONS /svc/a", &[EVIL, preflight], "Target", "proxy"),
        ("GET /svc/a", &[EVIL, WEBSOCKET], "Origin", "403"),
        ("TRACE /svc/a", &[], "Route", "405"),
        ("GET /api/a", &[EVIL], "Origin", "403"),
        ("GET /api/a", &[APP], "Target", "proxy"),
        ("GET /api/a", &[APP, WEBSOCKET], "Target", "tunnel"),
        ("POST /api/a", &[APP, WEBSOCKET], "Form", "400"),
        ("GET /api/a", &[APP, &WEBSOCKET.replace("13", "12")], "Form", "426"),
        ("GET /api/a", &[APP, &WEBSOCKET.replace(" websocket", " h2c")], "Target", "proxy"),
        ("OPTIONS /api/a", &[APP, preflight], "Route", "204"),
        ("OPTIONS /api/a", &[EVIL, preflight], "Route", "403"),
        ("OPTIONS /api/a", &[], "Target", "proxy"),
        ("POST /old/a?b", &["Content-Length: 1\r\n"], "Target", "308"),
        ("HEAD /events/a", &[APP], "Target", "200"),
        ("GET /events/a?last_event_id=5", &[APP], "Target", "200"),
        ("GET /open/a", &[EVIL], "Target", "200"),
        ("GET /ws/a", &[WEBSOCKET, ANN, APP], "Target", "101"),
        ("GET /cf/a?user=ann", &[WEBSOCKET, "Sec-WebSocket-Protocol: x, Centrifuge-JSON\r\n"], "Target", "101"),
        ("POST /jobs/a?b=c", &[ANN, APP, "Content-Type: a/b\r\nIdempotency-Key: k\r\n"], "Target", "accept"),
        ("PATCH /jobs/a", &[EVIL, "Content-Length: 4\r\n"], "Target", "accept"),
        (&result, &[APP], "Target", "read"),
    ] {
        assert_eq!(ends(target, lines, |_| {}), (stage, answer.to_owned()), "{target} {lines:?}");
    }
}

#[test]
fn the_circumstances_of_a_request_decide_too() {
    use CloseReason::{Drain, TooManyConnections};
    let at = |stage, answer: &str| (stage, answer.to_owned());
    let elsewhere = |case: &mut Case<'_>| case.lines = "Host: rebound.example\r\n";
    assert_eq!(ends("GET /", &[], elsewhere), at("Host", "421"));
    assert_eq!(ends("GET /", &[], |case| (case.lines, case.has_hosts) = ("Host: any\r\n", false)), at("Target", "200"));
    let own = ["Origin: http://gate.example\r\n"];
    assert_eq!(ends("GET /events/a", &own, |_| {}), at("Target", "200"));
    assert_eq!(ends("GET /events/a", &own, |case| case.is_tls = true), at("Origin", "403"));
    assert_eq!(ends("GET /secure/a", &[], |case| case.is_tls = true), at("Target", "200"));
    assert_eq!(ends("POST /secure", &[], |case| case.is_tls = true), at("Route", "405"));
    for target in ["GET /secure/a", "POST /secure"] {
        assert_eq!(ends(target, &[], |_| {}), at("Route", "404"), "without TLS");
        let elsewhere =
            |case: &mut Case<'_>| (case.lines, case.has_hosts, case.is_tls) = ("Host: any\r\n", false, true);
        assert_eq!(ends(target, &[], elsewhere), at("Route", "404"), "for another host");
    }
    let (job, result) = (["X-User: ann\r\n"], format!("GET /jobs/a/{ID}"));
    for (away, page, websocket, read) in [
        (Drain, ("Room", "503"), ("Target", "101"), ("Target", "read")),
        (TooManyConnections, ("Room", "503"), ("Room", "503"), ("Room", "503")),
    ] {
        let turned_away = |case: &mut Case<'_>| case.away = Some(away);
        assert_eq!(ends("GET /", &[], turned_away), at(page.0, page.1));
        assert_eq!(ends("POST /jobs/a", &job, turned_away), at("Room", "503"));
        assert_eq!(ends("GET /ws/a", &[WEBSOCKET, ANN], turned_away), at(websocket.0, websocket.1));
        assert_eq!(ends(&result, &[], turned_away), at(read.0, read.1));
        assert_eq!(ends("GET /events/a", &[], turned_away), at("Target", "200"), "an EventSource gives up on all else");
    }
}

/// Each line is there or not, some twice.
fn lines() -> impl Strategy<Value = String> {
    let some = |lines: &'static [&'static str]| proptest::option::of(proptest::sample::select(lines));
    let origin = some(&[
        APP,
        EVIL,
        "Origin: null\r\n",
        "Origin: http://gate.example\r\n",
        "Origin: https://gate.example\r\nOrigin: https://app.example\r\n",
    ]);
    let websocket = some(&[
        WEBSOCKET,
        WEBSOCKET,
        "Upgrade: websocket\r\nConnection: close\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ]);
    let user = some(&[ANN, "X-User: \r\n", "X-User: a\r\nX-User: b\r\n", "X-User: \u{e9}\r\n"]);
    let asked = some(&[
        "Access-Control-Request-Method: POST\r\n",
        "Access-Control-Request-Method: GET\r\n",
        "Access-Control-Request-Method: TRACE\r\n",
    ]);
    let body =
        some(&["Content-Length: 0\r\n", "Content-Length: 4\r\n", "Content-Length: 4\r\nExpect: 100-continue\r\n"]);
    let rest = some(&[
        "Sec-WebSocket-Protocol: centrifuge-JSON\r\n",
        "Sec-WebSocket-Protocol: mqtt\r\n",
        "Last-Event-ID: 7\r\n",
        "Idempotency-Key: k\r\nContent-Type: text/plain\r\n",
        "Idempotency-Key: k\r\nIdempotency-Key: l\r\n",
        "Connection: close\r\n",
    ]);
    let host =
        proptest::sample::select(&["gate.example", "GATE.example:80", "rebound.example", "127.0.0.1:8080", ""][..]);
    (host, origin, websocket, user, asked, body, rest).prop_map(|(host, origin, websocket, user, asked, body, rest)| {
        let rest = [origin, websocket, user, asked, body, rest].into_iter().flatten().collect::<String>();
        format!("Host: {host}\r\n{rest}")
    })
}

fn target() -> impl Strategy<Value = String> {
    let method = proptest::sample::select(&["GET", "GET", "HEAD", "POST", "PUT", "PATCH", "OPTIONS", "get"][..]);
    let path = proptest::sample::select(
        &[
            "/",
            "/events/a",
            "/events/a%2Eb",
            "/events/",
            "/events/%zz",
            "/open/%FF",
            "/open/tg",
            "/ws/a",
            "/ws/a%20b",
            "/ws/%00",
            "/cf/a",
            "/cf/%00",
            "/jobs/a",
            "/jobs/%00",
            "/jobs/a/0300000000000000000000000000000005",
            "/jobs/a/5",
            "/jobs/a/",
            "/nothing",
            "/svc/a",
            "/api/a",
            "/a/./b",
            "http://gate.example/ws/a",
        ][..],
    );
    let query = proptest::sample::select(&["", "", "?user=ann", "?user=a&user=b", "?last_event_id=9", "?user="][..]);
    (method, path, query).prop_map(|(method, path, query)| format!("{method} {path}{query}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_head_that_is_given_up_between_two_stages_and_parsed_again_makes_no_difference(
        target in target(),
        lines in lines(),
        version in proptest::sample::select(&["1.1", "1.1", "1.0"][..]),
        is_tls in any::<bool>(),
        has_hosts in any::<bool>(),
        away in proptest::sample::select(&[None, None, Some(CloseReason::Drain), Some(CloseReason::TooManyConnections)][..]),
    ) {
        let case = Case { target: &target, version, lines: &lines, is_tls, has_hosts, away };
        case.same_however_parsed(&Gate::new());
    }
}
