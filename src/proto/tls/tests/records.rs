//! Application data: sealed, opened, updated keys, closed cleanly.

use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::limits::RECORD_CONTENT_BYTES;

#[test]
fn seals_full_records_and_gathers_small_slices() {
    for (version, expansion) in [(&TLS13, 22), (&TLS12, 29)] {
        let mut link = World::plain(version).connected();
        let big = vec![7; RECORD_CONTENT_BYTES * 2 + 10];
        let slices: Vec<&[u8]> = std::iter::repeat_n(&b"0123456789"[..], 2_000).chain([&big[..], b"end"]).collect();
        let expected = slices.concat();
        link.server.out.clear();
        link.server.seal(&slices).unwrap();
        let records = expected.len().div_ceil(RECORD_CONTENT_BYTES);
        assert_eq!(link.server.out.len(), expected.len() + records * expansion);
        assert!(link.server.scratch.is_empty() && link.server.scratch.capacity() <= 2 * RECORD_CONTENT_BYTES);
        assert_eq!(link.carry_down(|| 1000).unwrap(), expected);
        link.server.seal(&[]).unwrap();
        link.server.seal(&[b"", b""]).unwrap();
        assert!(link.server.out.is_empty(), "no empty records");
    }
}

#[test]
fn carries_megabytes_both_ways() {
    for version in [&TLS13, &TLS12] {
        let mut link = World::plain(version).connected();
        let bytes: Vec<u8> = (0..4_000_000_u32).map(|n| (n ^ (n >> 9)) as u8).collect();
        for part in bytes.chunks(60_000) {
            link.say(part);
            link.server.seal(&[part]).unwrap();
            assert_eq!(link.carry_down(|| 30_000).unwrap(), part);
        }
        assert_eq!(link.server.plain, bytes);
    }
}

#[test]
fn stops_when_plain_is_full_and_goes_on_later() {
    let mut link = World::plain(&TLS13).connected();
    for words in [b"first ", b"second", b"third "] {
        link.client.writer().write_all(words).unwrap();
    }
    let wire = link.client_wire();
    link.server.input = wire[..wire.len() - 1].to_vec();
    assert_eq!(link.server.open_once(6), Ok(Opened::Full));
    assert_eq!(link.server.plain, b"first ");
    assert_eq!(link.server.open_once(6), Ok(Opened::Full), "nothing moves until plain has room");
    link.server.plain.clear();
    link.server.seal(&[b"in between"]).unwrap();
    assert_eq!(link.server.open_once(6), Ok(Opened::More), "the third record is not whole");
    assert_eq!(link.server.plain, b"second");
    assert_eq!(link.server.open(&wire[wire.len() - 1..]), Ok(Opened::More));
    assert_eq!(link.server.plain, b"secondthird ");
}

#[test]
fn waits_for_the_rest_of_a_truncated_record() {
    let mut link = World::plain(&TLS13).connected();
    link.client.writer().write_all(b"whole").unwrap();
    let wire = link.client_wire();
    assert_eq!(link.server.open(&wire[..wire.len() - 1]), Ok(Opened::More));
    assert!(link.server.plain.is_empty() && !link.server.tls.is_peer_closed());
    assert_eq!(link.server.input.len(), wire.len() - 1);
}

#[test]
fn follows_a_key_update_and_answers_it_with_the_next_record() {
    let mut link = World::plain(&TLS13).connected();
    for round in 0..5_u8 {
        link.client.refresh_traffic_keys().unwrap();
        link.say(&[round]);
        assert_eq!(link.server.plain.last(), Some(&round));
        link.server.out.clear();
        link.server.seal(&[&[round]]).unwrap();
        let records = std::iter::successors(Some(&link.server.out[..]), |out| {
            let bytes = 5 + usize::from(u16::from_be_bytes([out[3], out[4]]));
            (out.len() > bytes).then(|| &out[bytes..])
        });
        assert_eq!(records.count(), 2, "our own KeyUpdate goes first");
        assert_eq!(link.carry_down(|| 3).unwrap(), [round]);
    }
}

#[test]
fn hears_close_notify_and_may_still_answer() {
    for version in [&TLS13, &TLS12] {
        let mut link = World::plain(version).connected();
        link.client.writer().write_all(b"last words").unwrap();
        link.client.send_close_notify();
        assert_eq!(link.carry_up(|| usize::MAX), Ok(Opened::PeerClosed));
        assert!(link.server.tls.is_peer_closed());
        assert_eq!(link.server.plain, b"last words");
        assert_eq!(link.server.open(b"what follows is not read"), Ok(Opened::PeerClosed));
        assert!(link.server.input.is_empty());
        link.server.seal(&[b"the answer"]).unwrap();
        link.server.tls.close_notify(&mut link.server.out);
        assert_eq!(link.carry_down(|| usize::MAX).unwrap(), b"the answer");
        assert!(link.client.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn sends_close_notify_once_and_reads_nothing_after_it() {
    for version in [&TLS13, &TLS12] {
        let mut link = World::plain(version).connected();
        link.server.tls.close_notify(&mut link.server.out);
        let bytes = link.server.out.len();
        link.server.tls.close_notify(&mut link.server.out);
        assert_eq!(link.server.out.len(), bytes);
        assert_eq!(link.server.seal(&[b"too late"]), Err(CloseReason::TlsProtocol));
        link.carry_down(|| usize::MAX).unwrap();
        assert!(link.client.process_new_packets().unwrap().peer_has_closed());
        assert_eq!(link.server.open(&[0xff; 100]), Ok(Opened::More));
        assert!(link.server.input.is_empty() && link.server.plain.is_empty() && link.server.out.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn carries_the_same_bytes_at_any_split(
        sizes in prop::collection::vec(1_usize..3_000, 1..40),
        up in prop::collection::vec(any::<u8>(), 1..40_000),
        down in prop::collection::vec(any::<u8>(), 1..40_000),
        is_tls12 in any::<bool>(),
    ) {
        let mut link = World::plain(if is_tls12 { &TLS12 } else { &TLS13 }).connect("localhost");
        let mut cycle = sizes.iter().copied().cycle();
        link.shake_hands(|| cycle.next().unwrap());
        let mut rest = &up[..];
        while !rest.is_empty() {
            let written = link.client.writer().write(&rest[..rest.len().min(9_000)]).unwrap();
            rest = &rest[written..];
            link.carry_up(|| cycle.next().unwrap()).unwrap();
        }
        prop_assert_eq!(&link.server.plain, &up);
        let slices: Vec<&[u8]> = down.chunks(sizes[0]).collect();
        link.server.seal(&slices).unwrap();
        prop_assert_eq!(link.carry_down(|| cycle.next().unwrap()).unwrap(), down);
    }
}
