//! Handshakes: what is agreed on, and which certificate is shown.

use std::io::Write;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::kx_group;

use super::super::tickets::TicketKeys;
use super::peer::Server;
use super::*;

#[test]
fn negotiates_the_hybrid_key_exchange_with_clients_that_prefer_it() {
    let world = World::plain(&TLS13);
    let link = world.connected();
    assert_eq!(link.server.agreed().key_exchange, Some("X25519MLKEM768"));
    assert_eq!(link.server.agreed().version, "TLSv1_3");
    assert_eq!(link.server.agreed().alpn, Some(&b"http/1.1"[..]));
    assert!(!link.server.agreed().is_resumed);
}

#[test]
fn negotiates_what_older_clients_offer() {
    for issue in [ecdsa, rsa] {
        for version in [&TLS13, &TLS12] {
            for group in [kx_group::X25519, kx_group::SECP256R1] {
                let world = World::new(vec![issue("localhost")], &[version], &[group]);
                let mut link = world.connected();
                assert_eq!(link.server.agreed().key_exchange, group.name().as_str());
                assert_eq!(Some(link.server.agreed().version), version.version.as_str());
                link.say(b"ping");
                assert_eq!(link.server.plain, b"ping");
                link.server.seal(&[b"po", b"", b"ng"]).unwrap();
                assert_eq!(link.carry_down(|| usize::MAX).unwrap(), b"pong");
            }
        }
    }
}

#[test]
fn shakes_hands_byte_by_byte() {
    for version in [&TLS13, &TLS12] {
        let mut link = World::plain(version).connect("localhost");
        link.shake_hands(|| 1);
        link.client.writer().write_all(b"one by one").unwrap();
        link.carry_up(|| 1).unwrap();
        assert_eq!(link.server.plain, b"one by one");
        link.server.seal(&[b"likewise"]).unwrap();
        assert_eq!(link.carry_down(|| 1).unwrap(), b"likewise");
    }
}

#[test]
fn finishes_the_handshake_although_the_client_must_retry() {
    // The client's first share is of a group that the server does not have; the hybrid is its second choice.
    let world =
        World::new(vec![ecdsa("localhost")], &[&TLS13], &[kx_group::SECP256R1MLKEM768, kx_group::X25519MLKEM768]);
    let mut link = world.connect("localhost");
    link.shake_hands(|| 7);
    assert_eq!(link.server.agreed().key_exchange, Some("X25519MLKEM768"));
}

#[test]
fn resumes_from_a_stateless_ticket() {
    for version in [&TLS13, &TLS12] {
        let world = World::plain(version);
        let mut first = world.connected();
        first.server.seal(&[b"bye"]).unwrap();
        first.carry_down(|| usize::MAX).unwrap();
        assert!(!first.server.agreed().is_resumed);
        let second = world.connected();
        assert!(second.server.agreed().is_resumed, "{:?}", second.server.agreed().version);
        assert_eq!(second.client.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    }
}

#[test]
fn a_ticket_is_seen_before_any_work_and_only_when_it_is_there() {
    let world = World::plain(&TLS13);
    let hello = |world: &World| {
        let mut link = world.connect("localhost");
        let mut hello = Vec::new();
        link.client.write_tls(&mut hello).unwrap();
        hello
    };
    let look = |wire: &[u8]| Tls::new(&world.server).unwrap().look(wire);
    assert_eq!(look(&hello(&world)), Arrived::Hello { has_ticket: false });
    let mut first = world.connected();
    first.server.seal(&[b"bye"]).unwrap();
    first.carry_down(|| usize::MAX).unwrap();
    let with_ticket = hello(&world);
    assert_eq!(look(&with_ticket), Arrived::Hello { has_ticket: true });
    // Changed anywhere, it is at most taken for another kind.
    for at in 0..with_ticket.len() {
        assert_eq!(look(&with_ticket[..at]), Arrived::Part, "{at}");
        let mut changed = with_ticket.clone();
        changed[at] ^= 0xff;
        look(&changed);
    }
    // In records of any size, and with bytes after it.
    for size in 1..with_ticket.len() - 5 {
        let mut wire = in_records(&with_ticket[5..], size);
        let whole = wire.len();
        assert_eq!(look(&wire[..whole - 1]), Arrived::Part, "{size}");
        assert_eq!(look(&wire), Arrived::Hello { has_ticket: true }, "{size}");
        wire.extend([23, 3, 3, 0, 100, 0]);
        assert_eq!(look(&wire), Arrived::Hello { has_ticket: true }, "{size}");
    }
}

/// The client configuration of the world, and gateways with the same certificate, each with these ticket keys.
fn gateways<const N: usize>(keys: [&str; N], version: Version) -> (World, [Arc<ServerConfig>; N]) {
    let (chain, key) = self_signed(&["localhost".to_owned()]).unwrap();
    let world = World::new(vec![issue(&chain, &key)], &[version], &[]);
    let gateways = keys.map(|keys| {
        let policy =
            TlsPolicy { ticket_keys: Some(TicketKeys::parse(keys.as_bytes()).unwrap()), ..TlsPolicy::default() };
        server_config_as(vec![issue(&chain, &key).certificate], policy).unwrap()
    });
    (world, gateways)
}

#[test]
fn a_client_resumes_at_another_gateway_with_the_same_ticket_keys_until_they_are_rotated_out() {
    let (old, new) = (&*"01".repeat(80), &*"02".repeat(80));
    let rotated = [new, old].join("\n");
    for version in [&TLS13, &TLS12] {
        let (world, gateways) = gateways([old, old, &rotated, &rotated, new, old], version);
        let resumed = gateways.map(|server| {
            let world = World { server, client: world.client.clone() };
            let mut link = world.connected();
            link.server.seal(&[b"with the ticket"]).unwrap();
            link.carry_down(|| usize::MAX).unwrap();
            link.server.agreed().is_resumed
        });
        // The last one does not know the new key: a full handshake, and no failure.
        assert_eq!(resumed, [false, true, true, true, true, false], "{version:?}");
    }
}

#[test]
fn an_unknown_name_is_served_or_refused_and_no_name_is_served() {
    let issued = || vec![ecdsa("localhost"), ecdsa("*.example.test")];
    let world = World::new(issued(), &[&TLS13, &TLS12], &[]);
    let certificates = issued().into_iter().map(|issued| issued.certificate).collect();
    let policy = TlsPolicy { refuses_unknown_names: true, ..TlsPolicy::default() };
    let strict = World { server: server_config_as(certificates, policy).unwrap(), client: world.client.clone() };
    let opened = |world: &World, host: &'static str| {
        let mut link = world.connect(host);
        let opened = link.carry_up(|| usize::MAX);
        (opened.err(), link.server.out)
    };
    for host in ["elsewhere.test", "a.b.example.test"] {
        assert_eq!(opened(&world, host).0, None);
        let alert = vec![21, 3, 3, 0, 2, 2, 112];
        assert_eq!(opened(&strict, host), (Some(CloseReason::TlsUnknownName), alert), "{host}");
    }
    for host in ["localhost", "a.example.test", "127.0.0.1"] {
        assert_eq!(opened(&strict, host).0, None, "{host}");
    }
}

