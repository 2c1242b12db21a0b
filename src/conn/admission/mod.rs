//! The admission of a client's request: the stages that it passes, in this order, before its route's target begins anything.
//!
//! ```text
//!  next_head --> Sender --> Host --> Path --> Route --> Room --> Rate --> Origin --> Form --> Identity --> Permission --> Share --> Target --.
//!                  '---------'---------'--------'--------'--------'---------'---------'----------'-----------'-------------'---------'--> Objection
//!                                                                                                                          AdmissionOutcome <--'
//!
//!  stage      its question                                          an objection is answered with
//!  Sender     does the head name one origin at most?                400 malformed_request
//!  Host       does the listener answer for this host?               421 misdirected
//!  Path       has the path one reading only?                        400 malformed_request
//!  Route      which route takes this site, path, method?             404 not_found, 405 method_not_allowed, or it is a preflight:
//!                                                                   204, 403 origin_refused
//!  Room       is anything new begun now?                            503 drain, too_many_connections
//!  Rate       is it within the limits of its address and route?     429 request_limit; a stream of events: its retry, and the end
//!  Origin     may the sender's page use the route?                  403 origin_refused
//!  Form       is it the handshake that the target wants, do its     426 upgrade_required, 400 not_upgradable, unnameable,
//!             channels have names, can the result's id be read?     404 unknown_request
//!  Identity   which user is it?                                     401 no_token, invalid_token, no_credentials, 400 ambiguous_token,
//!             (it may wait for the answer)                         bad_user, malformed_request, 403 insufficient_scope,
//!                                                                   503 auth_unavailable, auth_busy, drain; auth_refused as a
//!                                                                   server says it
//!  Permission may it hear these channels, and publish there?         403 insufficient_scope, not_permitted, 503 undecided, drain
//!             (it may wait for the answer)
//!  Share      is it within the limits of its user, and may one      429 request_limit, connection_limit; a stream of events
//!             more stream be open?                                  as above
//!  Target     can what is asked for be begun?                       400 unnameable, malformed_request
//! ```
//!
//! - A stage looks at the request ([`ClientRequest`]) and at what the stages before it have found out. It says which stage
//!   is next, with what that one needs; or it objects. The last one, and the answer to an objection, write to the outbox; no
//!   other stage does.
//! - The order counts: a client hears the first objection only, and a stage can rely on all that stand before it.
//! - `Sender`'s refusal can be read by no page. From there up to `Route`, pages that may use at least one of the routes may
//!   read the refusal (405: one of the routes of the path); after `Route`, the route's own origins decide.
//! - `Rate` and `Share` are passed only where the configuration has limits. A request that is refused before `Rate` is charged
//!   to its address all the same.
//! - Targets are in `conn/front`, answers to objections in `objection`.
//!
//! # How a stage is added
//!
//! A variant of [`Admission`], in its place, with what it needs from the stages before it; a function from the request and
//! these values to the next stage or an [`Objection`]; an arm in `Admission::pass`; a row above; requests in `tests` that it
//! lets through and refuses.
//!
//! # What waiting asks of a stage
//!
//! A stage may need an answer from elsewhere: `Identity` asks whether an issuer has published another key, or whether a
//! server lets the client in; `Permission` asks what the application allows. The head borrows from bytes that the driver lends for one call, so a stage that waits gives it up: the run ends with
//! [`Waiting`], which has the inquiry and the [`Admission`] to go on with. The connection keeps the head's raw bytes
//! (`conn::checking`), takes nothing else off its input, and sets a deadline. When the answer is there, the head is parsed
//! again, a new [`ClientRequest`] is made of it, which has the answer, and [`Admission::run`] goes on at the same stage. So:
//!
//! - **An `Admission` borrows nothing and is small.** If a later stage needs what a stage has found out, the later stage's
//!   variant has it as a value: an id, an owned name. What the head says needs no place there: it can be read again.
//! - **Before its outcome a run has changed nothing**, so nothing is undone if the connection ends during the wait. (What a
//!   request has taken of a rate is taken. The count of streams changes in `Share`, behind which no stage may wait.)
//! - **A stage waits once.** With an answer it goes on or objects. (`Permission` waits again for a decision that was remembered and
//!   is over meanwhile; it keeps those for which it has waited.)
//! - **A stage that has been passed is not asked again.** A drain may have begun meanwhile, and another configuration may hold:
//!   [`ClientRequest`] has those of the moment, and a [`RouteId`] keeps its meaning. The stage that has waited looks whether
//!   anything new is still begun.
//! - What the connection has changed in the head after it was parsed (`keep_alive` of a last request) is changed again.
//!
//! `tests` give the head up between any two stages.

