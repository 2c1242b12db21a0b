//! The record layer beside rustls: the same peer says the same to both, and both must hear, do and answer the same. The
//! exceptions are those of [`theirs`].

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

/// What rustls does where the record layer ends a connection with a fault.
enum Theirs {
    /// The same, with the same alert.
    Same,
    /// It may go on.
    MayGoOn,
}

/// The rules of our own.
fn theirs(fault: Fault) -> Theirs {
    match fault {
        // rustls counts from the last record of data, even an empty one.
        Fault::KeyUpdates => Theirs::MayGoOn,
        _ => Theirs::Same,
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

/// A connection that is written down and read again.
fn hand_over(server: &mut Server) {
    if let Server::Ours(end) = server
        && let Some(state) = end.tls.to_bytes()
    {
        end.tls = Tls::from_bytes(&state).unwrap();
    }
}

fn compare(suite: Suite, records_max: u64, script: &[Step], pieces: &[usize]) -> Seen {
    let world = World::of_suite(suite, records_max);
    let (ours, fault) = play(&world, suite, Server::ours(&world.server), script, pieces, |_| {});
    let (rustls, _) = play(&world, suite, Server::rustls(&world.server), script, pieces, |_| {});
    match fault.map_or(Theirs::Same, theirs) {
        Theirs::Same => assert_eq!(ours, rustls, "{suite:?} {script:?}"),
        Theirs::MayGoOn => {
            assert!(rustls.plain.starts_with(&ours.plain), "{suite:?} {script:?}");
            assert!(rustls.answers.starts_with(before_the_end(&ours)), "{suite:?} {script:?}");
        }
    }
    let (handed_over, _) = play(&world, suite, Server::ours(&world.server), script, pieces, hand_over);
    assert_eq!(ours, handed_over, "{suite:?} {script:?}");
    ours
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

#[test]
fn answers_each_broken_rule_as_rustls_does() {
    let handshake = |bytes: &[u8]| Record(HANDSHAKE, bytes.to_vec(), 0);
    let finished = [&[20, 0, 0, 32][..], &[7; 32]].concat();
    let full = 16_384;
    let rows: Vec<(&str, Vec<Step>, Option<u8>)> = vec![
        ("forged", vec![Forged(3)], BAD_RECORD_MAC),
        ("forged tag", vec![Forged(22)], BAD_RECORD_MAC),
        ("replayed", vec![Replayed], BAD_RECORD_MAC),
        ("reordered", vec![Reordered], BAD_RECORD_MAC),
        ("lost", vec![Lost, data("later")], BAD_RECORD_MAC),
        ("shorter than a tag", vec![Clear(vec![23, 3, 3, 0, 3, 1, 2, 3])], BAD_RECORD_MAC),
        ("nothing in it", vec![Clear(vec![23, 3, 3, 0, 0])], BAD_RECORD_MAC),
        ("plain alert", vec![Clear(vec![21, 3, 3, 0, 2, 2, 40])], BAD_RECORD_MAC),
        ("content too long", vec![Record(DATA, vec![1; full + 1], 0)], RECORD_OVERFLOW),
        ("padding too long", vec![Record(DATA, vec![1; full], 1)], RECORD_OVERFLOW),
        ("much too long", vec![Record(DATA, vec![1; full + 200], 0)], RECORD_OVERFLOW),
        ("longest on the wire", vec![Clear([&[23, 3, 3, 71, 255][..], &[0; 18_431]].concat())], BAD_RECORD_MAC),
        ("header too long", vec![Clear(vec![23, 3, 3, 72, 0])], DECODE_ERROR),
        ("another protocol", vec![Clear(b"GET / HTTP/1.1".to_vec())], DECODE_ERROR),
        ("another version", vec![Clear(vec![23, 2, 0, 0, 40])], DECODE_ERROR),
        ("empty alert in the clear", vec![Clear(vec![21, 3, 3, 0, 0])], DECODE_ERROR),
        ("nothing but zeros", vec![Inside(vec![0; 40])], SILENCE),
        ("nothing at all", vec![Inside(vec![])], SILENCE),
        ("unknown type", vec![Record(24, b"beat".to_vec(), 0)], DECODE_ERROR),
        ("type of no record", vec![Record(255, b"what".to_vec(), 3)], DECODE_ERROR),
        ("protected change_cipher_spec", vec![Record(CHANGE_CIPHER_SPEC, vec![1], 0)], UNEXPECTED_MESSAGE),
        ("change_cipher_spec", vec![Clear(vec![20, 3, 3, 0, 1, 1])], UNEXPECTED_MESSAGE),
        ("another change_cipher_spec", vec![Clear(vec![20, 3, 3, 0, 1, 2])], DECODE_ERROR),
        ("long change_cipher_spec", vec![Clear(vec![20, 3, 3, 0, 2, 1, 1])], DECODE_ERROR),
        ("Finished", vec![handshake(&finished)], UNEXPECTED_MESSAGE),
        ("unknown message", vec![handshake(&[99, 0, 0, 2, 1, 2])], UNEXPECTED_MESSAGE),
        ("HelloRequest", vec![handshake(&[0, 0, 0, 0])], UNEXPECTED_MESSAGE),
        ("KeyUpdate of 2", vec![handshake(&[24, 0, 0, 2, 0, 0])], DECODE_ERROR),
        ("KeyUpdate of 0", vec![handshake(&[24, 0, 0, 0])], DECODE_ERROR),
        ("KeyUpdate for what", vec![handshake(&[24, 0, 0, 1, 2])], ILLEGAL_PARAMETER),
        ("KeyUpdate and more", vec![handshake(&[&KEY_UPDATE[..], &KEY_UPDATE].concat())], UNEXPECTED_MESSAGE),
        ("message too long", vec![handshake(&[24, 1, 0, 0])], SILENCE),
        ("data in a message", vec![handshake(&[24, 0]), data("no")], SILENCE),
        ("alert in a message", vec![handshake(&[24]), Record(ALERT, vec![1, 0], 0)], SILENCE),
        ("change_cipher_spec in a message", vec![handshake(&[24]), Clear(vec![20, 3, 3, 0, 1, 1])], BAD_RECORD_MAC),
        ("old key after KeyUpdate", vec![handshake(&KEY_UPDATE), data("old")], BAD_RECORD_MAC),
        ("fatal alert", vec![Record(ALERT, vec![2, 40], 0)], SILENCE),
        ("fatal user_canceled", vec![Record(ALERT, vec![2, 90], 0)], SILENCE),
        ("warning", vec![Record(ALERT, vec![1, 100], 0)], DECODE_ERROR),
        ("alert of another level", vec![Record(ALERT, vec![3, 0], 0)], ILLEGAL_PARAMETER),
        ("half an alert", vec![Record(ALERT, vec![1], 0)], DECODE_ERROR),
        ("two alerts", vec![Record(ALERT, vec![1, 0, 1, 0], 0)], DECODE_ERROR),
        ("empty alert", vec![Record(ALERT, vec![], 0)], DECODE_ERROR),
        ("user_canceled again and again", vec![Record(ALERT, vec![1, 90], 0); 5], SILENCE),
        ("a flood of empty records", vec![Record(DATA, vec![], 0); 33], SILENCE),
        ("a flood of empty handshakes", vec![handshake(&[]); 33], SILENCE),
        ("a flood of KeyUpdates", vec![key_update(false); 33], UNEXPECTED_MESSAGE),
        ("a flood of requests", vec![key_update(true); 33], UNEXPECTED_MESSAGE),
    ];
    for (what, script, expected) in rows {
        for suite in Suite::ALL {
            let seen = compare(suite, MANY, &script, &[usize::MAX]);
            assert_eq!((seen.is_sound, alert(&seen)), (false, expected), "{what} {seen:?}");
        }
    }
}

#[test]
fn takes_what_is_allowed_as_rustls_does() {
    let rows: Vec<(&str, Vec<Step>)> = vec![
        ("padding", vec![Record(DATA, b"soft".to_vec(), 1_000), Record(DATA, vec![7; 16_384], 0)]),
        ("any outside", vec![Outside(22, 1), Outside(21, 4), Outside(24, 3), data("inside")]),
        ("empty records", twice(&[vec![Record(DATA, vec![], 5); 32], vec![data("full")]].concat())),
        ("empty handshakes", vec![Record(HANDSHAKE, vec![], 0), data("after")]),
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
            assert!(seen.is_sound, "{what}");
            compare(suite, MANY, &script, &[1]);
        }
    }
}

#[test]
fn takes_a_key_update_in_pieces_as_rustls_does() {
    for cut in 0..5 {
        for is_requested in [false, true] {
            let pair = [KeyUpdate { is_requested, cut }, Record(HANDSHAKE, vec![], 0), data("new"), Answer(9)];
            assert!(compare(Suite::Aes128GcmSha256, MANY, &twice(&pair), &[7]).is_sound);
        }
    }
}

#[test]
fn updates_a_key_that_is_used_up_as_rustls_does() {
    for suite in Suite::ALL {
        for records_max in [2, 3, 8] {
            let script = twice(&[vec![Answer(1); 20], vec![key_update(true), Answer(50_000), data("x")]].concat());
            let seen = compare(suite, records_max, &script, &[100]);
            let updates = seen.answers.iter().filter(|(content_type, _)| *content_type == HANDSHAKE);
            let requested = updates.filter(|(_, content)| content[..] == KEY_UPDATE_REQUESTED);
            // The last record of each key is its KeyUpdate.
            assert!(requested.count() >= 40 / (records_max as usize - 1), "{suite:?} {records_max}");
        }
    }
}

/// Whether the server stands after this script.
fn stands(script: &[Step]) -> bool {
    let seen = compare(Suite::Aes128GcmSha256, MANY, script, &[usize::MAX]);
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
        1 => bytes().prop_map(Clear),
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
