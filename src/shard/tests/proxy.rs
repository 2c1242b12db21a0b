//! Proxied requests: the bytes on both sides, and a test for each way in which a server or a client can fail the other
//! one. A bystander goes on being served.

mod cast;
mod clients;
mod exchanges;
mod failures;
mod logged;
mod proven;
mod secured;
mod servers;
mod talk;
mod tunnels;
mod waiting;

use super::*;
use crate::conn::route::{AuthId, ForwardedHost, ProxyRoute};
use crate::driver::sim::{DialFate, SimService};
use crate::proto::upstream::{UpstreamId, UpstreamRule};

/// One shard before some servers, and a bystander.
struct Stage {
    bench: Bench,
    services: Vec<SimService>,
    bystander: Peer,
}

/// A gateway whose `/api/*` leads to so many servers.
fn stage(servers: u8, change: impl FnOnce(&mut ProxyRoute, &mut UpstreamRule)) -> Stage {
    stage_with(settings(), servers, change)
}

fn stage_with(mut settings: Settings, servers: u8, change: impl FnOnce(&mut ProxyRoute, &mut UpstreamRule)) -> Stage {
    let address = |number: u8| SocketAddr::from(([10, 9, 0, number], 80));
    let mut rule = UpstreamRule::new("app");
    for number in 0..servers {
        rule = rule.with(&address(number).to_string(), address(number));
    }
    let mut target = ProxyRoute::new(UpstreamId(0));
    change(&mut target, &mut rule);
    settings.generation_mut().upstreams = [rule].into();
    let auth = if settings.generation.auths.is_empty() { Box::default() } else { [AuthId(0)].into() };
    let any = Route {
        auth,
        methods: vec![crate::conn::route::ANY_METHOD.into()],
        ..route("/api/*", RouteTarget::Proxy(Box::new(target)))
    };
    add_routes(&mut settings, [any]);
    let mut bench = Bench::new(1, settings);
    let services = (0..servers).map(|number| bench.world.serve_calm(address(number))).collect();
    let bystander = bench.open(0, "/ws/1");
    Stage { bench, services, bystander }
}

/// The usual stage.
fn plain() -> Stage {
    stage(1, |_, _| {})
}

/// The usual stage: a client has sent this request, and the server has it.
fn asked(request: &str) -> (Stage, Peer, Peer) {
    let mut stage = plain();
    let (client, server) = stage.asked(request);
    (stage, client, server)
}

impl Stage {
    fn client(&self) -> Peer {
        self.bench.connect(0, 0)
    }

    fn run(&mut self) {
        self.bench.run_for(SECOND / 10);
    }

    /// The bystander says something now and then.
    fn wait(&mut self, mut time: Duration) {
        while !time.is_zero() {
            let step = time.min(10 * SECOND);
            time -= step;
            self.bench.run_for(step - SECOND / 10);
            expect_echo(&mut self.bench, &mut self.bystander);
        }
    }

    /// A client has sent this request, and a server has it.
    fn asked(&mut self, request: &str) -> (Peer, Peer) {
        let client = self.client();
        client.say(request);
        self.run();
        let server = self.accept().expect("a connection");
        (client, server)
    }

    /// The next connection that the gateway has dialled.
    fn accept(&self) -> Option<Peer> {
        self.services.iter().find_map(SimService::accept).map(Peer::new)
    }

    /// The bystander is served, and nothing is left of what was proxied.
    fn end(mut self) {
        expect_echo(&mut self.bench, &mut self.bystander);
        self.wait(2 * limits::UPSTREAM_KEEP_ALIVE + 2 * limits::CLOSE_TIMEOUT);
        let census = self.bench.census(0);
        assert_eq!((census.connections, census.stopped_halves), (1, 0), "only the bystander is there: {census:?}");
    }

    /// The same after these peers have gone.
    fn end_without<T>(self, peers: T) {
        drop(peers);
        self.end();
    }

    fn closed(&self, reason: CloseReason) -> u64 {
        self.bench.closed(0, reason)
    }
}

/// All bytes that have arrived since the last time, as they are.
fn raw(peer: &mut Peer) -> String {
    while matches!(peer.end.read(&mut peer.heard), ReadOutcome::Bytes(_)) {}
    String::from_utf8_lossy(&std::mem::take(&mut peer.heard)).into_owned()
}

fn status(peer: &mut Peer) -> String {
    raw(peer).get(9..12).unwrap_or_default().to_owned()
}

const GET: &str = "GET /api/a?b=c HTTP/1.1\r\nHost: shop\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 2\r\n\r\nhi";
