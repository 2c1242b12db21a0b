//! A client's request, as the stages of its admission see it.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::base::{ConnId, NodeId, RouteId, mix};
use crate::conn::auth::{CredentialCheck, Evidence};
use crate::conn::hosts::Hosts;
use crate::conn::origins::Sender;
use crate::conn::quota::Allowance;
use crate::conn::rights::RightRules;
use crate::conn::route::{Parameters, PathMatch, Route};
use crate::conn::routes::Routes;
use crate::conn::turned_away::TurnedAway;
use crate::proto::CloseReason;
use crate::proto::http::{self, Cors, Head, TraceContext};

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
    pub naming: Naming,
    /// The hosts that the listener answers for; `None`: any.
    pub hosts: Option<&'s Hosts>,
    /// The limits for it; `None`: there are none.
    pub allowance: Option<Allowance<'s>>,
    /// The check of tokens; `None`: no route wants one.
    pub check: Option<CredentialCheck<'s>>,
    /// The proofs of the client besides the request itself.
    pub evidence: Evidence<'s>,
    pub rules: RightRules<'s>,
}

/// The facts that a request is named after.
#[derive(Clone, Copy)]
pub(in crate::conn) struct Naming {
    pub connection: ConnId,
    /// Which of the connection's requests it is.
    pub count: u32,
    /// The peer is a trusted proxy, which may have named it.
    pub is_from_proxy: bool,
    /// Random, new with each process.
    pub seed: u64,
}

impl Naming {
    #[cfg(test)]
    pub(in crate::conn) fn sample() -> Naming {
        use crate::base::{Address, Key, Place};
        let address = Address { place: Place(0), key: Key { slot: 0, generation: 0 } };
        Naming { connection: ConnId::new(None, address), count: 0, is_from_proxy: false, seed: 0 }
    }

    /// Numbers that differ from those of any other request.
    fn draws(&self) -> [u64; 3] {
        let address = self.connection.address().to_bits();
        let first = mix(self.seed ^ mix(address));
        let second = mix(first ^ u64::from(self.count));
        [second, mix(second ^ self.seed), mix(second.wrapping_add(address))]
    }
}

/// The gateway's own id of a request: that of its connection, and its number there.
pub(in crate::conn) fn own_id(connection: ConnId, count: u32) -> String {
    [connection.text().as_str(), itoa::Buffer::new().format(count)].join("-")
}

/// The longest id that a trusted proxy may give a request.
const ID_BYTES_MAX: usize = 128;

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
    pub naming: Naming,
    pub hosts: Option<&'r Hosts>,
    pub allowance: Option<Allowance<'r>>,
    pub check: Option<CredentialCheck<'r>>,
    pub evidence: Evidence<'r>,
    pub rules: RightRules<'r>,
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
            naming: arrival.naming,
            hosts: arrival.hosts,
            allowance: arrival.allowance,
            check: arrival.check,
            evidence: arrival.evidence,
            rules: arrival.rules,
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

    /// Its id: the one that a trusted proxy has given it, or that of its connection with its number there.
    pub(in crate::conn) fn id(&self) -> Cow<'a, str> {
        let Naming { connection, count, is_from_proxy, .. } = self.naming;
        let is_id =
            |id: &&str| !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(|byte| byte.is_ascii_graphic());
        let given = self.head.single_header("x-request-id").ok().flatten().filter(|_| is_from_proxy).filter(is_id);
        given.map_or_else(|| Cow::Owned(own_id(connection, count)), Cow::Borrowed)
    }

    /// The trace that it belongs to, the same each time.
    pub(in crate::conn) fn trace(&self) -> TraceContext {
        TraceContext::of(self.head, self.naming.is_from_proxy, self.naming.draws())
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
