//! Requests on the admin listener: publishing, messages and commands to users and connections, history, presence, upstreams,
//! metrics, health, readiness. They are for programs, not for pages.

mod endpoints;
pub(super) mod expected;
mod named;
pub(super) mod operation;
pub(super) mod publication;
pub(super) mod tokens;
mod told;

use endpoints::{AdminCall, EndpointFound, OPENAPI, find, what_there_is};
pub use endpoints::{AdminEndpoint, ENDPOINTS};
pub use expected::Expected;
use named::{channel_named, user_named};
pub use operation::AdminOperation;
use operation::OperationHead;
use publication::PublicationHead;
use tokens::TokenObjection;
pub use tokens::{AdminToken, AdminTokens, Scope};
pub use told::{concluded, is_malformed, reached};

use serde_json::json;

use super::about::About;
use super::collect::Purpose;
use super::history::Span;
use super::outbox::Outbox;
use super::settings::{Generation, Readiness, Settings};
use super::{Refused, Step};
use crate::proto::CloseReason;
use crate::proto::http::{self, Head, Refusal, Reply};
use crate::proto::presence::Whereabouts;
use crate::proto::upstream::{ServerId, UpstreamId, UpstreamRule};

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

/// The rule about hosts applies to every request, health and metrics included: none is for pages.
pub(super) fn request<'a>(head: &Head<'_>, settings: &Settings, outbox: &mut Outbox) -> AdminRequest<'a> {
    let Generation { admin_hosts: hosts, admin_tokens, upstreams, .. } = &*settings.generation;
    if !hosts.allow(head.host) {
        let mut outcome = refuse(head, CloseReason::HostRefused, outbox);
        if let AdminRequest::Refused(refused) = &mut outcome {
            refused.remark = head.host.map(|host| hosts.remark("the admin listener", "admin.hosts", host));
        }
        return outcome;
    }
    // A browser sends Origin with a POST of a foreign page, and no page may use this listener.
    if head.header("origin").is_some() {
        return refuse(head, CloseReason::OriginRefused, outbox);
    }
    let segments = match http::split_path(head.path) {
        Ok(segments) => segments,
        Err(reason) => return refuse(head, reason, outbox),
    };
    let segments: Vec<&str> = segments.iter().map(|segment| &**segment).collect();
    let found = find(&segments, head.method);
    if !found.is_open()
        && let Err(objection) = admin_tokens.check(head, found.scope())
    {
        let TokenObjection { reason, challenge, words } = objection;
        return object(head, reason, ("WWW-Authenticate", &challenge), &words, outbox);
    }
    let (endpoint, parameters) = match found {
        EndpointFound::Endpoint(endpoint, parameters) => (endpoint, parameters),
        EndpointFound::OtherMethods(methods) => {
            let reason = CloseReason::MethodNotAllowed;
            return object(head, reason, ("Allow", &methods), reason.row().words, outbox);
        }
        EndpointFound::Nothing => return explain(head, CloseReason::NotFound, &what_there_is(), outbox),
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
    endpoint: AdminEndpoint,
    parameters: &[&str],
    upstreams: &[UpstreamRule],
) -> Result<Option<AdminRequest<'a>>, (CloseReason, String)> {
    let malformed = |words| (CloseReason::MalformedRequest, words);
    let unpublishable = |words| (CloseReason::BadPublish, words);
    let first = parameters.first().copied().unwrap_or_default();
    let second = parameters.get(1).copied().unwrap_or_default();
    Ok(Some(match endpoint.call {
        AdminCall::Publish => {
            AdminRequest::Collect(Purpose::Publish(PublicationHead::read(head, first).map_err(unpublishable)?))
        }
        AdminCall::History => {
            let Span { since, bounds } = Span::of(head).map_err(malformed)?;
            let channel = channel_named(first).map_err(malformed)?;
            AdminRequest::Asked(About::Text, Step::History { tag: 0, channel, since, bounds })
        }
        AdminCall::Presence => {
            let channel = channel_named(first).map_err(malformed)?;
            AdminRequest::Asked(About::Text, Step::Presence { channel })
        }
        AdminCall::User => {
            let (user, subject) = user_named(first).map_err(malformed)?;
            let about = About::User(Box::new(Whereabouts::new(&user)));
            AdminRequest::Asked(about, Step::Find { user: subject })
        }
        AdminCall::Operate => {
            let operation = OperationHead::read(head, endpoint.path, first).map_err(unpublishable)?;
            AdminRequest::Collect(Purpose::Operate(operation))
        }
        AdminCall::Upstreams => AdminRequest::Asked(About::Text, Step::Upstreams),
        AdminCall::Drain { is_drained } => {
            let server = server_named(upstreams, first, second).map_err(|words| (CloseReason::NotFound, words))?;
            let about = About::Drained { server, is_drained, shards: 0 };
            AdminRequest::Asked(about, Step::Drain { server, is_drained })
        }
        AdminCall::Revoke => AdminRequest::Collect(Purpose::Revoke),
        AdminCall::Metrics => AdminRequest::Asked(About::Text, Step::Metrics),
        AdminCall::OpenApi | AdminCall::Health | AdminCall::Ready => return Ok(None),
    }))
}