#[test]
fn clients_without_the_extended_master_secret_are_refused_if_it_is_required() {
    // rustls always offers the extension: here its type is another one, which nothing knows.
    let hello = |world: &World| {
        let mut hello = world.connect("localhost").client_wire();
        let at = hello.windows(4).position(|bytes| bytes == [0, 23, 0, 0]).expect("the extension, empty");
        hello[at..at + 2].copy_from_slice(&[0x5a, 0x5b]);
        hello
    };
    let world = World::plain(&TLS12);
    let policy = TlsPolicy { requires_ems: true, ..TlsPolicy::default() };
    let strict = server_config_as(vec![ecdsa("localhost").certificate], policy).unwrap();
    assert_eq!(End::new(&world.server).open(&hello(&world)), Ok(Opened::More));
    assert_eq!(End::new(&strict).open(&hello(&world)), Err(CloseReason::TlsIncompatible));
    assert_eq!(End::new(&strict).open(&world.connect("localhost").client_wire()), Ok(Opened::More));
}

/// A handshake message in records with at most `size` bytes of it.
fn in_records(message: &[u8], size: usize) -> Vec<u8> {
    let records = message.chunks(size).map(|piece| {
        let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [&[22, 3, 1, length[0], length[1]], piece].concat()
    });
    records.flatten().collect()
}

#[test]
fn shows_the_certificate_that_the_client_names() {
    let issued = vec![ecdsa("first.test"), rsa("*.second.test"), ecdsa("third.test")];
    let roots: Vec<_> = issued.iter().map(|issued| issued.root.clone()).collect();
    let world = World::new(issued, &[&TLS13, &TLS12], &[]);
    for (host, index) in [("first.test", 0), ("www.second.test", 1), ("third.test", 2)] {
        let mut link = world.connect(host);
        link.shake_hands(|| usize::MAX);
        assert_eq!(link.client.peer_certificates().unwrap()[0], roots[index], "{host}");
    }
    let mut stranger = world.connect("elsewhere.test");
    stranger.carry_up(|| usize::MAX).unwrap();
    assert!(matches!(stranger.carry_down(|| usize::MAX), Err(rustls::Error::InvalidCertificate(_))));
    // The client's alert (bad_certificate) ends the session.
    assert_eq!(stranger.carry_up(|| usize::MAX), Err(CloseReason::TlsAlert));
}

