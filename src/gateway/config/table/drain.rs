//! Keys of `[drain]`: how the gateway goes away.

use super::{Fallback, Kind, Row, count_of};
use crate::limits;

pub(super) const ROWS: &[Row] = &[
    Row {
        path: "drain",
        kind: Kind::Table,
        fallback: Fallback::Nothing(""),
        help: "How the gateway goes away when it is told to stop.",
        doc: "Readiness fails at once. After `notice_s` no client is let in any more, and those who are there are closed one \
              after the other within `spread_s`, each told when to come back. Then workers are closed. The whole takes \
              at most 10 seconds longer than the two.",
    },
    Row {
        path: "drain.notice_s",
        kind: count_of("seconds", 0, 600),
        fallback: Fallback::Whole(limits::DRAIN_NOTICE.as_secs()),
        help: "How long only readiness fails (`GET /ready` on the admin listener gets 503) and everything is served.",
        doc: "Longer than the load balancer takes to see it; 0 where nobody asks.",
    },
    Row {
        path: "drain.spread_s",
        kind: count_of("seconds", 0, 3_600),
        fallback: Fallback::Whole(limits::DRAIN_SPREAD.as_secs()),
        help: "Over how long clients are sent away; a few clients take less.",
        doc: "All of them connect again somewhere: this decides how many of them in a second.",
    },
];
