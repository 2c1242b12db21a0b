//! Upstreams, and the routes that give requests to them.

use std::time::Duration;

use super::super::tree::Content;
use super::super::{Place, ProxyHost, ProxyTarget, Route, Target, form, validate};
use super::{ConfigBuilder, Section};
use crate::base::Remote;
use crate::limits::{self, SERVERS_PER_UPSTREAM_MAX, UPSTREAMS_MAX};
use crate::proto::upstream::{
    Balance, HashedPart, HealthRule, ServerAddress, UpstreamRule, UpstreamServer, UpstreamTls,
};

pub(super) fn all(builder: &mut ConfigBuilder<'_>, top: &Section<'_>) -> Vec<UpstreamRule> {
    let mut upstreams: Vec<UpstreamRule> = Vec::new();
    let sections = top.tables("upstream");
    if let Some(section) = sections.get(UPSTREAMS_MAX) {
        builder.missing(section, &format!("there are too many [[upstream]]; expected at most {UPSTREAMS_MAX}"));
    }
    for section in sections {
        let Some(upstream) = upstream(builder, &section) else { continue };
        if upstreams.iter().any(|other| other.name == upstream.name) {
            builder.conflict(&section, "name", "is the name of an earlier [[upstream]]; expected another");
        }
        upstreams.push(upstream);
    }
    upstreams
}

fn upstream(builder: &mut ConfigBuilder<'_>, section: &Section<'_>) -> Option<UpstreamRule> {
    let name = builder.required(section, "name")?;
    let sticky = section.table("sticky");
    let seconds = |key: &str| Duration::from_secs(section.whole(key));
    let rule = UpstreamRule {
        balance: balance(builder, section),
        sticky: sticky.and_then(|sticky| builder.required(&sticky, "cookie")).map(String::into),
        connect_timeout: Duration::from_millis(section.whole("connect_timeout_ms")),
        keep_alive: seconds("keep_alive_s"),
        idle_max: section.size("idle_max"),
        in_flight_max: section.value("in_flight_max").map(|_| section.size("in_flight_max")),
        queue_max: section.size("queue_max"),
        queue_wait: Duration::from_millis(section.whole("queue_wait_ms")),
        fails_max: u32::try_from(section.whole("fails_max")).unwrap_or(u32::MAX),
        eject: seconds("eject_s"),
        slow_start: seconds("slow_start_s"),
        resolve: seconds("resolve_s"),
        tls: section.table("tls").map(|tls| upstream_tls(builder, &tls)),
        health: section.table("health").and_then(|health| health_rule(builder, &health)),
        sources: section.texts("source").iter().filter_map(|text| text.parse().ok()).collect(),
        ..UpstreamRule::new(&name)
    };
    doubts_of_waiting(builder, section);
    let rule = servers(builder, section, rule);
    let unnamed = rule.servers.iter().find(|server| server.certified_host().is_none());
    if let Some(server) = unnamed
        && rule.tls.as_ref().is_some_and(|tls| tls.name.is_none())
    {
        let words =
            format!("has {:?}, for which TLS needs the name of its certificate; expected tls.name", server.text);
        builder.conflict(section, "servers", &words);
    }
    if section.whole("resolve_s") != limits::RESOLVE_INTERVAL.as_secs()
        && !rule.servers.iter().any(UpstreamServer::is_named)
    {
        builder.doubt(section, "resolve_s", "has no effect, because no server is configured by its name");
    }
    Some(rule)
}

fn upstream_tls(builder: &mut ConfigBuilder<'_>, section: &Section<'_>) -> UpstreamTls {
    let file = |name: &str| section.text(name).map(|file| builder.path(section, name, &file));
    let (ca, certificate, key) = (file("ca"), file("certificate"), file("key"));
    let own = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            builder.conflict(section, "certificate", "is set without upstream.tls.key; expected both");
            None
        }
        (None, Some(_)) => {
            builder.conflict(section, "key", "is set without upstream.tls.certificate; expected both");
            None
        }
    };
    UpstreamTls { name: section.text("name").map(String::into), ca, own }
}

fn health_rule(builder: &mut ConfigBuilder<'_>, section: &Section<'_>) -> Option<HealthRule> {
    let path = builder.required(section, "path")?;
    let count = |key: &str| u32::try_from(section.whole(key)).unwrap_or(u32::MAX);
    let defaults = HealthRule::new(&path);
    let interval = section.whole("interval_s");
    let timeout = match section.value("timeout_s") {
        Some(_) => section.whole("timeout_s"),
        None => section.whole("timeout_s").min(interval),
    };
    if timeout > interval {
        let words = format!("is more than the {interval} s between two probes; expected at most as long");
        builder.conflict(section, "timeout_s", &words);
    }
    Some(HealthRule {
        interval: Duration::from_secs(interval),
        timeout: Duration::from_secs(timeout),
        rise: count("rise"),
        fall: count("fall"),
        statuses: section.text("status").and_then(|text| form::statuses(&text)).unwrap_or(defaults.statuses.clone()),
        ..defaults
    })
}

