use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::Key;

const HOME: Place = Place(1);
const ROOM: UnackedBounds = UnackedBounds { client_bytes_max: 4_096, bytes_max: 1 << 20 };

fn unacked() -> UnackedMessages {
    UnackedMessages::new(HOME, ROOM, 7)
}

fn user(name: &str) -> Subject {
    Subject::new(&format!("tg.user.{name}")).unwrap()
}

fn conn(slot: u32) -> Address {
    Address { place: HOME, key: Key { slot, generation: 0 } }
}

fn message(payload: &str) -> Message {
    message_with("_INBOX.1", payload)
}

fn message_with(reply: &str, payload: &str) -> Message {
    Message::new(user("ann"), Some(Subject::new(reply).unwrap()), None, payload.as_bytes().into())
}

fn demand(seconds: u64, sendings_max: u32) -> Demand {
    Demand { time: Duration::from_secs(seconds), sendings_max }
}

fn at(seconds: u64) -> Tick {
    Tick::from_millis(1_000 * seconds)
}

fn begin(unacked: &mut UnackedMessages, name: &str, demand: Demand, now: Tick) -> u64 {
    unacked.begin(user(name), &message("[1]"), demand, now).unwrap().0
}

fn over(end: AckFailure) -> Option<AckTimeout> {
    Some(AckTimeout::Over { end, requester: message("").reply.clone() })
}

#[test]
fn a_header_says_how_long_and_how_often() {
    for (text, wanted) in [
        ("60", Some((60, u32::MAX))),
        (" 60 , 5 ", Some((60, 5))),
        ("60,1", Some((60, 1))),
        ("18446744073709551615, 18446744073709551615", Some((limits::ACK_TIME_MAX.as_secs(), u32::MAX))),
    ] {
        let wanted = wanted.map(|(seconds, times)| demand(seconds, times));
        assert_eq!(Demand::parse(text), wanted, "{text}");
    }
    for text in ["", "soon", "0", "-1", "+1", "1.5", "60,", "60,0", "60,x", "60,1,1", "60 5", "99999999999999999999"] {
        assert_eq!(Demand::parse(text), None, "{text}");
    }
}

#[test]
fn no_outcome_is_said_where_the_gateway_alone_speaks() {
    for (reply, is) in [("_INBOX.1", true), ("acks.1", true), ("tg.event.drain", false)] {
        let message = message_with(reply, "");
        assert_eq!(message.requester().is_some(), is, "{reply}");
    }
}

#[test]
fn it_is_sent_again_later_and_later_until_it_is_acknowledged() {
    let mut unacked = unacked();
    let (id, text) = unacked.begin(user("ann"), &message("[1]"), demand(1_000, u32::MAX), at(0)).unwrap();
    assert_eq!(String::from_utf8_lossy(&text), format!("{{\"tg\":\"message\",\"id\":\"{id:016x}\",\"data\":[1]}}"));
    assert_eq!(UnackedMessages::home_of(id), HOME);
    let mut sent = Vec::new();
    let mut now = at(0);
    unacked.reached(id, now);
    while sent.len() < 8 {
        now = unacked.deadline();
        let Some(AckTimeout::Again { id: again, addressee, text: same }) = unacked.due(now) else {
            panic!("not yet over")
        };
        assert_eq!((again, addressee, &same), (id, user("ann"), &text));
        assert_eq!(unacked.due(now), None, "each once");
        unacked.reached(id, now);
        unacked.reached(id, now);
        sent.push(now);
    }
    assert_eq!(sent, [5, 15, 35, 75, 135, 195, 255, 315].map(at));
    assert_eq!(unacked.acknowledged(id, conn(1), Some("ann")), Ok(message("").reply.clone()));
    assert_eq!(unacked.acknowledged(id, conn(1), Some("ann")), Err(Stray), "once");
    assert_eq!((unacked.len(), unacked.deadline(), unacked.bytes), (0, Tick::NEVER, 0));
    assert!(unacked.by_addressee.is_empty());
}

