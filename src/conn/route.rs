//! Routes: what a request for a path gets. The first route that matches wins.

use std::borrow::Cow;
use std::time::Duration;

use smallvec::SmallVec;

use super::fixed::FixedAnswer;
use super::origins::Origins;
use super::site::Site;
use super::spelling;
use crate::base::RequestId;
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::event::Addressed;
use crate::proto::name;
use crate::proto::reserved::subjects;
use crate::proto::subject::{Pattern, Subject, SubjectError};
use crate::proto::token::Verifier;
use crate::proto::upstream::UpstreamId;
use crate::proto::user::User;

/// A path template: literal segments and `{parameters}`, and perhaps a `*` at the end. A parameter takes exactly one segment,
/// which is not empty; the `*` takes all that follow, even none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    segments: Vec<Segment>,
    takes_rest: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter(String),
}

/// A channel name with `{parameters}` of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelTemplate(Vec<Segment>);

/// The values of a path's parameters, decoded.
pub type Parameters<'a> = SmallVec<[(&'a str, &'a str); 4]>;

/// The index of an `[[auth]]` (`auth`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthId(pub u16);

#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The hosts and the scheme by which it is reached.
    pub site: Site,
    pub path: PathTemplate,
    /// Upper case, never empty. `HEAD` comes with `GET`.
    pub methods: Vec<Box<str>>,
    /// As in the configuration: workers get it as `Tg-Route`.
    pub template: Box<str>,
    pub origins: Origins,
    /// Header fields, besides the usual ones, that pages of other origins may set.
    pub request_headers: Vec<Box<str>>,
    /// The proofs that it asks its clients for: the first auth that finds a token decides. Empty: a client needs none.
    pub auth: Box<[AuthId]>,
    pub target: RouteTarget,
}

#[derive(Clone, Debug, PartialEq)]
pub enum RouteTarget {
    /// An event stream of these channels, at least one.
    Sse {
        channels: Vec<ChannelTemplate>,
        retry: Duration,
    },
    WebSocket(WebSocketRoute),
    /// A WebSocket of the client protocol.
    Centrifuge(Box<CentrifugeRoute>),
    /// Requests for the workers of a service. Results are read below the path.
    Accept(AcceptRoute),
    /// The same answer for every request.
    Fixed(Box<FixedAnswer>),
    /// A server behind the gateway answers.
    Proxy(Box<ProxyRoute>),
}

impl RouteTarget {
    /// A page that is part of the program.
    pub fn page(content_type: &str, body: &'static [u8]) -> RouteTarget {
        RouteTarget::Fixed(Box::new(FixedAnswer::page(content_type, body)))
    }

    /// Whether an answer of this target begins a stream.
    pub fn is_stream(&self) -> bool {
        matches!(self, RouteTarget::Sse { .. } | RouteTarget::WebSocket(_) | RouteTarget::Centrifuge(_))
    }

    /// The part of a request that names the user.
    pub fn user(&self) -> Option<&UserField> {
        match self {
            RouteTarget::WebSocket(target) => target.user.as_ref(),
            RouteTarget::Centrifuge(target) => target.user.as_ref(),
            RouteTarget::Accept(target) => target.user.as_ref(),
            RouteTarget::Sse { .. } | RouteTarget::Fixed(_) | RouteTarget::Proxy(_) => None,
        }
    }
}

/// The service that gets clients' messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `tg.service.<name>`, made once.
    pub to: Addressed,
}

