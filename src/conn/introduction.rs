//! The introduction of a client by a load balancer: the PROXY header, before TLS and the first request.
//!
//! ```text
//!  accepted, peer in `listener.proxy_protocol.from` --> Layer::Introduction --whole--> link.peer: the client
//!      '-- any other peer: Plain or Tls at once              |                         transport: Plain | Tls
//!                                                            '-- late, malformed, cut: proxy_header
//! ```

use super::http::Way;
use super::session::Phase;
use super::settings::Settings;
use super::{Conn, Transport};
use crate::base::Tick;
use crate::proto::CloseReason;
use crate::proto::proxy_header::{self, ProxyHeader};

/// Takes the header off the kept and these bytes. True if it is whole: the rest is kept, for the session or for TLS, whose
/// time begins.
pub fn introduce(conn: &mut Conn, bytes: &[u8], settings: &Settings, now: Tick) -> Result<bool, CloseReason> {
    let Conn { link, session } = conn;
    let Some(introduction) = link.transport.introduction() else { return Ok(true) };
    introduction.has_begun |= !bytes.is_empty();
    let joined = link.take_joined(bytes);
    let input = joined.as_deref().unwrap_or(bytes);
    let header = proxy_header::read(input).map_err(|_| CloseReason::ProxyHeader)?;
    let Some(ProxyHeader { size, client, said }) = header else {
        link.keep_rest(joined, bytes, 0);
        return Ok(false);
    };
    let way = Way::Introduced { is_secure: said.is_secure };
    link.keep_rest(joined, bytes, size);
    link.peer = client.map_or(link.peer, Into::into);
    let tls = link.transport.introduction().and_then(|introduction| introduction.tls.take());
    let mut is_surplus = false;
    if let Phase::Http(http) = &mut session.phase {
        http.way = way;
        is_surplus = http.surplus.is_some();
    }
    link.transport = tls.as_ref().map_or(Ok(Transport::Plain), Transport::tls)?;
    let generation = &settings.generation;
    if tls.is_some() {
        link.wait_until(now + generation.handshake_timeout);
    } else if !is_surplus {
        link.wait_until(now + generation.head_timeout);
    }
    Ok(true)
}
