//! Clients that begin something and do not end it: each thing that can be begun has a deadline that no further bytes of it,
//! and no other frames, move for ever.

use std::io::{Read, Write};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use super::*;
use crate::conn::route::AcceptRoute;
use crate::proto::tls::config::provider;

fn settings() -> Settings {
    let jobs = AcceptRoute {
        service: Service::new("jobs").unwrap(),
        channel: ChannelTemplate::parse("request.{id}").unwrap(),
        event: "tg.result".into(),
        timeout: SECOND,
        keep: SECOND,
        user: None,
        headers: Box::default(),
    };
    let mut settings = super::settings();
    let methods = vec!["POST".into()];
    add_routes(&mut settings, [Route { methods, ..route("/jobs", RouteTarget::Accept(jobs)) }]);
    settings
}

/// A frame of a client, masked with zeros.
fn frame_of(opcode: Opcode, is_last: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write_masked(&mut bytes, is_last, opcode, payload, [0; 4]);
    bytes
}

/// Says `bytes` in pieces, one a second, until they are all said or the gateway ends the connection. Returns the seconds.
fn trickle(bench: &mut Bench, peer: &mut Peer, bytes: &[u8], piece: usize) -> u32 {
    let mut seconds = 0;
    for piece in bytes.chunks(piece) {
        if !peer.end.is_open() {
            break;
        }
        peer.end.write(piece);
        bench.run_for(SECOND);
        peer.end.read(&mut peer.heard);
        seconds += 1;
    }
    seconds
}

#[test]
fn pongs_do_not_prolong_a_message_that_never_ends() {
    let mut bench = Bench::new(1, settings());
    let mut bystander = bench.open(0, "/ws/1");
    let mut stranger = bench.open(0, "/ws/2");
    stranger.say(frame_of(Opcode::Text, false, &[b'x'; 1_000]));
    let pongs = frame_of(Opcode::Pong, true, b"").repeat(60);
    let pong = pongs.len() / 60;
    let seconds = trickle(&mut bench, &mut stranger, &pongs, pong);
    assert!((30..33).contains(&seconds), "{seconds}");
    assert!(stranger.hear().contains(CloseReason::MessageTooSlow.row().words));
    assert_eq!(bench.closed(0, CloseReason::MessageTooSlow), 1);
    expect_echo(&mut bench, &mut bystander);
}

#[test]
fn neither_do_its_own_bytes_below_the_slowest_pace() {
    let mut bench = Bench::new(1, settings());
    let mut stranger = bench.open(0, "/ws/1");
    let message = text(&[b'x'; 2_000]);
    let (head, rest) = message.split_at(message.len() - 2_000);
    stranger.say(head);
    let seconds = trickle(&mut bench, &mut stranger, rest, 1);
    assert!((30..33).contains(&seconds), "{seconds}");
    assert_eq!(bench.closed(0, CloseReason::MessageTooSlow), 1);
    // At a pace that a slow network has, a long message takes longer than that, and arrives.
    let mut client = bench.open(0, "/ws/2");
    let long = text(&[b'x'; 60_000]);
    let seconds = trickle(&mut bench, &mut client, &long, 1_500);
    assert_eq!(seconds, 41);
    bench.run_for(SECOND);
    assert!(client.hear().contains("xxxx"), "it has published, and hears its own message");
}

