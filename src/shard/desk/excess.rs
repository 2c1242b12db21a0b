//! Limits for strangers (`[[limit]]`): what a connection is counted for, and the counter and the log line of what was too much.

use std::net::IpAddr;

use log::info;

use super::Desk;
use crate::conn::Conn;
use crate::conn::quota::{CountedStream, Excess, Measure, Quotas, Usage};
use crate::conn::settings::Settings;

/// Counts and logs it. Strangers decide how often that happens, so the log folds the lines of one limit.
pub(in crate::shard) fn count_excess(desk: &Desk, excess: Excess, ip: IpAddr) {
    let Some(quotas) = &desk.settings.generation.quotas else { return };
    if let Some(counter) = desk.counters().limited(excess.quota, excess.measure) {
        counter.add(1);
    }
    let Some(left_out) = desk.fold.say(&("limit", excess.quota, excess.measure), desk.now) else { return };
    let (name, what) = (quotas.name(excess.quota), excess.measure.word());
    match excess.measure {
        Measure::Message if !quotas.closes(excess.quota) => {
            info!("limit {name:?}: {what} of {ip} come too fast, and are read more slowly{left_out}");
        }
        _ => info!("limit {name:?}: {what} of {ip} are too many, and are refused{left_out}"),
    }
}

/// What limits charge the client of an open stream for; `with_user`: its user, too.
pub(in crate::shard) fn usage_of<'a>(conn: &'a Conn, settings: &'a Settings, with_user: bool) -> Usage<'a> {
    let route = &settings.generation.routes[conn.session.route()].template;
    let user = conn.session.who().0.filter(|_| with_user);
    Usage { ip: conn.link.peer().ip(), route: Some(route), user }
}

/// How often the connections of this shard are counted, each once for each limit: all shards' are what the accounts say.
pub(in crate::shard) fn counted_again(desk: &Desk, quotas: &Quotas) -> usize {
    let counted = desk.slots.keys().filter_map(|key| desk.slots.get(key)).map(|conn| {
        let (standing, stream) = (conn.session.counted.standing(), conn.session.counted.stream());
        let usage = usage_of(conn, &desk.settings, stream == CountedStream::ByRouteAndUser);
        quotas.counts_of(&usage, standing, stream)
    });
    counted.sum()
}
