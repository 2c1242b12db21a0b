//! The targets of routes: what each requires of a request, and how it answers an admitted one (`admission`).
//!
//! ```text
//!  Fixed                  --> answered
//!  Sse                    --> the head of an event stream; AdmissionOutcome::EventStream
//!  WebSocket, Centrifuge  --> 101; AdmissionOutcome::WebSocket, Centrifuge
//!  Proxy                  --> AdmissionOutcome::Proxy: a server gets the request (`forwarding`)
//!  Accept                 --> AdmissionOutcome::Accept: the body follows     a result's address --> AdmissionOutcome::Read: the shard has it
//! ```

use std::borrow::Cow;
use std::time::Duration;

use super::accept::Accepting;
use super::admission::request::ClientRequest;
use super::origins::Page;
use super::outbox::Outbox;
use super::rights::{RightVerdict, Rights};
use super::route::{ChannelTemplate, PathMatch, Route, RouteTarget};
use super::{Identity, Refused};
use crate::base::{RequestId, RouteId};
use crate::proto::CloseReason;
use crate::proto::centrifuge::SUBPROTOCOL;
use crate::proto::http::{self, Head, Streaming};
use crate::proto::permission::Right;
use crate::proto::subject::Subject;
use crate::proto::token::carrier::{BESIDE_TOKEN, of_subprotocol};
use crate::proto::ws::handshake::Accept;
use crate::proto::{sse, ws};

/// The outcome of a request.
pub(super) enum AdmissionOutcome {
    /// The answer is in the outbox.
    Answered { keep_alive: bool },
    /// The refusal is in the outbox.
    Refused(Refused),
    /// The head of the stream is in the outbox. Events of `channels` follow: of each, those after its position in
    /// `last_id`, if there is one.
    EventStream {
        route: RouteId,
        client: Identity,
        channels: Vec<Subject>,
        last_id: Option<String>,
        streaming: Streaming,
    },
    /// The 101 is in the outbox; frames follow.
    WebSocket { route: RouteId, identity: Identity, channel: Option<Subject>, subprotocol: Option<u8> },
    /// The same for commands of the client protocol; once connected, it is subscribed to `channels`.
    Centrifuge { route: RouteId, client: Identity, channels: Vec<Subject> },
    /// The body follows; then the request goes to a service.
    Accept(Box<Accepting>),
    /// A server behind the gateway answers; `page` may read a refusal. `accept`: it is asked for a WebSocket, and answers its key so.
    Proxy { route: RouteId, client: Identity, page: Option<Page>, accept: Option<Accept> },
    /// The shard has the state of an accepted request.
    Read { route: RouteId, id: RequestId, page: Option<Page> },
}

/// The parts of a well-formed request that its target needs, before the user is known.
pub(super) enum Prepared {
    /// The answer is the route's.
    Fixed,
    /// A server has it. If it is a WebSocket, its key has this answer.
    Proxy(Option<Accept>),
    EventStream {
        channels: Vec<Subject>,
        retry: Duration,
    },
    WebSocket {
        accept: Accept,
        channel: Option<Subject>,
        publish: bool,
    },
    Centrifuge {
        accept: Accept,
        channels: Vec<Subject>,
    },
    /// The channel of an accepted request may be named after its user, so it is made later.
    Accept,
    Result(RequestId),
}

impl Prepared {
    /// Whether the target needs the user, on a route with users. A result does not: knowing its id is the right to read
    /// it.
    pub(super) fn wants_user(&self) -> bool {
        !matches!(self, Prepared::Result(_))
    }

    /// Whether the answer to this head begins a stream.
    pub(super) fn is_stream(&self, head: &Head<'_>) -> bool {
        match self {
            Prepared::EventStream { .. } => !head.reply_to().is_head,
            Prepared::WebSocket { .. } | Prepared::Centrifuge { .. } => true,
            Prepared::Proxy(accept) => accept.is_some(),
            Prepared::Fixed | Prepared::Accept | Prepared::Result(_) => false,
        }
    }
}

