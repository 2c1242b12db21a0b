//! Promises about the answers of upstreams: the head and the body depend on the bytes alone, never on where they were cut, and
//! what a client gets of them has one reading.

use tidegate::proto::http::{Body, BodyStep, Framed, Framing, PageAccess, ReplyTo, next_answer, write_answer};

const CLIENTS: [ReplyTo; 2] = [
    ReplyTo { is_head: false, minor_version: 1, keep_alive: true },
    ReplyTo { is_head: false, minor_version: 0, keep_alive: false },
];

pub fn check(bytes: &[u8], cuts: &[usize]) {
    let mut whole = bytes.to_vec();
    let mut rest = &mut whole[..];
    let read = next_answer(&mut rest, false);
    let left = rest.len();
    for &cut in cuts {
        let mut first = bytes[..cut].to_vec();
        match (next_answer(&mut &mut first[..], false), &read) {
            (Ok(None), Ok(Some(_))) => assert!(cut < bytes.len() - left, "it was whole"),
            (Ok(None), _) => {}
            (Ok(Some(part)), Ok(Some(answer))) => assert_eq!((part.status, part.body), (answer.status, answer.body)),
            (Err(_), Err(_)) => {}
            (part, answer) => panic!("{part:?} at {cut}, {answer:?} of all"),
        }
    }
    let Ok(Some(answer)) = read else { return };
    for to in CLIENTS {
        let mut out = Vec::new();
        let (framed, keep_alive) = write_answer(&mut out, &answer, to, None, PageAccess::Server, || 0);
        let mut written = &mut out[..];
        let again = next_answer(&mut written, false).expect("a valid head").expect("a whole head");
        assert!(written.is_empty() && (keep_alive || !again.keep_alive));
        assert_eq!((again.status, again.phrase), (answer.status, answer.phrase));
        let expected = match (answer.body, to.minor_version) {
            (Framing::Chunked | Framing::UntilEnd, 1) => Framing::Chunked,
            (Framing::Chunked, _) => Framing::UntilEnd,
            (framing, _) => framing,
        };
        assert_eq!(again.body, expected);
        assert_eq!(content(answer.body, rest), content(again.body, &passed_on(answer.body, framed, rest)));
    }
}

/// The content, as far as it is there, and whether it is whole.
fn content(framing: Framing, wire: &[u8]) -> (Vec<u8>, bool) {
    let (mut wire, mut content) = (wire.to_vec(), Vec::new());
    let (mut input, mut body) = (&mut wire[..], Body::new(framing, u64::MAX).expect("it may be long"));
    while let Ok(BodyStep::Data(piece)) = body.next(&mut input) {
        content.extend_from_slice(piece);
    }
    (content, body.ends_with_connection())
}

/// The body as its client gets it.
fn passed_on(framing: Framing, framed: Framed, wire: &[u8]) -> Vec<u8> {
    let (content, is_whole) = content(framing, wire);
    let mut out = Vec::new();
    framed.write(&mut out, &content);
    if is_whole {
        out.extend_from_slice(framed.end());
    }
    out
}
