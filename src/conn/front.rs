//! A client's request: which route it matches, and what that makes of it. Everything but a stream is answered here.

use std::borrow::Cow;

use super::Identity;
use super::accept::Accepting;
use super::origins::{Page, Sender};
use super::outbox::Outbox;
use super::route::{Found, Parameters, Route, Target, UserSource};
use crate::base::RequestId;
use crate::proto::CloseReason;
use crate::proto::centrifuge::SUBPROTOCOL;
use crate::proto::http::{self, Head, Refusal, Reply};
use crate::proto::subject::Subject;
use crate::proto::user::User;
use crate::proto::{sse, ws};

/// What became of a request.
pub(super) enum Outcome {
    /// The answer is in the outbox.
    Answered { keep_alive: bool, refused: Option<CloseReason> },
    /// The head of the stream is in the outbox; events of `channels` follow, of each after what `last_id` says.
    EventStream { route: u16, channels: Vec<Subject>, last_id: Option<String> },
    /// The 101 is in the outbox; frames follow.
    WebSocket { route: u16, identity: Identity, channel: Option<Subject> },
    /// The same for commands of the client protocol; once connected, it is subscribed to `channels`.
    Centrifuge { route: u16, user: Option<User>, channels: Vec<Subject> },
    /// The body follows; then it is a request for a service.
    Accept(Box<Accepting>),
    /// The shard has what is to be read about an accepted request.
    Read { route: u16, id: RequestId, page: Option<Page> },
}

/// Fields of a cross-origin request that a page may set: what `EventSource` sends when it resumes, and who it is.
const CORS_FIELDS: &str = "Last-Event-ID, Authorization, Content-Type, Idempotency-Key";

/// `going_away`: nothing new is begun, and after so many seconds somebody else will. Streams are the exception: an
/// EventSource gives up for ever when it gets anything but 200 (the WHATWG HTML standard, "fail the connection"), and so
/// both kinds are opened, told when to come back, and ended by whoever opens them.
pub(super) fn request(
    head: &Head<'_>,
    is_tls: bool,
    routes: &[Route],
    going_away: Option<u32>,
    outbox: &mut Outbox,
) -> Outcome {
    let understood = Sender::of(head, is_tls).and_then(|sender| Ok((sender, http::split_path(head.path)?)));
    let (sender, segments) = match understood {
        Ok(understood) => understood,
        Err(reason) => return refuse(head, Refusal::new(reason), outbox),
    };
    let request = Request { head, sender };
    let mut allowed: Vec<&str> = Vec::new();
    let mut preflight_route = None;
    for (index, route) in routes.iter().enumerate() {
        let Some(found) = route.find(&segments) else { continue };
        if !route.takes(&found, head.method) {
            allowed.extend(route.methods(&found));
            preflight_route = preflight_route.or(Some(route));
            continue;
        }
        let is_begun = matches!(found, Found::Itself(_)) && !route.target.is_stream();
        let cors = sender.cors(&route.origins);
        if going_away.is_some() && is_begun {
            let refusal = Refusal { retry_after_s: going_away, cors, ..Refusal::new(CloseReason::Drain) };
            return refuse(head, refusal, outbox);
        }
        let outcome = match found {
            Found::Itself(parameters) => serve(&request, index, route, &parameters, outbox),
            Found::Result(id) => read(&request, index, route, id),
        };
        return match outcome {
            Ok(outcome) => outcome,
            Err(reason) => refuse(head, Refusal { cors, ..Refusal::new(reason) }, outbox),
        };
    }
    match preflight_route {
        Some(route) if head.method == "OPTIONS" => preflight(&request, route, &allowed.join(", "), outbox),
        Some(_) => {
            let allow = allowed.join(", ");
            refuse(head, Refusal { allow: Some(&allow), ..Refusal::new(CloseReason::MethodNotAllowed) }, outbox)
        }
        None => refuse(head, Refusal::new(CloseReason::NotFound), outbox),
    }
}

/// What is asked, and by whose page.
struct Request<'h, 'a> {
    head: &'h Head<'a>,
    sender: Sender<'a>,
}

