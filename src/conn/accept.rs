//! Accept routes: a request is answered before its work is done, and its result is read later.
//!
//! ```text
//!  POST <path>      --> Accepting --body--> ServiceRequest --> the shard --> Receipt --> 202, Location: <path>/<id>
//!  GET <path>/<id>  -----------------------------------------> the shard --> Reading --> 200, the status and the result in JSON
//! ```

use std::borrow::Cow;

use aws_lc_rs::digest;

use super::origins::Page;
use super::outbox::Outbox;
use super::passed::PassedFields;
use super::route::{AcceptRoute, Parameters, Route};
use crate::base::{NodeId, Place, RequestId, RouteId};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::bus::HeaderBlock;
use crate::proto::bus::headers::is_valid_value;
use crate::proto::event::Message;
use crate::proto::http::{Cors, Head, Refusal, Reply, ReplyTo, TraceContext, normalized, split_path};
use crate::proto::request::{Reading, Receipt, Status};
use crate::proto::reserved::headers::{
    CHANNEL_HEADER, EVENT_HEADER, HTTP_ID_HEADER, KIND_HEADER, METHOD_HEADER, PATH_HEADER, QUERY_HEADER,
    REQUEST_HEADER, ROUTE_HEADER, STATUS_HEADER, TRACE_HEADER,
};
use crate::proto::reserved::subjects;
use crate::proto::subject::Subject;
use crate::proto::user::User;

/// A request whose body has not arrived.
pub(super) struct Accepting {
    asked: ServiceRequest,
    pub page: Option<Page>,
}

/// A complete request for the workers of a service.
pub struct ServiceRequest {
    pub route: RouteId,
    user: Option<User>,
    key: Option<Box<str>>,
    method: Box<str>,
    /// As it was sent, with its escapes.
    path: Box<str>,
    query: Option<Box<str>>,
    content_type: Option<Box<str>>,
    payload: Box<[u8]>,
    /// As servers would get them: `X-Request-Id`, `traceparent`.
    name: Box<str>,
    trace: TraceContext,
    fields: PassedFields,
}

impl Accepting {
    /// Bytes of what is kept of the head.
    pub(super) fn bytes(&self) -> usize {
        let ServiceRequest { path, query, content_type, key, name, fields, .. } = &self.asked;
        let optional = [query, content_type, key].map(|part| part.as_ref().map_or(0, |part| part.len()));
        path.len() + name.len() + fields.bytes() + optional.iter().sum::<usize>()
    }

    /// `query`: without tokens; `name`: the request's id for logs, and its trace. Refuses a request whose result could not be
    /// published later.
    pub(super) fn new(
        (head, query): (&Head<'_>, Option<Cow<'_, str>>),
        name: (Cow<'_, str>, TraceContext),
        route: RouteId,
        (target, parameters): (&AcceptRoute, &Parameters<'_>),
        node: Option<NodeId>,
        user: Option<User>,
        cors: Option<Cors<'_>>,
    ) -> Result<Accepting, CloseReason> {
        // The real id has the same length: a channel that is too long is refused now.
        target.channel(parameters, user.as_ref(), RequestId::new(node, Place(0), 0))?;
        let content_type = head.single_header("content-type")?.filter(|value| is_valid_value(value));
        let asked = ServiceRequest {
            route,
            user,
            key: idempotency_key(head)?.map(Box::from),
            method: head.method.into(),
            path: head.path.into(),
            query: query.map(|query| query.into()),
            content_type: content_type.map(Box::from),
            payload: Box::default(),
            name: name.0.into(),
            trace: name.1,
            fields: PassedFields::of(head, &target.headers),
        };
        Ok(Accepting { asked, page: cors.map(Page::new) })
    }

    pub(super) fn user(&self) -> Option<&User> {
        self.asked.user()
    }

    pub(super) fn finish(self, payload: Box<[u8]>) -> (ServiceRequest, Owed) {
        let owed = Owed { path: self.asked.path.clone(), page: self.page };
        (ServiceRequest { payload, ..self.asked }, owed)
    }
}

/// The client's key for the request, by which it may resend it.
///
/// The draft (draft-ietf-httpapi-idempotency-key-header, section 2.1) has a string of RFC 8941, in quotes; most clients
/// send the bare text. Both are accepted, with the same meaning.
fn idempotency_key<'a>(head: &Head<'a>) -> Result<Option<Cow<'a, str>>, CloseReason> {
    let Some(value) = head.single_header("idempotency-key")? else { return Ok(None) };
    let key = match value.strip_prefix('"') {
        Some(quoted) => quoted_string(quoted).ok_or(CloseReason::MalformedRequest)?,
        None => Cow::Borrowed(value),
    };
    let is_valid = !key.is_empty()
        && key.len() <= limits::IDEMPOTENCY_KEY_BYTES_MAX
        && key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if is_valid { Ok(Some(key)) } else { Err(CloseReason::MalformedRequest) }
}