/// Checks what the route's target requires of every request, whatever its user: a handshake, parameters that can name
/// its channels.
pub(super) fn prepare(
    request: &ClientRequest<'_, '_>,
    route: &Route,
    found: PathMatch,
) -> Result<Prepared, CloseReason> {
    let head = request.head;
    if found == PathMatch::Result {
        let id = request.segments()?.last().and_then(|id| id.parse().ok());
        return id.map(Prepared::Result).ok_or(CloseReason::UnknownRequest);
    }
    match &route.target {
        RouteTarget::Fixed(answer) => answer.check(request.host).map(|()| Prepared::Fixed),
        RouteTarget::Sse { channels, retry } => {
            let parameters = request.parameters(route)?;
            let channels = channels.iter().map(|channel| channel.fill(&parameters)).collect::<Result<_, _>>()?;
            Ok(Prepared::EventStream { channels, retry: *retry })
        }
        RouteTarget::WebSocket(target) => {
            let accept = ws::handshake::accept(http::websocket_key(head)?);
            let channel = target.channel.as_ref();
            let channel = channel.map(|channel| channel.fill(&request.parameters(route)?)).transpose()?;
            Ok(Prepared::WebSocket { accept, channel, publish: target.publish })
        }
        RouteTarget::Centrifuge(target) => {
            let accept = ws::handshake::accept(http::websocket_key(head)?);
            subprotocol(head, request.takes_subprotocols(route))?;
            let parameters = request.parameters(route)?;
            let channels = target.server_side.iter().map(|channel| channel.fill(&parameters));
            Ok(Prepared::Centrifuge { accept, channels: channels.collect::<Result<_, _>>()? })
        }
        RouteTarget::Accept(_) => Ok(Prepared::Accept),
        RouteTarget::Proxy(target) => {
            http::canonical_path(head.path, target.has_encoded_slashes)?;
            let is_upgrade = target.has_websockets && http::wants_websocket(head);
            let key = if is_upgrade { Some(http::websocket_key(head)?) } else { None };
            Ok(Prepared::Proxy(key.map(ws::handshake::accept)))
        }
    }
}

/// The channels that the client will hear, and publish to, and whether the configuration has the whole name of each: the client has
/// chosen the others by its path.
pub(super) fn used<'p>(route: &'p Route, prepared: &'p Prepared) -> impl Iterator<Item = (Right, &'p Subject, bool)> {
    let (templates, channels): (&[ChannelTemplate], &[Subject]) = match (&route.target, prepared) {
        (RouteTarget::Sse { channels: templates, .. }, Prepared::EventStream { channels, .. }) => (templates, channels),
        (RouteTarget::WebSocket(target), Prepared::WebSocket { channel, .. }) => {
            (target.channel.as_slice(), channel.as_slice())
        }
        (RouteTarget::Centrifuge(target), Prepared::Centrifuge { channels, .. }) => (&target.server_side, channels),
        _ => (&[], &[]),
    };
    let publishes = matches!(prepared, Prepared::WebSocket { publish: true, .. });
    let rights: &[Right] = if publishes { &[Right::Hear, Right::Publish] } else { &[Right::Hear] };
    let channels = templates.iter().zip(channels).map(|(template, channel)| (channel, is_named(template)));
    channels.flat_map(|(channel, is_named)| rights.iter().map(move |right| (*right, channel, is_named)))
}

/// Whether the configuration has the whole name of a channel.
fn is_named(template: &ChannelTemplate) -> bool {
    template.parameters().next().is_none()
}