/// Adds the servers, each once, and checks that the sources can reach them.
fn servers(builder: &mut ConfigBuilder<'_>, section: &Section<'_>, mut rule: UpstreamRule) -> UpstreamRule {
    let texts = builder.required_texts(section, "servers", "a server, or a list of servers");
    if texts.len() > SERVERS_PER_UPSTREAM_MAX {
        let words = format!("has {} servers; expected at most {SERVERS_PER_UPSTREAM_MAX}", texts.len());
        builder.conflict(section, "servers", &words);
        return rule;
    }
    for text in &texts {
        let Some(at) = form::server(text) else { continue };
        if rule.servers.iter().any(|server| server.at == at) {
            builder.conflict(section, "servers", &format!("has {text:?} twice; expected each server once"));
        }
        if let ServerAddress::Fixed(Remote::Tcp(address)) = &at
            && !rule.sources.is_empty()
            && !rule.sources.iter().any(|source| source.is_ipv4() == address.is_ipv4())
        {
            let words = format!("has no address of the family of {text:?}; expected one");
            builder.conflict(section, "source", &words);
        }
        rule = rule.with(text, at);
    }
    if !rule.sources.is_empty()
        && rule.servers.iter().all(|server| matches!(server.at, ServerAddress::Fixed(Remote::Unix(_))))
    {
        builder.doubt(section, "source", "has no effect on unix sockets");
    }
    rule
}

fn balance(builder: &mut ConfigBuilder<'_>, section: &Section<'_>) -> Balance {
    let is_hashed = section.text("balance").as_deref() == Some("hash");
    match (is_hashed, section.table("hash")) {
        (false, None) => Balance::Least,
        (true, Some(hash)) => hashed_part(builder, &hash).map_or(Balance::Least, Balance::Hash),
        (true, None) => {
            builder.conflict(section, "balance", "needs the key hash; expected hash = { cookie = \"…\" }");
            Balance::Least
        }
        (false, Some(_)) => {
            builder.conflict(section, "hash", "needs balance = \"hash\"");
            Balance::Least
        }
    }
}

fn hashed_part(builder: &mut ConfigBuilder<'_>, section: &Section<'_>) -> Option<HashedPart> {
    let text = |name: &str| section.text(name).map(String::into);
    let parts = [
        text("cookie").map(HashedPart::Cookie),
        text("header").map(HashedPart::Header),
        text("query").map(HashedPart::Query),
        text("parameter").map(HashedPart::Parameter),
        text("by").map(|_: Box<str>| HashedPart::Address),
    ];
    let mut parts = parts.into_iter().flatten();
    match (parts.next(), parts.next()) {
        (Some(part), None) => Some(part),
        (first, _) => {
            let has = if first.is_some() { "more than one" } else { "none" };
            let words = format!("hash has {has} of cookie, header, query, parameter and by; expected one of them");
            builder.missing(section, &words);
            None
        }
    }
}

/// Waiting has no effect where nothing is full. The printed defaults are no contradiction.
fn doubts_of_waiting(builder: &mut ConfigBuilder<'_>, section: &Section<'_>) {
    let defaults = [
        ("queue_max", limits::UPSTREAM_QUEUE_MAX as u64),
        ("queue_wait_ms", limits::UPSTREAM_QUEUE_WAIT.as_millis() as u64),
    ];
    for (name, default) in defaults {
        if section.value("in_flight_max").is_none() && section.whole(name) != default {
            builder.doubt(section, name, "has no effect without in_flight_max");
        }
    }
}

