use proptest::prelude::*;

use super::super::{Body, BodyStep, Cors, next_answer, next_head};
use super::*;

const TO: ReplyTo = ReplyTo { is_head: false, minor_version: 1, keep_alive: true };
const UNIX_TIME: fn() -> u64 = || 784_111_777;

fn trace(lines: &str) -> TraceContext {
    let mut bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
    TraceContext::of(&next_head(&mut &mut bytes[..]).unwrap().unwrap(), true, [1, 2, 3])
}

fn own() -> OwnFields<'static> {
    OwnFields {
        host: Some("shop.example"),
        client: IpAddr::from([192, 0, 2, 1]),
        is_secure: true,
        called: Some("shop.example"),
        is_from_proxy: false,
        id: "id-1",
        trace: trace(""),
        pseudonym: "tidegate-0a1b2c3d",
        takes_any_name: false,
        is_upgrade: false,
        credentials: ForwardedCredentials::default(),
    }
}

const SET: &str = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n\
                   X-Request-Id: id-1\r\ntraceparent: 00-00000000000000010000000000000002-0000000000000003-00\r\nVia: 1.1 tidegate-0a1b2c3d\r\n";

/// The request with these lines after its request line and `Host`, as its upstream gets it, and the fields left out.
fn forwarded_by(own: &OwnFields<'_>, line: &str, lines: &str) -> (String, u32) {
    let mut bytes = format!("{line}\r\nHost: shop.example\r\n{lines}\r\n").into_bytes();
    let head = next_head(&mut &mut bytes[..]).unwrap().expect("a head");
    let mut out = Vec::new();
    let unnameable = write_request(&mut out, &head, head.path, head.query, own);
    (String::from_utf8(out).unwrap(), unnameable)
}

fn forwarded(line: &str, lines: &str) -> String {
    forwarded_by(&own(), line, lines).0
}

fn passed_on_to(to: ReplyTo, answer: &str) -> (String, Framed, bool) {
    let mut bytes = answer.as_bytes().to_vec();
    let answer = next_answer(&mut &mut bytes[..], to.is_head).unwrap().expect("a head");
    let mut out = Vec::new();
    let (framed, keep_alive) = write_answer(&mut out, &answer, to, None, PageAccess::Server, UNIX_TIME);
    (String::from_utf8(out).unwrap(), framed, keep_alive)
}

#[test]
fn a_request_goes_on_in_origin_form_with_the_gateways_own_fields_last() {
    let request = forwarded("GET /a?b=c HTTP/1.1", "Accept: */*\r\nCookie: d=e\r\n");
    assert_eq!(
        request,
        format!("GET /a?b=c HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\nCookie: d=e\r\n{SET}\r\n")
    );
    assert!(forwarded("GET http://shop.example/a HTTP/1.1", "").starts_with("GET /a HTTP/1.1\r\n"));
}

#[test]
fn what_a_token_says_is_told_and_no_value_of_a_client_in_its_place() {
    let stripped: [Box<str>; 2] = ["X-User".into(), "X-Roles".into()];
    let told = [("X-User".into(), "ann".into())];
    let lines = "x-user: root\r\nX_User: root\r\nX-ROLES: admin\r\nConnection: X-User\r\nX-Users: all\r\n";
    for (told, expected) in [(&told[..], "X-User: ann\r\n"), (&[][..], "")] {
        let credentials = ForwardedCredentials { stripped: &stripped, told, hides_subprotocols: false };
        let (request, unnameable) = forwarded_by(&OwnFields { credentials, ..own() }, "GET /a HTTP/1.1", lines);
        let via = "Via: 1.1 tidegate-0a1b2c3d\r\n";
        let set = SET.replace(via, &format!("{expected}{via}"));
        assert_eq!(request, format!("GET /a HTTP/1.1\r\nHost: shop.example\r\nX-Users: all\r\n{set}\r\n"));
        assert_eq!(unnameable, 1);
    }
}

#[test]
fn a_field_that_has_a_meaning_to_the_gateway_tells_no_claim() {
    for name in ["X-User", "Remote-User", "User"] {
        assert!(may_be_told(name), "{name}");
    }
    for name in ["", "Host", "X_User", "Tg-User", "X-Forwarded-User", "Connection", "Via", "Cookie", "Te"] {
        assert!(!may_be_told(name), "{name}");
    }
}

