//! Promises of the event stream: no payload forges a field, and pieces of a stream mean what the whole means.

use tidegate::proto::CloseReason;
use tidegate::proto::sse::{Parser, SseEvent, is_valid_field, write_comment, write_record};

const RECORD_BYTES_MAX: usize = 4096;

pub fn check(bytes: &[u8], cuts: &[usize]) {
    let read_in_pieces = read(bytes, cuts, RECORD_BYTES_MAX);
    assert_eq!(read_in_pieces, read(bytes, &[], RECORD_BYTES_MAX), "pieces mean what the whole means");
    for event in &read_in_pieces.0 {
        check_written_again(event);
    }
    check_published(bytes);
}

/// The events of a stream, and what ended it.
fn read(stream: &[u8], cuts: &[usize], record_bytes_max: usize) -> (Vec<SseEvent>, Option<CloseReason>) {
    let mut parser = Parser::new(record_bytes_max);
    let mut events = Vec::new();
    for mut piece in super::pieces(stream, cuts) {
        loop {
            match parser.next(&mut piece) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(reason) => return (events, Some(reason)),
            }
        }
        assert!(piece.is_empty());
    }
    (events, None)
}

/// Any bytes are one event's data, whatever lines and fields they look like; a valid name and id arrive as they are.
fn check_published(payload: &[u8]) {
    let name = std::str::from_utf8(payload).ok().filter(|name| is_valid_field(name));
    let mut stream = Vec::new();
    write_comment(&mut stream, &String::from_utf8_lossy(payload));
    assert_eq!(read(&stream, &[], usize::MAX), (Vec::new(), None), "a comment is no event");
    write_record(&mut stream, name, name, payload);
    let name = name.unwrap_or_default().to_string();
    let data = String::from_utf8_lossy(payload).replace("\r\n", "\n").replace('\r', "\n");
    assert_eq!(read(&stream, &[], usize::MAX), (vec![SseEvent { id: name.clone(), event: name, data }], None));
}

fn check_written_again(event: &SseEvent) {
    assert!(is_valid_field(&event.id) && !event.event.contains(['\r', '\n']) && !event.data.contains('\r'));
    if !is_valid_field(&event.event) {
        return; // A reader takes NUL in a name, we never write it.
    }
    let mut stream = Vec::new();
    write_record(&mut stream, Some(&event.id), Some(&event.event), event.data.as_bytes());
    assert_eq!(read(&stream, &[], usize::MAX), (vec![event.clone()], None));
}
