//! Requests for which there is no place for a while, here or at all: what they get, and what an EventSource must not get.

use super::route::{PathMatch, Target};
use super::routes::Routes;
use crate::proto::CloseReason;
use crate::proto::http;

/// Why nothing new is begun.
#[derive(Clone, Copy)]
pub(super) struct TurnedAway {
    /// [`CloseReason::Drain`], or [`CloseReason::TooManyConnections`].
    pub reason: CloseReason,
    /// After so many seconds there is room again, here or elsewhere.
    pub retry_after_s: u32,
}

impl TurnedAway {
    /// Whether it gets a 503. An event stream never does: an EventSource gives up for ever when it gets anything but 200 (the WHATWG
    /// HTML standard, "fail the connection"). It is opened, told when to come back, and ended by whoever opens it; in a drain
    /// WebSockets are too. Where there are too many, no answer is worth a place, whether it is of now or of earlier.
    pub(super) fn refuses(self, found: PathMatch, target: &Target) -> bool {
        let is_begun = found == PathMatch::Itself;
        match self.reason {
            CloseReason::Drain => is_begun && !target.is_stream(),
            _ => !matches!(target, Target::Sse { .. }),
        }
    }
}

/// Whether a head that is not whole yet may be that of an EventSource: its answer must be 200 or none.
pub(super) fn may_ask_for_events(input: &[u8], routes: &Routes) -> bool {
    let Some((method, path)) = http::request_line(input) else { return true };
    let Ok(segments) = http::split_path(path) else { return false };
    let route = routes.iter().find(|(_, route)| route.find(&segments).is_some_and(|found| route.takes(found, method)));
    route.is_some_and(|(_, route)| matches!(route.target, Target::Sse { .. }))
}
