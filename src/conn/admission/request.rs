//! A client's request, as the stages of its admission see it.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::base::{NodeId, RouteId};
use crate::conn::auth::{CredentialCheck, Evidence};
use crate::conn::hosts::Hosts;
use crate::conn::origins::Sender;
use crate::conn::quota::Allowance;
use crate::conn::route::{Parameters, PathMatch, Route};
use crate::conn::routes::Routes;
use crate::conn::turned_away::TurnedAway;
use crate::proto::CloseReason;
use crate::proto::http::{self, Cors, Head};
use crate::proto::permission::Permissions;

/// The gateway as the client has called it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::conn) struct Called<'a> {
    /// The host that a trusted proxy says the client has named.
    pub host: Option<&'a str>,
    /// Whether the client came by https; `None` if that is not known: a plain listener may stand behind a proxy that nothing
    /// is known of.
    pub is_secure: Option<bool>,
}

/// The gateway and the listener by which a request came in, and the way to it.
#[derive(Clone, Copy)]
pub(in crate::conn) struct Arrival<'s, 'a> {
    /// The node in the id of an accepted request.
    pub node: Option<NodeId>,
    pub called: Called<'a>,
    /// The hosts that the listener answers for; `None`: any.
    pub hosts: Option<&'s Hosts>,
    /// The limits for it; `None`: there are none.
    pub allowance: Option<Allowance<'s>>,
    /// The check of tokens; `None`: no route wants one.
    pub check: Option<CredentialCheck<'s>>,
    /// What proves the client besides the request itself.
    pub evidence: Evidence<'s>,
    pub permissions: &'s Permissions,
}

/// A head with everything that follows from it alone, and the circumstances. Parsed again, the same head gives the same
/// `sender` and `segments`; the circumstances are those of the moment.
pub(in crate::conn) struct ClientRequest<'r, 'a> {
    pub head: &'r Head<'a>,
    /// The host that the client has named: to the gateway, or to a trusted proxy.
    pub host: Option<&'a str>,
    /// The page that sends it.
    pub sender: Result<Sender<'a>, CloseReason>,
    /// Whether it came over https, as far as is known.
    pub is_secure: bool,
    /// The path, decoded.
    pub segments: Result<SmallVec<[Cow<'a, str>; 8]>, CloseReason>,
    pub node: Option<NodeId>,
    pub hosts: Option<&'r Hosts>,
    pub allowance: Option<Allowance<'r>>,
    pub check: Option<CredentialCheck<'r>>,
    pub evidence: Evidence<'r>,
    pub permissions: &'r Permissions,
    pub routes: &'r Routes,
    /// The reason why nothing new is begun, if there is one.
    pub turned_away: Option<TurnedAway>,
}

/// The segments with runs of slashes as one, as upstreams get them (`http::canonical_path`): what is matched is what is
/// passed on.
fn merged(mut segments: SmallVec<[Cow<'_, str>; 8]>) -> SmallVec<[Cow<'_, str>; 8]> {
    let last = segments.len().saturating_sub(1);
    let mut index = 0;
    segments.retain(|segment| {
        index += 1;
        index > last || !segment.is_empty()
    });
    segments
}

impl<'r, 'a> ClientRequest<'r, 'a> {
    pub(in crate::conn) fn new(
        head: &'r Head<'a>,
        arrival: Arrival<'r, 'a>,
        routes: &'r Routes,
        turned_away: Option<TurnedAway>,
    ) -> ClientRequest<'r, 'a> {
        let host = arrival.called.host.or(head.host);
        ClientRequest {
            head,
            host,
            sender: Sender::of(head, host, arrival.called.is_secure),
            is_secure: arrival.called.is_secure.unwrap_or(false),
            segments: http::split_path(head.path).map(merged),
            node: arrival.node,
            hosts: arrival.hosts,
            allowance: arrival.allowance,
            check: arrival.check,
            evidence: arrival.evidence,
            permissions: arrival.permissions,
            routes,
            turned_away,
        }
    }

    pub(in crate::conn) fn route(&self, id: RouteId) -> &'r Route {
        &self.routes[id]
    }

    pub(in crate::conn) fn segments(&self) -> Result<&[Cow<'a, str>], CloseReason> {
        self.segments.as_deref().map_err(|reason| *reason)
    }

    /// How the request matches a route, whatever its method; `None` if it does not.
    pub(super) fn find(&self, route: &Route) -> Option<PathMatch> {
        let found = route.find(self.segments().ok()?)?;
        route.site.has(self.host, self.is_secure).then_some(found)
    }

    /// The route that takes it, if one does.
    pub(in crate::conn) fn routed(&self) -> Option<RouteId> {
        super::taking(self).map(|(id, _)| id)
    }

    /// The query, as workers and servers get it.
    pub(in crate::conn) fn query(&self, route: &'r Route) -> Option<Cow<'a, str>> {
        match &self.check {
            Some(check) if !route.auth.is_empty() => check.query_without_tokens(route, self.head.query),
            _ => self.head.query.map(Cow::Borrowed),
        }
    }

    /// Whether a subprotocol of the request may be a token.
    pub(in crate::conn) fn takes_subprotocols(&self, route: &'r Route) -> bool {
        self.check.is_some_and(|check| check.takes_subprotocols(route))
    }

    /// The path's values for the parameters of a route.
    pub(in crate::conn) fn parameters<'p>(&'p self, route: &'p Route) -> Result<Parameters<'p>, CloseReason> {
        route.path.matches(self.segments()?).ok_or(CloseReason::NotFound)
    }

    /// The right of the sender's page to read an answer of this route.
    pub(in crate::conn) fn cors(&self, route: &Route) -> Option<Cors<'a>> {
        self.sender.ok().and_then(|sender| sender.cors(&route.origins))
    }

    /// The same for an answer that belongs to no single route: pages that may use one of the routes learn nothing that
    /// they could not learn there.
    pub(super) fn cors_of_any<'o>(&self, routes: impl Iterator<Item = &'o Route>) -> Option<Cors<'a>> {
        self.sender.ok().and_then(|sender| sender.cors_of_any(routes.map(|route| &route.origins)))
    }
}