#[test]
fn refuses_a_client_that_speaks_no_http_1_1() {
    let world = World::plain(&TLS13);
    let mut client = (*world.client).clone();
    client.alpn_protocols = vec![b"h2".to_vec()];
    let world = World { client: Arc::new(client), ..world };
    let mut link = world.connect("localhost");
    assert_eq!(link.carry_up(|| usize::MAX), Err(CloseReason::TlsIncompatible));
    assert_eq!(link.alert(), rustls::AlertDescription::NoApplicationProtocol);
    assert_eq!(link.server.tls.failure(), Some(&rustls::Error::NoApplicationProtocol.into()));
}

#[test]
fn takes_the_first_request_from_the_input_that_ends_the_handshake() {
    let mut link = World::plain(&TLS13).connect("localhost");
    link.carry_up(|| usize::MAX).unwrap();
    link.carry_down(|| usize::MAX).unwrap();
    link.client.writer().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    link.server.input = link.client_wire();
    assert!(matches!(link.server.open_once(usize::MAX), Ok(Opened::Handshaken(_))));
    assert!(link.server.plain.is_empty() && !link.server.tls.is_handshaking());
    assert_eq!(link.server.open_once(usize::MAX), Ok(Opened::More));
    assert_eq!(link.server.plain, b"GET / HTTP/1.1\r\n\r\n");
}

/// A client with a ticket for early data, from another server with the same name; it sends early data in records of
/// this size.
fn with_early_data(world: &World, sizes: &[usize]) -> Link {
    let mut other = rustls::ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(world.server.cert_resolver.clone());
    other.max_early_data_size = 32 * 1024;
    other.alpn_protocols = world.server.alpn_protocols.clone();
    let mut client = (*world.client).clone();
    client.enable_early_data = true;
    client.enable_secret_extraction = false;
    let client = Arc::new(client);
    let connect = || ClientConnection::new(client.clone(), "localhost".try_into().unwrap()).unwrap();
    let (mut first, mut server) = (connect(), Server::rustls(&Arc::new(other)));
    for _ in 0..3 {
        let mut wire = Vec::new();
        while first.wants_write() {
            first.write_tls(&mut wire).unwrap();
        }
        assert!(server.hear(&wire));
        let answer = server.take_out();
        let mut rest = &answer[..];
        while !rest.is_empty() {
            first.read_tls(&mut rest).unwrap();
            first.process_new_packets().unwrap();
        }
    }
    let mut link = Link { client: connect(), server: End::new(&world.server) };
    for bytes in sizes {
        let words = vec![b'e'; *bytes];
        assert_eq!(link.client.early_data().expect("a ticket for early data").write(&words).unwrap(), *bytes);
    }
    link
}

#[test]
fn skips_early_data_that_is_not_accepted() {
    let world = World::plain(&TLS13);
    let rows = [vec![200; 20], vec![200; 60], vec![1; 300], vec![8_000; 2], vec![16_000], vec![]];
    for sizes in rows {
        for piece in [usize::MAX, 1_000, 1] {
            let mut link = with_early_data(&world, &sizes);
            link.shake_hands(|| piece);
            assert!(!link.client.is_early_data_accepted() && link.server.plain.is_empty(), "{sizes:?}");
            link.say(b"once more");
            assert_eq!(link.server.plain, b"once more", "{sizes:?} in pieces of {piece}");
        }
    }
}

#[test]
fn skips_early_data_although_the_client_must_retry() {
    let groups = [kx_group::SECP256R1MLKEM768, kx_group::X25519MLKEM768];
    let world = World::new(vec![ecdsa("localhost")], &[&TLS13], &groups);
    for piece in [usize::MAX, 1] {
        let mut link = with_early_data(&world, &[200; 20]);
        link.shake_hands(|| piece);
        link.say(b"once more");
        assert_eq!(link.server.plain, b"once more");
    }
}

#[test]
fn skips_no_more_early_data_than_16_kib() {
    let world = World::plain(&TLS13);
    for sizes in [vec![8_200; 2], vec![500; 40]] {
        for piece in [usize::MAX, 1_000] {
            let mut link = with_early_data(&world, &sizes);
            assert_eq!(link.carry_up(|| piece), Err(CloseReason::TlsForged), "{sizes:?}");
            assert!(
                matches!(link.server.tls.failure(), Some(TlsFailure::Session(error)) if **error == rustls::Error::DecryptError)
            );
        }
    }
}

#[test]
fn refuses_to_seal_or_close_before_the_handshake_is_over() {
    let mut link = World::plain(&TLS13).connect("localhost");
    link.carry_up(|| usize::MAX).unwrap();
    let flight = link.server.out.len();
    assert_eq!(link.server.seal(&[b"too early"]), Err(CloseReason::TlsProtocol));
    link.server.tls.close_notify(&mut link.server.out);
    assert_eq!(link.server.out.len(), flight);
    link.shake_hands(|| usize::MAX);
}

#[test]
fn keeps_a_small_session() {
    assert!(size_of::<Tls>() <= 216, "{}", size_of::<Tls>());
}
