//! Promises of the bus: pieces mean what the whole means, what is refused without closing is skipped, and what a verb
//! carries is what it said.

use tidegate::proto::bus::{BusLimits, ConnectOptions, HeaderBlock, WorkerVerb, headers, next, write_error};
use tidegate::proto::subject::{Pattern, Subject};

const LIMITS: BusLimits = BusLimits { control_line_bytes_max: 512, payload_bytes_max: 4096 };

pub fn check(bytes: &[u8], cuts: &[usize]) {
    assert_eq!(read(bytes, cuts), read(bytes, &[]), "pieces mean what the whole means");
    check_headers(bytes);
}

/// All that was understood, in words, up to the error that closes.
fn read(bytes: &[u8], cuts: &[usize]) -> Vec<String> {
    let mut understood = Vec::new();
    let mut carry = Vec::new();
    for piece in super::pieces(bytes, cuts) {
        carry.extend_from_slice(piece);
        let mut input = &mut carry[..];
        loop {
            let before = input.len();
            match next(&mut input, &LIMITS) {
                Ok(None) => {
                    assert_eq!(input.len(), before, "an unfinished verb stays");
                    break;
                }
                Ok(Some(verb)) => {
                    assert!(input.len() < before);
                    check_verb(&verb);
                    understood.push(format!("{verb:?}"));
                }
                Err(error) => {
                    let mut line = Vec::new();
                    write_error(&mut line, &error);
                    let is_whole = line.starts_with(b"-ERR '") && line.ends_with(b"'\r\n");
                    assert_eq!((is_whole, line.is_empty()), (error.is_said(), !error.is_said()));
                    understood.push(error.to_string());
                    if error.closes() {
                        return understood;
                    }
                    assert!(input.len() < before, "what does not close is skipped");
                }
            }
        }
        carry = input.to_vec();
        let longest = LIMITS.control_line_bytes_max + LIMITS.payload_bytes_max + b"\r\n\r\n".len();
        assert!(carry.len() < longest, "what waits is bounded");
    }
    understood
}

fn check_verb(verb: &WorkerVerb) {
    match verb {
        WorkerVerb::Connect(json) => {
            let _ = ConnectOptions::parse(json);
        }
        WorkerVerb::Ping | WorkerVerb::Pong | WorkerVerb::Idle => {}
        WorkerVerb::Pub { subject, reply, headers, payload } => {
            assert!(headers.map_or(0, <[u8]>::len) + payload.len() <= LIMITS.payload_bytes_max);
            headers.iter().for_each(|headers| check_headers(headers));
            [Some(*subject), *reply].into_iter().flatten().for_each(check_name);
        }
        WorkerVerb::Sub { subject, queue, sid } => {
            check_name(subject);
            assert!(queue.is_none_or(|queue| !queue.is_empty()) && !sid.is_empty());
        }
        WorkerVerb::Unsub { .. } => {}
    }
}

fn check_name(name: &str) {
    assert!(!name.is_empty() && !name.contains([' ', '\t', '\r', '\n']), "a name cannot end its line");
    if let Ok(subject) = Subject::new(name) {
        let pattern = Pattern::new(name).expect("every subject is a pattern");
        assert!(pattern.is_literal() && pattern.matches(subject.as_str()));
    }
}

/// What is found can be carried, also in a block that is none; any value can be, and none forges another header.
fn check_headers(bytes: &[u8]) {
    assert!(headers::lookup(bytes, "A").is_none_or(headers::is_valid_value));
    let mut block = HeaderBlock::new();
    block.push("Value", &String::from_utf8_lossy(bytes));
    let block = block.finish();
    assert!(headers::is_valid(&block));
    assert!(headers::lookup(&block, "Value").is_some() && headers::lookup(&block, "A").is_none());
}
