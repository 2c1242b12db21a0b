//! The record layer beside rustls: the same peer says the same to both, and both must hear, do and answer the same. The
//! exceptions are those of [`is_ours_alone`].

use std::sync::LazyLock;

use proptest::prelude::*;

use super::peer::{Peer, Server};
use super::*;
use crate::limits::{KEY_UPDATE_EARNED_BYTES, KEY_UPDATES_MAX};
use crate::proto::tls::record::{Fault, Suite};

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
const KEY_UPDATE_REQUESTED: [u8; 5] = [24, 0, 0, 1, 1];

/// More records than any test seals.
const MANY: u64 = 1 << 20;

/// What the peer does, and the server between it.
#[derive(Clone, Debug)]
enum Step {
    /// An authentic record of this type, content and padding.
    Record(u8, Vec<u8>, usize),
    /// An authentic record with exactly this inside.
    Inside(Vec<u8>),
    /// The same with another type on the outside, or another minor version.
    Outside(u8, u8),
    /// A KeyUpdate, cut in two records after so many bytes.
    KeyUpdate { is_requested: bool, cut: usize },
    /// A record with one bit turned.
    Forged(usize),
    /// The record before, once more.
    Replayed,
    /// Two records in the wrong order.
    Reordered,
    /// A record that got lost.
    Lost,
    /// Bytes in the clear.
    Clear(Vec<u8>),
    /// The server says something.
    Answer(usize),
    /// The server says close_notify.
    Close,
}

use Step::*;

/// All that can be seen of a server.
#[derive(Debug, PartialEq)]
struct Seen {
    plain: Vec<u8>,
    answers: Vec<(u8, Vec<u8>)>,
    is_sound: bool,
    is_peer_closed: bool,
}

fn wire_of(step: &Step, peer: &mut Peer, before: &mut Vec<u8>) -> Vec<u8> {
    let wire = match step {
        Record(content_type, content, padding) => peer.padded(*content_type, content, *padding),
        Inside(inside) => peer.inner(inside),
        Outside(content_type, minor) => {
            let mut wire = peer.record(DATA, b"outside");
            (wire[0], wire[2]) = (*content_type, *minor);
            wire
        }
        KeyUpdate { is_requested, cut } => {
            let message = if *is_requested { KEY_UPDATE_REQUESTED } else { KEY_UPDATE };
            let (first, second) = message.split_at(*cut);
            let mut wire = Vec::new();
            for piece in [first, second].into_iter().filter(|piece| !piece.is_empty()) {
                wire.extend(peer.record(HANDSHAKE, piece));
            }
            peer.update();
            wire
        }
        Forged(at) => {
            let mut wire = peer.record(DATA, b"forged");
            let at = 5 + at % (wire.len() - 5);
            wire[at] ^= 1;
            wire
        }
        Replayed => before.clone(),
        Reordered => {
            let (first, mut wire) = (peer.record(DATA, b"first"), peer.record(DATA, b"second"));
            wire.extend(first);
            wire
        }
        Lost => {
            peer.skip();
            Vec::new()
        }
        Clear(bytes) => bytes.clone(),
        Answer(_) | Close => Vec::new(),
    };
    if !wire.is_empty() {
        before.clone_from(&wire);
    }
    wire
}

/// Whether rustls may do otherwise where the record layer ends a connection with this fault: it sends another alert or
/// none, or goes on. The rows below have the alerts, docs/decisions/tls-alerts.md the reasons.
fn is_ours_alone(fault: Fault, script: &[Step]) -> bool {
    match fault {
        // rustls decrypts with the header that the record should have, and refuses another version at once.
        Fault::Forged => script.iter().any(|step| matches!(step, Outside(..) | Clear(_))),
        Fault::Message | Fault::KeyUpdateValue | Fault::KeyUpdateNotLast | Fault::AlertForm | Fault::AlertLevel => {
            false
        }
        _ => true,
    }
}

