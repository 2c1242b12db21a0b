//! The configured limits in the form that connections use.

use crate::conn::quota::{Quota, QuotaBy};
use crate::gateway::config::{ClientLimit, Config, Frequency, LimitedBy};
use crate::proto::networks::Networks;
use crate::proto::pace::Gcra;

pub(super) fn all(config: &Config) -> Result<Vec<Quota>, String> {
    config.client_limits.iter().map(quota).collect()
}

fn quota(limit: &ClientLimit) -> Result<Quota, String> {
    let except = Networks::parse(limit.except.iter().map(String::as_str));
    let rate = |frequency: Option<Frequency>| {
        frequency.map(|Frequency { count, per }| Gcra::new(count, per, limit.burst.unwrap_or(count)))
    };
    Ok(Quota {
        name: limit.name.as_str().into(),
        by: match limit.by {
            LimitedBy::Network { ipv4_prefix, ipv6_prefix } => QuotaBy::Network { ipv4_prefix, ipv6_prefix },
            LimitedBy::User => QuotaBy::User,
            LimitedBy::Route => QuotaBy::Route,
        },
        connections: limit.connections,
        handshake_rate: rate(limit.handshake_rate),
        request_rate: rate(limit.request_rate),
        message_rate: rate(limit.message_rate),
        routes: limit.routes.iter().map(|path| path.as_str().into()).collect(),
        except: except.ok_or("limit.except has a text that is no network")?,
        closes: limit.closes,
    })
}
