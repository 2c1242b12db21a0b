//! Routes: the target of a path, and which of its keys fit together.

use std::time::Duration;

use super::super::tree::Content;
use super::super::{
    AcceptTarget, RespondTarget, Route, Scheme, SseTarget, Target, UserSource, WebSocketTarget, form, validate,
};
use super::auth;
use super::upstreams::proxy;
use super::{ConfigBuilder, Section};

use crate::conn::fixed::FixedField;
use crate::conn::route::ANY_METHOD;
use crate::conn::spelling;
use crate::limits::{PASSED_FIELDS_MAX, SSE_CHANNELS_MAX, SUBPROTOCOLS_MAX};
use crate::proto::upstream::UpstreamRule;

impl ConfigBuilder<'_> {
    /// Upstreams that routes name by a URL are added.
    pub(super) fn routes(&mut self, top: &Section<'_>, upstreams: &mut Vec<UpstreamRule>) -> Vec<Route> {
        let mut routes: Vec<Route> = Vec::new();
        if let Some(access) = top.table("access") {
            auth::names(self, &access);
        }
        for section in top.tables("route") {
            let auth = auth::of_route(self, &section, top);
            let Some(route) = self.route(&section, auth, upstreams) else { continue };
            self.reach_of_route(&section, &route, &routes);
            routes.push(route);
        }
        routes
    }

    fn route(&mut self, section: &Section<'_>, auth: Vec<String>, upstreams: &mut Vec<UpstreamRule>) -> Option<Route> {
        let path = self.required(section, "path");
        if let Some(Err(words)) = path.as_deref().map(spelling::check) {
            self.conflict(section, "path", &words);
        }
        let target = self.target(section, path.as_deref(), !auth.is_empty(), upstreams);
        let methods = match (&target, section.value("method")) {
            (Some(Target::Accept(_)), None) => vec!["POST".to_owned()],
            (Some(Target::Proxy(_)), None) => vec![ANY_METHOD.to_owned()],
            _ => section.texts("method"),
        };
        if matches!(target, Some(Target::WebSocket(_) | Target::Centrifuge(_))) && methods != ["GET"] {
            self.conflict(section, "method", "does not open a WebSocket; expected \"GET\"");
        }
        let reads = |method: &String| matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS");
        if matches!(target, Some(Target::Accept(_))) && methods.iter().any(reads) {
            self.conflict(
                section,
                "method",
                "has GET, HEAD or OPTIONS beside accept; expected methods such as \"POST\"",
            );
        }
        if matches!(target, Some(Target::Proxy(_)))
            && let Some(method) = methods.iter().find(|method| matches!(method.as_str(), "CONNECT" | "TRACE"))
        {
            let words = format!("has {method}, which no server gets from here; expected other methods");
            self.conflict(section, "method", &words);
        }
        if let Some(Content::List(items)) = section.value("method").map(|value| &value.content)
            && items.is_empty()
        {
            self.conflict(section, "method", "is an empty list; expected a method in upper case such as \"GET\"");
        }
        if matches!(target, Some(Target::Sse(_)))
            && let Some(method) =
                methods.iter().find(|method| matches!(method.as_str(), "CONNECT" | "OPTIONS" | "TRACE"))
        {
            let words = format!("has {method}, which no page uses for a stream; expected \"GET\", or \"POST\"");
            self.conflict(section, "method", &words);
        }
        for name in ["host", "method", "origins"] {
            self.repetitions(section, name, |one, other| one == other);
        }
        let origins = section.texts("origins");
        if origins.len() > 1 && origins.iter().any(|origin| origin == "*") {
            self.doubt(section, "origins", "has \"*\", which allows any origin, and other entries");
        }
        let scheme = section.text("scheme").map(|scheme| if scheme == "https" { Scheme::Https } else { Scheme::Http });
        Some(Route {
            hosts: section.texts("host"),
            scheme,
            path: path?,
            methods,
            origins: section.texts("origins"),
            request_headers: section.texts("request_headers"),
            auth,
            target: target?,
        })
    }

    fn target(
        &mut self,
        section: &Section<'_>,
        path: Option<&str>,
        has_auth: bool,
        upstreams: &mut Vec<UpstreamRule>,
    ) -> Option<Target> {
        let [sse, websocket, accept, respond] =
            ["sse", "websocket", "accept", "respond"].map(|name| section.table(name));
        let count = ["sse", "websocket", "accept", "respond", "proxy"].map(|name| section.value(name).is_some());
        match count.into_iter().filter(|is_set| *is_set).count() {
            0 => {
                self.missing(section, "[[route]] has no target; expected sse, websocket, accept, respond or proxy");
                return None;
            }
            1 => {}
            _ => {
                let words =
                    "[[route]] has more than one of sse, websocket, accept, respond and proxy; expected one of them";
                self.missing(section, words);
                return None;
            }
        }
        for target in websocket.iter().chain(&accept).filter(|_| has_auth) {
            for name in ["user", "token"].into_iter().filter(|name| target.has_row(name)) {
                if target.value(name).is_some() {
                    self.conflict(
                        target,
                        name,
                        "is set beside an auth, whose token names the user; expected one of them",
                    );
                }
            }
        }
        if let Some(sse) = sse {
            self.sse(&sse, path).map(Target::Sse)
        } else if let Some(websocket) = websocket {
            match websocket.text("protocol").as_deref() {
                Some("centrifuge-json") => self.centrifuge(&websocket, path, has_auth).map(Target::Centrifuge),
                _ => self.websocket(&websocket, path, has_auth).map(Target::WebSocket),
            }
        } else if let Some(accept) = accept {
            self.accept(section, &accept, path, has_auth).map(Target::Accept)
        } else if let Some(respond) = respond {
            self.respond(&respond).map(Target::Respond)
        } else {
            proxy(self, section, path, upstreams).map(|proxy| Target::Proxy(Box::new(proxy)))
        }
    }

    fn sse(&mut self, section: &Section<'_>, path: Option<&str>) -> Option<SseTarget> {
        let (channel, several) = (section.value("channel"), section.value("channels"));
        let name = match (channel, several) {
            (Some(_), None) => "channel",
            (None, Some(_)) => "channels",
            (None, None) => {
                self.missing(section, "sse has no channel; expected channel or channels");
                return None;
            }
            (Some(_), Some(_)) => {
                self.missing(section, "sse has both channel and channels; expected one of them");
                return None;
            }
        };
        let channels = section.texts(name);
        channels.iter().for_each(|channel| self.parameters(section, name, channel, path, &[]));
        self.repetitions(section, name, |one, other| one == other);
        if let Some(Content::List(items)) = several.map(|value| &value.content) {
            let count = items.len();
            if !(1..=SSE_CHANNELS_MAX).contains(&count) {
                let words = format!("has {count} channels; expected 1 to {SSE_CHANNELS_MAX}");
                self.conflict(section, name, &words);
            }
        }
        Some(SseTarget { channels, retry: Duration::from_millis(section.whole("retry_ms")) })
    }

    fn websocket(&mut self, section: &Section<'_>, path: Option<&str>, has_auth: bool) -> Option<WebSocketTarget> {
        for name in ["channels", "publish_to", "server_side", "token"] {
            self.belongs_to(section, name, "centrifuge-json");
        }
        let channel = section.text("channel");
        if let Some(channel) = &channel {
            self.parameters(section, "channel", channel, path, &[]);
        }
        let user = section.table("user").and_then(|user| self.user(&user));
        let service = section.text("service");
        let publish = section.switch("publish");
        if channel.is_none() && service.is_none() && section.value("user").is_none() && !has_auth {
            self.missing(section, "websocket has no target; expected at least one of channel, service and user");
        }
        if publish && channel.is_none() && !self.broken.contains(&section.place) {
            self.conflict(section, "publish", "is true without a channel; expected channel");
        }
        let subprotocols = section.texts("subprotocols");
        if subprotocols.len() > SUBPROTOCOLS_MAX {
            let words = format!("has {} names; expected at most {SUBPROTOCOLS_MAX}", subprotocols.len());
            self.conflict(section, "subprotocols", &words);
        }
        let headers = passed(self, section);
        if service.is_none() && !headers.is_empty() && !self.broken.contains(&section.place) {
            self.conflict(section, "headers", "has no effect without a service; expected service");
        }
        Some(WebSocketTarget {
            channel,
            service,
            publish,
            user,
            control: section.switch("control"),
            subprotocols,
            headers,
        })
    }

    fn accept(
        &mut self,
        route: &Section<'_>,
        section: &Section<'_>,
        path: Option<&str>,
        has_auth: bool,
    ) -> Option<AcceptTarget> {
        let user = section.table("user").and_then(|user| self.user(&user));
        let own = if section.value("user").is_some() || has_auth { &["id", "user"][..] } else { &["id"] };
        let channel = section.text("channel");
        if let Some(channel) = &channel {
            self.parameters(section, "channel", channel, path, own);
        }
        if let Some(path) = path {
            if path.ends_with("/*") {
                self.conflict(
                    route,
                    "path",
                    "takes all paths below it, but results are read there; expected no \"*\" at the end",
                );
            }
            if path.ends_with('/') {
                self.conflict(
                    route,
                    "path",
                    "ends with a slash, but results are read below it; expected no slash at the end",
                );
            }
            if let Some(taken) = form::path_parameters(path).into_iter().find(|name| own.contains(name)) {
                let words =
                    format!("has the parameter {{{taken}}}, which accept gives a meaning; expected another name");
                self.conflict(route, "path", &words);
            }
        }
        let headers = passed(self, section);
        Some(AcceptTarget {
            service: self.required(section, "service")?,
            channel: channel?,
            event: section.text("event")?,
            timeout: Duration::from_secs(section.whole("timeout_s")),
            keep: Duration::from_secs(section.whole("keep_s")),
            user,
            headers,
        })
    }

    fn respond(&mut self, section: &Section<'_>) -> Option<RespondTarget> {
        let status = u16::try_from(section.whole("status")).ok()?;
        let (body, mut headers) = (section.text("body")?, section.texts("headers"));
        let has = |headers: &[String], name: &str| {
            headers
                .iter()
                .filter_map(|text| FixedField::parse(text))
                .any(|field| field.name().eq_ignore_ascii_case(name))
        };
        if matches!(status, 204 | 304) && !body.is_empty() {
            let words = format!("is set beside the status {status}, whose answer has none; expected no body");
            self.conflict(section, "body", &words);
        }
        if matches!(status, 301 | 302 | 303 | 307 | 308) && !has(&headers, "Location") {
            self.conflict(section, "status", "is a redirect; expected a Location among its headers");
        }
        if !body.is_empty() && !has(&headers, "Content-Type") {
            headers.push("Content-Type: text/plain; charset=utf-8".to_owned());
        }
        Some(RespondTarget { status, body, headers })
    }

    pub(super) fn user(&mut self, section: &Section<'_>) -> Option<UserSource> {
        if let Some(name) = ["header", "query"].into_iter().find(|name| section.value(name).is_some())
            && !section.switch("unverified")
        {
            let words = "is believed as it comes: any client can say any name there; expected an auth, or unverified = true if \
                         something in front of the gateway sets it, or nothing depends on it";
            self.doubt(section, name, words);
        }
        match (section.text("header"), section.text("query")) {
            (Some(header), None) => Some(UserSource::Header(header)),
            (None, Some(query)) => Some(UserSource::Query(query)),
            (None, None) => {
                self.missing(section, "user has neither header nor query; expected one of them");
                None
            }
            (Some(_), Some(_)) => {
                self.missing(section, "user has both header and query; expected one of them");
                None
            }
        }
    }

    /// An error if a channel uses a parameter that is neither one of the path's nor one of the target's own.
    pub(super) fn parameters(
        &mut self,
        section: &Section<'_>,
        key: &str,
        channel: &str,
        path: Option<&str>,
        own: &[&str],
    ) {
        let Some(path) = path else { return };
        let known = [&form::path_parameters(path), own].concat();
        let used = form::channel_parameters(channel);
        if let Some(stranger) = used.iter().find(|name| !known.contains(name)) {
            let words = match validate::nearest(stranger, known.iter().copied()) {
                Some(name) => format!("uses {{{stranger}}}, which {path:?} does not have; did you mean {{{name}}}?"),
                None => format!("uses {{{stranger}}}; expected parameters of the path {path:?} only"),
            };
            self.conflict(section, key, &words);
        }
    }
}

/// The header fields that workers get.
fn passed(builder: &mut ConfigBuilder<'_>, section: &Section<'_>) -> Vec<String> {
    let names = section.texts("headers");
    if names.len() > PASSED_FIELDS_MAX {
        let words = format!("has {} names; expected at most {PASSED_FIELDS_MAX}", names.len());
        builder.conflict(section, "headers", &words);
    }
    names
}