impl Service {
    pub fn new(name: &str) -> Result<Service, SubjectError> {
        Ok(Service { to: subjects::service(name)?.into() })
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebSocketRoute {
    /// The channel that a connection is subscribed to on opening.
    pub channel: Option<ChannelTemplate>,
    /// Clients may publish to `channel`.
    pub publish: bool,
    /// Clients' messages go to a worker of this service.
    pub service: Option<Service>,
    pub user: Option<UserField>,
    /// Clients can answer questions and acknowledge messages (`proto::control`).
    pub control: bool,
    /// The first of these that a client offers is chosen.
    pub subprotocols: Box<[Box<str>]>,
    /// Header fields that workers of `service` get.
    pub headers: Box<[Box<str>]>,
}

/// A route whose clients choose their subscriptions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CentrifugeRoute {
    /// The service whose workers get the calls and messages of clients.
    pub service: Option<Service>,
    pub user: Option<UserField>,
    /// The key for the token that a client must present; the token names the user.
    pub token: Option<Verifier>,
    /// Instead of `token`: the auth that proves the token of `connect`.
    pub token_auth: Option<AuthId>,
    /// Channels that clients may subscribe to.
    pub channels: Vec<Pattern>,
    /// Channels that clients may publish to.
    pub publish_to: Vec<Pattern>,
    /// Channels that each client is subscribed to on connect.
    pub server_side: Vec<ChannelTemplate>,
}

/// Reserved names and inboxes are never channels of clients, even if a pattern matches them.
pub(super) fn is_among(patterns: &[Pattern], channel: &Subject) -> bool {
    !channel.is_reserved() && !channel.is_inbox() && patterns.iter().any(|pattern| pattern.matches(channel.as_str()))
}

#[derive(Clone, Debug, PartialEq)]
pub struct AcceptRoute {
    pub service: Service,
    /// The channel on which results are published. Besides the path's parameters it may use `{id}`, and `{user}` if the
    /// route names the user.
    pub channel: ChannelTemplate,
    /// The name of the event that carries a result.
    pub event: Box<str>,
    pub timeout: Duration,
    /// How long a result is kept.
    pub keep: Duration,
    pub user: Option<UserField>,
    /// Header fields that workers get.
    pub headers: Box<[Box<str>]>,
}

impl AcceptRoute {
    pub fn channel(
        &self,
        parameters: &Parameters<'_>,
        user: Option<&User>,
        id: RequestId,
    ) -> Result<Subject, CloseReason> {
        let id = id.to_string();
        let user = user.map(User::name);
        let own = [Some(("id", &*id)), user.as_ref().map(|name| ("user", &**name))];
        let all: Parameters<'_> = own.into_iter().flatten().chain(parameters.iter().copied()).collect();
        self.channel.fill(&all)
    }
}

/// What of a route goes to the servers of an upstream, and how long they may take.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyRoute {
    pub upstream: UpstreamId,
    /// The beginning of the path that the servers do not get: whole literal segments of the route's path.
    pub strip: Option<Box<str>>,
    pub host: ForwardedHost,
    /// Longest body of a request.
    pub body_bytes_max: Option<u64>,
    /// From the end of the request to the head of the answer.
    pub response_timeout: Duration,
    /// Between two pieces of the answer …
    pub idle_timeout: Duration,
    /// … and of an event stream, and between two words of a WebSocket.
    pub stream_idle: Duration,
    /// Further servers that are tried if one cannot be reached.
    pub retries: u8,
    /// Whether clients may open WebSockets that a server serves.
    pub has_websockets: bool,
    /// Whether a path may have an encoded slash.
    pub has_encoded_slashes: bool,
    /// Whether header fields go on whose names a server may read as another one.
    pub takes_any_name: bool,
    /// An EventSource without a server is told when to come back; otherwise it gets the status, as any other client.
    pub calls_events_back: bool,
}

/// The `Host` that the servers of an upstream get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardedHost {
    Client,
    /// [`UpstreamServer::host`](crate::proto::upstream::UpstreamServer::host).
    Server,
    Named(Box<str>),
}

impl ProxyRoute {
    /// With the defaults.
    pub fn new(upstream: UpstreamId) -> ProxyRoute {
        ProxyRoute {
            upstream,
            strip: None,
            host: ForwardedHost::Client,
            body_bytes_max: None,
            response_timeout: limits::PROXY_RESPONSE_TIMEOUT,
            idle_timeout: limits::PROXY_IDLE_TIMEOUT,
            stream_idle: limits::PROXY_STREAM_IDLE,
            retries: limits::PROXY_RETRIES as u8,
            has_websockets: true,
            has_encoded_slashes: false,
            takes_any_name: false,
            calls_events_back: true,
        }
    }
}

