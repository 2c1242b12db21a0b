//! A client's request: which route it matches, and what that makes of it. Everything but a stream is answered here.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::accept::Accepting;
use super::hosts::Hosts;
use super::origins::{Page, Sender};
use super::outbox::Outbox;
use super::route::{Parameters, PathMatch, Route, Target, UserSource};
use super::routes::Routes;
use super::turned_away::TurnedAway;
use super::{Identity, Refused, preflight};
use crate::base::{RequestId, RouteId};
use crate::proto::CloseReason;
use crate::proto::centrifuge::SUBPROTOCOL;
use crate::proto::http::{self, Head, Refusal, Reply, Streaming};
use crate::proto::subject::Subject;
use crate::proto::user::User;
use crate::proto::{sse, ws};

/// What became of a request.
pub(super) enum Outcome {
    /// The answer is in the outbox.
    Answered { keep_alive: bool },
    /// Likewise.
    Refused(Refused),
    /// The head of the stream is in the outbox; events of `channels` follow, of each after what `last_id` says.
    EventStream { route: RouteId, channels: Vec<Subject>, last_id: Option<String>, streaming: Streaming },
    /// The 101 is in the outbox; frames follow.
    WebSocket { route: RouteId, identity: Identity, channel: Option<Subject> },
    /// The same for commands of the client protocol; once connected, it is subscribed to `channels`.
    Centrifuge { route: RouteId, user: Option<User>, channels: Vec<Subject> },
    /// The body follows; then it is a request for a service.
    Accept(Box<Accepting>),
    /// The shard has what is to be read about an accepted request.
    Read { route: RouteId, id: RequestId, page: Option<Page> },
}

/// The listener by which a request came in.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'s> {
    pub is_tls: bool,
    /// The hosts that it answers for; `None` if that is any.
    pub hosts: Option<&'s Hosts>,
}

/// Most is answered at once; `turned_away` says why nothing new is begun.
pub(super) fn request(
    head: &Head<'_>,
    arrival: Arrival<'_>,
    routes: &Routes,
    turned_away: Option<TurnedAway>,
    outbox: &mut Outbox,
) -> Outcome {
    let sender = match Sender::of(head, arrival.is_tls) {
        Ok(sender) => sender,
        Err(reason) => return refuse(head, Refusal::new(reason), outbox),
    };
    let request = Request { head, sender };
    if let Some(hosts) = arrival.hosts.filter(|hosts| !hosts.allow(head.host)) {
        return request.misdirected(hosts, routes, outbox);
    }
    let segments = match http::split_path(head.path) {
        Ok(segments) => segments,
        Err(reason) => return request.refuse_for_all(reason, routes, outbox),
    };
    let mut others = Candidates::new();
    for (id, route) in routes.iter() {
        let Some(found) = route.find(&segments) else { continue };
        if !route.takes(found, head.method) {
            others.push((route, found));
            continue;
        }
        if let Some(away) = turned_away.filter(|away| away.refuses(found, &route.target)) {
            return request.refuse(away.reason, route, Some(away.retry_after_s), outbox);
        }
        let outcome = match found {
            _ if !sender.may_use(&route.origins) => Err(CloseReason::OriginRefused),
            PathMatch::Itself => match route.path.matches(&segments) {
                Some(parameters) => serve(&request, id, route, &parameters, outbox),
                None => Err(CloseReason::NotFound),
            },
            PathMatch::Result => read(&request, id, route, segments.last().map_or("", |id| id)),
        };
        return outcome.unwrap_or_else(|reason| request.refuse(reason, route, None, outbox));
    }
    match (others.as_slice(), preflight::asks_for(head)) {
        ([], _) => request.refuse_for_all(CloseReason::NotFound, routes, outbox),
        (others, Some(method)) => request.preflight(method, others, outbox),
        (others, None) => request.refuse_method(others, outbox),
    }
}

/// Routes of the path that do not take the request's method, in their order.
type Candidates<'r> = SmallVec<[(&'r Route, PathMatch); 2]>;

/// What is asked, and by whose page.
struct Request<'h, 'a> {
    head: &'h Head<'a>,
    sender: Sender<'a>,
}

impl Request<'_, '_> {
    /// The route says whose pages may read why.
    fn refuse(&self, reason: CloseReason, route: &Route, retry_after_s: Option<u32>, outbox: &mut Outbox) -> Outcome {
        let cors = self.sender.cors(&route.origins);
        let mut outcome = refuse(self.head, Refusal { retry_after_s, cors, ..Refusal::new(reason) }, outbox);
        if let Outcome::Refused(refused) = &mut outcome {
            refused.remark = self.remark(reason, route);
        }
        outcome
    }