/// Plays the script against one server, its wire cut into pieces. `between` may do something to the server before each.
fn play(
    world: &World,
    suite: Suite,
    mut server: Server,
    script: &[Step],
    pieces: &[usize],
    between: impl Fn(&mut Server),
) -> (Seen, Option<Fault>) {
    let mut peer = Peer::connect(&world.client, suite, &mut server);
    let mut pieces = pieces.iter().copied().cycle();
    let (mut is_sound, mut is_closed, mut before) = (true, false, peer.record(DATA, b"zero"));
    let mut answers = Vec::new();
    assert!(server.hear(&before));
    for step in script {
        match step {
            Answer(bytes) if !is_closed => server.say(&vec![b'a'; *bytes]),
            Answer(_) => {}
            Close => {
                server.close();
                is_closed = true;
            }
            _ => {}
        }
        let wire = wire_of(step, &mut peer, &mut before);
        let mut rest = &wire[..];
        // What arrives after our close_notify is discarded by us and read by rustls; no caller asks for it.
        while is_sound && !is_closed && !rest.is_empty() {
            let (piece, later) = rest.split_at(pieces.next().unwrap().min(rest.len()));
            between(&mut server);
            is_sound = server.hear(piece);
            rest = later;
        }
        answers.extend(peer.understand(&server.take_out()));
        if !is_sound {
            break;
        }
    }
    let is_peer_closed = !is_closed && server.is_peer_closed();
    (Seen { plain: server.plain().to_vec(), answers, is_sound, is_peer_closed }, server.fault())
}

static ANY: LazyLock<World> = LazyLock::new(|| World::plain(&TLS13));

/// A connection that is written down and read again.
fn hand_over(server: &mut Server) {
    if let Server::Ours(end) = server {
        let tls = std::mem::replace(&mut end.tls, Tls::new(&ANY.server).unwrap());
        end.tls = match tls.into_bytes() {
            Ok(state) => Tls::from_bytes(&state).unwrap(),
            Err(failed) => *failed,
        };
    }
}

fn compare(suite: Suite, records_max: u64, script: &[Step], pieces: &[usize]) -> Compared {
    let world = World::of_suite(suite, records_max);
    let (ours, fault) = play(&world, suite, Server::ours(&world.server), script, pieces, |_| {});
    let (mut rustls, _) = play(&world, suite, Server::rustls(&world.server), script, pieces, |_| {});
    // With its last record a key of rustls asks the peer for a KeyUpdate, which the peer has no reason for.
    rustls.answers.iter_mut().filter(|(_, content)| content[..] == KEY_UPDATE_REQUESTED).for_each(|(_, content)| {
        *content = KEY_UPDATE.to_vec();
    });
    if fault.is_some_and(|fault| is_ours_alone(fault, script)) {
        assert!(rustls.plain.starts_with(&ours.plain), "{suite:?} {script:?}");
        assert!(rustls.answers.starts_with(before_the_end(&ours)), "{suite:?} {script:?}");
    } else {
        assert_eq!(ours, rustls, "{suite:?} {script:?}");
    }
    let (handed_over, _) = play(&world, suite, Server::ours(&world.server), script, pieces, hand_over);
    assert_eq!(ours, handed_over, "{suite:?} {script:?}");
    Compared { ours, rustls }
}

struct Compared {
    ours: Seen,
    rustls: Seen,
}

/// The answers without the alert, and the KeyUpdate that goes before an alert if one is owed.
fn before_the_end(seen: &Seen) -> &[(u8, Vec<u8>)] {
    let answers = seen.answers.strip_suffix(last(&seen.answers, ALERT)).unwrap_or(&seen.answers);
    answers.strip_suffix(last(answers, HANDSHAKE)).unwrap_or(answers)
}

/// The last answer, if it is of this type; else none.
fn last(answers: &[(u8, Vec<u8>)], content_type: u8) -> &[(u8, Vec<u8>)] {
    let is_it = answers.last().is_some_and(|(last, _)| *last == content_type);
    &answers[answers.len() - usize::from(is_it)..]
}

fn data(words: &str) -> Step {
    Record(DATA, words.as_bytes().to_vec(), 0)
}

/// The data for this many KeyUpdates.
fn earned(key_updates: usize) -> Vec<Step> {
    vec![Record(DATA, vec![7; KEY_UPDATE_EARNED_BYTES], 0); key_updates]
}

