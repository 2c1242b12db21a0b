//! Names of one's own on a pattern that keeps history.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::protocol::Client;
use super::{keep_at_it, wait};

/// Of all channels that are kept.
pub const PREFIX: &str = "kept";
/// With the admin listener, which shows what is still kept.
pub const RULES: &str = r#"
[admin]
address = "127.0.0.1:0"

[[channel]]
name = "kept.>"
history = { messages = 10 }

[[route]]
path = "/names"
websocket = { protocol = "centrifuge-json", channels = "kept.>" }
"#;

/// In all: more than twice as many idle channels as a shard remembers.
const NAMES: usize = 240_000;
const NAMES_PER_FRAME: usize = 100;
/// Frames before the gateway reads more slowly (`limits.commands_per_second`): from then on, a new connection is faster.
const FRAMES: usize = 8;

pub fn names(address: SocketAddr, connections: usize, is_over: &AtomicBool) -> Result<(), String> {
    let next = AtomicUsize::new(0);
    let begin = |_| Client::connect(address, "/names", None);
    keep_at_it(connections, is_over, begin, |client, is_over| {
        for _ in 0..FRAMES {
            let first = next.fetch_add(NAMES_PER_FRAME, Ordering::Relaxed);
            if first >= NAMES {
                wait(is_over);
                return Ok(());
            }
            let name = |number: usize| format!("{PREFIX}.own.{number}");
            let pair = |number: usize| {
                let name = name(number);
                ["subscribe", "unsubscribe"].map(|what| format!("\"{what}\":{{\"channel\":\"{name}\"}}"))
            };
            client.ask(&(first..first + NAMES_PER_FRAME).flat_map(pair).collect::<Vec<_>>())?;
        }
        Ok(())
    })
}
