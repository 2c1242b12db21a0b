//! Promises of the HTTP front: pieces mean what the whole means, a head means what it says, a refusal is one reply.

use tidegate::proto::CloseReason;
use tidegate::proto::http::{
    Body, BodyStep, Framing, Glimpse, Head, Refusal, ReplyTo, next_head, query_parameter, split_path, websocket_key,
};

const BODY_BYTES_MAX: u64 = 4096;

/// All that was understood: each head in words, and the content of its body.
#[derive(Debug, Default, PartialEq, Eq)]
struct Understood {
    requests: Vec<(String, Vec<u8>)>,
    is_refused: bool,
}

pub fn check(bytes: &[u8], cuts: &[usize]) {
    assert_eq!(read(bytes, cuts), read(bytes, &[]), "pieces mean what the whole means");
}

fn read(bytes: &[u8], cuts: &[usize]) -> Understood {
    let mut understood = Understood::default();
    let mut body = None;
    let mut carry = Vec::new();
    for piece in super::pieces(bytes, cuts) {
        carry.extend_from_slice(piece);
        let _ = Glimpse::of(&carry);
        let mut input = &mut carry[..];
        match read_piece(&mut input, &mut body, &mut understood.requests) {
            Ok(()) => carry = input.to_vec(),
            Err(reason) => {
                // Which of several faults is named may depend on the pieces; that there is one may not.
                check_refusal(reason);
                understood.is_refused = true;
                break;
            }
        }
    }
    understood
}

/// Takes from the input all that is whole.
fn read_piece(
    input: &mut &mut [u8],
    body: &mut Option<Body>,
    requests: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), CloseReason> {
    loop {
        let Some(decoder) = body else {
            let Some(head) = next_head(input)? else { return Ok(()) };
            check_head(&head);
            requests.push((format!("{head:?}"), Vec::new()));
            *body = Some(Body::new(head.body, BODY_BYTES_MAX)?);
            continue;
        };
        match decoder.next(input)? {
            BodyStep::Data(data) => {
                let (_, content) = requests.last_mut().expect("a body follows its head");
                content.extend_from_slice(data);
                assert!(!data.is_empty() && content.len() as u64 <= BODY_BYTES_MAX);
            }
            BodyStep::End => *body = None,
            BodyStep::NeedMore => return Ok(()),
        }
    }
}

fn check_head(head: &Head) {
    assert!(head.path.starts_with('/') || (head.path == "*" && head.method == "OPTIONS"));
    assert!(head.minor_version == 0 || (head.minor_version == 1 && head.host.is_some()));
    assert!(head.host.is_none_or(|host| !host.contains(['/', '@', ' ', ','])));
    assert!(head.minor_version == 1 || head.body != Framing::Chunked);
    for field in head.fields() {
        assert!(!field.name.is_empty() && field.name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':'));
        assert!(!field.value.iter().any(|byte| b"\r\n\0".contains(byte)));
    }
    if let Ok(segments) = split_path(head.path) {
        assert!(segments.iter().all(|segment| segment != "." && segment != ".."));
    }
    let _ = query_parameter(head.query, "token");
    if let Ok(key) = websocket_key(head) {
        assert!(key.len() == 24 && head.body.is_empty());
    }
    check_written_again(head);
}

/// A head that is written down from what was understood is understood the same way.
fn check_written_again(head: &Head) {
    let query = head.query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut bytes = format!("{} {}{query} HTTP/1.{}\r\n", head.method, head.path, head.minor_version).into_bytes();
    for field in head.fields() {
        bytes.extend_from_slice(&[field.name.as_bytes(), b": ", field.value, b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"\r\n");
    if bytes.len() > tidegate::limits::HEAD_BYTES_MAX {
        return; // The blank after each colon was not there.
    }
    // Of a head that was refused it would be all that is known of its sender.
    let only = |name| head.single_header(name).ok().flatten();
    assert_eq!(Glimpse::of(&bytes), Glimpse { origin: only("origin"), host: only("host") });
    let mut input = &mut bytes[..];
    let again = next_head(&mut input).expect("a valid head").expect("a whole head");
    assert!(input.is_empty());
    assert_eq!(again.fields(), head.fields());
    assert_eq!((again.method, again.path, again.query), (head.method, head.path, head.query));
    assert_eq!((again.body, again.keep_alive), (head.body, head.keep_alive));
}

fn check_refusal(reason: CloseReason) {
    let mut out = Vec::new();
    assert!(!Refusal::new(reason).write(&mut out, ReplyTo::UNREADABLE), "nothing follows a refused head");
    let reply = String::from_utf8(out).expect("a reply in ASCII");
    let (head, body) = reply.split_once("\r\n\r\n").expect("a whole reply");
    assert!(head.starts_with("HTTP/1.1 4") || head.starts_with("HTTP/1.1 505 "));
    assert!(head.contains("\r\nConnection: close\r\n") && !body.contains('\r'));
}