fn twice(script: &[Step]) -> Vec<Step> {
    [script, script].concat()
}

fn key_update(is_requested: bool) -> Step {
    KeyUpdate { is_requested, cut: 0 }
}

/// The alert at the end of what a server has said.
fn alert(seen: &Seen) -> Option<u8> {
    let (content_type, content) = seen.answers.last()?;
    (*content_type == ALERT).then(|| content[1])
}

const UNEXPECTED_MESSAGE: Option<u8> = Some(10);
const BAD_RECORD_MAC: Option<u8> = Some(20);
const RECORD_OVERFLOW: Option<u8> = Some(22);
const ILLEGAL_PARAMETER: Option<u8> = Some(47);
const DECODE_ERROR: Option<u8> = Some(50);
/// rustls ends the connection without a word.
const SILENCE: Option<u8> = None;

/// The end of a server that has broken rules before it: without an alert, or with this one.
type End = Option<u8>;

/// How rustls ends.
enum Rustls {
    Same,
    Otherwise(End),
    /// It goes on, or waits for more.
    No,
}

use Rustls::{No, Otherwise, Same};

#[test]
fn answers_each_broken_rule_as_rfc_8446_has_it() {
    let handshake = |bytes: &[u8]| Record(HANDSHAKE, bytes.to_vec(), 0);
    let finished = [&[20, 0, 0, 32][..], &[7; 32]].concat();
    let full = 16_384;
    let clear = |head: &[u8], bytes: usize| Clear([head, &vec![0; bytes]].concat());
    let rows: Vec<(&str, Vec<Step>, End, Rustls)> = vec![
        ("forged", vec![Forged(3)], BAD_RECORD_MAC, Same),
        ("forged tag", vec![Forged(22)], BAD_RECORD_MAC, Same),
        ("replayed", vec![Replayed], BAD_RECORD_MAC, Same),
        ("reordered", vec![Reordered], BAD_RECORD_MAC, Same),
        ("lost", vec![Lost, data("later")], BAD_RECORD_MAC, Same),
        ("shorter than a tag", vec![Clear(vec![23, 3, 3, 0, 3, 1, 2, 3])], BAD_RECORD_MAC, Same),
        ("nothing in it", vec![Clear(vec![23, 3, 3, 0, 0])], BAD_RECORD_MAC, Same),
        ("another minor version", vec![Outside(23, 1)], BAD_RECORD_MAC, No),
        ("another version", vec![clear(&[23, 2, 0, 0, 40], 40)], BAD_RECORD_MAC, Otherwise(DECODE_ERROR)),
        ("another type outside", vec![Outside(22, 3)], UNEXPECTED_MESSAGE, No),
        ("heartbeat outside", vec![Outside(24, 3)], UNEXPECTED_MESSAGE, No),
        ("plain alert", vec![Clear(vec![21, 3, 3, 0, 2, 2, 40])], UNEXPECTED_MESSAGE, Otherwise(BAD_RECORD_MAC)),
        ("empty alert in the clear", vec![Clear(vec![21, 3, 3, 0, 0])], UNEXPECTED_MESSAGE, Otherwise(DECODE_ERROR)),
        ("another protocol", vec![Clear(b"GET / HTTP/1.1".to_vec())], UNEXPECTED_MESSAGE, Otherwise(DECODE_ERROR)),
        ("content too long", vec![Record(DATA, vec![1; full + 1], 0)], RECORD_OVERFLOW, Same),
        ("padding too long", vec![Record(DATA, vec![1; full], 1)], RECORD_OVERFLOW, Same),
        ("much too long", vec![Record(DATA, vec![1; full + 200], 0)], RECORD_OVERFLOW, Same),
        ("longest on the wire", vec![clear(&[23, 3, 3, 65, 0], 16_640)], BAD_RECORD_MAC, Same),
        ("longer on the wire", vec![clear(&[23, 3, 3, 65, 1], 16_641)], RECORD_OVERFLOW, Otherwise(BAD_RECORD_MAC)),
        ("header too long", vec![Clear(vec![23, 3, 3, 72, 0])], RECORD_OVERFLOW, Otherwise(DECODE_ERROR)),
        ("nothing but zeros", vec![Inside(vec![0; 40])], UNEXPECTED_MESSAGE, Otherwise(SILENCE)),
        ("nothing at all", vec![Inside(vec![])], UNEXPECTED_MESSAGE, Otherwise(SILENCE)),
        ("unknown type", vec![Record(24, b"beat".to_vec(), 0)], UNEXPECTED_MESSAGE, Otherwise(DECODE_ERROR)),
        ("type of no record", vec![Record(255, b"what".to_vec(), 3)], UNEXPECTED_MESSAGE, Otherwise(DECODE_ERROR)),
        ("protected change_cipher_spec", vec![Record(CHANGE_CIPHER_SPEC, vec![1], 0)], UNEXPECTED_MESSAGE, Same),
        ("change_cipher_spec", vec![Clear(vec![20, 3, 3, 0, 1, 1])], UNEXPECTED_MESSAGE, Same),
        (
            "another change_cipher_spec",
            vec![Clear(vec![20, 3, 3, 0, 1, 2])],
            UNEXPECTED_MESSAGE,
            Otherwise(DECODE_ERROR),
        ),
        (
            "long change_cipher_spec",
            vec![Clear(vec![20, 3, 3, 0, 2, 1, 1])],
            UNEXPECTED_MESSAGE,
            Otherwise(DECODE_ERROR),
        ),
        ("Finished", vec![handshake(&finished)], UNEXPECTED_MESSAGE, Same),
        ("unknown message", vec![handshake(&[99, 0, 0, 2, 1, 2])], UNEXPECTED_MESSAGE, Same),
        ("HelloRequest", vec![handshake(&[0, 0, 0, 0])], UNEXPECTED_MESSAGE, Same),
        ("empty handshake", vec![handshake(&[])], UNEXPECTED_MESSAGE, No),
        ("KeyUpdate of 2", vec![handshake(&[24, 0, 0, 2, 0, 0])], DECODE_ERROR, Same),
        ("KeyUpdate of 0", vec![handshake(&[24, 0, 0, 0])], DECODE_ERROR, Same),
        ("KeyUpdate for what", vec![handshake(&[24, 0, 0, 1, 2])], ILLEGAL_PARAMETER, Same),
        ("KeyUpdate and more", vec![handshake(&[&KEY_UPDATE[..], &KEY_UPDATE].concat())], UNEXPECTED_MESSAGE, Same),
        ("message too long", vec![handshake(&[24, 1, 0, 0])], DECODE_ERROR, Otherwise(SILENCE)),
        ("data in a message", vec![handshake(&[24, 0]), data("no")], UNEXPECTED_MESSAGE, Otherwise(SILENCE)),
        (
            "alert in a message",
            vec![handshake(&[24]), Record(ALERT, vec![1, 0], 0)],
            UNEXPECTED_MESSAGE,
            Otherwise(SILENCE),
        ),
        (
            "change_cipher_spec in a message",
            vec![handshake(&[24]), Clear(vec![20, 3, 3, 0, 1, 1])],
            UNEXPECTED_MESSAGE,
            Otherwise(BAD_RECORD_MAC),
        ),
        ("old key after KeyUpdate", vec![handshake(&KEY_UPDATE), data("old")], BAD_RECORD_MAC, Same),
        ("fatal alert", vec![Record(ALERT, vec![2, 40], 0)], SILENCE, Same),
        ("fatal user_canceled", vec![Record(ALERT, vec![2, 90], 0)], SILENCE, Same),
        ("error with the level of a warning", vec![Record(ALERT, vec![1, 100], 0)], SILENCE, Otherwise(DECODE_ERROR)),
        ("alert of another level", vec![Record(ALERT, vec![3, 0], 0)], ILLEGAL_PARAMETER, Same),
        ("half an alert", vec![Record(ALERT, vec![1], 0)], DECODE_ERROR, Same),
        ("two alerts", vec![Record(ALERT, vec![1, 0, 1, 0], 0)], DECODE_ERROR, Same),
        ("empty alert", vec![Record(ALERT, vec![], 0)], UNEXPECTED_MESSAGE, Otherwise(DECODE_ERROR)),
        (
            "user_canceled again and again",
            vec![Record(ALERT, vec![1, 90], 0); 5],
            UNEXPECTED_MESSAGE,
            Otherwise(SILENCE),
        ),
        ("a flood of empty records", vec![Record(DATA, vec![], 0); 33], UNEXPECTED_MESSAGE, Otherwise(SILENCE)),
        ("a flood of KeyUpdates", vec![key_update(false); 33], UNEXPECTED_MESSAGE, Otherwise(SILENCE)),
        ("a flood of requests", vec![key_update(true); 33], UNEXPECTED_MESSAGE, Otherwise(SILENCE)),
    ];
    for (what, script, expected, rustls) in rows {
        for suite in Suite::ALL {
            let seen = compare(suite, MANY, &script, &[usize::MAX]);
            assert_eq!((seen.ours.is_sound, alert(&seen.ours)), (false, expected), "{what} {:?}", seen.ours);
            let theirs = (seen.rustls.is_sound, alert(&seen.rustls));
            match rustls {
                Same => assert_eq!(theirs, (false, expected), "{what}"),
                Otherwise(end) => assert!(end != expected && theirs == (false, end), "{what} {theirs:?}"),
                No => assert!(seen.rustls.is_sound, "{what}"),
            }
        }
    }
}

