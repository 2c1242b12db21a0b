//! Arrivals and departures on one channel, of which all others there are told.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;

use super::keep_at_it;
use super::protocol::Client;

pub const RULES: &str = r#"
[[channel]]
name = "present"
presence = true

[[route]]
path = "/present"
websocket = { protocol = "centrifuge-json", channels = "present" }
"#;

/// Of subscriptions and their ends, in one frame.
const PAIRS_PER_FRAME: usize = 100;
/// Frames before the gateway reads more slowly (`limits.commands_per_second`): from then on, a new connection is faster.
const FRAMES: usize = 8;

pub fn presence(address: SocketAddr, connections: usize, is_over: &AtomicBool) -> Result<(), String> {
    let pair = [r#""subscribe":{"channel":"present","join_leave":true}"#, r#""unsubscribe":{"channel":"present"}"#];
    let frame: Vec<String> = pair.iter().cycle().take(2 * PAIRS_PER_FRAME).map(|&command| command.to_owned()).collect();
    let begin = |_| Client::connect(address, "/present", None);
    keep_at_it(connections, is_over, begin, |client, _| (0..FRAMES).try_for_each(|_| client.ask(&frame)))
}
