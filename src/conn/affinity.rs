//! What a request says about the server that it wants: the mark in its sticky cookie, and the hash of a part of it.

use std::net::IpAddr;

use super::admission::request::ClientRequest;
use super::route::Route;
use crate::base::fnv1a;
use crate::proto::http::{self, Head};
use crate::proto::upstream::{Affinity, Balance, HashedPart, ServerMark, UpstreamRule};

/// `client`: the client's address. A part that is missing, empty or unreadable is none.
pub(super) fn affinity(
    request: &ClientRequest<'_, '_>,
    route: &Route,
    upstream: &UpstreamRule,
    client: IpAddr,
) -> Affinity {
    let mark = upstream.sticky.as_deref().and_then(|name| cookie(request.head, name)).and_then(ServerMark::parse);
    let hash = match &upstream.balance {
        Balance::Least => None,
        Balance::Hash(part) => hash(request, route, part, client),
    };
    Affinity { mark, hash }
}

fn hash(request: &ClientRequest<'_, '_>, route: &Route, part: &HashedPart, client: IpAddr) -> Option<u64> {
    let of = |text: &str| Some(text).filter(|text| !text.is_empty()).map(|text| fnv1a(text.as_bytes()));
    match part {
        HashedPart::Cookie(name) => of(cookie(request.head, name)?),
        HashedPart::Header(name) => of(request.head.header(name)?),
        HashedPart::Query(name) => of(&http::query_parameter(request.head.query, name).ok()??),
        HashedPart::Parameter(name) => {
            let parameters = request.parameters(route).ok()?;
            of(parameters.iter().find(|(own, _)| *own == &**name)?.1)
        }
        // An IPv4 address is the same in both of its spellings.
        HashedPart::Address => Some(match client.to_canonical() {
            IpAddr::V4(ip) => fnv1a(&ip.octets()),
            IpAddr::V6(ip) => fnv1a(&ip.octets()),
        }),
    }
}

/// The value of the first cookie of that name (RFC 6265 section 4.2.1; HTTP/1.1 clients send one field, some proxies several).
fn cookie<'a>(head: &Head<'a>, name: &str) -> Option<&'a str> {
    let pairs = head.headers("cookie").flat_map(|field| field.split(';'));
    let mut pairs = pairs.filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('='));
    pairs.find(|(own, _)| *own == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Tick;
    use crate::conn::admission::request::Called;
    use crate::conn::admission::request::{Arrival, Naming};
    use crate::conn::rights::RightRules;
    use crate::conn::route::{ProxyRoute, RouteTarget};
    use crate::conn::routes::Routes;
    use crate::conn::settings::Settings;
    use crate::proto::http::next_head;
    use crate::proto::upstream::UpstreamId;

    fn of(upstream: &UpstreamRule, target: &str, lines: &str, client: &str) -> Affinity {
        let target_of_route = RouteTarget::Proxy(Box::new(ProxyRoute::new(UpstreamId(0))));
        let routes = Routes::new(vec![Route::new("/{room}/*", target_of_route).unwrap()]).unwrap();
        let mut bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
        let mut input = &mut bytes[..];
        let head = next_head(&mut input).unwrap().unwrap();
        let settings = Settings::default();
        let arrival = Arrival {
            node: None,
            called: Called::default(),
            naming: Naming::sample(),
            hosts: None,
            allowance: None,
            check: None,
            evidence: Default::default(),
            rules: RightRules::of(&settings, &[], Tick::ZERO),
        };
        let request = ClientRequest::new(&head, arrival, &routes, None);
        let (_, route) = routes.iter().next().unwrap();
        affinity(&request, route, upstream, client.parse().unwrap())
    }

    #[test]
    fn the_mark_is_the_sticky_cookies_value() {
        let upstream = UpstreamRule { sticky: Some("tg".into()), ..UpstreamRule::new("app") };
        let mark = |lines: &str| of(&upstream, "/a", lines, "::1").mark;
        let ten = ServerMark::parse("000000000000000a");
        assert!(ten.is_some());
        for lines in [
            "Cookie: tg=000000000000000a\r\n",
            "cookie: a=b; tg=000000000000000a;c\r\n",
            "Cookie: tgx=1; xtg=2\r\nCookie:  tg=000000000000000a\r\n",
        ] {
            assert_eq!(mark(lines), ten, "{lines}");
        }
        for lines in
            ["", "Cookie: tg\r\n", "Cookie: tg=1\r\n", "Cookie: TG=000000000000000a\r\n", "X: tg=000000000000000a\r\n"]
        {
            assert_eq!(mark(lines), None, "{lines}");
        }
        let other = UpstreamRule::new("app");
        assert_eq!(of(&other, "/a", "Cookie: tg=000000000000000a\r\n", "::1"), Affinity::default());
    }

    #[test]
    fn equal_parts_have_equal_hashes_and_a_missing_part_has_none() {
        let hash = |part: HashedPart, target: &str, lines: &str| {
            let upstream = UpstreamRule { balance: Balance::Hash(part), ..UpstreamRule::new("app") };
            of(&upstream, target, lines, "10.0.0.7").hash
        };
        for (part, target, lines) in [
            (HashedPart::Cookie("sid".into()), "/x", "Cookie: a=b; sid=77\r\n"),
            (HashedPart::Header("X-Tenant".into()), "/x", "x-tenant: 77\r\n"),
            (HashedPart::Query("q".into()), "/x?a=b&q=7%37", ""),
            (HashedPart::Parameter("room".into()), "/7%37/x", ""),
        ] {
            assert_eq!(hash(part.clone(), target, lines), Some(fnv1a(b"77")), "{part:?}");
            let is_path = matches!(part, HashedPart::Parameter(_));
            assert_eq!(hash(part, "/x?q=", "Cookie: sid=\r\n"), is_path.then_some(fnv1a(b"x")));
        }
    }

    #[test]
    fn an_address_has_one_hash_however_it_is_spelled() {
        let upstream = UpstreamRule { balance: Balance::Hash(HashedPart::Address), ..UpstreamRule::new("app") };
        let hash = |client: &str| of(&upstream, "/a", "", client).hash;
        assert_eq!(hash("10.0.0.7"), hash("::ffff:10.0.0.7"));
        assert_ne!(hash("10.0.0.7"), hash("10.0.0.8"));
        assert!(hash("::1").is_some());
    }
}