mod objection;
mod preflight;
pub(in crate::conn) mod request;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::ControlFlow;

use super::front::{self, AdmissionOutcome, Prepared, used};
use super::outbox::Outbox;
use super::rights::{RightVerdict, Rights};
use super::route::{PathMatch, Route, RouteTarget, UserField};
use crate::base::RouteId;
use crate::conn::Identity;
use crate::conn::auth::{Denial, Unproven};
use crate::conn::inquiry::Inquiry;
use crate::conn::origins::Page;
use crate::proto::CloseReason;
use crate::proto::http::{self, Head};
use crate::proto::permission::Right;
use crate::proto::user::User;

use objection::Objection;
use request::ClientRequest;

/// The outcome of a run of the stages.
pub(super) enum Run {
    Over(AdmissionOutcome),
    /// A stage waits for an answer; nothing has begun.
    Waits(Box<Waiting>),
}

/// A request whose stage waits for an answer.
pub(super) struct Waiting {
    pub inquiry: Inquiry,
    /// The stage that asks.
    pub stage: Admission,
    pub route: RouteId,
    /// The page of another origin that may read a refusal.
    pub page: Option<Page>,
}

/// The stage that a request has come to, with what the stages before it have found out. See the module's picture.
#[derive(Default)]
pub(super) enum Admission {
    #[default]
    Sender,
    Host,
    Path,
    Route,
    Room(RouteId, PathMatch),
    Rate(RouteId, PathMatch),
    Origin(RouteId, PathMatch),
    Form(RouteId, PathMatch),
    Identity(RouteId, Prepared),
    Permission(RouteId, Prepared, Identity),
    Share(RouteId, Prepared, Identity),
    Target(RouteId, Prepared, Identity),
}

const _: () =
    assert!(size_of::<Admission>() <= 96, "it is moved from stage to stage, and kept by a request that waits");

impl Admission {
    /// Passes one stage after the other, beginning with this one, until there is an outcome, or one waits.
    pub(super) fn run(mut self, request: &ClientRequest<'_, '_>, outbox: &mut Outbox) -> Run {
        loop {
            match self.pass(request, outbox) {
                ControlFlow::Continue(next) => self = next,
                ControlFlow::Break(run) => return run,
            }
        }
    }

    /// Passes this stage.
    // One caller: a call would move the stage and the outcome through memory twice each.
    #[inline(always)]
    fn pass(self, request: &ClientRequest<'_, '_>, outbox: &mut Outbox) -> ControlFlow<Run, Admission> {
        let passed = match self {
            Admission::Sender => request.sender.map(|_| Admission::Host).map_err(Objection::Request),
            Admission::Host => host(request),
            Admission::Path => request.segments().map(|_| Admission::Route).map_err(Objection::Request),
            Admission::Route => route(request),
            Admission::Room(id, found) => room(request, id, found),
            Admission::Rate(id, found) => rate(request, id, found),
            Admission::Origin(id, found) => origin(request, id, found),
            Admission::Form(id, found) => form(request, id, found),
            Admission::Identity(id, prepared) => match identity(request, id, &prepared) {
                Ok(client) => Ok(Admission::Permission(id, prepared, client)),
                Err(Unsettled::Refused(objection)) => Err(objection),
                Err(Unsettled::Asks(inquiry)) => {
                    return ControlFlow::Break(waiting(request, id, inquiry, Admission::Identity(id, prepared)));
                }
            },
            Admission::Permission(id, prepared, client) => match permission(request, id, &prepared, &client) {
                Ok(()) if request.allowance.is_some() => Ok(Admission::Share(id, prepared, client)),
                Ok(()) => Ok(Admission::Target(id, prepared, client)),
                Err(Unsettled::Refused(objection)) => Err(objection),
                Err(Unsettled::Asks(inquiry)) => {
                    let stage = Admission::Permission(id, prepared, client);
                    return ControlFlow::Break(waiting(request, id, inquiry, stage));
                }
            },
            Admission::Share(id, prepared, client) => share(request, id, prepared, client),
            Admission::Target(id, prepared, client) => match front::serve(request, id, prepared, client, outbox) {
                Ok(outcome) => return ControlFlow::Break(Run::Over(outcome)),
                Err(reason) => {
                    let route = request.route(id);
                    debug_assert!(!route.target.is_stream(), "`Form` has checked it, and `Share` has counted it");
                    Err(Objection::Route(route, reason))
                }
            },
        };
        match passed {
            Ok(next) => ControlFlow::Continue(next),
            Err(objection) => ControlFlow::Break(Run::Over(objection.within_limits(request).answer(request, outbox))),
        }
    }
}