    /// What the log says where a browser tells its user less than the answer does, or nothing.
    fn remark(&self, reason: CloseReason, route: &Route) -> Option<Box<str>> {
        let template = &route.template;
        match reason {
            CloseReason::OriginRefused => Some(self.sender.remark(template, &route.origins, self.head.host)),
            CloseReason::NoCredentials => {
                let place = match route.target.user()? {
                    UserSource::Header(name) => format!("the header {name:?}"),
                    UserSource::Query(name) => format!("the parameter {name:?} of the query"),
                };
                Some(format!("route {template:?} refused a request without a user; it expects one in {place}").into())
            }
            // A key without the rest of the handshake: the client meant it, and what stands in between did not.
            CloseReason::UpgradeRequired if self.head.values("sec-websocket-key").next().is_some() => Some(
                format!(
                    "route {template:?} got a WebSocket handshake without its \"Upgrade: websocket\" and \"Connection: \
                     Upgrade\", or of another version than 13: a proxy before the gateway has to pass these headers on"
                )
                .into(),
            ),
            _ => None,
        }
    }

    /// Of what no single route answers for, pages may read that may use one of them: it tells them no more.
    fn refuse_for_all(&self, reason: CloseReason, routes: &Routes, outbox: &mut Outbox) -> Outcome {
        let cors = self.sender.cors_of_any(routes.iter().map(|(_, route)| &route.origins));
        refuse(self.head, Refusal { cors, ..Refusal::new(reason) }, outbox)
    }

    /// RFC 9110 section 7.4: what a listener is not meant to answer for is told so, whatever it asks for. A page that has had its
    /// own name resolved to this address (DNS rebinding) would otherwise pass for one of the gateway's own.
    fn misdirected(&self, hosts: &Hosts, routes: &Routes, outbox: &mut Outbox) -> Outcome {
        let mut outcome = self.refuse_for_all(CloseReason::Misdirected, routes, outbox);
        if let Outcome::Refused(refused) = &mut outcome {
            refused.remark = self.head.host.map(|host| hosts.remark("a listener", "listener.hosts", host));
        }
        outcome
    }

    fn refuse_method(&self, others: &[(&Route, PathMatch)], outbox: &mut Outbox) -> Outcome {
        let methods: Vec<&str> = others.iter().flat_map(|(route, found)| route.methods(*found)).collect();
        let cors = self.sender.cors_of_any(others.iter().map(|(route, _)| &route.origins));
        let allow = methods.join(", ");
        let refusal = Refusal { allow: Some(&allow), cors, ..Refusal::new(CloseReason::MethodNotAllowed) };
        refuse(self.head, refusal, outbox)
    }

    /// Whether a page may send a request of this method, the route says that would take it; if none would, the first says
    /// what it takes instead.
    fn preflight(&self, method: &str, others: &[(&Route, PathMatch)], outbox: &mut Outbox) -> Outcome {
        let taking = others.iter().find(|(route, found)| route.takes(*found, method));
        let Some((route, found)) = taking.or(others.first()) else { return self.refuse_method(others, outbox) };
        let Some(cors) = self.sender.cors(&route.origins) else {
            return self.refuse(CloseReason::OriginRefused, route, None, outbox);
        };
        let to = self.head.reply_to();
        let methods = route.methods(*found).collect::<SmallVec<[&str; 4]>>().join(", ");
        outbox.write(|out| http::preflight(out, to, cors, &methods, &preflight::fields(&route.request_headers)));
        Outcome::Answered { keep_alive: to.keep_alive }
    }
}