/// The part of a request that names the connection's user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserField {
    Header(Box<str>),
    Query(Box<str>),
}

impl RouteTarget {
    /// The service that gets the messages of the route's clients.
    pub fn service(&self) -> Option<&Service> {
        match self {
            RouteTarget::WebSocket(target) => target.service.as_ref(),
            RouteTarget::Centrifuge(target) => target.service.as_ref(),
            RouteTarget::Sse { .. } | RouteTarget::Accept(_) | RouteTarget::Fixed(_) | RouteTarget::Proxy(_) => None,
        }
    }
}

impl PathTemplate {
    /// Parses `/a/{b}/c` or `/a/*`, spelled as [`spelling`] requires; the error is one sentence.
    pub fn parse(text: &str) -> Result<PathTemplate, String> {
        if !text.starts_with('/') {
            return Err(format!("a path begins with \"/\", {text:?} does not"));
        }
        spelling::check(text).map_err(|words| format!("the path {text:?} {words}"))?;
        let all = text.strip_suffix("/*");
        let segments = all.unwrap_or(text).split('/').skip(1).map(segment).collect::<Result<_, _>>()?;
        Ok(PathTemplate { segments, takes_rest: all.is_some() })
    }

    pub fn has_parameter(&self, name: &str) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::Parameter(own) if own == name))
    }

    /// Whether a path of these decoded segments matches (`proto::http::split_path`).
    pub fn is_match(&self, segments: &[Cow<'_, str>]) -> bool {
        let count = self.segments.len();
        let has_count = segments.len() == count || self.takes_rest && segments.len() > count;
        has_count && self.segments.iter().zip(segments).all(|(own, segment)| own.takes(segment))
    }

    /// The values of the parameters, if the path matches.
    pub fn matches<'a>(&'a self, segments: &'a [Cow<'a, str>]) -> Option<Parameters<'a>> {
        let parameters = self.segments.iter().zip(segments).filter_map(|(own, segment)| match own {
            Segment::Literal(_) => None,
            Segment::Parameter(name) => Some((name.as_str(), &**segment)),
        });
        self.is_match(segments).then(|| parameters.collect())
    }
}

impl Segment {
    /// Whether a decoded segment of a path matches.
    fn takes(&self, segment: &str) -> bool {
        match self {
            Segment::Literal(literal) => literal == segment,
            Segment::Parameter(_) => !segment.is_empty(),
        }
    }
}

impl ChannelTemplate {
    /// Parses `driver.location.{driver}`: each token is literal or one parameter; the error is one sentence.
    pub fn parse(text: &str) -> Result<ChannelTemplate, String> {
        let tokens = text.split('.').map(segment).collect::<Result<Vec<_>, _>>()?;
        let template = ChannelTemplate(tokens);
        let sample: Vec<&str> = template
            .0
            .iter()
            .map(|token| match token {
                Segment::Literal(literal) => literal.as_str(),
                Segment::Parameter(_) => "x",
            })
            .collect();
        let subject = Subject::new(&sample.join(".")).map_err(|error| format!("{text:?} is no channel: {error}"))?;
        if subject.is_reserved() {
            return Err(format!("{text:?} is no channel: names that begin with \"tg.\" are the gateway's own"));
        }
        Ok(template)
    }

    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|token| match token {
            Segment::Parameter(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }

    /// Fills in a channel's name. `proto::name` encodes each value as one token that no other value has.
    pub fn fill(&self, parameters: &Parameters<'_>) -> Result<Subject, CloseReason> {
        let mut filled = String::new();
        for (index, token) in self.0.iter().enumerate() {
            if index > 0 {
                filled.push('.');
            }
            match token {
                Segment::Literal(literal) => filled.push_str(literal),
                Segment::Parameter(wanted) => {
                    let value = parameters.iter().find(|(own, _)| own == wanted).map(|(_, value)| *value);
                    let value = value.ok_or(CloseReason::NotFound)?;
                    filled.push_str(&name::encode(value).map_err(|_| CloseReason::Unnameable)?);
                }
            }
        }
        // A value that makes up the whole name could make it a reserved one.
        let subject = Subject::new(&filled).ok().filter(|subject| !subject.is_reserved() && !subject.is_inbox());
        subject.ok_or(CloseReason::Unnameable)
    }
}

fn segment(text: &str) -> Result<Segment, String> {
    match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some("") => Err("\"{}\" is a parameter without a name".to_owned()),
        Some(name) if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
            Ok(Segment::Parameter(name.to_owned()))
        }
        Some(_) => Err(format!("{text:?}: a parameter's name has letters, digits and \"_\" only")),
        None if text.contains(['{', '}']) => Err(format!("{text:?}: a parameter takes a whole part, as in \"{{id}}\"")),
        None => Ok(Segment::Literal(text.to_owned())),
    }
}

