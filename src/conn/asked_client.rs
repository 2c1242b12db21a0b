//! A request whose client workers are asked about: the facts that they get, as JSON.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::admission::request::ClientRequest;
use super::forward_auth::ForwardAuth;
use crate::base::RouteId;
use crate::proto::CloseReason;
use crate::proto::authorize::AskedClient;
use crate::proto::http::{canonical_path, sent_fields};

/// The document of a request of this route, from this address.
pub(super) fn document(
    request: &ClientRequest<'_, '_>,
    auth: &ForwardAuth,
    route: RouteId,
    address: IpAddr,
) -> Result<String, CloseReason> {
    // A worker that decides by the path must not see another one than the route and its server do.
    let path = canonical_path(request.head.path, true)?;
    let query = request.query(request.route(route));
    let uri = query.map_or_else(|| path.to_string(), |query| format!("{path}?{query}"));
    let mut fields = BTreeMap::<&str, String>::new();
    for (name, value) in sent_fields(request.head, &auth.send) {
        // As the configuration spells it.
        let name = auth.send.iter().find(|own| own.eq_ignore_ascii_case(name)).map_or(name, |own| own);
        // RFC 9110 section 5.3, and RFC 6265 section 5.4 for cookies.
        let between = if name.eq_ignore_ascii_case("cookie") { "; " } else { ", " };
        let value = String::from_utf8_lossy(value);
        fields.entry(name).and_modify(|values| values.extend([between, &value])).or_insert_with(|| value.to_string());
    }
    let asked = AskedClient {
        right: "connect",
        method: request.head.method,
        uri: &uri,
        host: request.host,
        proto: if request.is_secure { "https" } else { "http" },
        address,
        id: &request.id(),
        fields,
    };
    Ok(asked.document())
}
