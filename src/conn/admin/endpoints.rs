//! The endpoints of the admin listener: one table.
//!
//! ```text
//!  POST /api/channels/room.1 --find--> the row "/api/channels/{channel}", ["room.1"]
//!                                 '--> the methods that the path takes, if another one was asked for | nothing
//! ```

use smallvec::SmallVec;

use super::tokens::Scope;

/// The work of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AdminCall {
    Publish,
    History,
    Presence,
    User,
    /// A message to the connections of a user, or to one; a command or a question, as the last segment says.
    Operate,
    Upstreams,
    /// A server gets no further request, or gets requests again.
    Drain {
        is_drained: bool,
    },
    Revoke,
    Metrics,
    /// The description of all of them.
    OpenApi,
    Health,
    Ready,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct AdminEndpoint {
    /// `GET` stands for `HEAD`, too.
    pub method: &'static str,
    /// A segment in braces takes any one segment.
    pub path: &'static str,
    /// The scope that a token must have; `None`: no token is needed.
    pub scope: Option<Scope>,
    pub(super) call: AdminCall,
}

/// Every endpoint.
pub const ENDPOINTS: &[AdminEndpoint] = &[
    post("/api/channels/{channel}", Some(Scope::Publish), AdminCall::Publish),
    get("/api/channels/{channel}/history", Some(Scope::Read), AdminCall::History),
    get("/api/channels/{channel}/presence", Some(Scope::Read), AdminCall::Presence),
    get("/api/users/{user}", Some(Scope::Read), AdminCall::User),
    post("/api/users/{user}", Some(Scope::Send), AdminCall::Operate),
    post("/api/users/{user}/question", Some(Scope::Send), AdminCall::Operate),
    post("/api/users/{user}/subscribe", Some(Scope::Subscribe), AdminCall::Operate),
    post("/api/users/{user}/unsubscribe", Some(Scope::Subscribe), AdminCall::Operate),
    post("/api/users/{user}/close", Some(Scope::Close), AdminCall::Operate),
    post("/api/connections/{id}", Some(Scope::Send), AdminCall::Operate),
    post("/api/connections/{id}/question", Some(Scope::Send), AdminCall::Operate),
    post("/api/connections/{id}/subscribe", Some(Scope::Subscribe), AdminCall::Operate),
    post("/api/connections/{id}/unsubscribe", Some(Scope::Subscribe), AdminCall::Operate),
    post("/api/connections/{id}/close", Some(Scope::Close), AdminCall::Operate),
    get("/api/upstreams", Some(Scope::Upstreams), AdminCall::Upstreams),
    post("/api/upstreams/{name}/{server}/drain", Some(Scope::Upstreams), AdminCall::Drain { is_drained: true }),
    post("/api/upstreams/{name}/{server}/ready", Some(Scope::Upstreams), AdminCall::Drain { is_drained: false }),
    post("/api/revocations", Some(Scope::Revoke), AdminCall::Revoke),
    get("/metrics", Some(Scope::Metrics), AdminCall::Metrics),
    get("/api/openapi.json", None, AdminCall::OpenApi),
    get("/health", None, AdminCall::Health),
    get("/ready", None, AdminCall::Ready),
];

const fn get(path: &'static str, scope: Option<Scope>, call: AdminCall) -> AdminEndpoint {
    AdminEndpoint { method: "GET", path, scope, call }
}

const fn post(path: &'static str, scope: Option<Scope>, call: AdminCall) -> AdminEndpoint {
    AdminEndpoint { method: "POST", path, scope, call }
}

/// The result of a search.
pub(super) enum EndpointFound<'p> {
    /// With the segments that stand for those in braces.
    Endpoint(AdminEndpoint, SmallVec<[&'p str; 2]>),
    /// The path takes other methods: these, as `Allow` has them.
    OtherMethods(String),
    Nothing,
}

impl EndpointFound<'_> {
    /// Whether any peer may ask for it: a load balancer has no token, and learns no more than whether to send clients.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, EndpointFound::Endpoint(AdminEndpoint { scope: None, .. }, _))
    }

    /// The scope that a token must have.
    pub(super) fn scope(&self) -> Option<Scope> {
        match self {
            EndpointFound::Endpoint(endpoint, _) => endpoint.scope,
            _ => None,
        }
    }
}

/// Looks for the endpoint of a request. `segments`: of its path.
pub(super) fn find<'p>(segments: &[&'p str], method: &str) -> EndpointFound<'p> {
    let mut others = Vec::new();
    for endpoint in ENDPOINTS {
        let Some(parameters) = parameters(endpoint.path, segments) else { continue };
        if endpoint.method == method || endpoint.method == "GET" && method == "HEAD" {
            return EndpointFound::Endpoint(*endpoint, parameters);
        }
        others.push(if endpoint.method == "GET" { "GET, HEAD" } else { endpoint.method });
    }
    if others.is_empty() { EndpointFound::Nothing } else { EndpointFound::OtherMethods(others.join(", ")) }
}

/// The segments that stand for those in braces; `None` if the path is another one.
fn parameters<'p>(template: &str, segments: &[&'p str]) -> Option<SmallVec<[&'p str; 2]>> {
    let mut parameters = SmallVec::new();
    let mut rest = segments.iter();
    for wanted in template.split('/').skip(1) {
        let segment = rest.next()?;
        match wanted.starts_with('{') {
            true => parameters.push(*segment),
            false if wanted == *segment => {}
            false => return None,
        }
    }
    rest.next().is_none().then_some(parameters)
}

/// The description of the table for programs (OpenAPI 3.1); tests compare both.
pub(super) const OPENAPI: &str = include_str!("../../../docs/openapi.json");

/// The words about a path that there is not: all that there are.
pub(super) fn what_there_is() -> String {
    let all: Vec<String> = ENDPOINTS.iter().map(|endpoint| format!("{} {}", endpoint.method, endpoint.path)).collect();
    let (last, others) = all.split_last().map_or((String::new(), &all[..]), |(last, others)| (last.clone(), others));
    format!("no such path; expected {} or {last}", others.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, method: &str) -> String {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match find(&segments, method) {
            EndpointFound::Endpoint(endpoint, parameters) => format!("{} {parameters:?}", endpoint.path),
            EndpointFound::OtherMethods(methods) => methods,
            EndpointFound::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn a_path_leads_to_its_row() {
        for (path, method, expected) in [
            ("/api/channels/room.1", "POST", "/api/channels/{channel} [\"room.1\"]"),
            ("/api/channels/room.1", "GET", "POST"),
            ("/api/channels/room.1/history", "HEAD", "/api/channels/{channel}/history [\"room.1\"]"),
            ("/api/users/ann", "DELETE", "GET, HEAD, POST"),
            ("/api/users/ann/close", "GET", "POST"),
            ("/api/users/ann/dance", "POST", "nothing"),
            ("/api/upstreams/app/a:1/drain", "POST", "/api/upstreams/{name}/{server}/drain [\"app\", \"a:1\"]"),
            ("/ready", "GET", "/ready []"),
            ("/ready/", "GET", "nothing"),
            ("/", "GET", "nothing"),
        ] {
            assert_eq!(found(path, method), expected, "{method} {path}");
        }
    }
}