#[test]
fn takes_what_is_allowed_as_rustls_does() {
    let rows: Vec<(&str, Vec<Step>)> = vec![
        ("padding", vec![Record(DATA, b"soft".to_vec(), 1_000), Record(DATA, vec![7; 16_384], 0)]),
        ("empty records", twice(&[vec![Record(DATA, vec![], 5); 32], vec![data("full")]].concat())),
        ("user_canceled", [vec![Record(ALERT, vec![1, 90], 0); 4], vec![data("still there")]].concat()),
        ("KeyUpdates", twice(&[vec![key_update(false); KEY_UPDATES_MAX], earned(KEY_UPDATES_MAX)].concat())),
        (
            "requests",
            twice(
                &[vec![key_update(true); KEY_UPDATES_MAX], earned(KEY_UPDATES_MAX), vec![Answer(3), Answer(4)]]
                    .concat(),
            ),
        ),
        (
            "an answer after data",
            vec![key_update(true), data("x"), key_update(true), Answer(1), key_update(true), Close],
        ),
        (
            "close_notify",
            vec![data("bye"), Record(ALERT, vec![1, 0], 0), data("ignored"), Clear(vec![0; 60]), Answer(5)],
        ),
        ("fatal close_notify", vec![Record(ALERT, vec![2, 0], 9), Forged(0), Answer(5), Close]),
        ("our close_notify", vec![data("x"), Answer(40_000), Close]),
    ];
    for (what, script) in rows {
        for suite in Suite::ALL {
            let seen = compare(suite, MANY, &script, &[usize::MAX]);
            assert!(seen.ours.is_sound, "{what}");
            compare(suite, MANY, &script, &[1]);
        }
    }
}

