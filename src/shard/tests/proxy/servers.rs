//! News about servers, while requests come and go. A bystander goes on being served.

use super::*;
use crate::base::Key;
use crate::mesh::upstreams::{FailedCheck, UpstreamMail};
use crate::proto::upstream::{ServerId, ServerName};
use crate::shard::desk::Desk;

/// The first server of the upstream.
const FIRST: ServerId = ServerId { upstream: UpstreamId(0), server: 0 };
const SECOND_ONE: ServerId = ServerId { upstream: UpstreamId(0), server: 1 };

fn at(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 9, 0, number], 80))
}

/// A stage whose only server is `app.internal:80`, at no address yet; its services are at `at(0)` and so on.
fn named(services: u8, change: impl FnOnce(&mut UpstreamRule)) -> Stage {
    stage(services, |_, rule| {
        rule.servers.clear();
        let name = ServerName { host: "app.internal".into(), port: 80 };
        *rule = rule.clone().with("app.internal:80", name);
        change(rule);
    })
}

impl Stage {
    fn tell(&mut self, mail: UpstreamMail) {
        assert!(self.bench.mesh.try_send(Place(0), Mail::Upstreams(mail)).is_ok());
        self.bench.mesh.wake(Place(0));
        self.run();
    }

    fn found(&mut self, numbers: &[u8]) {
        let addresses = numbers.iter().map(|number| at(*number)).collect();
        self.tell(UpstreamMail::Found { server: FIRST, addresses });
    }

    fn desk(&self) -> &Desk {
        &self.bench.core(0).desk
    }

    /// Asks as another client, and answers as the server that gets it: its number.
    fn ask_another(&mut self) -> Option<u8> {
        let mut client = self.client();
        client.say(GET);
        self.run();
        let (number, end) =
            (0..).zip(&self.services).find_map(|(number, service)| Some((number, service.accept()?)))?;
        let server = Peer::new(end);
        server.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
        self.run();
        assert_eq!(status(&mut client), "200");
        Some(number)
    }

