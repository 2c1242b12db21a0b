//! Verbs whole, in pieces and broken. Answers that nats-server 2.9 gave are marked with what it was sent.

use super::*;
use proptest::prelude::*;

const LIMITS: BusLimits = BusLimits { control_line_bytes_max: 64, payload_bytes_max: 1000 };

/// Everything that `bytes` holds, as text, up to the first error that closes.
fn spoken(bytes: &[u8]) -> Vec<String> {
    let mut bytes = bytes.to_vec();
    let mut input = &mut bytes[..];
    let mut said = Vec::new();
    loop {
        match next(&mut input, &LIMITS) {
            Ok(None) => return said,
            Ok(Some(verb)) => said.push(format!("{verb:?}")),
            Err(error) => {
                said.push(error.to_string());
                if error.closes() {
                    return said;
                }
            }
        }
    }
}

/// The same when the bytes arrive in pieces that end at `ends`.
fn spoken_in_pieces(bytes: &[u8], ends: impl Iterator<Item = usize>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut said = Vec::new();
    let mut from = 0;
    for end in ends.chain([bytes.len()]) {
        kept.extend_from_slice(&bytes[from..end]);
        from = end;
        let mut input = &mut kept[..];
        loop {
            let before = input.len();
            match next(&mut input, &LIMITS) {
                Ok(None) => {
                    assert_eq!(input.len(), before, "an unfinished verb stays");
                    break;
                }
                Ok(Some(verb)) => said.push(format!("{verb:?}")),
                Err(error) => {
                    said.push(error.to_string());
                    if error.closes() {
                        return said;
                    }
                }
            }
        }
        kept = input.to_vec();
    }
    said
}

fn one(bytes: &[u8]) -> String {
    let mut said = spoken(bytes);
    assert_eq!(said.len(), 1, "{said:?}");
    said.remove(0)
}

const SESSION: &[u8] = b"CONNECT {\"verbose\":false}\r\nPING\r\npong\nSUB a.* 1\r\nSUB\ta.>\tgroup \t2\r\nUNSUB 1\r\nunsub 2 5\r\n\
    PUB a.b 5\r\nhe\r\no\r\nPUB  a.b  _INBOX.1  0 \r\n\r\nHPUB a.b r 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nhi\r\nPUB \xff 1\r\nx\r\nPING\r\n";

#[test]
fn takes_a_session_verb_by_verb() {
    assert_eq!(
        spoken(SESSION),
        [
            r#"Connect("{\"verbose\":false}")"#,
            "Ping",
            "Pong",
            r#"Sub { subject: "a.*", queue: None, sid: "1" }"#,
            r#"Sub { subject: "a.>", queue: Some("group"), sid: "2" }"#,
            r#"Unsub { sid: "1", max: None }"#,
            r#"Unsub { sid: "2", max: Some(5) }"#,
            r#"Pub { subject: "a.b", reply: None, headers: None, payload: [104, 101, 13, 10, 111] }"#,
            r#"Pub { subject: "a.b", reply: Some("_INBOX.1"), headers: None, payload: [] }"#,
            &format!(
                "Pub {{ subject: \"a.b\", reply: Some(\"r\"), headers: Some({:?}), payload: [104, 105] }}",
                b"NATS/1.0\r\nA: b\r\n\r\n"
            ),
            "Permissions Violation for Publish to \"\u{fffd}\"",
            "Ping",
        ]
    );
}

#[test]
fn byte_by_byte_it_is_the_same_session() {
    assert_eq!(spoken_in_pieces(SESSION, 1..SESSION.len()), spoken(SESSION));
}