#[test]
fn it_ends_with_its_time_or_its_count() {
    let mut unacked = unacked();
    begin(&mut unacked, "nobody", demand(7, 1), at(0));
    assert_eq!((unacked.deadline(), unacked.due(at(6))), (at(7), None));
    assert_eq!(unacked.due(at(7)), over(AckFailure::Expired));
    // The last sending, too, is waited for.
    let id = begin(&mut unacked, "ann", demand(1_000, 2), at(10));
    unacked.reached(id, at(10));
    assert!(matches!(unacked.due(at(15)), Some(AckTimeout::Again { .. })));
    unacked.reached(id, at(15));
    assert_eq!((unacked.deadline(), unacked.came(&user("ann"), at(16))), (at(25), Backlog::default()));
    assert_eq!(unacked.due(at(25)), over(AckFailure::Expired));
    // Not beyond its time, however long that would be.
    let id = begin(&mut unacked, "ann", demand(8, u32::MAX), at(30));
    unacked.reached(id, at(30));
    assert!(matches!(unacked.due(at(35)), Some(AckTimeout::Again { .. })));
    unacked.reached(id, at(35));
    assert_eq!(unacked.due(at(38)), over(AckFailure::Expired));
    assert!(unacked.is_empty());
}

#[test]
fn whoever_comes_gets_what_waits_in_order() {
    let mut unacked = unacked();
    let ids = [1, 2, 3].map(|_| begin(&mut unacked, "ann", demand(60, u32::MAX), at(0)));
    begin(&mut unacked, "bob", demand(60, u32::MAX), at(0));
    unacked.reached(ids[1], at(0));
    let Backlog { texts, again } = unacked.came(&user("ann"), at(1));
    let wanted = ids.map(|id| format!("{{\"tg\":\"message\",\"id\":\"{id:016x}\",\"data\":[1]}}"));
    assert_eq!(texts.iter().map(|text| String::from_utf8_lossy(text)).collect::<Vec<_>>(), wanted);
    assert_eq!(again, 1);
    // No connection is left: after one more try the messages wait until a connection opens, or until their time is over.
    assert_eq!(unacked.deadline(), at(6));
    while unacked.due(at(11)).is_some() {}
    assert_eq!(unacked.deadline(), at(60));
    assert_eq!(unacked.came(&user("eve"), at(12)), Backlog::default());
}

#[test]
fn an_acknowledgement_counts_from_its_user_alone() {
    let mut unacked = unacked();
    let id = begin(&mut unacked, "ann", demand(60, u32::MAX), at(0));
    for (id, from) in [(id, Some("bob")), (id, Some("ann.x")), (id, None), (id ^ 1, Some("ann"))] {
        assert_eq!(unacked.acknowledged(id, conn(1), from), Err(Stray));
    }
    assert!(unacked.acknowledged(id, conn(1), Some("ann")).is_ok());
    let own = Subject::new(&format!("tg.conn.{}", ConnId::new(None, conn(1)))).unwrap();
    let (id, _) = unacked.begin(own.clone(), &message("[1]"), demand(60, u32::MAX), at(0)).unwrap();
    assert_eq!(unacked.acknowledged(id, conn(2), Some("ann")), Err(Stray));
    assert!(unacked.acknowledged(id, conn(1), None).is_ok());
    unacked.begin(own.clone(), &message("[1]"), demand(60, u32::MAX), at(0)).unwrap();
    unacked.leave(&own);
    assert_eq!(unacked.due(at(1)), over(AckFailure::Gone));
}

#[test]
fn only_so_much_waits() {
    let mut unacked = unacked();
    let long = "x".repeat(2 * ROOM.client_bytes_max);
    let time = demand(60, u32::MAX);
    let (id, _) = unacked.begin(user("long"), &message(&long), time, at(0)).unwrap();
    assert_eq!(unacked.begin(user("long"), &message(""), time, at(0)).unwrap_err(), DemandRefusal::Full);
    unacked.acknowledged(id, conn(1), Some("long")).unwrap();
    unacked.begin(user("long"), &message(""), time, at(0)).unwrap();
    let mut unacked = UnackedMessages::new(HOME, UnackedBounds { client_bytes_max: 1 << 20, bytes_max: 1 << 18 }, 7);
    for _ in 0..limits::UNACKED_PER_CLIENT_MAX {
        begin(&mut unacked, "ann", time, at(0));
    }
    assert_eq!(unacked.begin(user("ann"), &message(""), time, at(0)).unwrap_err(), DemandRefusal::Full);
    let others = (0..).take_while(|n| unacked.begin(user(&format!("u{n}")), &message(""), time, at(0)).is_ok()).count();
    assert!((300..1_000).contains(&others), "{others}");
}

