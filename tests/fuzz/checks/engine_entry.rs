//! Promises about entries of the engine: whatever is one lies within its string, and says the same when it is written again.

use tidegate::proto::engine::entry::{EngineEntry, body};
use tidegate::proto::event::Message;
use tidegate::proto::subject::Subject;

pub fn check(bytes: &[u8], cuts: &[usize]) {
    for end in cuts.iter().copied().chain([bytes.len()]) {
        let Ok(entry) = EngineEntry::parse(&bytes[..end]) else { continue };
        assert!(bytes[..end].ends_with(entry.payload), "the payload is the rest");
        let Some(position) = entry.position else { continue };
        let channel = Subject::new("a").expect("it is one");
        let message = Message::new(channel, None, entry.headers.map(Into::into), entry.payload.into());
        let mut again = format!("\x01{:08x} {} {} ", position.epoch, position.offset, entry.published_ms).into_bytes();
        again.extend_from_slice(&body(&message, entry.origin));
        assert_eq!(EngineEntry::parse(&again), Ok(entry));
    }
}