#[test]
fn is_as_lenient_as_nats_server() {
    assert_eq!(spoken(b"PING xx\r\nPING   \t\r\n"), ["Ping", "Ping"]);
    assert_eq!(one(b"CONNECT{}\r\n"), r#"Connect("{}")"#);
    assert_eq!(one(b"CONNECT {} \r\n"), r#"Connect("{}")"#);
    assert_eq!(one(b"CONNECT\r\n"), r#"Connect("")"#);
    assert_eq!(one(b"SUB a 1\r\r\n"), r#"Sub { subject: "a", queue: None, sid: "1" }"#);
    assert_eq!(one(b"PUB a\r1 1\nx\r\n"), r#"Pub { subject: "a", reply: Some("1"), headers: None, payload: [120] }"#);
    assert_eq!(one(b"PUB a 001\r\nx\r\n"), r#"Pub { subject: "a", reply: None, headers: None, payload: [120] }"#);
    assert_eq!(one(b"HPUB a 0 1\r\nx\r\n"), r#"Pub { subject: "a", reply: None, headers: None, payload: [120] }"#);
    assert_eq!(spoken(b"UNSUB 1 x\r\nUNSUB 1 -1\r\n"), [r#"Unsub { sid: "1", max: None }"#; 2]);
}

#[test]
fn unknown_operations_are_known_by_their_first_wrong_byte() {
    for bad in [
        &b"X"[..],
        b" PING\r\n",
        b"\r\n",
        b"\n",
        b"PX",
        b"PINGX",
        b"PUBX a 1\r\n",
        b"PUB\r\n",
        b"SUB\n",
        b"UNSUB\r",
        b"MSG a 1 1\r\nx\r\n",
        b"INFOS {}\r\n",
        b"+KO\r\n",
        b"-OK\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"PUB a 1\r\nx\n",
        b"PUB a 1\r\nxy",
        b"PUB a 1\r\nx\ry",
    ] {
        assert_eq!(one(bad), "Unknown Protocol Operation", "{:?}", bad.escape_ascii());
    }
}

#[test]
fn wrong_arguments_are_malformed() {
    for bad in [
        &b"PUB a\r\n"[..],
        b"PUB \r\n",
        b"PUB a b c 1\r\n",
        b"PUB a -1\r\n",
        b"PUB a +1\r\n",
        b"PUB a 0x1\r\n",
        b"PUB a 99999999999999999999\r\n",
        b"PUB a 0000000001\r\n",
        b"HPUB a 12\r\n",
        b"HPUB a 13 12\r\n",
        b"HPUB a x 12\r\n",
        b"HPUB a b c 1 12\r\n",
        b"SUB a\r\n",
        b"SUB a b c d\r\n",
        b"SUB a b c d e f\r\n",
        b"-ERR 'x'\r\n",
        b"UNSUB \r\n",
        b"UNSUB 1 2 3\r\n",
        b"CONNECT \xff\r\n",
    ] {
        assert_eq!(one(bad), "Parser Error", "{:?}", bad.escape_ascii());
    }
}

#[test]
fn what_does_not_close_is_skipped() {
    for bad in [
        &b"SUB \xff 1\r\n"[..],
        b"SUB a \xff\r\n",
        b"SUB a \xff 1\r\n",
        b"PUB \xff 1\r\nx\r\n",
        b"PUB a \xff 1\r\nx\r\n",
    ] {
        let said = spoken(&[bad, b"PING\r\n"].concat());
        assert!(said[0].starts_with("Permissions Violation for ") && said[1] == "Ping", "{said:?}");
    }
    let limits = BusLimits { control_line_bytes_max: 4096, ..LIMITS };
    let mut bytes = format!("SUB a {}\r\nUNSUB {0}\r\n", "s".repeat(SID_BYTES_MAX + 1)).into_bytes();
    let mut input = &mut bytes[..];
    assert_eq!(next(&mut input, &limits), Err(BusError::SubscribeNotAllowed("a".into())));
    assert_eq!(next(&mut input, &limits), Ok(Some(WorkerVerb::Unsub { sid: "", max: None })));
}

#[test]
fn what_servers_say_is_passed_over() {
    assert_eq!(spoken(b"+OK\r\n+ok x\nINFO {}\r\ninfo\r\nPING\r\n"), ["Idle", "Idle", "Idle", "Idle", "Ping"]);
}

#[test]
fn headers_are_not_read() {
    let verb = format!("Pub {{ subject: \"a\", reply: None, headers: Some({:?}), payload: [33] }}", b"hello");
    assert_eq!(spoken(b"HPUB a 5 6\r\nhello!\r\nPING\r\n"), [&verb, "Ping"]);
}

#[test]
fn a_line_has_its_bound_whether_it_ends_or_not() {
    for (end, is_whole) in [(&b"\r\n"[..], true), (b"\n", true), (b"\r", false), (b"", false)] {
        let line = |length: usize| [b"PING", &vec![b' '; length - 4][..], end].concat();
        assert_eq!(spoken(&line(64)).len(), usize::from(is_whole), "{:?}", end.escape_ascii());
        let too_long = [&line(65)[..], b" "].concat();
        assert_eq!(one(&too_long), "maximum control line exceeded", "{:?}", end.escape_ascii());
    }
}

#[test]
fn a_payload_is_refused_by_its_line() {
    assert_eq!(one(b"PUB a 1001\r\n"), "Maximum Payload Violation");
    assert_eq!(one(b"PUB a 999999999\r\n"), "Maximum Payload Violation");
    assert_eq!(one(b"HPUB a 12 1001\r\n"), "Maximum Payload Violation");
    let largest = [b"PUB a 1000\r\n", &[b'x'; 1000][..], b"\r\n"].concat();
    assert!(one(&largest).starts_with("Pub"));
}

#[test]
fn payload_and_headers_are_borrowed_from_the_input() {
    let mut bytes = b"HPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\n".to_vec();
    let range = bytes.as_ptr_range();
    let mut input = &mut bytes[..];
    let Ok(Some(WorkerVerb::Pub { headers: Some(headers), payload, .. })) = next(&mut input, &LIMITS) else { panic!() };
    assert!(range.contains(&headers.as_ptr()) && range.contains(&payload.as_ptr()));
    assert!(input.is_empty());
}

fn verb() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"PING\r\n".to_vec()),
        "SUB [a-c.*>]{1,8} ([a-z]{1,3} )?[0-9]{1,4}\r?\n".prop_map(String::into_bytes),
        "UNSUB [0-9]{1,4}( [0-9]{1,3})?\r\n".prop_map(String::into_bytes),
        ("[pP][uU][bB][ \t]{1,3}[a-c.]{1,8}( r)? ", prop::collection::vec(any::<u8>(), 0..40)).prop_map(
            |(line, body)| { [line.as_bytes(), format!("{}\r\n", body.len()).as_bytes(), &body, b"\r\n"].concat() }
        ),
        "HPUB a 18 20\r\nNATS/1.0\r\nA: [a-z]\r\n\r\n[a-z]{2}\r\n".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #[test]
    fn splits_change_nothing(
        verbs in prop::collection::vec(verb(), 0..12),
        ends in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytes = verbs.concat();
        let mut ends: Vec<usize> = ends.iter().map(|end| end.index(bytes.len() + 1)).collect();
        ends.sort_unstable();
        prop_assert_eq!(spoken_in_pieces(&bytes, ends.into_iter()), spoken(&bytes));
    }

    #[test]
    fn survives_anything(bytes in any::<Vec<u8>>()) {
        spoken(&bytes);
    }
}
