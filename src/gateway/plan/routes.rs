//! The configured routes in the form that connections use.

use super::{auths, upstream};
use crate::conn::fixed::{FixedAnswer, FixedField};
use crate::conn::origins::Origins;
use crate::conn::route::{
    AcceptRoute, CentrifugeRoute, ChannelTemplate, ForwardedHost, ProxyRoute, Route, RouteTarget, Service, UserField,
    WebSocketRoute,
};
use crate::conn::routes::Routes;
use crate::conn::site::Site;
use crate::gateway::config::{self, Config};
use crate::proto::subject::Pattern;
use crate::proto::token::Verifier;

/// `pages`, followed by the routes of the configuration.
pub(super) fn all(config: &Config, pages: Vec<Route>) -> Result<Routes, String> {
    let configured = config.routes.iter().map(|own| route(own, config)).collect::<Result<_, _>>()?;
    let routes = Routes::new(pages).and_then(|pages| pages.followed_by(configured));
    routes.map_err(|error| error.to_string())
}

fn service(name: &String) -> Result<Service, String> {
    Service::new(name).map_err(|error| format!("service {name}: {error}"))
}

fn user(source: &config::UserSource) -> UserField {
    match source {
        config::UserSource::Header(name) => UserField::Header(name.as_str().into()),
        config::UserSource::Query(name) => UserField::Query(name.as_str().into()),
    }
}

fn verifier(path: &str, key: &config::TokenKey) -> Result<Verifier, String> {
    key.verifier().map_err(|error| format!("route {path}: {error}"))
}

fn patterns(names: &[String]) -> Result<Vec<Pattern>, String> {
    names.iter().map(|name| Pattern::new(name).map_err(|error| format!("{name}: {error}"))).collect()
}

fn route(route: &config::Route, config: &Config) -> Result<Route, String> {
    let target = match &route.target {
        config::Target::Sse(sse) => {
            let channels = sse.channels.iter().map(|channel| ChannelTemplate::parse(channel));
            RouteTarget::Sse { channels: channels.collect::<Result<_, _>>()?, retry: sse.retry }
        }
        config::Target::WebSocket(websocket) => RouteTarget::WebSocket(WebSocketRoute {
            channel: websocket.channel.as_deref().map(ChannelTemplate::parse).transpose()?,
            publish: websocket.publish,
            service: websocket.service.as_ref().map(service).transpose()?,
            user: websocket.user.as_ref().map(user),
            control: websocket.control,
            subprotocols: websocket.subprotocols.iter().map(|name| name.as_str().into()).collect(),
            headers: websocket.headers.iter().map(|name| name.as_str().into()).collect(),
        }),
        config::Target::Accept(accept) => RouteTarget::Accept(AcceptRoute {
            service: service(&accept.service)?,
            channel: ChannelTemplate::parse(&accept.channel)?,
            event: accept.event.as_str().into(),
            timeout: accept.timeout,
            keep: accept.keep,
            user: accept.user.as_ref().map(user),
            headers: accept.headers.iter().map(|name| name.as_str().into()).collect(),
        }),
        config::Target::Respond(respond) => RouteTarget::Fixed(Box::new(FixedAnswer {
            status: respond.status,
            fields: respond.headers.iter().filter_map(|text| FixedField::parse(text)).collect(),
            body: respond.body.clone().into_bytes().into(),
        })),
        config::Target::Proxy(proxy) => RouteTarget::Proxy(Box::new(ProxyRoute {
            upstream: upstream(&proxy.upstream, &config.upstreams)?,
            strip: proxy.strip.as_deref().map(Into::into),
            host: match &proxy.host {
                config::ProxyHost::Client => ForwardedHost::Client,
                config::ProxyHost::Upstream => ForwardedHost::Server,
                config::ProxyHost::Named(host) => ForwardedHost::Named(host.as_str().into()),
            },
            body_bytes_max: proxy.body_bytes_max,
            response_timeout: proxy.response_timeout,
            idle_timeout: proxy.idle_timeout,
            stream_idle: proxy.stream_idle,
            retries: proxy.retries,
            has_websockets: proxy.has_websockets,
            has_encoded_slashes: proxy.has_encoded_slashes,
            takes_any_name: proxy.takes_any_name,
            calls_events_back: proxy.calls_events_back,
        })),
        config::Target::Centrifuge(centrifuge) => RouteTarget::Centrifuge(Box::new(CentrifugeRoute {
            service: centrifuge.service.as_ref().map(service).transpose()?,
            user: centrifuge.user.as_ref().map(user),
            token: centrifuge.token.as_ref().map(|key| verifier(&route.path, key)).transpose()?,
            token_auth: auths::ids(centrifuge.token_auth.as_slice(), &config.auths)?.first().copied(),
            channels: patterns(&centrifuge.channels)?,
            publish_to: patterns(&centrifuge.publish_to)?,
            server_side: centrifuge
                .server_side
                .iter()
                .map(|name| ChannelTemplate::parse(name))
                .collect::<Result<_, _>>()?,
        })),
    };
    Ok(Route {
        site: Site::new(route.hosts.iter().map(|host| host.as_str().into()), route.scheme),
        methods: route.methods.iter().map(|method| method.as_str().into()).collect(),
        request_headers: route.request_headers.iter().map(|name| name.as_str().into()).collect(),
        origins: Origins::new(route.origins.iter().map(|origin| origin.as_str().into())),
        auth: auths::ids(&route.auth, &config.auths)?,
        ..Route::new(&route.path, target)?
    })
}