/// The text of a string whose opening quote is taken (RFC 8941 section 4.2.5). Parameters may follow it (section 3.3);
/// the draft gives them no meaning.
fn quoted_string(rest: &str) -> Option<Cow<'_, str>> {
    let mut text = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => text.push(characters.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            other => text.push(other),
        }
    }
    let after = characters.as_str().trim_start_matches(' ');
    (after.is_empty() || after.starts_with(';')).then_some(Cow::Owned(text))
}

/// A media type in a canonical spelling: names and most values are case-insensitive, and white space may surround
/// semicolons (RFC 9110 section 8.3.1). If two types differ in the case of another value, their payloads differ too.
fn media_type(text: &str) -> String {
    text.chars()
        .filter(|character| !matches!(character, ' ' | '\t'))
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

impl ServiceRequest {
    /// The identity of a request for recognizing repetitions: the client's key, its scope (one user on one route), and
    /// a fingerprint of the request. Spellings of escapes and of the media type make no difference. `None`: the request
    /// has no key.
    pub fn idempotency(&self, route: &Route) -> Option<(String, [u8; 32])> {
        let key = self.key.as_ref()?;
        // The route in its own words: after a change of the configuration, a resent request is still the same.
        let user = self.user.as_ref().map_or("", User::token);
        let name = format!("{} {}\n{user}\n{key}", route.methods.join(","), route.template);
        let mut hash = digest::Context::new(&digest::SHA256);
        let query = self.query.as_deref().map(normalized).unwrap_or_default();
        let content_type = self.content_type.as_deref().map(media_type).unwrap_or_default();
        for part in [&*self.method, &normalized(&self.path), &query, &content_type] {
            // No part contains a line end.
            hash.update(part.as_bytes());
            hash.update(b"\n");
        }
        hash.update(&self.payload);
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(hash.finish().as_ref());
        Some((name, fingerprint))
    }

    /// The user, if the request names one.
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// The channel of the result, once the request has its id.
    pub fn channel(&self, route: &Route, target: &AcceptRoute, id: RequestId) -> Result<Subject, CloseReason> {
        let segments = split_path(&self.path)?;
        let parameters = route.path.matches(&segments).ok_or(CloseReason::NotFound)?;
        target.channel(&parameters, self.user.as_ref(), id)
    }

    /// The message for the worker.
    pub fn message(self, route: &Route, target: &AcceptRoute, id: RequestId, channel: &Subject) -> Message {
        let mut headers = HeaderBlock::new();
        headers.push(KIND_HEADER, "request");
        headers.push(REQUEST_HEADER, &id.to_string());
        if let Some(user) = &self.user {
            user.push_headers(&mut headers);
        }
        headers.push(ROUTE_HEADER, &route.template);
        headers.push(METHOD_HEADER, &self.method);
        headers.push(PATH_HEADER, &self.path);
        if let Some(query) = &self.query {
            headers.push(QUERY_HEADER, query);
        }
        headers.push(CHANNEL_HEADER, channel.as_str());
        if let Some(content_type) = &self.content_type {
            headers.push("Content-Type", content_type);
        }
        self.fields.push(&mut headers);
        headers.push(HTTP_ID_HEADER, &self.name);
        headers.push(TRACE_HEADER, self.trace.text().as_str());
        let (service, reply) = (target.service.to.clone(), subjects::request(id));
        Message::new(service, Some(reply), Some(headers.finish()), self.payload)
    }
}

/// The headers of the event that carries the document.
pub fn event_headers(event: &str, id: RequestId, status: Status) -> Box<[u8]> {
    let mut headers = HeaderBlock::new();
    headers.push(EVENT_HEADER, event);
    headers.push(REQUEST_HEADER, &id.to_string());
    headers.push(STATUS_HEADER, status.name());
    headers.push("Content-Type", "application/json");
    headers.finish()
}

/// The facts about an accepted request that its answer needs.
pub(super) struct Owed {
    path: Box<str>,
    pub page: Option<Page>,
}

pub(super) fn write_receipt(receipt: &Receipt, to: ReplyTo, owed: &Owed, outbox: &mut Outbox) {
    let Receipt { id, channel } = receipt;
    let location = format!("{}/{id}", owed.path);
    let body = serde_json::json!({ "id": id.to_string(), "channel": channel.as_str(), "location": location });
    outbox.write(|out| {
        let reply = Reply::start(out, 202, to).header("Location", &location).header("Content-Type", "application/json");
        let reply = reply.header("Cache-Control", "no-store");
        expose(reply, owed.page.as_ref()).body(format!("{body}\n").as_bytes());
    });
}

pub(super) fn write_reading(reading: &Reading, to: ReplyTo, page: Option<&Page>, outbox: &mut Outbox) {
    outbox.write(|out| {
        let reply = Reply::start(out, 200, to).header("Content-Type", "application/json");
        let reply = reply.header("Cache-Control", "no-store");
        let reply = match reading.status == Status::Pending {
            true => reply.number("Retry-After", limits::REQUEST_RETRY_AFTER_S.into()),
            false => reply,
        };
        expose(reply, page).body(&reading.document);
    });
}

/// By default, a page can read only a few fields (the Fetch standard, "CORS-safelisted response-header name").
fn expose<'o>(reply: Reply<'o>, page: Option<&Page>) -> Reply<'o> {
    match page {
        Some(page) => reply.header("Access-Control-Expose-Headers", "Location, Retry-After").cors(Some(page.cors())),
        None => reply,
    }
}