    /// The gauge of the first server.
    fn gauge(&self, name: &str) -> u64 {
        let text = crate::shard::counters::render(self.desk().counters.iter(), &Default::default());
        let is_it = |line: &&str| line.starts_with(&format!("tidegate_{name}{{"));
        let line = text.lines().find(is_it).unwrap_or_else(|| panic!("no {name}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

#[test]
fn a_name_without_an_address_is_503_and_served_as_soon_as_it_has_one() {
    let mut stage = named(1, |_| {});
    let mut client = stage.client();
    client.say(GET);
    stage.run();
    assert_eq!(status(&mut client), "503");
    assert_eq!(stage.closed(CloseReason::NoUpstream), 1);
    assert_eq!((stage.gauge("upstream_up"), stage.gauge("upstream_addresses")), (0, 0));
    stage.found(&[0]);
    assert_eq!((stage.gauge("upstream_up"), stage.gauge("upstream_addresses")), (1, 1), "at once");
    client.say(GET);
    stage.run();
    let mut server = stage.accept().expect("a connection");
    assert!(raw(&mut server).contains("\r\nHost: shop\r\n"));
    server.say(OK);
    stage.run();
    assert_eq!(status(&mut client), "200");
    stage.end_without((client, server));
}

#[test]
fn new_connections_go_to_the_new_address_and_requests_in_flight_finish() {
    let mut stage = named(2, |_| {});
    stage.found(&[0]);
    let (mut idle_client, mut idle) = stage.asked(GET);
    let (mut client, mut server) = stage.asked(GET);
    idle.say(OK);
    stage.run();
    assert_eq!((status(&mut idle_client).as_str(), stage.gauge("upstream_connections_idle")), ("200", 1));
    stage.found(&[1]);
    assert_eq!(stage.gauge("upstream_connections_idle"), 0, "the idle one is closed");
    raw(&mut idle);
    assert!(!idle.end.is_open());
    assert_eq!(stage.ask_another(), Some(1));
    raw(&mut server);
    server.say(OK);
    stage.run();
    assert_eq!(status(&mut client), "200");
    assert_eq!(stage.gauge("upstream_connections_idle"), 0, "and is not kept");
    stage.end_without((client, server, idle_client, idle));
}

#[test]
fn a_connection_to_an_address_that_stays_is_kept() {
    let mut stage = named(2, |_| {});
    stage.found(&[0]);
    let (mut client, mut server) = stage.asked(GET);
    server.say(OK);
    stage.run();
    stage.found(&[1, 0]);
    client.say(GET);
    stage.run();
    assert_eq!(raw(&mut server).matches("GET /api/a").count(), 2);
    server.say(OK);
    stage.run();
    assert!(raw(&mut client).ends_with("hi"));
    stage.end_without((client, server));
}

#[test]
fn the_addresses_of_a_name_are_taken_in_turn() {
    let mut stage = named(3, |_| {});
    stage.found(&[2, 0, 1]);
    let asked: Vec<_> = (0..6).map(|_| stage.ask_another()).collect();
    assert_eq!(asked, [2, 0, 1, 2, 0, 1].map(Some));
    stage.end();
}

#[test]
fn an_address_that_refuses_costs_its_name_nothing_while_it_has_another() {
    let mut stage = named(1, |rule| rule.fails_max = 1);
    stage.found(&[7, 8, 9, 0]);
    for _ in 0..5 {
        assert_eq!(stage.ask_another(), Some(0), "the request goes to the other address, and no retry is spent");
    }
    assert_eq!((stage.gauge("upstream_up"), stage.gauge("upstream_servers_out")), (1, 0));
    stage.end();
}

#[test]
fn a_name_whose_addresses_all_refuse_is_502_and_left_out() {
    let mut stage = named(1, |rule| rule.fails_max = 2);
    stage.found(&[8, 9]);
    for _ in 0..3 {
        let mut client = stage.client();
        client.say(GET);
        stage.run();
        assert_eq!(status(&mut client), "502");
    }
    assert_eq!(stage.gauge("upstream_up"), 0);
    stage.found(&[0]);
    assert_eq!(stage.ask_another(), Some(0));
    stage.end();
}

#[test]
fn a_client_keeps_its_server_while_the_addresses_of_names_change() {
    let mut stage = stage(4, |_, rule| {
        rule.sticky = Some("tg_app".into());
        rule.servers.clear();
        let name = |host: &str| ServerName { host: host.into(), port: 80 };
        *rule = rule.clone().with("a.internal:80", name("a.internal")).with("b.internal:80", name("b.internal"));
    });
    stage.found(&[0]);
    stage.tell(UpstreamMail::Found { server: SECOND_ONE, addresses: [at(1)].into() });
    let (mut client, mut server) = stage.asked(GET);
    let is_first =
        raw(&mut server).contains("Host") && stage.desk().counters().server(FIRST).unwrap().busy.value() == 1;
    server.say(OK);
    stage.run();
    let answer = raw(&mut client);
    let mark = answer.split("tg_app=").nth(1).and_then(|rest| rest.split(';').next()).expect("a mark").to_owned();
    drop((client, server));
    stage.found(&[2]);
    stage.tell(UpstreamMail::Found { server: SECOND_ONE, addresses: [at(3)].into() });
    for _ in 0..8 {
        let (mut client, server) =
            stage.asked(&format!("GET /api/a HTTP/1.1\r\nHost: a\r\nCookie: tg_app={mark}\r\n\r\n"));
        let busy = [FIRST, SECOND_ONE].map(|id| stage.desk().counters().server(id).unwrap().busy.value());
        assert_eq!(busy, if is_first { [1, 0] } else { [0, 1] });
        server.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
        stage.run();
        assert!(!raw(&mut client).contains("tg_app"), "it knows its server");
    }
    stage.end();
}

#[test]
fn a_server_whose_probes_fail_gets_no_request_until_they_pass() {
    let mut stage = stage(2, |_, rule| rule.slow_start = Duration::ZERO);
    stage.tell(UpstreamMail::Probed { server: FIRST, is_up: false });
    stage.tell(UpstreamMail::Failed { server: FIRST, check: FailedCheck::Probe });
    assert_eq!((stage.gauge("upstream_up"), stage.gauge("upstream_checks_failed_total")), (0, 0));
    assert_eq!(stage.desk().counters().server(FIRST).unwrap().probes_failed.value(), 1);
    for _ in 0..8 {
        assert_eq!(stage.ask_another(), Some(1));
    }
    stage.tell(UpstreamMail::Probed { server: SECOND_ONE, is_up: false });
    assert!(stage.ask_another().is_some(), "if all are down, they are tried in spite of it");
    stage.tell(UpstreamMail::Probed { server: FIRST, is_up: true });
    assert_eq!(stage.gauge("upstream_up"), 1, "at once");
    for _ in 0..8 {
        assert_eq!(stage.ask_another(), Some(0));
    }
    stage.end();
}

#[test]
fn the_gauge_says_at_once_that_a_server_is_out_and_that_it_is_back() {
    let mut stage = stage(1, |_, rule| rule.fails_max = 1);
    let (mut client, server) = stage.asked(GET);
    drop(server);
    stage.run();
    assert_eq!(status(&mut client), "502");
    drop(client);
    assert_eq!((stage.gauge("upstream_up"), stage.gauge("upstream_servers_out")), (0, 1));
    stage.wait(limits::UPSTREAM_EJECT - SECOND);
    assert_eq!((stage.gauge("upstream_up"), stage.gauge("upstream_servers_out")), (0, 1));
    stage.wait(2 * SECOND);
    assert_eq!((stage.gauge("upstream_up"), stage.gauge("upstream_servers_out")), (1, 0), "without a request");
    stage.end();
}

#[test]
fn a_drained_server_finishes_what_it_has_and_gets_nothing_more() {
    let mut stage = stage(2, |_, rule| rule.slow_start = Duration::ZERO);
    let (mut client, server) = stage.asked(GET);
    let drained = if stage.desk().counters().server(FIRST).unwrap().busy.value() == 1 { FIRST } else { SECOND_ONE };
    let asker = crate::base::Address { place: Place(0), key: Key { slot: 0, generation: 0 } };
    stage.tell(UpstreamMail::Drain { server: drained, is_drained: true, asker });
    for _ in 0..8 {
        assert_eq!(stage.ask_another(), Some(1 - drained.server));
    }
    server.say(OK);
    stage.run();
    assert!(raw(&mut client).ends_with("hi"));
    assert_eq!(stage.gauge("upstream_connections_idle"), 0, "its connection is not kept");
    let drained_now = |stage: &Stage| stage.desk().counters().server(drained).unwrap().drained.value();
    assert_eq!(drained_now(&stage), 1);
    stage.tell(UpstreamMail::Drain { server: drained, is_drained: false, asker });
    assert_eq!(drained_now(&stage), 0);
    assert!((0..20).any(|_| stage.ask_another() == Some(drained.server)), "it is back");
    stage.end_without((client, server));
}
