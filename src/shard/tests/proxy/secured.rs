//! Servers with TLS that do not come to the end of their handshakes. A bystander goes on being served.

use rustls::RootCertStore;

use super::*;
use crate::proto::tls::client::{ServersTls, certified_name, client_config};

/// A stage whose servers are to speak TLS; nothing is trusted.
fn tls_stage(servers: u8, change: impl FnOnce(&mut ProxyRoute, &mut UpstreamRule)) -> Stage {
    let names = (0..servers).map(|_| certified_name("app.internal").unwrap()).collect();
    let tls = ServersTls { config: client_config(RootCertStore::empty(), None).unwrap(), names };
    let mut settings = settings();
    settings.generation_mut().upstreams_tls = [Some(tls)].into();
    stage_with(settings, servers, change)
}

#[test]
fn a_server_that_never_ends_its_handshake_is_504() {
    let mut stage = tls_stage(1, |_, _| {});
    let (mut client, mut server) = stage.asked(GET);
    assert!(raw(&mut server).starts_with("\u{16}\u{3}\u{1}"), "a ClientHello, and nothing of the request");
    stage.wait(limits::CONNECT_TIMEOUT + SECOND);
    assert_eq!((status(&mut client).as_str(), stage.closed(CloseReason::UpstreamConnectTimeout)), ("504", 1));
    stage.end_without((client, server));
}

#[test]
fn a_server_that_breaks_its_handshake_off_is_passed_over() {
    for junk in ["", "HTTP/1.1 400 Bad Request\r\n\r\n", "\u{15}\u{3}\u{3}\u{0}\u{2}\u{2}\u{28}"] {
        let mut stage = tls_stage(2, |_, _| {});
        let (mut client, mut first) = stage.asked(GET);
        raw(&mut first);
        first.say(junk);
        drop(first);
        stage.run();
        let second = stage.accept().expect("the other server is tried: no byte of the request was sent");
        drop(second);
        stage.run();
        assert_eq!((status(&mut client).as_str(), stage.closed(CloseReason::UpstreamRefused)), ("502", 1), "{junk}");
        stage.end_without(client);
    }
}

#[test]
fn a_client_that_goes_away_ends_the_handshake_of_its_server() {
    let mut stage = tls_stage(1, |_, _| {});
    let (client, mut server) = stage.asked(GET);
    client.end.reset();
    stage.run();
    raw(&mut server);
    assert!(!server.end.is_open());
    stage.end_without(server);
}
