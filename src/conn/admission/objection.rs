//! Answers to requests that a stage does not admit: a refusal with its line for the log, or the answer to a preflight.

use std::time::Duration;

use smallvec::SmallVec;

use super::preflight;
use super::request::ClientRequest;
use crate::conn::Refused;
use crate::conn::auth::Denial;
use crate::conn::forward_auth::RelayedAnswer;
use crate::conn::front::AdmissionOutcome;
use crate::conn::hosts::Hosts;
use crate::conn::outbox::Outbox;
use crate::conn::quota::Excess;
use crate::conn::route::{PathMatch, Route, RouteTarget, UserField};
use crate::conn::turned_away::TurnedAway;
use crate::limits::AUTH_RETRY;
use crate::proto::CloseReason;
use crate::proto::http::{self, Refusal};
use crate::proto::sse;
use crate::proto::token::TokenRefusal;

/// The reason why a stage does not admit a request.
pub(super) enum Objection<'r> {
    /// A fault of the request itself, before its route is known.
    Request(CloseReason),
    /// The request names this host, which is none of those.
    Host(&'r str, &'r Hosts),
    /// No route accepts its path and method. Preflights, which ask about another method, are answered here too.
    NoRoute,
    /// This route begins nothing new at the moment.
    Away(&'r Route, TurnedAway),
    /// This route refuses it.
    Route(&'r Route, CloseReason),
    /// Its token is missing, not taken, or allows too little.
    Denied(&'r Route, Denial),
    /// A server has refused it, and this is what it has said. A client that wants a stream is not redirected.
    Relayed(&'r Route, RelayedAnswer, bool),
    /// It is more than a limit allows. Its route may not be known.
    Limit(Option<&'r Route>, Excess),
}

/// Routes of the path that do not accept the request's method, in order.
type Others<'r> = [(&'r Route, PathMatch)];

impl Objection<'_> {
    /// A request that is refused before its route is known is a request, too: its client's limits may be the reason.
    pub(super) fn within_limits(self, request: &ClientRequest<'_, '_>) -> Self {
        let is_early = matches!(self, Objection::Request(_) | Objection::Host(..) | Objection::NoRoute);
        let excess = request.allowance.filter(|_| is_early).and_then(|allowance| allowance.request(None).err());
        excess.map_or(self, |excess| Objection::Limit(None, excess))
    }

    pub(super) fn answer(self, request: &ClientRequest<'_, '_>, outbox: &mut Outbox) -> AdmissionOutcome {
        match self {
            Objection::Request(reason) => refuse_for_all(request, reason, None, outbox),
            Objection::Host(host, hosts) => misdirected(request, host, hosts, outbox),
            Objection::NoRoute => no_route(request, outbox),
            Objection::Away(route, away) => refuse_by(request, route, away.reason, Some(away.retry_after_s), outbox),
            Objection::Route(route, reason) => refuse_by(request, route, reason, None, outbox),
            Objection::Denied(route, denial) => deny(request, route, denial, outbox),
            Objection::Relayed(route, relayed, is_stream) => {
                // An unread body would be parsed as the next request.
                let to = request.head.reply_to();
                let to = if request.head.body.is_empty() { to } else { to.closing() };
                AdmissionOutcome::Refused(relayed.write(is_stream, to, request.cors(route), outbox))
            }
            Objection::Limit(route, excess) => refuse_for_limit(request, route, excess, outbox),
        }
    }
}

/// Writes the refusal, and returns the outcome.
fn refuse(
    request: &ClientRequest<'_, '_>,
    refusal: Refusal<'_>,
    remark: Option<Box<str>>,
    outbox: &mut Outbox,
) -> AdmissionOutcome {
    let mut keep_alive = false;
    let to = request.head.reply_to();
    // An unread body would be parsed as the next request.
    let to = if request.head.body.is_empty() { to } else { to.closing() };
    outbox.write(|out| keep_alive = refusal.write(out, to));
    AdmissionOutcome::Refused(Refused { reason: refusal.reason, remark, excess: None, is_last: !keep_alive })
}

/// An EventSource gives up for ever after any status but 200: it gets a stream that says when to come back, and ends.
fn send_back(
    request: &ClientRequest<'_, '_>,
    (route, retry): (&Route, Duration),
    reason: CloseReason,
    after: Duration,
    outbox: &mut Outbox,
) -> Refused {
    let (to, cors) = (request.head.reply_to(), request.sender.ok().and_then(|sender| sender.cors(&route.origins)));
    outbox.write(|out| {
        let streaming = http::event_stream(out, to, cors);
        if !to.is_head {
            streaming.write(out, |out| sse::write_retry(out, after.max(retry)));
            out.extend_from_slice(streaming.end());
        }
    });
    Refused { reason, remark: None, excess: None, is_last: true }
}

fn refuse_for_limit(
    request: &ClientRequest<'_, '_>,
    route: Option<&Route>,
    excess: Excess,
    outbox: &mut Outbox,
) -> AdmissionOutcome {
    let reason = excess.measure.reason();
    let after = request.allowance.map_or(excess.wait, |allowance| allowance.return_after(excess));
    let refused = match route {
        Some(route @ Route { target: RouteTarget::Sse { retry, .. }, .. }) => {
            send_back(request, (route, *retry), reason, after, outbox)
        }
        route => {
            let cors = match route {
                Some(route) => request.cors(route),
                None => request.cors_of_any(request.routes.iter().map(|(_, route)| route)),
            };
            let seconds = u32::try_from(after.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
            let refusal = Refusal { retry_after_s: Some(seconds.max(1)), cors, ..Refusal::new(reason) };
            match refuse(request, refusal, None, outbox) {
                AdmissionOutcome::Refused(refused) => refused,
                other => return other,
            }
        }
    };
    AdmissionOutcome::Refused(Refused { excess: Some(excess), ..refused })
}

/// Refuses by a route, whose origins decide which pages may read the answer.
fn refuse_by(
    request: &ClientRequest<'_, '_>,
    route: &Route,
    reason: CloseReason,
    retry_after_s: Option<u32>,
    outbox: &mut Outbox,
) -> AdmissionOutcome {
    let refusal = Refusal { retry_after_s, cors: request.cors(route), ..Refusal::new(reason) };
    refuse(request, refusal, remark(request, route, reason), outbox)
}

/// Refuses a request by its token. Its client is told why, the log what only a mistake on one side of the issuer explains: never
/// a part of the token.
fn deny(request: &ClientRequest<'_, '_>, route: &Route, denial: Denial, outbox: &mut Outbox) -> AdmissionOutcome {
    if matches!(denial.reason, CloseReason::AuthUnavailable | CloseReason::AuthBusy | CloseReason::Undecided) {
        return match &route.target {
            RouteTarget::Sse { retry, .. } => {
                let refused = send_back(request, (route, *retry), denial.reason, AUTH_RETRY, outbox);
                AdmissionOutcome::Refused(refused)
            }
            _ => refuse_by(request, route, denial.reason, Some(AUTH_RETRY.as_secs() as u32), outbox),
        };
    }
    let description = denial.refused.map(|(_, refused)| refused.to_string());
    let remark = match (denial.refused, &description) {
        (Some((id, TokenRefusal::Invalid(_))), Some(description)) => {
            let name = request.check.and_then(|check| check.auth(id)).map_or("", |auth| &auth.name);
            Some(format!("route {:?}: auth {name:?} refused a token: {description}", route.template).into())
        }
        _ => None,
    };
    let refusal =
        Refusal { cors: request.cors(route), description: description.as_deref(), ..Refusal::new(denial.reason) };
    refuse(request, refusal, remark, outbox)
}

/// The line for the log if a browser would show its user less than the answer says.
fn remark(request: &ClientRequest<'_, '_>, route: &Route, reason: CloseReason) -> Option<Box<str>> {
    let (head, template) = (request.head, &route.template);
    match reason {
        CloseReason::OriginRefused => Some(request.sender.ok()?.remark(template, &route.origins, request.host)),
        CloseReason::NoCredentials => {
            let place = match route.target.user()? {
                UserField::Header(name) => format!("the header {name:?}"),
                UserField::Query(name) => format!("the parameter {name:?} of the query"),
            };
            Some(format!("route {template:?} refused a request without a user; it expects one in {place}").into())
        }
        // A key without the rest of the handshake: the client asked for a WebSocket, and a proxy on the way dropped the
        // headers.
        CloseReason::UpgradeRequired if head.values("sec-websocket-key").next().is_some() => Some(
            format!(
                "route {template:?} got a WebSocket handshake without its \"Upgrade: websocket\" and \"Connection: \
                 Upgrade\", or of another version than 13: a proxy before the gateway has to pass these headers on"
            )
            .into(),
        ),
        _ => None,
    }
}

/// Refuses without a route. Pages that may use one of the routes may read the refusal, which tells them no more than
/// the routes do.
fn refuse_for_all(
    request: &ClientRequest<'_, '_>,
    reason: CloseReason,
    remark: Option<Box<str>>,
    outbox: &mut Outbox,
) -> AdmissionOutcome {
    let cors = request.cors_of_any(request.routes.iter().map(|(_, route)| route));
    refuse(request, Refusal { cors, ..Refusal::new(reason) }, remark, outbox)
}

/// RFC 9110 section 7.4: a request for a host that the listener does not answer for is refused, whatever its path. A
/// page that resolves its own name to this address (DNS rebinding) would otherwise pass for a page of the gateway's
/// own.
fn misdirected(request: &ClientRequest<'_, '_>, host: &str, hosts: &Hosts, outbox: &mut Outbox) -> AdmissionOutcome {
    let remark = hosts.remark("a listener", "listener.hosts", host);
    refuse_for_all(request, CloseReason::Misdirected, Some(remark), outbox)
}

fn no_route(request: &ClientRequest<'_, '_>, outbox: &mut Outbox) -> AdmissionOutcome {
    let others = request.routes.iter().filter_map(|(_, route)| Some((route, request.find(route)?)));
    let others: SmallVec<[(&Route, PathMatch); 2]> = others.collect();
    match (others.as_slice(), preflight::asks_for(request.head)) {
        ([], _) => refuse_for_all(request, CloseReason::NotFound, None, outbox),
        (others, Some(method)) => answer_preflight(request, method, others, outbox),
        (others, None) => refuse_method(request, others, outbox),
    }
}

fn refuse_method(request: &ClientRequest<'_, '_>, others: &Others<'_>, outbox: &mut Outbox) -> AdmissionOutcome {
    let methods: Vec<&str> = others.iter().flat_map(|(route, found)| route.methods(*found)).collect();
    let cors = request.cors_of_any(others.iter().map(|(route, _)| *route));
    let allow = methods.join(", ");
    let refusal = Refusal { allow: Some(&allow), cors, ..Refusal::new(CloseReason::MethodNotAllowed) };
    refuse(request, refusal, None, outbox)
}

/// Whether a page may send a request of this method: the route for that method decides. If there is none, the first
/// route of the path answers with its methods.
fn answer_preflight(
    request: &ClientRequest<'_, '_>,
    method: &str,
    others: &Others<'_>,
    outbox: &mut Outbox,
) -> AdmissionOutcome {
    let taking = others.iter().find(|(route, found)| route.takes(*found, method));
    let Some((route, found)) = taking.or(others.first()) else { return refuse_method(request, others, outbox) };
    let Some(cors) = request.cors(route) else {
        return refuse_by(request, route, CloseReason::OriginRefused, None, outbox);
    };
    let to = request.head.reply_to();
    let methods = route.methods(*found).collect::<SmallVec<[&str; 4]>>().join(", ");
    outbox.write(|out| http::preflight(out, to, cors, &methods, &preflight::fields(&route.request_headers)));
    AdmissionOutcome::Answered { keep_alive: to.keep_alive }
}