fn serve(
    request: &Request<'_, '_>,
    id: RouteId,
    route: &Route,
    parameters: &Parameters<'_>,
    outbox: &mut Outbox,
) -> Result<Outcome, CloseReason> {
    let Request { head, sender } = *request;
    let cors = sender.cors(&route.origins);
    let to = head.reply_to();
    match &route.target {
        Target::Page { content_type, body } => {
            outbox.write(|out| {
                let reply = Reply::start(out, 200, to).header("Content-Type", content_type);
                reply.header("Cache-Control", "no-cache").header("X-Content-Type-Options", "nosniff").body(body);
            });
            Ok(Outcome::Answered { keep_alive: to.keep_alive })
        }
        Target::Sse { channels, retry } => {
            let channels: Vec<Subject> =
                channels.iter().map(|channel| channel.fill(parameters)).collect::<Result<_, _>>()?;
            let mut streaming = Streaming::UntilClose;
            outbox.write(|out| streaming = http::event_stream(out, to, cors));
            if to.is_head {
                return Ok(Outcome::Answered { keep_alive: false });
            }
            outbox.write(|out| streaming.write(out, |out| sse::write_retry(out, *retry)));
            Ok(Outcome::EventStream { route: id, channels, last_id: last_event_id(head), streaming })
        }
        Target::WebSocket(target) => {
            let key = http::websocket_key(head)?;
            let channel = target.channel.as_ref().map(|channel| channel.fill(parameters)).transpose()?;
            let user = user(head, target.user.as_ref())?;
            outbox.write(|out| http::switching_protocols(out, ws::handshake::accept(key).as_str(), None));
            let published_to = channel.clone().filter(|_| target.publish);
            Ok(Outcome::WebSocket { route: id, identity: Identity::new(user, published_to), channel })
        }
        Target::Centrifuge(target) => {
            let key = http::websocket_key(head)?;
            let subprotocol = subprotocol(head)?;
            let channels =
                target.server_side.iter().map(|channel| channel.fill(parameters)).collect::<Result<_, _>>()?;
            let user = user(head, target.user.as_ref())?;
            outbox.write(|out| http::switching_protocols(out, ws::handshake::accept(key).as_str(), subprotocol));
            Ok(Outcome::Centrifuge { route: id, user, channels })
        }
        Target::Accept(target) => {
            let user = user(head, target.user.as_ref())?;
            let accepting = Accepting::new(head, id, target, parameters, user, cors)?;
            Ok(Outcome::Accept(Box::new(accepting)))
        }
    }
}

/// Where the client says that it stands, readable or not: it is never refused for that, because an `EventSource` that is
/// refused gives up. The header wins: what comes back by itself comes to the same URL as the first time. Said twice is not
/// readable.
fn last_event_id(head: &Head<'_>) -> Option<String> {
    const UNREADABLE: char = char::REPLACEMENT_CHARACTER;
    let mut headers = head.values("last-event-id");
    let header = match (headers.next(), headers.next()) {
        (Some(value), None) => Some(String::from_utf8_lossy(value).into_owned()),
        (Some(_), Some(_)) => Some(UNREADABLE.into()),
        (None, _) => None,
    };
    let query = || match http::query_parameter(head.query, "last_event_id") {
        Ok(value) => value.map(Cow::into_owned),
        Err(_) => Some(UNREADABLE.into()),
    };
    header.filter(|id| !id.is_empty()).or_else(query).filter(|id| !id.is_empty())
}

/// Whoever knows the id may read: no user is asked for.
fn read(request: &Request<'_, '_>, route_id: RouteId, route: &Route, id: &str) -> Result<Outcome, CloseReason> {
    let id = id.parse().map_err(|_| CloseReason::UnknownRequest)?;
    Ok(Outcome::Read { route: route_id, id, page: request.sender.cors(&route.origins).map(Page::new) })
}

/// The user, by the name that the request says.
fn user(head: &Head<'_>, source: Option<&UserSource>) -> Result<Option<User>, CloseReason> {
    let name = match source {
        None => return Ok(None),
        Some(UserSource::Header(name)) => head.single_header(name)?.map(Cow::Borrowed),
        Some(UserSource::Query(name)) => http::query_parameter(head.query, name)?,
    };
    let name = name.ok_or(CloseReason::NoCredentials)?;
    User::new(&name).map(Some).map_err(|_| CloseReason::BadUser)
}

/// A client that wants another form of the protocol would not understand ours; one that asks for none means this one. A
/// list without an element asks for none (RFC 9110 section 5.6.1.2). The answer is the client's own spelling: it looks it up
/// among those it has offered (RFC 6455 section 4.1).
fn subprotocol<'a>(head: &Head<'a>) -> Result<Option<&'a str>, CloseReason> {
    let mut offers = head.elements("sec-websocket-protocol").peekable();
    match offers.peek() {
        None => Ok(None),
        Some(_) => match offers.find(|offer| offer.eq_ignore_ascii_case(SUBPROTOCOL)) {
            Some(offer) => Ok(Some(offer)),
            None => Err(CloseReason::NotUpgradable),
        },
    }
}

fn refuse(head: &Head<'_>, refusal: Refusal<'_>, outbox: &mut Outbox) -> Outcome {
    let mut keep_alive = false;
    let to = head.reply_to();
    // An unread body would be taken for the next request.
    let to = if head.body.is_empty() { to } else { to.closing() };
    outbox.write(|out| keep_alive = refusal.write(out, to));
    Outcome::Refused(Refused { reason: refusal.reason, remark: None, is_last: !keep_alive })
}
