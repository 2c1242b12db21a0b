//! Preflights: what a browser asks before it lets a page of another origin send a request (the Fetch standard,
//! "CORS-preflight request").

use crate::proto::http::Head;

/// Fields of a cross-origin request that a page may set: what `EventSource` sends when it resumes, and who it is.
pub(super) const FIELDS: &str = "Last-Event-ID, Authorization, Content-Type, Idempotency-Key";

/// The method that the page wants to use, if this is a preflight at all.
pub(super) fn asks_for<'a>(head: &Head<'a>) -> Option<&'a str> {
    let is_one = head.method == "OPTIONS" && head.header("origin").is_some();
    head.header("access-control-request-method").filter(|_| is_one)
}