/// Stands for every method but CONNECT and TRACE, on a route to an upstream. (No request has it: `proto::http` takes CONNECT
/// for malformed, and this for a method that no other route has.)
pub const ANY_METHOD: &str = "*";

const USUAL_METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Whether a route's method `own` takes requests of `method`.
pub fn is_method_taken(own: &str, method: &str) -> bool {
    own == method || own == "GET" && method == "HEAD" || own == ANY_METHOD && !matches!(method, "CONNECT" | "TRACE")
}

/// How a path matches a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// The path of the route itself; [`PathTemplate::matches`] returns the parameters.
    Itself,
    /// The path of the result of an accepted request: one more segment, which is the request's id.
    Result,
}

impl Route {
    /// A route for `GET`, on every host, that pages of other origins may not use. The error is one sentence about the path.
    pub fn new(path: &str, target: RouteTarget) -> Result<Route, String> {
        Ok(Route {
            site: Site::default(),
            path: PathTemplate::parse(path)?,
            methods: vec!["GET".into()],
            template: path.into(),
            origins: Origins::default(),
            request_headers: Vec::new(),
            auth: Box::default(),
            target,
        })
    }

    pub fn find(&self, segments: &[Cow<'_, str>]) -> Option<PathMatch> {
        if self.path.is_match(segments) {
            return Some(PathMatch::Itself);
        }
        let (_, above) = segments.split_last()?;
        let is_result = matches!(self.target, RouteTarget::Accept(_)) && self.path.is_match(above);
        is_result.then_some(PathMatch::Result)
    }

    /// The methods that are allowed on such a path. Where every method is, those that are in use.
    pub fn methods(&self, found: PathMatch) -> impl Iterator<Item = &str> {
        let (own, of_results) = match found {
            PathMatch::Itself => (&self.methods[..], None),
            PathMatch::Result => (&[][..], Some("GET")),
        };
        let has_any = own.iter().any(|method| &**method == ANY_METHOD);
        let (own, usual) = if has_any { (&[][..], USUAL_METHODS) } else { (own, &[][..]) };
        own.iter().map(|method| &**method).chain(usual.iter().copied()).chain(of_results)
    }

    pub fn takes(&self, found: PathMatch, method: &str) -> bool {
        match found {
            PathMatch::Itself => self.methods.iter().any(|own| is_method_taken(own, method)),
            PathMatch::Result => is_method_taken("GET", method),
        }
    }

    /// Whether a preflight is no request for the route, though it takes OPTIONS: it is answered as for other routes.
    pub fn answers_preflights(&self) -> bool {
        matches!(self.target, RouteTarget::Proxy(_)) && self.checks_origins()
    }

    /// Whether only pages of [`Route::origins`] may use it. A server behind the gateway has its own rules, unless the route
    /// has some.
    pub fn checks_origins(&self) -> bool {
        !matches!(self.target, RouteTarget::Proxy(_)) || !self.origins.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::split_path;

    #[test]
    fn any_method_is_every_one_but_those_of_the_connection() {
        let route = Route {
            methods: vec![ANY_METHOD.into()],
            ..Route::new("/*", RouteTarget::Proxy(Box::new(ProxyRoute::new(UpstreamId(0))))).unwrap()
        };
        for method in ["GET", "HEAD", "OPTIONS", "DELETE", "PROPFIND", "*"] {
            assert!(route.takes(PathMatch::Itself, method), "{method}");
        }
        for method in ["CONNECT", "TRACE"] {
            assert!(!route.takes(PathMatch::Itself, method), "{method}");
        }
        let allowed: Vec<_> = route.methods(PathMatch::Itself).collect();
        assert_eq!(allowed, USUAL_METHODS);
    }

    #[test]
    fn parameters_take_one_segment_each() {
        let template = PathTemplate::parse("/api/drivers/{driver}/location").unwrap();
        let segments = split_path("/api/drivers/a%20b/location").unwrap();
        assert_eq!(template.matches(&segments).unwrap()[..], [("driver", "a b")]);
        for path in
            ["/api/drivers/42", "/api/drivers/42/location/", "/api/drivers/4/2/location", "/", "/api/drivers//location"]
        {
            assert!(template.matches(&split_path(path).unwrap()).is_none(), "{path}");
        }
    }

    #[test]
    fn a_star_at_the_end_takes_the_rest_of_a_path_even_if_there_is_none() {
        let template = PathTemplate::parse("/api/{version}/*").unwrap();
        for path in ["/api/1", "/api/1/", "/api/1/a", "/api/1/a/b%2Fc//d"] {
            assert_eq!(template.matches(&split_path(path).unwrap()).unwrap()[..], [("version", "1")], "{path}");
        }
        for path in ["/", "/api", "/api/", "/api//a", "/apis/1/a"] {
            assert!(template.matches(&split_path(path).unwrap()).is_none(), "{path}");
        }
        let all = PathTemplate::parse("/*").unwrap();
        assert!(["/", "/a", "/a/b", "/*"].iter().all(|path| all.is_match(&split_path(path).unwrap())));
        let star = PathTemplate::parse("/a*").unwrap();
        assert!(star.is_match(&split_path("/a*").unwrap()) && !star.is_match(&split_path("/ab").unwrap()));
    }

    #[test]
    fn any_value_is_one_token_of_its_own() {
        let path = PathTemplate::parse("/{driver}").unwrap();
        let channel = ChannelTemplate::parse("driver.location.{driver}").unwrap();
        let fill = |text: &str| channel.fill(&path.matches(&split_path(text).unwrap()).unwrap());
        for (text, token) in [
            ("/42", "42"),
            ("/ann@example.org", "ann@example%2Eorg"),
            ("/ann%40example%2eorg", "ann@example%2Eorg"),
            ("/ann@example%252Eorg", "ann@example%252Eorg"),
            ("/a.b", "a%2Eb"),
            ("/*", "%2A"),
            ("/%3E", "%3E"),
            ("/a%20b", "a%20b"),
            ("/a+b", "a+b"),
            ("/a%2Fb", "a/b"),
            ("/caf%C3%A9", "caf\u{e9}"),
        ] {
            assert_eq!(fill(text).unwrap().as_str(), format!("driver.location.{token}"), "{text}");
        }
        for bad in ["/a%00", "/a%0Ab", &format!("/{}", "x".repeat(250)), &format!("/{}", ".".repeat(90))] {
            assert_eq!(fill(bad), Err(CloseReason::Unnameable), "{bad}");
        }
    }

    #[test]
    fn a_value_that_is_the_whole_channel_makes_it_no_reserved_one() {
        let path = PathTemplate::parse("/{channel}").unwrap();
        let channel = ChannelTemplate::parse("{channel}").unwrap();
        let fill = |text: &str| channel.fill(&path.matches(&split_path(text).unwrap()).unwrap());
        for bad in ["/tg", "/_INBOX", "/%5fINBOX"] {
            assert_eq!(fill(bad), Err(CloseReason::Unnameable), "{bad}");
        }
        assert_eq!(fill("/tg.user.ann").unwrap().as_str(), "tg%2Euser%2Eann");
    }

    #[test]
    fn templates_that_mean_nothing_are_refused() {
        for bad in ["a", "/{}", "/{a-b}", "/x{a}", "/a%20b", "//a"] {
            assert!(PathTemplate::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "a..b", "tg.x", "a b", "a.{x}y"] {
            assert!(ChannelTemplate::parse(bad).is_err(), "{bad}");
        }
    }
}