/// Starts what was requested, or answers it.
pub(super) fn serve(
    request: &ClientRequest<'_, '_>,
    id: RouteId,
    prepared: Prepared,
    client: Identity,
    outbox: &mut Outbox,
) -> Result<AdmissionOutcome, CloseReason> {
    let (head, route) = (request.head, request.route(id));
    let to = head.reply_to();
    match prepared {
        Prepared::Fixed => {
            let RouteTarget::Fixed(answer) = &route.target else { return Err(CloseReason::NotFound) };
            // An unread body would be parsed as the next request.
            let to = if head.body.is_empty() { to } else { to.closing() };
            outbox.write(|out| answer.write((head, request.host), to, request.cors(route), out));
            Ok(AdmissionOutcome::Answered { keep_alive: to.keep_alive })
        }
        Prepared::Proxy(accept) => {
            Ok(AdmissionOutcome::Proxy { route: id, client, page: request.cors(route).map(Page::new), accept })
        }
        Prepared::EventStream { channels, retry } => {
            let mut streaming = Streaming::UntilClose;
            outbox.write(|out| streaming = http::event_stream(out, to, request.cors(route)));
            if to.is_head {
                return Ok(AdmissionOutcome::Answered { keep_alive: false });
            }
            outbox.write(|out| streaming.write(out, |out| sse::write_retry(out, retry)));
            Ok(AdmissionOutcome::EventStream { route: id, client, channels, last_id: last_event_id(head), streaming })
        }
        Prepared::WebSocket { accept, channel, publish } => {
            let RouteTarget::WebSocket(target) = &route.target else { return Err(CloseReason::NotFound) };
            let (subprotocol, answered) = choose(&target.subprotocols, head, request.takes_subprotocols(route));
            outbox.write(|out| http::switching_protocols(out, accept.as_str(), answered));
            let is_named = target.channel.as_ref().is_some_and(is_named);
            let rights = Rights::new(request.rules, &client);
            // The decision of the application is known: the stage `Permission` has waited for it.
            let may_publish = |channel: &Subject| {
                publish && rights.on_route(Right::Publish, channel, is_named) == RightVerdict::Allowed
            };
            let channel_to = channel.clone().filter(may_publish);
            let identity = client.publishing_to(channel_to);
            Ok(AdmissionOutcome::WebSocket { route: id, identity, channel, subprotocol })
        }
        Prepared::Centrifuge { accept, channels } => {
            let subprotocol = subprotocol(head, request.takes_subprotocols(route))?;
            outbox.write(|out| http::switching_protocols(out, accept.as_str(), subprotocol));
            Ok(AdmissionOutcome::Centrifuge { route: id, client, channels })
        }
        Prepared::Accept => {
            let RouteTarget::Accept(target) = &route.target else { return Err(CloseReason::NotFound) };
            let (parameters, cors) = (request.parameters(route)?, request.cors(route));
            let (target, name) = ((target, &parameters), (request.id(), request.trace()));
            let (head, user) = ((head, request.query(route)), client.into_user());
            let accepting = Accepting::new(head, name, id, target, request.node, user, cors)?;
            Ok(AdmissionOutcome::Accept(Box::new(accepting)))
        }
        Prepared::Result(request_id) => {
            Ok(AdmissionOutcome::Read { route: id, id: request_id, page: request.cors(route).map(Page::new) })
        }
    }
}

/// The client's position, readable or not. An unreadable one is no reason for a refusal, because an `EventSource` that
/// is refused gives up. The header overrides the query: an `EventSource` reconnects to the same URL as the first time.
/// A repeated position is unreadable.
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

/// The first of a route's subprotocols that the client offers (RFC 6455 section 4.2.2): its index, and what is answered. With none in
/// common, none is chosen, and the client decides whether it goes on.
fn choose<'s, 'a: 's>(own: &'s [Box<str>], head: &Head<'a>, may_be_token: bool) -> (Option<u8>, Option<&'s str>) {
    let is_offered = |name: &str| head.elements("sec-websocket-protocol").any(|offer| offer == name);
    match (0..=u8::MAX).zip(own).find(|(_, name)| is_offered(name)) {
        Some((index, name)) => (Some(index), Some(name)),
        // One that is not configured is not chosen for the sake of a token.
        None => (None, beside_token(head, may_be_token).filter(|offer| own.is_empty() || *offer == BESIDE_TOKEN)),
    }
}

/// The subprotocol of a client that shows its token as one: another one that it offers, ours if that is among them. A browser
/// fails a connection on which none of its offers is chosen (the WHATWG WebSockets standard), and the token is none.
fn beside_token<'a>(head: &Head<'a>, may_be_token: bool) -> Option<&'a str> {
    let offers = || head.elements("sec-websocket-protocol");
    let has_token = may_be_token && offers().any(|offer| of_subprotocol(offer).is_some());
    let others = || offers().filter(|offer| has_token && of_subprotocol(offer).is_none());
    others().find(|offer| *offer == BESIDE_TOKEN).or_else(|| others().next())
}

/// The subprotocol of the client, if it accepts ours: it offers none, or this one. A list without elements offers none
/// (RFC 9110 section 5.6.1.2). The answer repeats the client's spelling, because the client looks it up among those
/// that it has offered (RFC 6455 section 4.1).
fn subprotocol<'a>(head: &Head<'a>, may_be_token: bool) -> Result<Option<&'a str>, CloseReason> {
    let offers = head.elements("sec-websocket-protocol");
    let mut offers = offers.filter(|offer| !may_be_token || of_subprotocol(offer).is_none()).peekable();
    match offers.peek() {
        None => Ok(None),
        Some(_) => match offers.find(|offer| offer.eq_ignore_ascii_case(SUBPROTOCOL)) {
            Some(offer) => Ok(Some(offer)),
            None => Err(CloseReason::NotUpgradable),
        },
    }
}
