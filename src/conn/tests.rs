//! The items that a connection takes off its input.

use std::net::SocketAddr;

use super::*;
use crate::base::{Address, Place};

#[test]
fn a_worker_subscribes_in_a_row_until_its_confirmations_could_not_be_counted() {
    const SUB: &[u8] = b"SUB a 1\r\n";
    let (settings, peer) = (Settings::default(), SocketAddr::from(([127, 0, 0, 1], 1)));
    let mut conn = Conn::new(1, peer, (0, Door::Bus), Transport::Plain, &settings, Tick::ZERO);
    let address = Address { place: Place(0), key: Key { slot: 0, generation: 1 } };
    let mut input = SUB.to_vec();
    let step = conn.next(&mut &mut input[..], address, &settings, Tick::ZERO);
    let Ok(Some(Step::Worker(worker::WorkerStep::Subscribe { tag, .. }))) = step else { panic!("it subscribes") };
    let sub = Key { slot: 0, generation: 1 };
    let shards = limits::SHARDS_MAX as u16;
    let mut count = 0;
    while conn.may_take(SUB) {
        count += usize::from(shards);
        assert!(count <= usize::from(u16::MAX), "one more than can be counted would be taken");
        conn.session.subscribed(tag, sub, shards);
    }
    assert_eq!(usize::from(conn.session.registrations), count, "each confirmation is waited for");
    assert!(count > usize::from(limits::REGISTRATIONS_HIGH), "no fewer than there is room for");
    while conn.session.registrations > limits::REGISTRATIONS_HIGH {
        assert!(!conn.may_take(SUB));
        assert!(!conn.session.registered(), "others are waited for");
    }
    assert!(conn.may_take(SUB) && !conn.may_take(b"PUB a 0\r\n"), "subscriptions alone come in a row");
}
