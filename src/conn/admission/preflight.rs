//! Preflights: the request with which a browser asks whether a page of another origin may send its request (the Fetch
//! standard, "CORS-preflight request").

use crate::proto::http::Head;

/// Header fields that any page which may use a route may set. Besides those that the gateway reads, these are set by
/// libraries: `EventSource` polyfills set `Cache-Control` and `Last-Event-ID` (npm `eventsource` below version 3,
/// Yaffle's event-source-polyfill, @microsoft/fetch-event-source), older Ajax libraries `X-Requested-With`, and some
/// `Pragma`. `Accept` and a few values of `Content-Type` need no permission, their longer or rarer values do.
const FIELDS: &str = "Accept, Authorization, Cache-Control, Content-Type, Idempotency-Key, Last-Event-ID, Pragma, \
                      X-Requested-With";

/// The method that the page wants to use; `None` if the request is no preflight.
pub(super) fn asks_for<'a>(head: &Head<'a>) -> Option<&'a str> {
    let is_one = head.method == "OPTIONS" && head.header("origin").is_some();
    head.header("access-control-request-method").filter(|_| is_one)
}

/// The list of allowed fields, including those of the route.
pub(super) fn fields(own: &[Box<str>]) -> String {
    let mut fields = FIELDS.to_owned();
    for field in own {
        fields.push_str(", ");
        fields.push_str(field);
    }
    fields
}