#[test]
fn a_gateway_that_goes_away_ends_all_and_takes_no_more() {
    let mut unacked = unacked();
    begin(&mut unacked, "ann", demand(60, u32::MAX), at(0));
    unacked.close();
    let refused = unacked.begin(user("ann"), &message(""), demand(60, u32::MAX), at(0));
    assert_eq!(refused.unwrap_err(), DemandRefusal::Closed);
    assert_eq!((unacked.came(&user("ann"), at(0)), unacked.deadline()), (Backlog::default(), Tick::ZERO));
    assert_eq!((unacked.due(at(0)), unacked.due(at(0))), (over(AckFailure::Closed), None));
}

#[derive(Clone, Debug)]
enum Event {
    Begin { who: u8, seconds: u64, times: u32 },
    Reach(usize),
    Come(u8),
    Ack { which: usize, who: u8 },
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..3u8, 1..100u64, 1..5u32).prop_map(|(who, seconds, times)| Event::Begin { who, seconds, times }),
        (0..4usize).prop_map(Event::Reach),
        (0..3u8).prop_map(Event::Come),
        (0..4usize, 0..3u8).prop_map(|(which, who)| Event::Ack { which, who }),
        (0..30u64).prop_map(Event::Wait),
    ]
}

proptest! {
    /// Against one that remembers all: each ends once, in time, and is sent no more often than it may be.
    #[test]
    fn every_message_ends_once(events in proptest::collection::vec(event(), 0..80)) {
        let mut unacked = unacked();
        let mut ids: Vec<u64> = Vec::new();
        // By reply: whose it is, until when, and how often it may still be sent.
        let mut open: BTreeMap<String, (u8, u64, u32)> = BTreeMap::new();
        let mut now = 0;
        for event in events {
            match event {
                Event::Begin { who, seconds, times } => {
                    let reply = format!("acks.{}", ids.len());
                    let message = message_with(&reply, "[1]");
                    let (id, _) =
                        unacked.begin(user(&who.to_string()), &message, demand(seconds, times), at(now)).unwrap();
                    ids.push(id);
                    open.insert(reply, (who, now + seconds, times));
                }
                Event::Reach(which) => {
                    if let Some(id) = ids.iter().rev().nth(which) {
                        unacked.reached(*id, at(now));
                    }
                }
                Event::Come(who) => {
                    let wanted = open.values().filter(|(whose, ..)| *whose == who).count();
                    prop_assert!(unacked.came(&user(&who.to_string()), at(now)).texts.len() <= wanted);
                }
                Event::Ack { which, who } => {
                    let Some(index) = ids.len().checked_sub(1 + which) else { continue };
                    let reply = format!("acks.{index}");
                    let outcome = unacked.acknowledged(ids[index], conn(1), Some(&who.to_string()));
                    let is_its = open.get(&reply).is_some_and(|(whose, ..)| *whose == who);
                    prop_assert_eq!(outcome.is_ok(), is_its);
                    if is_its {
                        open.remove(&reply);
                    }
                }
                Event::Wait(seconds) => {
                    now += seconds;
                    while let Some(due) = unacked.due(at(now)) {
                        match due {
                            AckTimeout::Again { id, .. } => {
                                let index = ids.iter().position(|other| *other == id).unwrap();
                                let (_, until, times) = open.get_mut(&format!("acks.{index}")).unwrap();
                                prop_assert!(*until > now && *times > 0);
                                *times -= 1;
                            }
                            AckTimeout::Over { end, requester } => {
                                prop_assert_eq!(end, AckFailure::Expired);
                                prop_assert!(open.remove(requester.unwrap().as_str()).is_some());
                            }
                        }
                    }
                    prop_assert!(open.values().all(|(_, until, _)| *until > now));
                }
            }
            prop_assert_eq!(unacked.len(), open.len());
            prop_assert_eq!(unacked.due.len(), open.len());
        }
        while unacked.due(at(now + 1_000)).is_some() {}
        prop_assert!(unacked.is_empty() && unacked.by_addressee.is_empty() && unacked.bytes == 0);
    }
}
