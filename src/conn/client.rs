//! The client of a request: the peer of its connection, or the client that a trusted proxy names.
//!
//! ```text
//!  PROXY header (`introduction`)    --> link.peer: the client that it names, before anything below
//!  peer not in `[trust] networks`  --> the peer, whatever the head says
//!  peer in them: a proxy           --> link.peer: the client of this request, until the head of the next one
//!                                      http.proxy: the peer, which names the client of each request
//! ```
//!
//! A proxy sends requests of several clients over one connection. A stream belongs to one client, and keeps its address.

use std::net::SocketAddr;

use super::admission::request::Called;
use super::http::{Http, Way};
use super::{Link, Peer};
use crate::proto::http::{Forwarded, Head, TrustedProxies};

/// Makes the client of this request the link's peer.
pub(super) fn recognize<'a>(http: &mut Http, link: &mut Link, head: &Head<'a>, trust: &TrustedProxies) -> Called<'a> {
    let peer = http.proxy.unwrap_or(link.peer);
    let is_proxy = trust.networks.contain(peer.ip());
    let is_secure = match http.way {
        _ if link.transport.is_tls() => Some(true),
        Way::Introduced { is_secure } => is_secure,
        Way::Direct if is_proxy || trust.networks.is_empty() => None,
        Way::Direct => Some(false),
    };
    if !is_proxy {
        return Called { host: None, is_secure };
    }
    http.proxy = Some(peer);
    let Forwarded { client, is_secure: said, host } = Forwarded::of(head, trust);
    link.peer = client.map_or(peer, |client| of_client(client, peer));
    Called { host, is_secure: said.or(is_secure) }
}

/// Until the next request is understood, the peer is the proxy.
pub(super) fn forget(http: &Http, link: &mut Link) {
    if let Some(proxy) = http.proxy {
        link.peer = proxy;
    }
}

/// Few proxies name the client's port. Then the port is that of the proxy's connection, so that clients do not return at
/// the same time ([`Peer::part`]).
fn of_client(client: SocketAddr, proxy: Peer) -> Peer {
    let port = if client.port() == 0 { proxy.port() } else { client.port() };
    SocketAddr::new(client.ip(), port).into()
}
