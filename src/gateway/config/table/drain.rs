//! Keys of `[drain]`: how the gateway goes away.

use super::{Fallback, Kind, Row, count_of};
use crate::limits;

pub(super) const ROWS: &[Row] = &[
    Row {
        path: "drain",
        kind: Kind::Table,
        fallback: Fallback::Nothing(""),
        help: "How the gateway drains when it is told to stop.",
        doc: "Readiness fails at once. After `notice_s` the gateway accepts no clients, and disconnects the \
              connected ones one after the other within `spread_s`, each with a time to reconnect after. Then it \
              disconnects workers. The drain takes at most 10 seconds longer than both times together.",
    },
    Row {
        path: "drain.notice_s",
        kind: count_of("seconds", 0, 600),
        fallback: Fallback::Whole(limits::DRAIN_NOTICE.as_secs()),
        help: "How long only readiness fails (`GET /ready` on the admin listener gets 503) while everything is still \
              served.",
        doc: "Longer than the load balancer takes to notice; 0 without a load balancer.",
    },
    Row {
        path: "drain.spread_s",
        kind: count_of("seconds", 0, 3_600),
        fallback: Fallback::Whole(limits::DRAIN_SPREAD.as_secs()),
        help: "Time over which clients are disconnected; a few clients take less.",
        doc: "All of them reconnect, to other gateways or to the next process: clients / seconds is the number of \
              connections per second there.",
    },
];