#[test]
fn a_body_has_the_time_of_the_slowest_pace_and_no_more() {
    let mut bench = Bench::new(1, settings());
    let worker = bench.connect(0, BUS);
    worker.say("SUB tg.service.jobs workers 1\r\n");
    let head = |len: usize| format!("POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
    let mut stranger = bench.connect(0, 0);
    stranger.say(head(2_000));
    let seconds = trickle(&mut bench, &mut stranger, &[b'x'; 2_000], 1);
    assert!((30..33).contains(&seconds), "{seconds}");
    assert!(stranger.hear().starts_with("HTTP/1.1 408 "));
    let mut client = bench.connect(0, 0);
    client.say(head(200_000));
    assert_eq!(trickle(&mut bench, &mut client, &[b'x'; 200_000], 5_000), 40);
    bench.run_for(SECOND);
    assert!(client.hear().starts_with("HTTP/1.1 202 "));
}

#[test]
fn half_a_verb_of_a_worker_is_no_sign_of_life_however_its_bytes_trickle() {
    let mut bench = Bench::new(1, settings());
    let mut bystander = bench.open(0, "/ws/1");
    let worker = bench.connect(0, BUS);
    worker.say("PUB room.2 100000\r\n");
    let mut seconds = 0;
    while worker.end.is_open() && seconds < 1_000 {
        worker.end.write(b"x");
        bench.run_for(10 * SECOND);
        expect_echo(&mut bench, &mut bystander);
        seconds += 10;
    }
    assert!(seconds <= 500, "three times the interval of pings: {seconds}");
    assert_eq!(bench.closed(0, CloseReason::BusStale), 1);
}

/// A TLS client that can say half a record.
pub(super) struct TlsPeer {
    pub session: ClientConnection,
    pub peer: Peer,
}

/// One that trusts any certificate.
pub(super) fn tls_client() -> ClientConnection {
    let config = ClientConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions();
    let config = config.unwrap().dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate));
    let config = Arc::new(config.with_no_client_auth());
    ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap()
}

impl TlsPeer {
    fn open(bench: &mut Bench, path: &str) -> TlsPeer {
        TlsPeer::open_with(bench, &request(path))
    }

    pub(super) fn open_with(bench: &mut Bench, request: &str) -> TlsPeer {
        let mut client = TlsPeer { session: tls_client(), peer: bench.connect(0, TLS) };
        client.session.writer().write_all(request.as_bytes()).unwrap();
        for _ in 0..20 {
            let wire = client.wire();
            client.peer.end.write(&wire);
            bench.run_for(SECOND / 100);
            client.hear();
        }
        assert!(!client.session.is_handshaking());
        client
    }

    pub(super) fn wire(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut wire).unwrap();
        }
        wire
    }

    pub(super) fn hear(&mut self) -> Vec<u8> {
        while matches!(self.peer.end.read(&mut self.peer.heard), ReadOutcome::Bytes(_)) {}
        let heard = std::mem::take(&mut self.peer.heard);
        let mut wire = &heard[..];
        while !wire.is_empty() {
            self.session.read_tls(&mut wire).unwrap();
            self.session.process_new_packets().unwrap();
        }
        let mut plain = Vec::new();
        // It says that nothing more has come, or that the stream has ended.
        let _ = self.session.reader().read_to_end(&mut plain);
        plain
    }
}

#[test]
fn half_a_record_is_no_sign_of_life_however_its_bytes_trickle() {
    for (path, reason, seconds_max) in [("/ws/1", CloseReason::NoPong, 50), ("/sse/1", CloseReason::MessageTooSlow, 50)]
    {
        let mut bench = Bench::new(1, settings());
        let mut bystander = bench.open(0, "/ws/2");
        let mut client = TlsPeer::open(&mut bench, path);
        let mut calm = TlsPeer::open(&mut bench, path);
        client.session.writer().write_all(&[b'x'; 9_000]).unwrap();
        let record = client.wire();
        let mut seconds = 0;
        while client.peer.end.is_open() && seconds < 200 {
            client.peer.end.write(&record[seconds..=seconds]);
            for client in [&mut client, &mut calm] {
                client.hear();
            }
            bench.run_for(SECOND);
            expect_echo(&mut bench, &mut bystander);
            // What its session answers to pings is not sent: it would have to end the record first.
            let pong = frame_of(Opcode::Pong, true, b"");
            if path.starts_with("/ws") {
                calm.session.writer().write_all(&pong).unwrap();
            }
            let wire = calm.wire();
            calm.peer.end.write(&wire);
            seconds += 1;
        }
        assert!(seconds <= seconds_max, "{path}: {seconds}");
        assert_eq!(bench.closed(0, reason), 1, "{path}");
        assert!(calm.peer.end.is_open(), "{path}");
    }
}

/// The test is about records, not about trust.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
