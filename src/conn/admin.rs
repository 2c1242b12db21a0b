//! Requests on the admin listener: publishing, history, presence, upstreams, metrics, health, readiness. They are for
//! programs, not for pages.

use super::Refused;
use super::history::Span;
use super::outbox::Outbox;
use super::settings::{Generation, Readiness, Settings};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::bus::HeaderBlock;
use crate::proto::http::{self, Head, Refusal, Reply};
use crate::proto::reserved::headers::{DISTINCT_HEADER, EVENT_HEADER, ID_HEADER, KEY_HEADER, OPCODE_HEADER};
use crate::proto::reserved::is_own_event;
use crate::proto::sse;
use crate::proto::subject::Subject;
use crate::proto::upstream::{ServerId, UpstreamId, UpstreamRule};
use crate::proto::user::User;

/// Headers of a publication that become headers of the message.
const MESSAGE_HEADERS: &[&str] = &[EVENT_HEADER, OPCODE_HEADER, KEY_HEADER, DISTINCT_HEADER, ID_HEADER];

/// The 404 of any other path.
const WHAT_THERE_IS: &str = "no such path; expected POST /api/channels/{channel}, GET /api/channels/{channel}/history, \
                             GET /api/channels/{channel}/presence, GET /api/users/{user}, GET /api/upstreams, \
                             POST /api/upstreams/{name}/{server}/drain, POST /api/upstreams/{name}/{server}/ready, \
                             POST /api/revocations, \
                             GET /metrics, GET /health or GET /ready";

/// Names in an error about one that is unknown.
const NAMES_SHOWN_MAX: usize = 16;

pub(super) enum AdminRequest {
    /// The answer is in the outbox.
    Answered { keep_alive: bool },
    /// The refusal is in the outbox.
    Refused(Refused),
    /// `POST /api/channels/{channel}`; the payload follows as the body.
    Publish(PublicationHead),
    /// `GET /api/channels/{channel}/history`; the channel's owner has the history.
    History { channel: Subject, span: Span },
    /// `GET /api/channels/{channel}/presence`; the channel's owner has the list.
    Presence { channel: Subject },
    /// `GET /api/users/{user}`; each shard knows its own connections, which subscribe to the user's subject.
    User(User),
    /// `GET /api/upstreams`; the shard has the counters.
    Upstreams,
    /// `POST /api/upstreams/{name}/{server}/drain` or `ready`; each shard knows its own requests.
    Drain { server: ServerId, is_drained: bool },
    /// `POST /api/revocations`; the body says which tokens.
    Revoke,
    /// `GET /metrics`; the shard has the counters.
    Metrics,
}

/// A message whose payload has not arrived.
pub(super) struct PublicationHead {
    pub subject: Subject,
    pub headers: Option<Box<[u8]>>,
}

/// The rule about hosts applies to every request, health and metrics included: none is for pages.
pub(super) fn request(head: &Head<'_>, settings: &Settings, outbox: &mut Outbox) -> AdminRequest {
    let Generation { admin_hosts: hosts, upstreams, .. } = &*settings.generation;
    if !hosts.allow(head.host) {
        let mut outcome = refuse(head, CloseReason::HostRefused, None, outbox);
        if let AdminRequest::Refused(refused) = &mut outcome {
            refused.remark = head.host.map(|host| hosts.remark("the admin listener", "admin.hosts", host));
        }
        return outcome;
    }
    // A browser sends Origin with a POST of a foreign page, and no page may use this listener.
    if head.header("origin").is_some() {
        return refuse(head, CloseReason::OriginRefused, None, outbox);
    }
    let segments = match http::split_path(head.path) {
        Ok(segments) => segments,
        Err(reason) => return refuse(head, reason, None, outbox),
    };
    let segments: Vec<&str> = segments.iter().map(|segment| &**segment).collect();
    match (segments.as_slice(), head.method) {
        (["api", "channels", channel], "POST") => match publication(head, channel) {
            Ok(publication) => AdminRequest::Publish(publication),
            Err(words) => explain(head, CloseReason::BadPublish, &words, outbox),
        },
        (["api", "channels", channel, "history"], "GET" | "HEAD") => match history_asked(head, channel) {
            Ok((channel, span)) => AdminRequest::History { channel, span },
            Err(words) => explain(head, CloseReason::MalformedRequest, &words, outbox),
        },
        (["api", "channels", channel, "presence"], "GET" | "HEAD") => match channel_named(channel) {
            Ok(channel) => AdminRequest::Presence { channel },
            Err(words) => explain(head, CloseReason::MalformedRequest, &words, outbox),
        },
        (["api", "users", user], "GET" | "HEAD") => match user_named(user) {
            Ok(user) => AdminRequest::User(user),
            Err(words) => explain(head, CloseReason::MalformedRequest, &words, outbox),
        },
        (["api", "upstreams"], "GET" | "HEAD") => AdminRequest::Upstreams,
        (["api", "upstreams", upstream, server, verb @ ("drain" | "ready")], "POST") => {
            match server_named(upstreams, upstream, server) {
                Ok(server) => AdminRequest::Drain { server, is_drained: *verb == "drain" },
                Err(words) => explain(head, CloseReason::NotFound, &words, outbox),
            }
        }
        (["api", "revocations"], "POST") => AdminRequest::Revoke,
        (["metrics"], "GET" | "HEAD") => AdminRequest::Metrics,
        (["health"], "GET" | "HEAD") => say(head, 200, "ok", outbox),
        (["ready"], "GET" | "HEAD") => match settings.readiness {
            Readiness::Ready => say(head, 200, "ready", outbox),
            // An ordinary answer, which is not counted as a refusal.
            Readiness::Leaving | Readiness::Closing => {
                say(head, CloseReason::Drain.row().http_status, "draining", outbox)
            }
        },
        (["api", "channels", _] | ["api", "revocations"] | ["api", "upstreams", _, _, "drain" | "ready"], _) => {
            refuse(head, CloseReason::MethodNotAllowed, Some("POST"), outbox)
        }
        (
            ["metrics" | "health" | "ready"]
            | ["api", "channels", _, "history" | "presence"]
            | ["api", "users", _]
            | ["api", "upstreams"],
            _,
        ) => refuse(head, CloseReason::MethodNotAllowed, Some("GET, HEAD"), outbox),
        _ => explain(head, CloseReason::NotFound, WHAT_THERE_IS, outbox),
    }
}