/// Writes a refusal instead of a receipt or a reading; returns whether the connection may continue.
pub(super) fn write_refusal(
    reason: CloseReason,
    retry_after_s: u32,
    to: ReplyTo,
    page: Option<&Page>,
    outbox: &mut Outbox,
) -> bool {
    // RFC 9110 section 15.6.4, RFC 6585 section 4.
    let retry_after_s = matches!(reason.row().http_status, 429 | 503).then_some(retry_after_s);
    let mut keep_alive = false;
    outbox.write(|out| {
        let refusal = Refusal { retry_after_s, cors: page.map(Page::cors), ..Refusal::new(reason) };
        keep_alive = refusal.write(out, to);
    });
    keep_alive
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::route::RouteTarget;
    use crate::proto::http::next_head;

    fn key_of(lines: &str) -> Result<Option<String>, CloseReason> {
        let mut bytes = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
        let mut input = &mut bytes[..];
        let head = next_head(&mut input).unwrap().unwrap();
        idempotency_key(&head).map(|key| key.map(Cow::into_owned))
    }

    #[test]
    fn a_key_is_a_string_with_or_without_quotes() {
        assert_eq!(key_of(""), Ok(None));
        for (value, key) in [
            ("abc-1", "abc-1"),
            ("\"abc-1\"", "abc-1"),
            ("\"a \\\" \\\\\"", "a \" \\"),
            ("a b", "a b"),
            ("\"a;b\"; c=1;d", "a;b"),
            ("\"a\"  ;c", "a"),
        ] {
            assert_eq!(key_of(&format!("Idempotency-Key: {value}\r\n")), Ok(Some(key.to_owned())), "{value}");
        }
        let long = "x".repeat(limits::IDEMPOTENCY_KEY_BYTES_MAX + 1);
        for bad in ["", "\"\"", "\"a", "\"a\\\"", "\"a\\n\"", "\"a\"b\"", "\"a\" b", "é", "a\tb", &long] {
            assert_eq!(key_of(&format!("Idempotency-Key: {bad}\r\n")), Err(CloseReason::MalformedRequest), "{bad}");
        }
        assert_eq!(key_of("Idempotency-Key: a\r\nIdempotency-Key: a\r\n"), Err(CloseReason::MalformedRequest));
    }

    fn route(path: &str) -> Route {
        let target = RouteTarget::page("text/plain", b"");
        Route { methods: vec!["POST".into()], ..Route::new(path, target).unwrap() }
    }

    fn trace() -> TraceContext {
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
        TraceContext::of(&next_head(&mut &mut bytes[..]).unwrap().unwrap(), false, [1, 2, 3])
    }

    #[test]
    fn equal_requests_have_one_fingerprint_and_others_another() {
        fn asked_with(change: impl Fn(&mut ServiceRequest)) -> ServiceRequest {
            let mut asked = ServiceRequest {
                route: RouteId::default(),
                user: Some(User::new("ann").unwrap()),
                key: Some("k".into()),
                method: "POST".into(),
                path: "/a".into(),
                query: Some("b".into()),
                content_type: None,
                payload: Box::from(*b"c"),
                name: "id-0".into(),
                trace: trace(),
                fields: PassedFields::default(),
            };
            change(&mut asked);
            asked
        }
        let asked = |change: fn(&mut ServiceRequest)| asked_with(change).idempotency(&route("/jobs"));
        let first = asked(|_| {}).unwrap();
        assert_eq!(asked(|_| {}).unwrap(), first);
        for respelled in
            [(|asked| asked.path = "/%61".into()) as fn(&mut ServiceRequest), |asked| asked.query = Some("%62".into())]
        {
            assert_eq!(asked(respelled).unwrap(), first);
        }
        let typed = |content_type: &'static str| {
            let asked = asked_with(|asked| asked.content_type = Some(content_type.into()));
            asked.idempotency(&route("/jobs"))
        };
        assert_eq!(typed("application/json;charset=utf-8"), typed("Application/JSON; charset=UTF-8"));
        assert_ne!(typed("application/json"), typed("text/plain"));
        for change in [
            (|asked| asked.payload = Box::from(*b"d")) as fn(&mut ServiceRequest),
            |asked| asked.method = "PUT".into(),
            |asked| asked.path = "/b".into(),
            |asked| asked.query = None,
            |asked| asked.content_type = Some("text/plain".into()),
        ] {
            let other = asked(change).unwrap();
            assert!(other.0 == first.0 && other.1 != first.1);
        }
        assert_ne!(asked(|asked| asked.user = None).unwrap().0, first.0);
        assert_ne!(asked_with(|_| {}).idempotency(&route("/others")).unwrap().0, first.0);
        assert_eq!(asked(|asked| asked.key = None), None);
    }
}
