//! Requests that cannot be served for a while, here or at all: their answers, and those that an EventSource must not
//! get.

use super::route::{PathMatch, RouteTarget};
use super::routes::Routes;
use crate::proto::CloseReason;
use crate::proto::http;

/// The reason why nothing new is begun. In a drain, results of accepted requests are still served.
#[derive(Clone, Copy)]
pub(super) struct TurnedAway {
    /// [`CloseReason::Drain`], or the reason why there is no room for the connection.
    pub reason: CloseReason,
    /// After this many seconds there is room again, here or elsewhere.
    pub retry_after_s: u32,
}

impl TurnedAway {
    /// Whether the request gets a 503. An event stream never does, because an EventSource gives up for ever after any
    /// status but 200 (the WHATWG HTML standard, "fail the connection"). The caller opens it, tells it when to
    /// reconnect, and ends it; in a drain, WebSockets too. If there are too many connections, no request deserves a
    /// place, whether it opens a stream or reads a result.
    pub(super) fn refuses(self, found: PathMatch, target: &RouteTarget) -> bool {
        let is_begun = found == PathMatch::Itself;
        match self.reason {
            CloseReason::Drain => is_begun && !target.is_stream(),
            _ => !matches!(target, RouteTarget::Sse { .. }),
        }
    }
}

/// Whether an incomplete head may be that of an EventSource: then its answer must be 200 or none.
pub(super) fn may_ask_for_events(input: &[u8], routes: &Routes) -> bool {
    let Some((method, path)) = http::request_line(input) else { return true };
    let Ok(segments) = http::split_path(path) else { return false };
    let route = routes.iter().find(|(_, route)| route.find(&segments).is_some_and(|found| route.takes(found, method)));
    route.is_some_and(|(_, route)| matches!(route.target, RouteTarget::Sse { .. }))
}