fn channel_named(name: &str) -> Result<Subject, String> {
    let subject = Subject::new(name).map_err(|error| format!("{name:?} is no channel: {error}"))?;
    if subject.is_reserved() {
        return Err(format!("{name:?} is no channel: names that begin with \"tg.\" are the gateway's own"));
    }
    Ok(subject)
}

fn user_named(name: &str) -> Result<User, String> {
    User::new(name).map_err(|error| format!("{name:?} is no user: {error}"))
}

/// The error is one sentence, with the names that there are.
fn server_named(upstreams: &[UpstreamRule], name: &str, text: &str) -> Result<ServerId, String> {
    let list = |names: Vec<&str>| names.join(", ");
    let Some((id, rule)) = (0..).zip(upstreams).find(|(_, rule)| *rule.name == *name) else {
        let names = upstreams.iter().map(|rule| &*rule.name).take(NAMES_SHOWN_MAX).collect();
        return Err(format!("there is no upstream {name:?}; expected one of: {}", list(names)));
    };
    match (0..).zip(&rule.servers).find(|(_, server)| *server.text == *text) {
        Some((server, _)) => Ok(ServerId { upstream: UpstreamId(id), server }),
        None => {
            let texts = rule.servers.iter().map(|server| &*server.text).take(NAMES_SHOWN_MAX).collect();
            Err(format!("the upstream {name:?} has no server {text:?}; expected one of: {}", list(texts)))
        }
    }
}

fn history_asked(head: &Head<'_>, channel: &str) -> Result<(Subject, Span), String> {
    let span = Span::of(head)?;
    Ok((channel_named(channel)?, span))
}

/// The message without its payload; the error is one sentence.
fn publication(head: &Head<'_>, channel: &str) -> Result<PublicationHead, String> {
    let subject = channel_named(channel)?;
    let mut block = HeaderBlock::new();
    for name in MESSAGE_HEADERS {
        let value = head.single_header(name).map_err(|_| format!("{name} stands more than once, or is not UTF-8"))?;
        let Some(value) = value else { continue };
        if !sse::is_valid_field(value) {
            return Err(format!("{name} may not hold control characters"));
        }
        if *name == EVENT_HEADER && is_own_event(value) {
            return Err(format!(
                "{name} begins with \"tg.\": such events are the gateway's own; any other name can be given"
            ));
        }
        if *name == ID_HEADER && value.len() > limits::MESSAGE_ID_BYTES_MAX {
            return Err(format!("{name} is longer than {} bytes", limits::MESSAGE_ID_BYTES_MAX));
        }
        block.push(name, value);
    }
    Ok(PublicationHead { subject, headers: (!block.is_empty()).then(|| block.finish()) })
}

fn say(head: &Head<'_>, status: u16, words: &str, outbox: &mut Outbox) -> AdminRequest {
    AdminRequest::Answered { keep_alive: write(head, status, words, outbox) }
}

/// Refuses with other words than those of `reason`.
fn explain(head: &Head<'_>, reason: CloseReason, words: &str, outbox: &mut Outbox) -> AdminRequest {
    let keep_alive = write(head, reason.row().http_status, words, outbox);
    AdminRequest::Refused(Refused { reason, remark: None, excess: None, is_last: !keep_alive })
}

/// Writes an answer, and returns whether the connection stays open.
fn write(head: &Head<'_>, status: u16, words: &str, outbox: &mut Outbox) -> bool {
    let to = head.reply_to();
    let to = if head.body.is_empty() { to } else { to.closing() };
    outbox.write(|out| {
        let reply = Reply::start(out, status, to).header("Content-Type", "text/plain; charset=utf-8");
        reply.header("Cache-Control", "no-store").body(format!("{words}\n").as_bytes());
    });
    to.keep_alive
}

fn refuse(head: &Head<'_>, reason: CloseReason, allow: Option<&str>, outbox: &mut Outbox) -> AdminRequest {
    let to = head.reply_to();
    let to = if head.body.is_empty() { to } else { to.closing() };
    let mut keep_alive = false;
    outbox.write(|out| keep_alive = Refusal { allow, ..Refusal::new(reason) }.write(out, to));
    AdminRequest::Refused(Refused { reason, remark: None, excess: None, is_last: !keep_alive })
}