/// The request waits for the answer to this, and goes on with this stage.
fn waiting(request: &ClientRequest<'_, '_>, id: RouteId, inquiry: Inquiry, stage: Admission) -> Run {
    let page = request.cors(request.route(id)).map(Page::new);
    Run::Waits(Box::new(Waiting { inquiry, stage, route: id, page }))
}

fn host<'r>(request: &ClientRequest<'r, '_>) -> Result<Admission, Objection<'r>> {
    let Some(hosts) = request.hosts else { return Ok(Admission::Path) };
    // A page that resolves its own name to a proxy can set `X-Forwarded-Host`, and it cannot set `Host`.
    let refused = [request.head.host, request.host].into_iter().flatten().find(|host| !hosts.allow(Some(host)));
    match refused {
        None => Ok(Admission::Path),
        Some(host) => Err(Objection::Host(host, hosts)),
    }
}

fn route<'r>(request: &ClientRequest<'r, '_>) -> Result<Admission, Objection<'r>> {
    taking(request).map(|(id, found)| Admission::Room(id, found)).ok_or(Objection::NoRoute)
}

/// The route that takes the request, and how it matches.
fn taking(request: &ClientRequest<'_, '_>) -> Option<(RouteId, PathMatch)> {
    request.routes.iter().find_map(|(id, route)| {
        let found = request.find(route)?;
        let is_preflight = route.answers_preflights() && preflight::asks_for(request.head).is_some();
        (route.takes(found, request.head.method) && !is_preflight).then_some((id, found))
    })
}

fn room<'r>(request: &ClientRequest<'r, '_>, id: RouteId, found: PathMatch) -> Result<Admission, Objection<'r>> {
    let route = request.route(id);
    match request.turned_away.filter(|away| away.refuses(found, &route.target)) {
        None if request.allowance.is_some() => Ok(Admission::Rate(id, found)),
        None => Ok(Admission::Origin(id, found)),
        Some(away) => Err(Objection::Away(route, away)),
    }
}

fn rate<'r>(request: &ClientRequest<'r, '_>, id: RouteId, found: PathMatch) -> Result<Admission, Objection<'r>> {
    let route = request.route(id);
    let charged = request.allowance.map_or(Ok(()), |allowance| allowance.request(Some(&route.template)));
    charged.map(|()| Admission::Origin(id, found)).map_err(|excess| Objection::Limit(Some(route), excess))
}

fn origin<'r>(request: &ClientRequest<'r, '_>, id: RouteId, found: PathMatch) -> Result<Admission, Objection<'r>> {
    let route = request.route(id);
    if is_unnamed_page(request, route) {
        return Err(Objection::Route(route, CloseReason::OriginRefused));
    }
    if !route.checks_origins() && !http::wants_websocket(request.head) {
        return Ok(Admission::Form(id, found));
    }
    match request.sender.map(|sender| sender.may_use(&route.origins)) {
        Ok(true) => Ok(Admission::Form(id, found)),
        Ok(false) => Err(Objection::Route(route, CloseReason::OriginRefused)),
        Err(reason) => Err(Objection::Request(reason)),
    }
}

/// Whether a page of another site opens a stream without saying its origin, as an `<img>` does: the cookies of the page's user would
/// let it in (W3C Fetch Metadata section 2.3, `Sec-Fetch-Site`).
fn is_unnamed_page(request: &ClientRequest<'_, '_>, route: &Route) -> bool {
    let head = request.head;
    route.target.is_stream()
        && request.check.is_some_and(|check| check.takes_cookies(route))
        && head.header("sec-fetch-site") == Some("cross-site")
        && head.values("origin").next().is_none()
}

fn form<'r>(request: &ClientRequest<'r, '_>, id: RouteId, found: PathMatch) -> Result<Admission, Objection<'r>> {
    let route = request.route(id);
    let prepared = front::prepare(request, route, found);
    prepared.map(|prepared| Admission::Identity(id, prepared)).map_err(|reason| Objection::Route(route, reason))
}

/// Why a stage that may wait is not passed, or not yet.
enum Unsettled<'r> {
    Refused(Objection<'r>),
    Asks(Inquiry),
}

impl<'r> From<Objection<'r>> for Unsettled<'r> {
    fn from(objection: Objection<'r>) -> Unsettled<'r> {
        Unsettled::Refused(objection)
    }
}

