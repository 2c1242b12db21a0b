//! Requests on the admin listener: publishing, history, presence, upstreams, metrics, health, readiness. They are for
//! programs, not for pages.

mod endpoints;

use endpoints::{Call, Found, find, what_there_is};
pub use endpoints::{ENDPOINTS, Endpoint};

use super::about::About;
use super::collect::Purpose;
use super::history::Span;
use super::outbox::Outbox;
use super::settings::{Generation, Readiness, Settings};
use super::{Refused, Step};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::bus::HeaderBlock;
use crate::proto::http::{self, Head, Refusal, Reply};
use crate::proto::presence::Whereabouts;
use crate::proto::reserved::headers::{DISTINCT_HEADER, EVENT_HEADER, ID_HEADER, KEY_HEADER, OPCODE_HEADER};
use crate::proto::reserved::is_own_event;
use crate::proto::sse;
use crate::proto::subject::Subject;
use crate::proto::upstream::{ServerId, UpstreamId, UpstreamRule};
use crate::proto::user::User;

/// Headers of a publication that become headers of the message.
const MESSAGE_HEADERS: &[&str] = &[EVENT_HEADER, OPCODE_HEADER, KEY_HEADER, DISTINCT_HEADER, ID_HEADER];

/// Names in an error about one that is unknown.
const NAMES_SHOWN_MAX: usize = 16;

pub(super) enum AdminRequest<'a> {
    /// The answer is in the outbox.
    Answered { keep_alive: bool },
    /// The refusal is in the outbox.
    Refused(Refused),
    /// The shard owes the answer to this step; what the answer is about.
    Asked(About, Step<'a>),
    /// The body follows, for this purpose.
    Collect(Purpose),
}

/// A message whose payload has not arrived.
pub(super) struct PublicationHead {
    pub subject: Subject,
    pub headers: Option<Box<[u8]>>,
}

/// The rule about hosts applies to every request, health and metrics included: none is for pages.
pub(super) fn request<'a>(head: &Head<'_>, settings: &Settings, outbox: &mut Outbox) -> AdminRequest<'a> {
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
    let (endpoint, parameters) = match find(&segments, head.method) {
        Found::Endpoint(endpoint, parameters) => (endpoint, parameters),
        Found::OtherMethods(methods) => return refuse(head, CloseReason::MethodNotAllowed, Some(&methods), outbox),
        Found::Nothing => return explain(head, CloseReason::NotFound, &what_there_is(), outbox),
    };
    match asked(head, endpoint, &parameters, upstreams) {
        Ok(Some(request)) => request,
        Ok(None) => stand(head, endpoint.call, settings.readiness, outbox),
        Err((reason, words)) => explain(head, reason, &words, outbox),
    }
}

/// The request for the shard; `None` if the listener itself answers. The error is the reason and one sentence.
fn asked<'a>(
    head: &Head<'_>,
    endpoint: Endpoint,
    parameters: &[&str],
    upstreams: &[UpstreamRule],
) -> Result<Option<AdminRequest<'a>>, (CloseReason, String)> {
    let malformed = |words| (CloseReason::MalformedRequest, words);
    let unpublishable = |words| (CloseReason::BadPublish, words);
    let first = parameters.first().copied().unwrap_or_default();
    let second = parameters.get(1).copied().unwrap_or_default();
    Ok(Some(match endpoint.call {
        Call::Publish => AdminRequest::Collect(Purpose::Publish(publication(head, first).map_err(unpublishable)?)),
        Call::History => {
            let Span { since, bounds } = Span::of(head).map_err(malformed)?;
            let channel = channel_named(first).map_err(malformed)?;
            AdminRequest::Asked(About::Text, Step::History { tag: 0, channel, since, bounds })
        }
        Call::Presence => {
            let channel = channel_named(first).map_err(malformed)?;
            AdminRequest::Asked(About::Text, Step::Presence { channel })
        }
        Call::User => {
            let (about, user) = user_named(first).map_err(malformed)?;
            AdminRequest::Asked(about, Step::Find { user })
        }
        Call::Upstreams => AdminRequest::Asked(About::Text, Step::Upstreams),
        Call::Drain { is_drained } => {
            let server = server_named(upstreams, first, second).map_err(|words| (CloseReason::NotFound, words))?;
            let about = About::Drained { server, is_drained, shards: 0 };
            AdminRequest::Asked(about, Step::Drain { server, is_drained })
        }
        Call::Revoke => AdminRequest::Collect(Purpose::Revoke),
        Call::Metrics => AdminRequest::Asked(About::Text, Step::Metrics),
        Call::Health | Call::Ready => return Ok(None),
    }))
}

/// Says how the gateway stands.
fn stand<'a>(head: &Head<'_>, call: Call, readiness: Readiness, outbox: &mut Outbox) -> AdminRequest<'a> {
    match (call, readiness) {
        (Call::Ready, Readiness::Ready) => say(head, 200, "ready", outbox),
        // An ordinary answer, which is not counted as a refusal.
        (Call::Ready, Readiness::Leaving | Readiness::Closing) => {
            say(head, CloseReason::Drain.row().http_status, "draining", outbox)
        }
        _ => say(head, 200, "ok", outbox),
    }
}

fn channel_named(name: &str) -> Result<Subject, String> {
    let subject = Subject::new(name).map_err(|error| format!("{name:?} is no channel: {error}"))?;
    if subject.is_reserved() {
        return Err(format!("{name:?} is no channel: names that begin with \"tg.\" are the gateway's own"));
    }
    Ok(subject)
}

/// The user's subject, and what the answer about its connections is about.
fn user_named(name: &str) -> Result<(About, Subject), String> {
    let user = User::new(name).map_err(|error| format!("{name:?} is no user: {error}"))?;
    let subject = user.subject().ok_or_else(|| format!("{name:?} is too long for a user"))?;
    Ok((About::User(Box::new(Whereabouts::new(&user))), subject))
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

/// The message without its payload; the error is one sentence.
fn publication(head: &Head<'_>, channel: &str) -> Result<PublicationHead, String> {
    let subject = channel_named(channel)?;
    Ok(PublicationHead { subject, headers: header_block(head, MESSAGE_HEADERS)? })
}

/// The headers of the request that become headers of the message, if there are any; the error is one sentence.
fn header_block(head: &Head<'_>, names: &[&str]) -> Result<Option<Box<[u8]>>, String> {
    let mut block = HeaderBlock::new();
    for name in names {
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
    Ok((!block.is_empty()).then(|| block.finish()))
}

fn say<'a>(head: &Head<'_>, status: u16, words: &str, outbox: &mut Outbox) -> AdminRequest<'a> {
    AdminRequest::Answered { keep_alive: write(head, status, words, outbox) }
}

/// Refuses with other words than those of `reason`.
fn explain<'a>(head: &Head<'_>, reason: CloseReason, words: &str, outbox: &mut Outbox) -> AdminRequest<'a> {
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

fn refuse<'a>(head: &Head<'_>, reason: CloseReason, allow: Option<&str>, outbox: &mut Outbox) -> AdminRequest<'a> {
    let to = head.reply_to();
    let to = if head.body.is_empty() { to } else { to.closing() };
    let mut keep_alive = false;
    outbox.write(|out| keep_alive = Refusal { allow, ..Refusal::new(reason) }.write(out, to));
    AdminRequest::Refused(Refused { reason, remark: None, excess: None, is_last: !keep_alive })
}