fn serve(
    request: &Request<'_, '_>,
    index: usize,
    route: &Route,
    parameters: &Parameters<'_>,
    outbox: &mut Outbox,
) -> Result<Outcome, CloseReason> {
    let Request { head, sender } = *request;
    if !sender.may_use(&route.origins) {
        return Err(CloseReason::OriginRefused);
    }
    let cors = sender.cors(&route.origins);
    let to = head.reply_to();
    match &route.target {
        Target::Page { content_type, body } => {
            outbox.write(|out| {
                let reply = Reply::start(out, 200, to).header("Content-Type", content_type);
                reply.header("Cache-Control", "no-cache").header("X-Content-Type-Options", "nosniff").body(body);
            });
            Ok(Outcome::Answered { keep_alive: to.keep_alive, refused: None })
        }
        Target::Sse { channels, retry } => {
            let channels: Vec<Subject> =
                channels.iter().map(|channel| channel.fill(parameters)).collect::<Result<_, _>>()?;
            outbox.write(|out| {
                http::event_stream(out, to, cors);
                if !to.is_head {
                    sse::write_retry(out, *retry);
                }
            });
            if to.is_head {
                return Ok(Outcome::Answered { keep_alive: false, refused: None });
            }
            Ok(Outcome::EventStream { route: index as u16, channels, last_id: last_event_id(head) })
        }
        Target::WebSocket(target) => {
            let key = http::websocket_key(head)?;
            let channel = target.channel.as_ref().map(|channel| channel.fill(parameters)).transpose()?;
            let user = user(head, target.user.as_ref())?;
            outbox.write(|out| http::switching_protocols(out, ws::handshake::accept(key).as_str(), None));
            let published_to = channel.clone().filter(|_| target.publish);
            Ok(Outcome::WebSocket { route: index as u16, identity: Identity::new(user, published_to), channel })
        }
        Target::Centrifuge(target) => {
            let key = http::websocket_key(head)?;
            let subprotocol = subprotocol(head)?;
            let channels =
                target.server_side.iter().map(|channel| channel.fill(parameters)).collect::<Result<_, _>>()?;
            let user = user(head, target.user.as_ref())?;
            outbox.write(|out| http::switching_protocols(out, ws::handshake::accept(key).as_str(), subprotocol));
            Ok(Outcome::Centrifuge { route: index as u16, user, channels })
        }
        Target::Accept(target) => {
            let user = user(head, target.user.as_ref())?;
            let accepting = Accepting::new(head, index as u16, target, parameters, user, cors)?;
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
fn read(request: &Request<'_, '_>, index: usize, route: &Route, id: &str) -> Result<Outcome, CloseReason> {
    if !request.sender.may_use(&route.origins) {
        return Err(CloseReason::OriginRefused);
    }
    let id = id.parse().map_err(|_| CloseReason::UnknownRequest)?;
    Ok(Outcome::Read { route: index as u16, id, page: request.sender.cors(&route.origins).map(Page::new) })
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

fn preflight(request: &Request<'_, '_>, route: &Route, methods: &str, outbox: &mut Outbox) -> Outcome {
    let Request { head, sender } = *request;
    let Some(cors) = sender.cors(&route.origins).filter(|_| head.header("access-control-request-method").is_some())
    else {
        return refuse(head, Refusal { allow: Some(methods), ..Refusal::new(CloseReason::MethodNotAllowed) }, outbox);
    };
    let to = head.reply_to();
    outbox.write(|out| http::preflight(out, to, cors, methods, CORS_FIELDS));
    Outcome::Answered { keep_alive: to.keep_alive, refused: None }
}

fn refuse(head: &Head<'_>, refusal: Refusal<'_>, outbox: &mut Outbox) -> Outcome {
    let mut keep_alive = false;
    let to = head.reply_to();
    // An unread body would be taken for the next request.
    let to = if head.body.is_empty() { to } else { to.closing() };
    outbox.write(|out| keep_alive = refusal.write(out, to));
    Outcome::Answered { keep_alive, refused: Some(refusal.reason) }
}
