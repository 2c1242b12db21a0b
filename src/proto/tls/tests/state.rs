//! A connection as bytes: what is written down is read again, and nothing else is.

use proptest::prelude::*;
use rustls::crypto::cipher::{AeadKey, OutboundChunks, OutboundPlainMessage};
use rustls::{ConnectionTrafficSecrets, ContentType, ProtocolVersion};

use super::peer::{Peer, Server};
use super::*;
use crate::proto::tls::record::{STATE_BYTES, Suite};

fn connected(suite: Suite) -> (Box<End>, Peer) {
    let world = World::of_suite(suite, 1 << 24);
    let mut server = Server::ours(&world.server);
    let peer = Peer::connect(&world.client, suite, &mut server);
    let Server::Ours(end) = server else { unreachable!("as it was made") };
    (end, peer)
}

#[test]
fn a_connection_goes_on_from_its_bytes() {
    for suite in Suite::ALL {
        let (mut end, mut peer) = connected(suite);
        // In the middle of everything: half a KeyUpdate, an answer owed, counters that count.
        end.open(
            &[peer.record(22, &[24, 0, 0, 1, 1]), {
                peer.update();
                peer.record(22, &[24, 0])
            }]
            .concat(),
        )
        .unwrap();
        let state = end.tls.into_bytes().ok().unwrap();
        assert_eq!(Tls::from_bytes(&state).unwrap().into_bytes().ok().unwrap(), state);
        end.tls = Tls::from_bytes(&state).unwrap();
        end.open(&peer.record(22, &[0, 1, 0])).unwrap();
        peer.update();
        end.open(&peer.record(23, b"hello")).unwrap();
        assert_eq!(end.plain, b"hello");
        end.seal(&[b"answer"]).unwrap();
        let answers = peer.understand(&end.out);
        assert_eq!(answers, [(22, vec![24, 0, 0, 1, 0]), (23, b"answer".to_vec())]);
    }
}

#[test]
fn only_the_record_layer_has_bytes() {
    let world = World::plain(&TLS13);
    let back = world.connect("localhost").server.tls.into_bytes().expect_err("a handshake cannot be handed over");
    assert!(back.is_handshaking());
    assert!(World::plain(&TLS12).connected().server.tls.into_bytes().is_err());
    assert!(world.connected().server.tls.into_bytes().is_ok());
    let mut link = world.connected();
    link.server.open(b"GET / HTTP/1.1").unwrap_err();
    let back = link.server.tls.into_bytes().expect_err("a failure has no keys any more");
    assert!(back.failure().is_some());
}

#[test]
fn refuses_bytes_that_are_no_state() {
    let (end, _) = connected(Suite::Aes256GcmSha384);
    let state = end.tls.into_bytes().ok().unwrap();
    // Format, suite, phase, the answer owed, the bounded counters, the credit, sequence numbers beyond all counting.
    for (at, value) in
        [(0, 0), (0, 1), (1, 0), (1, 4), (2, 3), (3, 2), (4, 33), (5, 5), (6, 5), (11, 1), (15, 64), (23, 64)]
    {
        let mut bytes = *state;
        bytes[at] = value;
        assert!(Tls::from_bytes(&bytes).is_none(), "{value} at {at}");
    }
}

/// The same records as rustls' own encrypter makes with the same key, byte for byte.
#[test]
fn seals_what_rustls_seals_with_the_same_key() {
    for suite in Suite::ALL {
        let world = World::of_suite(suite, 1 << 24);
        let mut link = world.connected();
        let SupportedCipherSuite::Tls13(theirs) = link.client.negotiated_cipher_suite().unwrap() else { panic!() };
        let (sequence, secrets) = link.client.dangerous_extract_secrets().unwrap().rx;
        let (ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets
        else {
            panic!("another cipher");
        };
        let key: AeadKey = key;
        let mut encrypter = theirs.aead_alg.encrypter(key, iv);
        let mut encrypt = |content: &[u8], number| {
            let message = OutboundPlainMessage {
                typ: ContentType::ApplicationData,
                version: ProtocolVersion::TLSv1_2,
                payload: OutboundChunks::Single(content),
            };
            encrypter.encrypt(message, number).unwrap().encode()
        };
        // This encrypter wants to see the numbers from the first on; those before were tickets.
        (0..sequence).for_each(|number| drop(encrypt(b"", number)));
        for (number, bytes) in (sequence..).zip([1, 15, 16, 226, 1_000, 16_384]) {
            let content = vec![number as u8; bytes];
            link.server.out.clear();
            link.server.seal(&[&content[..bytes / 2], &content[bytes / 2..]]).unwrap();
            assert_eq!(link.server.out, encrypt(&content, number));
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_connection_or_none(
        mut bytes in prop::array::uniform32(any::<u8>()),
        secrets in prop::collection::vec(any::<u8>(), STATE_BYTES - 32),
        heard in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        // Most random bytes are refused by the first.
        (bytes[0], bytes[1], bytes[2], bytes[3]) = (2, 1 + bytes[1] % 3, bytes[2] % 3, bytes[3] % 2);
        (bytes[4], bytes[5], bytes[6]) = (bytes[4] % 34, bytes[5] % 6, bytes[6] % 6);
        (bytes[11], bytes[12]) = (0, 0);
        let state: [u8; STATE_BYTES] = [&bytes[..], &secrets].concat().try_into().unwrap();
        if let Some(mut tls) = Tls::from_bytes(&state) {
            let (mut out, mut heard) = (Vec::new(), heard);
            let _ = tls.open(&mut &mut heard[..], &mut Vec::new(), &mut out, usize::MAX);
            let _ = tls.seal([&b"words"[..]], &mut Vec::new(), &mut out);
            prop_assert!(out.len() < 200);
        }
    }
}