/// The proxied target of a route, written in full or as a text.
pub(super) fn proxy(
    builder: &mut ConfigBuilder<'_>,
    route: &Section<'_>,
    path: Option<&str>,
    upstreams: &mut Vec<UpstreamRule>,
) -> Option<ProxyTarget> {
    let empty = super::Table::default();
    let (section, upstream) = match (route.table("proxy"), route.fitting("proxy")) {
        (Some(section), _) => {
            let upstream = builder.required(&section, "upstream")?;
            (section, upstream)
        }
        (None, Some(Content::Text(text))) => {
            let place = route.value("proxy").map_or(Place::File, |value| value.place.clone());
            (Section { table: &empty, place, path: "route[].proxy".to_owned() }, text.clone())
        }
        _ => return None,
    };
    let (owner, key) = if section.value("upstream").is_some() { (&section, "upstream") } else { (route, "proxy") };
    let known = known_upstream(builder, (owner, key), &upstream, upstreams)?;
    hashed_parameter(builder, owner, key, path, &upstreams[known]);
    let strip = section.text("strip");
    if let (Some(strip), Some(path)) = (&strip, path)
        && !is_beginning(strip, path)
    {
        let words = format!("is no beginning of the path {path:?}; expected whole segments of it");
        builder.conflict(&section, "strip", &words);
    }
    let seconds = |key: &str| Duration::from_secs(section.whole(key));
    Some(ProxyTarget {
        upstream: upstreams[known].name.to_string(),
        strip,
        host: match section.text("host").as_deref() {
            None | Some("client") => ProxyHost::Client,
            Some("upstream") => ProxyHost::Upstream,
            Some(text) => ProxyHost::Named(text.to_owned()),
        },
        body_bytes_max: section.value("body_bytes_max").map(|_| section.whole("body_bytes_max")),
        response_timeout: seconds("response_timeout_s"),
        idle_timeout: seconds("idle_timeout_s"),
        stream_idle: seconds("stream_idle_s"),
        retries: u8::try_from(section.whole("retries")).unwrap_or(u8::MAX),
        has_websockets: section.switch("websocket"),
        has_encoded_slashes: section.switch("encoded_slashes"),
        takes_any_name: section.text("header_names").as_deref() == Some("lenient"),
        calls_events_back: section.text("event_stream_errors").as_deref() != Some("status"),
    })
}

/// The index of the upstream that a name or a URL stands for; one of a URL is added.
pub(super) fn known_upstream(
    builder: &mut ConfigBuilder<'_>,
    (owner, key): (&Section<'_>, &str),
    text: &str,
    upstreams: &mut Vec<UpstreamRule>,
) -> Option<usize> {
    if let Some(known) = upstreams.iter().position(|known| &*known.name == text) {
        return Some(known);
    }
    if form::is_upstream_name(text) {
        let near = validate::nearest(text, upstreams.iter().map(|known| &*known.name));
        let expected = near.map_or_else(
            || "expected the name of one, or a URL such as \"http://127.0.0.1:3000\"".to_owned(),
            |near| format!("did you mean {near:?}?"),
        );
        builder.conflict(owner, key, &format!("names no [[upstream]]; {expected}"));
        return None;
    }
    match form::server_of_url(text) {
        Ok(_) if upstreams.len() >= UPSTREAMS_MAX => {
            builder.conflict(owner, key, &format!("is one upstream too many; expected at most {UPSTREAMS_MAX}"));
            None
        }
        Ok((server, at)) => {
            let tls = text.starts_with("https://").then(UpstreamTls::default);
            upstreams.push(UpstreamRule { tls, ..UpstreamRule::new(text) }.with(&server, at));
            Some(upstreams.len() - 1)
        }
        Err(words) => {
            builder.conflict(owner, key, words);
            None
        }
    }
}

fn hashed_parameter(
    builder: &mut ConfigBuilder<'_>,
    owner: &Section<'_>,
    key: &str,
    path: Option<&str>,
    upstream: &UpstreamRule,
) {
    if let (Balance::Hash(HashedPart::Parameter(name)), Some(path)) = (&upstream.balance, path)
        && !form::path_parameters(path).contains(&&**name)
    {
        let words = format!("chooses its server by {{{name}}}, which the path {path:?} does not have");
        builder.conflict(owner, key, &words);
    }
}

/// Routes that lead back to the gateway.
pub(super) fn doubts_of_circles(builder: &mut ConfigBuilder<'_>, top: &Section<'_>, config: &super::Config) {
    let is_own = |at: &ServerAddress| match at {
        ServerAddress::Fixed(Remote::Tcp(address)) => config.listeners.iter().any(|listener| {
            let is_every = listener.address.ip().is_unspecified() && address.ip().is_loopback();
            listener.address == *address || is_every && listener.address.port() == address.port()
        }),
        _ => false,
    };
    let circle = config.upstreams.iter().flat_map(|upstream| &upstream.servers).find(|server| is_own(&server.at));
    let Some(server) = circle else { return };
    let words = format!("leads to {}, where this gateway listens itself", server.text);
    let of_upstream =
        top.tables("upstream").into_iter().find(|section| section.texts("servers").contains(&server.text.to_string()));
    let is_proxied = |route: &(Section<'_>, &Route)| match &route.1.target {
        Target::Proxy(proxy) => config
            .upstreams
            .iter()
            .any(|upstream| *upstream.name == *proxy.upstream && upstream.servers.contains(server)),
        _ => false,
    };
    match of_upstream {
        Some(section) => builder.doubt(&section, "servers", &words),
        None => {
            let routes = top.tables("route");
            if let Some((section, _)) = routes.into_iter().zip(&config.routes).find(is_proxied) {
                builder.doubt(&section, "proxy", &words);
            }
        }
    }
}

/// Whether a text is whole literal segments at the beginning of a path.
fn is_beginning(strip: &str, path: &str) -> bool {
    path.strip_prefix(strip).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