#[test]
fn takes_a_key_update_in_pieces_as_rustls_does() {
    for cut in 0..5 {
        for is_requested in [false, true] {
            let pair = [KeyUpdate { is_requested, cut }, data("new"), Answer(9)];
            assert!(compare(Suite::Aes128GcmSha256, MANY, &twice(&pair), &[7]).ours.is_sound);
        }
    }
}

#[test]
fn updates_a_key_that_is_used_up_as_rustls_does() {
    for suite in Suite::ALL {
        for records_max in [2, 3, 8] {
            let script = twice(&[vec![Answer(1); 20], vec![key_update(true), Answer(50_000), data("x")]].concat());
            let seen = compare(suite, records_max, &script, &[100]);
            let updates: Vec<_> = seen.ours.answers.iter().filter(|(kind, _)| *kind == HANDSHAKE).collect();
            // The last record of each key is its KeyUpdate, and none asks the peer for another.
            assert!(updates.len() >= 40 / (records_max as usize - 1), "{suite:?} {records_max}");
            assert!(updates.iter().all(|(_, content)| content[..] == KEY_UPDATE), "{suite:?} {records_max}");
        }
    }
}

/// Whether the server stands after this script.
fn stands(script: &[Step]) -> bool {
    let seen = compare(Suite::Aes128GcmSha256, MANY, script, &[usize::MAX]).ours;
    assert_eq!(alert(&seen), if seen.is_sound { SILENCE } else { UNEXPECTED_MESSAGE }, "{script:?}");
    seen.is_sound
}

