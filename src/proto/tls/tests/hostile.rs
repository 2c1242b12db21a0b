//! Peers that break the protocol: each ends with a close reason, and with an alert where there is one.

use std::io::Write;
use std::sync::LazyLock;

use proptest::prelude::*;
use rustls::crypto::cipher::{AeadKey, MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::{ClientConnection, ConnectionTrafficSecrets, ContentType, ProtocolVersion};

use super::*;
use crate::limits::{HANDSHAKE_BYTES_MAX, RECORD_BYTES_MAX};

/// A client that has left rustls and encrypts whatever it likes.
struct Forger {
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
    version: ProtocolVersion,
}

impl Forger {
    fn take_over(client: ClientConnection) -> Forger {
        let Some(SupportedCipherSuite::Tls13(suite)) = client.negotiated_cipher_suite() else { panic!("not TLS 1.3") };
        let (sequence, secrets) = client.dangerous_extract_secrets().unwrap().tx;
        let (ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets
        else {
            panic!("another cipher");
        };
        let key: AeadKey = key;
        Forger { encrypter: suite.aead_alg.encrypter(key, iv), sequence, version: ProtocolVersion::TLSv1_2 }
    }

    fn record(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage { typ, version: self.version, payload: OutboundChunks::Single(payload) };
        self.sequence += 1;
        self.encrypter.encrypt(message, self.sequence - 1).unwrap().encode()
    }
}

#[test]
fn answers_plain_http_with_an_alert_at_once() {
    let mut end = End::new(&World::plain(&TLS13).server);
    assert_eq!(end.open(b"GET / HTTP/1.1\r\n"), Err(CloseReason::TlsProtocol));
    assert_eq!(end.out, [21, 3, 3, 0, 2, 2, 10], "fatal unexpected_message, in the clear");
    assert_eq!(end.open(b"Host: localhost\r\n"), Err(CloseReason::TlsProtocol));
    assert_eq!(end.seal(&[b"no"]), Err(CloseReason::TlsProtocol));
    end.tls.close_notify(&mut end.out);
    assert_eq!(end.out.len(), 7);
    assert!(end.tls.failure().is_some());
}

#[test]
fn answers_what_is_no_hello_before_its_record_is_whole() {
    let world = World::plain(&TLS13);
    let all: [(&[u8], u8); 9] = [
        (b"G", 10),
        (&[0x80, 0x2e, 1, 3, 1], 10),
        (&[23, 3, 3, 0, 40], 10),
        (&[21, 3, 3, 0, 2], 10),
        (&[22, 2], 70),
        (&[22, 3, 1, 0, 0], 50),
        (&[22, 3, 1, 0x40, 0], 22),
        (&[22, 3, 1, 0x40, 1], 22),
        (&[22, 3, 1, 0x02, 0, 2], 10),
    ];
    for (wire, alert) in all {
        let mut end = End::new(&world.server);
        assert_eq!(end.tls.look(wire), Arrived::Junk, "{wire:?}");
        assert_eq!(end.open(wire), Err(CloseReason::TlsProtocol), "{wire:?}");
        assert_eq!(end.out, [21, 3, 3, 0, 2, 2, alert], "{wire:?}");
        // Before its last byte nothing is certain.
        let mut end = End::new(&world.server);
        let begun = &wire[..wire.len() - 1];
        if wire[0] == 22 && !begun.is_empty() {
            assert_eq!((end.tls.look(begun), end.open(begun)), (Arrived::Part, Ok(Opened::More)), "{wire:?}");
        }
    }
}

#[test]
fn answers_a_spoiled_record_with_bad_record_mac() {
    for version in [&TLS13, &TLS12] {
        let mut link = World::plain(version).connected();
        link.client.writer().write_all(b"sound").unwrap();
        link.client.writer().write_all(b"spoiled").unwrap();
        let mut wire = link.client_wire();
        *wire.last_mut().unwrap() ^= 1;
        link.server.out.clear();
        assert_eq!(link.server.open(&wire), Err(CloseReason::TlsForged));
        assert_eq!(link.server.plain, b"sound");
        assert_eq!(link.alert(), rustls::AlertDescription::BadRecordMac);
    }
}

#[test]
fn answers_an_oversized_record_before_it_is_whole() {
    let mut link = World::plain(&TLS13).connected();
    link.server.out.clear();
    let length = u16::try_from(RECORD_BYTES_MAX - 5 + 1).unwrap().to_be_bytes();
    assert_eq!(link.server.open(&[23, 3, 3, length[0], length[1]]), Err(CloseReason::TlsProtocol));
    assert_eq!(link.alert(), rustls::AlertDescription::RecordOverflow);
}

#[test]
fn bounds_what_a_handshake_may_bring() {
    // A handshake message that announces 16,383 bytes and comes 16 bytes at a time.
    let mut end = End::new(&World::plain(&TLS13).server);
    let mut sent = 0;
    let mut piece: &[u8] = &[1, 0, 0x3f, 0xff, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let reason = loop {
        let record = [&[22, 3, 1, 0, 16], piece].concat();
        sent += record.len();
        piece = &[0; 16];
        if let Err(reason) = end.open(&record) {
            break reason;
        }
        assert!(end.input.len() <= HANDSHAKE_BYTES_MAX && sent <= HANDSHAKE_BYTES_MAX);
    };
    assert_eq!(reason, CloseReason::TlsProtocol);
    assert!(sent > HANDSHAKE_BYTES_MAX);
    // All of it at once is not waited for either.
    let wire = [&[22, 3, 1, 0, 16, 1, 0, 0x3f, 0xff], &[0; 12][..]].concat();
    let wire = [wire, [&[22, 3, 1, 0, 16], &[0; 16][..]].concat().repeat(800)].concat();
    let mut end = End::new(&World::plain(&TLS13).server);
    assert_eq!((end.tls.look(&wire), end.tls.look(&wire[..16_000])), (Arrived::Junk, Arrived::Part));
    assert_eq!(end.open(&wire), Err(CloseReason::TlsProtocol));
}

#[test]
fn refuses_messages_that_have_no_place_after_the_handshake() {
    let Link { client, mut server } = World::plain(&TLS13).connected();
    let mut forger = Forger::take_over(client);
    server.out.clear();
    let new_session_ticket = forger.record(ContentType::Handshake, &[4, 0, 0, 0]);
    assert_eq!(server.open(&new_session_ticket), Err(CloseReason::TlsProtocol));
    assert!(!server.out.is_empty() && server.out.len() < 64, "an alert");
}

#[test]
fn closes_on_a_flood_of_key_updates() {
    let mut link = World::plain(&TLS13).connected();
    for _ in 0..100 {
        link.client.refresh_traffic_keys().unwrap();
    }
    link.server.out.clear();
    assert_eq!(link.carry_up(|| usize::MAX), Err(CloseReason::TlsFlood));
    assert!(link.server.out.len() < 128, "at most a KeyUpdate and an alert");
}

static ANY: LazyLock<World> = LazyLock::new(|| World::plain(&TLS13));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn survives_a_flight_with_any_bytes_changed(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        flights in 0..3_usize,
        split in 1_usize..2_000,
        is_tls12 in any::<bool>(),
    ) {
        let mut link = World::plain(if is_tls12 { &TLS12 } else { &TLS13 }).connect("localhost");
        for _ in 0..flights {
            link.carry_up(|| usize::MAX).unwrap();
            link.carry_down(|| usize::MAX).unwrap();
        }
        link.client.writer().write_all(b"after the handshake").unwrap();
        let mut wire = link.client_wire();
        prop_assume!(!wire.is_empty());
        for (index, byte) in &changes {
            let index = index.index(wire.len());
            wire[index] = *byte;
        }
        let sent = link.server.out.len();
        for piece in wire.chunks(split) {
            if link.server.open(piece).is_err() {
                prop_assert!(link.server.tls.failure().is_some());
                break;
            }
            let _ = link.server.seal(&[b"at any time"]);
        }
        prop_assert!(link.server.out.len() - sent < 8_192 + 64 * wire.len().div_ceil(split));
    }

    #[test]
    fn survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2_000), split in 1_usize..500) {
        let mut end = End::new(&ANY.server);
        for piece in bytes.chunks(split) {
            if end.open(piece).is_err() {
                break;
            }
        }
        prop_assert!(end.plain.is_empty() && end.out.len() <= 7);
    }
}