#[test]
fn the_host_of_a_server_is_inserted_when_it_is_known() {
    let (without, _) = forwarded_by(&OwnFields { host: None, ..own() }, "GET /a HTTP/1.1", "Accept: */*\r\n");
    let mut out = Vec::new();
    insert_host(&mut out, without.as_bytes(), "10.0.0.7:80");
    let expected = format!("GET /a HTTP/1.1\r\nHost: 10.0.0.7:80\r\nAccept: */*\r\n{SET}\r\n");
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn fields_of_one_connection_end_here_and_so_do_those_that_it_nominates() {
    let request = forwarded(
        "GET / HTTP/1.1",
        "Connection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nTrailer: a\r\nProxy-Authorization: b\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: c\r\nExpect: 100-continue\r\nX-Yours: 2\r\n",
    );
    assert_eq!(request, format!("GET / HTTP/1.1\r\nHost: shop.example\r\nX-Yours: 2\r\n{SET}\r\n"));
}

#[test]
fn a_client_cannot_nominate_the_gateways_own_fields_away() {
    let request =
        forwarded("GET / HTTP/1.1", "Connection: X-Forwarded-For, X-Forwarded-Proto, Via, Host, X-Request-Id\r\n");
    assert_eq!(request, format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{SET}\r\n"));
}

#[test]
fn a_client_leaves_no_value_of_its_own_in_the_gateways_fields() {
    let lines = "X-Forwarded-For: 1.2.3.4\r\nx-forwarded-proto: x\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Prefix: /evil\r\n\
                 X-Forwarded-Port: 1\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX-Request-Id: evil\r\nTg-User: ann\r\n";
    assert_eq!(forwarded("GET / HTTP/1.1", lines), format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{SET}\r\n"));
    let (request, _) = forwarded_by(&OwnFields { is_from_proxy: true, ..own() }, "GET / HTTP/1.1", lines);
    let expected = format!(
        "GET / HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-Prefix: /evil\r\nX-Forwarded-Port: 1\r\n{SET}\r\n"
    );
    assert_eq!(request, expected, "a trusted proxy may say more");
}

#[test]
fn what_vendors_add_to_a_trace_goes_on_with_it_alone() {
    let given = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    let lines = format!("{given}tracestate: a=b\r\n");
    assert_eq!(forwarded("GET / HTTP/1.1", &lines), format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{SET}\r\n"));
    let continued = OwnFields { trace: trace(given), is_from_proxy: true, ..own() };
    let (request, _) = forwarded_by(&continued, "GET / HTTP/1.1", &lines);
    assert!(request.contains("\r\ntracestate: a=b\r\n"), "{request}");
    assert_eq!(request.matches("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000003-01\r\n").count(), 1);
    assert!(!request.contains("00f067aa0ba902b7"), "{request}");
}

#[test]
fn names_that_a_backend_may_fold_into_others_are_left_out() {
    let (request, unnameable) =
        forwarded_by(&own(), "GET / HTTP/1.1", "X_Forwarded_For: 1.2.3.4\r\nX.User: ann\r\nA!b: c\r\nX-Ok-1: d\r\n");
    assert_eq!((request, unnameable), (format!("GET / HTTP/1.1\r\nHost: shop.example\r\nX-Ok-1: d\r\n{SET}\r\n"), 3));
}

#[test]
fn where_any_name_passes_none_does_that_could_be_taken_for_the_gateways_own() {
    let stripped: [Box<str>; 1] = ["X-User".into()];
    let credentials = ForwardedCredentials { stripped: &stripped, told: &[], hides_subprotocols: false };
    let lenient = OwnFields { takes_any_name: true, credentials, ..own() };
    let lines = "X_Forwarded_For: 1.2.3.4\r\nX.User: root\r\nX_USER: root\r\nTg_User: root\r\nTransfer_Encoding: chunked\r\n\
                 Content_Length: 5\r\nTrace_State: a\r\ntrace_parent: b\r\nX_Tenant: c\r\nsoap.action: d\r\n";
    let (request, left_out) = forwarded_by(&lenient, "GET / HTTP/1.1", lines);
    let passed = "Trace_State: a\r\ntrace_parent: b\r\nX_Tenant: c\r\nsoap.action: d\r\n";
    assert_eq!(request, format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{passed}{SET}\r\n"));
    assert_eq!(left_out, 6);
}

#[test]
fn the_framing_of_a_request_is_written_anew() {
    for (line, lines, framing) in [
        ("POST / HTTP/1.1", "", "Content-Length: 0\r\n"),
        ("PUT / HTTP/1.1", "", "Content-Length: 0\r\n"),
        ("PATCH / HTTP/1.1", "", "Content-Length: 0\r\n"),
        ("DELETE / HTTP/1.1", "", ""),
        ("GET / HTTP/1.1", "Content-Length: 007\r\n", "Content-Length: 7\r\n"),
        ("POST / HTTP/1.1", "Transfer-Encoding: Chunked\r\n", "Transfer-Encoding: chunked\r\n"),
        ("POST / HTTP/1.1", "Connection: content-length\r\nContent-Length: 5\r\n", "Content-Length: 5\r\n"),
    ] {
        let expected = format!("{line}\r\nHost: shop.example\r\n{framing}{SET}\r\n");
        assert_eq!(forwarded(line, lines), expected, "{line} {lines}");
    }
}

#[test]
fn the_via_of_others_stays_and_our_own_shows_a_loop() {
    let request = forwarded("GET / HTTP/1.0", "Via: 1.1 edge\r\n");
    assert!(request.contains("Via: 1.1 edge\r\n") && request.contains("\r\nVia: 1.0 tidegate-0a1b2c3d\r\n"));
    for (via, is_loop) in [
        ("Via: 1.1 tidegate-0a1b2c3d\r\n", true),
        ("Via: 1.1 a, 1.0 tidegate-0a1b2c3d (x)\r\n", true),
        ("Via: 1.1 tidegate-0a1b2c3e\r\n", false),
        ("", false),
    ] {
        let mut bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{via}\r\n").into_bytes();
        let head = next_head(&mut &mut bytes[..]).unwrap().unwrap();
        assert_eq!(is_looping(&head, "tidegate-0a1b2c3d"), is_loop, "{via}");
    }
}

#[test]
fn only_an_admitted_websocket_goes_on_as_an_upgrade() {
    let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n";
    let (request, _) = forwarded_by(&OwnFields { is_upgrade: true, ..own() }, "GET / HTTP/1.1", lines);
    assert!(request.ends_with("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
    assert!(request.contains("\r\nSec-WebSocket-Key: k\r\n"));
    assert!(!forwarded("GET / HTTP/1.1", lines).to_lowercase().contains("\r\nupgrade:"));
}

#[test]
fn an_answer_goes_on_as_it_came_without_the_fields_of_its_connection() {
    let (text, framed, keep_alive) = passed_on_to(
        TO,
        "HTTP/1.1 207 Odd Words\r\nConnection: close, X-Hop\r\nX-Hop: a\r\nKeep-Alive: timeout=5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\
         X_Any: c\r\nDate: d\r\nContent-Length: 05\r\n\r\n",
    );
    assert_eq!(
        text,
        "HTTP/1.1 207 Odd Words\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX_Any: c\r\nDate: d\r\nContent-Length: 5\r\n\r\n"
    );
    assert_eq!((framed, keep_alive), (Framed::Bare, true));
}

#[test]
fn a_routes_word_about_pages_replaces_the_servers() {
    let answer = "HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\nAccess-Control-Allow-Credentials: true\r\n\
                  Access-Control-Expose-Headers: X-A\r\nVary: Accept\r\nDate: d\r\nContent-Length: 0\r\n\r\n";
    let kept = "Access-Control-Expose-Headers: X-A\r\nVary: Accept\r\nDate: d\r\nContent-Length: 0\r\n";
    let cors = |origin, credentials| Some(Cors { origin, credentials });
    let own =
        "Access-Control-Allow-Origin: https://a.example\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n";
    for (access, expected) in [
        (PageAccess::Route { cors: cors("https://a.example", true), varies: true }, own),
        (PageAccess::Route { cors: cors("*", false), varies: false }, "Access-Control-Allow-Origin: *\r\n"),
        (PageAccess::Route { cors: None, varies: true }, "Vary: Origin\r\n"),
        (PageAccess::Route { cors: None, varies: false }, ""),
    ] {
        let mut bytes = answer.as_bytes().to_vec();
        let head = next_answer(&mut &mut bytes[..], false).unwrap().unwrap();
        let mut out = Vec::new();
        write_answer(&mut out, &head, TO, None, access, UNIX_TIME);
        assert_eq!(String::from_utf8(out).unwrap(), format!("HTTP/1.1 200 OK\r\n{kept}{expected}\r\n"));
    }
    assert_eq!(passed_on_to(TO, answer).0, answer, "without a rule of the route, as it came");
}

#[test]
fn an_answer_without_a_date_gets_one() {
    let (text, ..) = passed_on_to(TO, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(text, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");
    let mut bytes = b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
    let answer = next_answer(&mut &mut bytes[..], false).unwrap().expect("a head");
    let mut out = Vec::new();
    write_answer(&mut out, &answer, TO, None, PageAccess::Server, || u64::MAX);
    assert_eq!(
        out, b"HTTP/1.1 204 No Content\r\nDate: Fri, 31 Dec 9999 23:59:59 GMT\r\n\r\n",
        "whatever the clock says"
    );
}

#[test]
fn a_body_of_unknown_length_is_chunked_or_lasts_until_the_end_as_the_client_understands_it() {
    let chunked = Framed::Streamed(Streaming::Chunked);
    for answer in
        ["HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0 200 OK\r\nDate: d\r\n\r\n"]
    {
        let (text, framed, keep_alive) = passed_on_to(TO, answer);
        assert_eq!(text, "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!((framed, keep_alive), (chunked, true));
        let (text, framed, keep_alive) = passed_on_to(ReplyTo { minor_version: 0, ..TO }, answer);
        assert_eq!(text, "HTTP/1.1 200 OK\r\nDate: d\r\nConnection: close\r\n\r\n");
        assert_eq!((framed, keep_alive), (Framed::Streamed(Streaming::UntilClose), false));
    }
    let old = ReplyTo { minor_version: 0, ..TO };
    let (text, ..) = passed_on_to(old, "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(text, "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n");
}

#[test]
fn an_answer_without_a_body_keeps_the_length_that_a_get_would_have_but_for_a_204() {
    let to_head = ReplyTo { is_head: true, ..TO };
    let (text, framed, keep_alive) = passed_on_to(to_head, "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 7\r\n\r\n");
    assert_eq!(text, "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 7\r\n\r\n");
    assert_eq!((framed, keep_alive), (Framed::Bare, true));
    let (text, ..) = passed_on_to(to_head, "HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(text, "HTTP/1.1 200 OK\r\nDate: d\r\n\r\n");
    let (text, ..) = passed_on_to(TO, "HTTP/1.1 304 Not Modified\r\nDate: d\r\nContent-Length: 7\r\n\r\n");
    assert_eq!(text, "HTTP/1.1 304 Not Modified\r\nDate: d\r\nContent-Length: 7\r\n\r\n");
    let (text, ..) = passed_on_to(TO, "HTTP/1.1 204 No Content\r\nDate: d\r\nContent-Length: 7\r\n\r\n");
    assert_eq!(text, "HTTP/1.1 204 No Content\r\nDate: d\r\n\r\n");
}

#[test]
fn an_early_hint_goes_on_without_framing_and_date() {
    let mut bytes =
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nContent-Length: 3\r\nConnection: x\r\n\r\n".to_vec();
    let answer = next_answer(&mut &mut bytes[..], false).unwrap().unwrap();
    assert!(answer.is_interim());
    let mut out = Vec::new();
    write_interim(&mut out, &answer);
    assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
}

proptest! {
    #[test]
    fn what_is_written_is_read_again_with_the_same_framing(
        lines in prop::collection::vec("[A-Za-z_-]{1,12}: [ -~]{0,12}", 0..6),
        body in prop::sample::select(vec!["", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"]),
    ) {
        let mut bytes = format!("POST /a HTTP/1.1\r\nHost: a\r\n{}\r\n{body}\r\n", lines.join("\r\n")).into_bytes();
        if let Ok(Some(head)) = next_head(&mut &mut bytes[..]) {
            let mut out = Vec::new();
            write_request(&mut out, &head, head.path, head.query, &own());
            let mut rest = &mut out[..];
            let again = next_head(&mut rest).unwrap().unwrap();
            let framing = if head.body == Framing::None { Framing::Length(0) } else { head.body };
            prop_assert_eq!((again.body, again.keep_alive, again.expects_continue), (framing, true, false));
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_body_passed_on_in_pieces_is_the_same(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
        let framed = Framed::of_request(Framing::Chunked);
        let mut wire = Vec::new();
        pieces.iter().for_each(|piece| framed.write(&mut wire, piece));
        wire.extend_from_slice(framed.end());
        let (mut body, mut input, mut read) = (Body::new(Framing::Chunked, u64::MAX).unwrap(), &mut wire[..], Vec::new());
        while let BodyStep::Data(data) = body.next(&mut input).unwrap() {
            read.extend_from_slice(data);
        }
        prop_assert!(body.is_over() && input.is_empty());
        prop_assert_eq!(read, pieces.concat());
    }
}