#[test]
fn pays_for_key_updates_with_data_and_with_nothing_else() {
    let many = || vec![key_update(false); KEY_UPDATES_MAX];
    let empty = Record(DATA, vec![], 40);
    let pairs = |count| [key_update(false), empty.clone()].into_iter().cycle().take(2 * count).collect::<Vec<_>>();
    // Fault 9: each KeyUpdate let further empty records in, and each empty record further KeyUpdates.
    assert!(stands(&pairs(KEY_UPDATES_MAX)));
    assert!(!stands(&pairs(KEY_UPDATES_MAX + 1)));
    assert!(!stands(&[many(), vec![Record(DATA, vec![7; KEY_UPDATE_EARNED_BYTES - 1], 0)], many()].concat()));
    // One earns one, in any pieces.
    let one = [many(), vec![Record(DATA, vec![7; KEY_UPDATE_EARNED_BYTES / 4], 0); 4], vec![key_update(true)]].concat();
    assert!(stands(&one));
    assert!(!stands(&[one, vec![key_update(true)]].concat()));
    // Megabytes earn no more than there were at the beginning.
    let rich = [vec![Record(DATA, vec![7; 16_384], 0); 20], many()].concat();
    assert!(stands(&rich));
    assert!(!stands(&[rich, vec![key_update(false)]].concat()));
}

fn any_step() -> impl Strategy<Value = Step> {
    let content_type =
        prop_oneof![6 => Just(DATA), 1 => Just(ALERT), 1 => any::<u8>().prop_filter("parsed", |t| *t != HANDSHAKE)];
    let bytes = || prop::collection::vec(any::<u8>(), 0..60);
    prop_oneof![
        8 => (Just(DATA), bytes(), 0..50_usize).prop_map(|(t, content, padding)| Record(t, content, padding)),
        2 => (content_type, bytes(), 0..50_usize).prop_map(|(t, content, padding)| Record(t, content, padding)),
        1 => (16_300..16_500_usize, 0..40_usize).prop_map(|(bytes, padding)| Record(DATA, vec![1; bytes], padding)),
        4 => (any::<bool>(), 0..5_usize).prop_map(|(is_requested, cut)| KeyUpdate { is_requested, cut }),
        6 => (0..40_000_usize).prop_map(Answer),
        2 => (1..3_u8, prop_oneof![Just(0_u8), Just(90), any::<u8>()]).prop_map(|(l, d)| Record(ALERT, vec![l, d], 0)),
        1 => (20..25_u8, any::<u8>()).prop_map(|(content_type, minor)| Outside(content_type, minor)),
        1 => prop::sample::select(vec![Replayed, Reordered, Lost, Close, Record(HANDSHAKE, vec![], 0)]),
        1 => (0..40_usize).prop_map(Forged),
        1 => bytes().prop_map(|mut bytes| {
            // rustls refuses another version at once, the record layer when the record is whole.
            bytes.iter_mut().skip(1).take(1).for_each(|major| *major = 3);
            Clear(bytes)
        }),
        1 => (0..50_usize).prop_map(|zeros| Inside(vec![0; zeros])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn does_what_rustls_does_whatever_the_peer_says(
        suite in prop::sample::select(&Suite::ALL[..]),
        records_max in 2..20_u64,
        script in prop::collection::vec(any_step(), 1..30),
        pieces in prop::collection::vec(1..3_000_usize, 1..10),
    ) {
        compare(suite, records_max, &script, &pieces);
    }
}