fn identity<'r>(request: &ClientRequest<'r, '_>, id: RouteId, prepared: &Prepared) -> Result<Identity, Unsettled<'r>> {
    let route = request.route(id);
    if route.auth.is_empty() {
        let source = route.target.user().filter(|_| prepared.wants_user());
        let user = source.map(|source| user(request.head, source)).transpose();
        return Ok(Identity::new(user.map_err(|reason| Objection::Route(route, reason))?, None));
    }
    still_begun(request, route, prepared)?;
    prove(request, route).map_err(|unproven| match unproven {
        Unproven::Denied(denial) => Objection::Denied(route, denial).into(),
        Unproven::Refused(relayed) => {
            let is_stream = prepared.is_stream(request.head) || http::accepts_events(request.head);
            Objection::Relayed(route, relayed, is_stream).into()
        }
        Unproven::Asks(inquiry) => Unsettled::Asks(inquiry),
    })
}

/// A stage that has waited looks whether anything new is still begun.
fn still_begun<'r>(
    request: &ClientRequest<'r, '_>,
    route: &'r Route,
    prepared: &Prepared,
) -> Result<(), Objection<'r>> {
    let found = if matches!(prepared, Prepared::Result(_)) { PathMatch::Result } else { PathMatch::Itself };
    let away = request.turned_away.filter(|away| away.refuses(found, &route.target));
    match away.filter(|_| request.evidence.answer.is_some()) {
        Some(away) => Err(Objection::Away(route, away)),
        None => Ok(()),
    }
}

/// The client, by its token.
fn prove(request: &ClientRequest<'_, '_>, route: &Route) -> Result<Identity, Unproven> {
    let Some(check) = &request.check else {
        return Err(Denial { reason: CloseReason::NoToken, refused: None }.into());
    };
    check.prove(request.head, route, request.evidence).map(Identity::proven)
}

fn permission<'r>(
    request: &ClientRequest<'r, '_>,
    id: RouteId,
    prepared: &Prepared,
    client: &Identity,
) -> Result<(), Unsettled<'r>> {
    let route = request.route(id);
    // A client of the client protocol may show its token later, and is looked at then.
    if route.auth.is_empty() && matches!(route.target, RouteTarget::Centrifuge(_)) {
        return Ok(());
    }
    let rights = Rights::new(request.rules, client);
    let (mut asked, mut is_unclear) = (Vec::new(), false);
    for (right, channel, is_named) in used(route, prepared) {
        match rights.on_route(right, channel, is_named) {
            RightVerdict::Allowed => {}
            // The client is told when it publishes.
            RightVerdict::Denied if right == Right::Publish => {}
            RightVerdict::Denied => return Err(forbidden(request, route).into()),
            RightVerdict::Unclear => is_unclear = true,
            RightVerdict::Asks(right) => asked.push(*right),
        }
    }
    if asked.is_empty() && !is_unclear {
        return Ok(());
    }
    still_begun(request, route, prepared)?;
    if is_unclear {
        let denial = Denial { reason: CloseReason::Undecided, refused: None };
        return Err(Objection::Denied(route, denial).into());
    }
    Err(Unsettled::Asks(Inquiry::Rights(asked)))
}

fn forbidden<'r>(request: &ClientRequest<'r, '_>, route: &'r Route) -> Objection<'r> {
    match &request.check {
        Some(check) if !route.auth.is_empty() => Objection::Denied(route, check.forbid(route)),
        _ => Objection::Route(route, CloseReason::NotPermitted),
    }
}

fn share<'r>(
    request: &ClientRequest<'r, '_>,
    id: RouteId,
    prepared: Prepared,
    client: Identity,
) -> Result<Admission, Objection<'r>> {
    let route = request.route(id);
    let is_stream = prepared.is_stream(request.head);
    let admitted =
        request.allowance.map_or(Ok(()), |allowance| allowance.admit(&route.template, client.user(), is_stream));
    admitted.map(|()| Admission::Target(id, prepared, client)).map_err(|excess| Objection::Limit(Some(route), excess))
}

/// The user, by the name that the request says.
fn user(head: &Head<'_>, source: &UserField) -> Result<User, CloseReason> {
    let name = match source {
        UserField::Header(name) => head.single_header(name)?.map(Cow::Borrowed),
        UserField::Query(name) => http::query_parameter(head.query, name)?,
    };
    let name = name.ok_or(CloseReason::NoCredentials)?;
    User::new(&name).map_err(|_| CloseReason::BadUser)
}