/// Says how the gateway stands, or what the listener takes.
fn stand<'a>(head: &Head<'_>, call: AdminCall, readiness: Readiness, outbox: &mut Outbox) -> AdminRequest<'a> {
    match (call, readiness) {
        (AdminCall::OpenApi, _) => {
            AdminRequest::Answered { keep_alive: write(head, (200, None), ("application/json", OPENAPI), outbox) }
        }
        (AdminCall::Ready, Readiness::Ready) => say(head, 200, "ready", outbox),
        // An ordinary answer, which is not counted as a refusal.
        (AdminCall::Ready, Readiness::Leaving | Readiness::Closing) => {
            say(head, CloseReason::Drain.row().http_status, "draining", outbox)
        }
        _ => say(head, 200, "ok", outbox),
    }
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

fn say<'a>(head: &Head<'_>, status: u16, words: &str, outbox: &mut Outbox) -> AdminRequest<'a> {
    AdminRequest::Answered { keep_alive: write_words(head, (status, None), words, outbox) }
}

/// Refuses with other words than those of `reason`.
fn explain<'a>(head: &Head<'_>, reason: CloseReason, words: &str, outbox: &mut Outbox) -> AdminRequest<'a> {
    refused(reason, write_words(head, (reason.row().http_status, None), words, outbox))
}

/// Refuses with a field that says what would be accepted.
fn object<'a>(
    head: &Head<'_>,
    reason: CloseReason,
    field: (&str, &str),
    words: &str,
    outbox: &mut Outbox,
) -> AdminRequest<'a> {
    refused(reason, write_words(head, (reason.row().http_status, Some(field)), words, outbox))
}

fn refused<'a>(reason: CloseReason, keep_alive: bool) -> AdminRequest<'a> {
    AdminRequest::Refused(Refused { reason, remark: None, excess: None, is_last: !keep_alive })
}

/// Writes an answer in words, and returns whether the connection stays open. Errors of the API are JSON.
fn write_words(head: &Head<'_>, line: (u16, Option<(&str, &str)>), words: &str, outbox: &mut Outbox) -> bool {
    match head.path.starts_with("/api/") {
        true => write(head, line, ("application/json", &json!({ "error": words }).to_string()), outbox),
        false => write(head, line, ("text/plain; charset=utf-8", &format!("{words}\n")), outbox),
    }
}

/// Writes an answer with its media type, and a further field if there is one. Returns whether the connection stays open.
fn write(
    head: &Head<'_>,
    (status, field): (u16, Option<(&str, &str)>),
    (kind, body): (&str, &str),
    outbox: &mut Outbox,
) -> bool {
    let to = head.reply_to();
    let to = if head.body.is_empty() { to } else { to.closing() };
    outbox.write(|out| {
        let reply = Reply::start(out, status, to).header("Content-Type", kind);
        let reply = field.into_iter().fold(reply, |reply, (name, value)| reply.header(name, value));
        reply.header("Cache-Control", "no-store").body(body.as_bytes());
    });
    to.keep_alive
}

/// A request of a page.
fn refuse<'a>(head: &Head<'_>, reason: CloseReason, outbox: &mut Outbox) -> AdminRequest<'a> {
    let to = head.reply_to();
    let to = if head.body.is_empty() { to } else { to.closing() };
    let mut keep_alive = false;
    outbox.write(|out| keep_alive = Refusal::new(reason).write(out, to));
    refused(reason, keep_alive)
}
