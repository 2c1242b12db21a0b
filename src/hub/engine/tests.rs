//! Positions, what is kept of a channel, and what is not taken.

use super::*;
use crate::limits;
use crate::proto::channel::{Keep, Rule};
use crate::proto::event::Position;
use crate::proto::replay::{Gap, GapReason};
use crate::proto::subject::Pattern;
use std::time::Duration;

const ALL: ExcerptBounds = ExcerptBounds { messages_max: usize::MAX, bytes_max: usize::MAX };

fn subject(name: &str) -> Subject {
    Subject::new(name).unwrap()
}

/// Keeps three messages of what is below `kept`.
fn engine() -> Engine {
    let keep = Keep { messages: 3, bytes: 1_000, age: Duration::from_secs(60) };
    let rule = Rule { history: Some(keep), ..Rule::default() };
    Engine::new(Arc::new(Rules::new([(Pattern::new("kept.>").unwrap(), rule)])), 100_000, 1)
}

fn publish(engine: &mut Engine, name: &str, payload: &[u8], places: &mut PlaceSet) -> Option<Position> {
    let subject = subject(name);
    let message = Message::new(subject.clone(), None, None, payload.into());
    taken(engine.publish(&Arc::new(message), Tick::ZERO, places)).expect("nothing is said to be distinct")
}

pub(super) fn taken(appended: Appended) -> Result<Option<Position>, Repetition> {
    match appended {
        Appended::Taken(position) => Ok(position),
        Appended::Repetition(repetition) => Err(repetition),
    }
}

fn say(engine: &mut Engine, name: &str, payload: &[u8]) -> Position {
    publish(engine, name, payload, &mut PlaceSet::default()).expect("a channel has positions")
}

fn replay(engine: &mut Engine, name: &str, since: Since, bounds: ExcerptBounds) -> Excerpt {
    engine.replay(&subject(name), since, bounds, Tick::ZERO).expect("the channel is known")
}

fn offsets(excerpt: &Excerpt) -> Vec<u64> {
    excerpt.messages().map(|(position, _)| position.offset).collect()
}

#[test]
fn offsets_go_on_while_nobody_listens() {
    let mut engine = engine();
    let room = subject("room.1");
    let mut places = PlaceSet::default();
    let first = publish(&mut engine, "room.1", b"", &mut places).unwrap();
    assert!(places.is_empty());
    engine.join(&room, Place(1));
    let second = publish(&mut engine, "room.1", b"", &mut places).unwrap();
    assert_eq!(places.iter().collect::<Vec<_>>(), [Place(1)]);
    engine.leave(&room, Place(1));
    let third = say(&mut engine, "room.1", b"");
    assert_eq!((first.offset, second.offset, third.offset), (1, 2, 3));
    assert_eq!((first.epoch, second.epoch), (third.epoch, third.epoch));
}

/// A client subscribes to a channel and leaves it again, as often as there are names.
fn visit(engine: &mut Engine, names: impl IntoIterator<Item = String>) {
    for name in names {
        engine.join(&subject(&name), Place(0));
        engine.leave(&subject(&name), Place(0));
    }
}

#[test]
fn a_forgotten_channel_comes_back_in_another_epoch_and_without_its_history() {
    let mut engine = engine();
    let first = say(&mut engine, "kept.1", b"x");
    // It loses its message to others, and with that its place among the channels that have some.
    (0..1_000).for_each(|number| _ = say(&mut engine, &format!("kept.other.{number}"), b""));
    assert_eq!(replay(&mut engine, "kept.1", Since::Now, ALL).end(), first);
    for number in 0..limits::IDLE_CHANNELS_MAX {
        say(&mut engine, &format!("other.{number}"), b"");
    }
    let again = say(&mut engine, "kept.1", b"y");
    assert_eq!(again.offset, 1);
    assert_ne!(again.epoch, first.epoch);
    let excerpt = replay(&mut engine, "kept.1", Since::After(first), ALL);
    assert_eq!(excerpt.gap, Some(Gap { reason: GapReason::Epoch, first: Some(again), last: again }));
    assert_eq!(&*excerpt.messages[0].1.payload, b"y");
}

#[test]
fn names_that_a_client_makes_up_cost_no_channel_its_messages_or_offsets() {
    let mut engine = engine();
    let kept = say(&mut engine, "kept.bystander", b"x");
    let counted = say(&mut engine, "room.bystander", b"x");
    visit(&mut engine, ["kept.first".to_owned()]);
    let begun = replay(&mut engine, "kept.first", Since::Now, ALL).end();
    visit(&mut engine, (0..limits::IDLE_CHANNELS_MAX + 1_000).map(|number| format!("kept.own.{number}")));
    let excerpt = replay(&mut engine, "kept.bystander", Since::Beginning, ALL);
    assert_eq!((excerpt.end(), offsets(&excerpt)), (kept, vec![1]));
    assert_eq!(say(&mut engine, "room.bystander", b"y"), Position { offset: 2, ..counted });
    assert_eq!(engine.len(), (0, limits::IDLE_CHANNELS_MAX + 2), "of names without a message, and the bystander's two");
    visit(&mut engine, ["kept.first".to_owned()]);
    assert_ne!(replay(&mut engine, "kept.first", Since::Now, ALL).end().epoch, begun.epoch, "they cost each other");
}

#[test]
fn channels_without_history_cost_no_channel_its_messages() {
    let mut engine = engine();
    let kept = say(&mut engine, "kept.bystander", b"x");
    visit(&mut engine, ["kept.begun".to_owned()]);
    let begun = replay(&mut engine, "kept.begun", Since::Now, ALL).end();
    for number in 0..limits::IDLE_CHANNELS_MAX + 1_000 {
        say(&mut engine, &format!("other.{number}"), b"");
    }
    let excerpt = replay(&mut engine, "kept.bystander", Since::Beginning, ALL);
    assert_eq!((excerpt.end(), offsets(&excerpt)), (kept, vec![1]));
    assert_eq!(say(&mut engine, "kept.begun", b"x"), Position { offset: 1, ..begun }, "nor a name its epoch");
}

#[test]
fn a_channel_is_remembered_by_what_it_keeps_now() {
    let mut engine = engine();
    let later = Tick::ZERO + Duration::from_secs(61);
    let kept = say(&mut engine, "kept.1", b"x");
    let mut place = PlaceSet::default();
    // What it kept is too old when it is read; the next message is kept as any other.
    assert!(engine.replay(&subject("kept.1"), Since::Beginning, ALL, later).unwrap().messages.is_empty());
    let message = Arc::new(Message::new(subject("kept.1"), None, None, b"y".as_slice().into()));
    assert_eq!(taken(engine.publish(&message, later, &mut place)), Ok(Some(Position { offset: 2, ..kept })));
    for number in 0..limits::IDLE_CHANNELS_MAX + 1 {
        say(&mut engine, &format!("other.{number}"), b"");
    }
    let excerpt = engine.replay(&subject("kept.1"), Since::Beginning, ALL, later).unwrap();
    assert_eq!((offsets(&excerpt), excerpt.end().epoch), (vec![2], kept.epoch));
}

#[test]
fn inboxes_leave_nothing_behind() {
    let mut engine = engine();
    let inbox = subject("_INBOX.a.1");
    engine.join(&inbox, Place(0));
    let mut places = PlaceSet::default();
    assert_eq!(publish(&mut engine, "_INBOX.a.1", b"", &mut places), None);
    assert!(places.contains(Place(0)));
    engine.leave(&inbox, Place(0));
    assert!(engine.is_empty());
}

#[test]
fn a_channel_with_history_keeps_its_place_even_before_its_first_message() {
    let mut engine = engine();
    let told = |engine: &mut Engine, name: &str| {
        engine.join(&subject(name), Place(0));
        let excerpt = replay(engine, name, Since::Now, ALL);
        engine.leave(&subject(name), Place(0));
        excerpt.end()
    };
    let position = told(&mut engine, "kept.1");
    assert_eq!(position.offset, 0);
    assert_eq!(told(&mut engine, "kept.1"), position);
    told(&mut engine, "room.1");
    assert_eq!(engine.len(), (0, 1), "one without is forgotten at once");
}

#[test]
fn what_is_asked_for_comes_in_pieces_without_a_gap_between_them() {
    let mut engine = engine();
    let start = Position { offset: 0, ..say(&mut engine, "kept.1", b"one") };
    say(&mut engine, "kept.1", b"two");
    say(&mut engine, "kept.1", b"three");
    let bounds = ExcerptBounds { messages_max: 2, bytes_max: usize::MAX };
    let first = replay(&mut engine, "kept.1", Since::After(start), bounds);
    assert_eq!((offsets(&first), first.is_last, first.gap), (vec![1, 2], false, None));
    let rest = replay(&mut engine, "kept.1", Since::After(first.end()), bounds);
    assert_eq!((offsets(&rest), rest.is_last, rest.end().offset), (vec![3], true, 3));
    let bounds = ExcerptBounds { messages_max: 9, bytes_max: 1 };
    let one = replay(&mut engine, "kept.1", Since::After(start), bounds);
    assert_eq!(offsets(&one), [1], "a message that is longer than the bound comes alone");
}

#[test]
fn what_cannot_be_had_is_a_gap_before_all_that_is_kept() {
    let mut engine = engine();
    let other = say(&mut engine, "kept.2", b"");
    let last = (0..5).map(|_| say(&mut engine, "kept.1", b"x")).last().unwrap();
    let at = |offset| Position { offset, ..last };
    for (since, reason) in [
        (Since::After(at(1)), GapReason::Gone),
        (Since::After(at(6)), GapReason::Future),
        (Since::After(at(u64::MAX)), GapReason::Future),
        (Since::After(other), GapReason::Epoch),
        (Since::Unreadable, GapReason::Malformed),
        (Since::Unknown, GapReason::Unknown),
    ] {
        let excerpt = replay(&mut engine, "kept.1", since, ALL);
        assert_eq!(excerpt.gap, Some(Gap { reason, first: Some(at(3)), last }), "{since:?}");
        assert_eq!((offsets(&excerpt), excerpt.begin()), (vec![3, 4, 5], at(2)), "{since:?}");
    }
    for (since, expected) in [
        (Since::After(at(2)), vec![3, 4, 5]),
        (Since::After(at(5)), vec![]),
        (Since::Now, vec![]),
        (Since::Beginning, vec![3, 4, 5]),
        (Since::Latest, vec![3, 4, 5]),
        (Since::Before(at(5)), vec![3, 4]),
        (Since::Before(at(1)), vec![]),
    ] {
        let excerpt = replay(&mut engine, "kept.1", since, ALL);
        assert_eq!((offsets(&excerpt), excerpt.gap, excerpt.is_last), (expected, None, true), "{since:?}");
    }
    let bounds = ExcerptBounds { messages_max: 1, ..ALL };
    assert_eq!(offsets(&replay(&mut engine, "kept.1", Since::Latest, bounds)), [5]);
    assert_eq!(offsets(&replay(&mut engine, "kept.1", Since::Before(at(5)), bounds)), [4]);
}

#[test]
fn a_channel_without_history_still_knows_whether_something_was_missed() {
    let mut engine = engine();
    let first = say(&mut engine, "room.1", b"x");
    let excerpt = replay(&mut engine, "room.1", Since::After(first), ALL);
    assert_eq!((excerpt.gap, excerpt.end()), (None, first));
    let last = say(&mut engine, "room.1", b"y");
    let excerpt = replay(&mut engine, "room.1", Since::After(first), ALL);
    assert_eq!(excerpt.gap, Some(Gap { reason: GapReason::Gone, first: None, last }));
    assert_eq!((excerpt.messages.len(), excerpt.begin(), excerpt.end()), (0, last, last));
    assert_eq!(engine.kept(), (0, 0));
}

#[test]
fn a_message_that_does_not_fit_is_delivered_and_not_kept() {
    let mut engine = engine();
    let first = say(&mut engine, "kept.1", b"small");
    say(&mut engine, "kept.1", &[0; 2_000]);
    assert_eq!(engine.kept(), (0, 0), "nor is what came before it: a history has no gaps");
    let last = say(&mut engine, "kept.1", b"small");
    let excerpt = replay(&mut engine, "kept.1", Since::After(first), ALL);
    assert_eq!(excerpt.gap, Some(Gap { reason: GapReason::Gone, first: Some(last), last }));
}

#[test]
fn the_least_recently_used_channels_are_given_up_first() {
    let mut engine = engine();
    for number in 0..1_000 {
        say(&mut engine, &format!("kept.{number}"), &[0; 500]);
        replay(&mut engine, "kept.0", Since::Latest, ALL);
    }
    let (count, bytes) = engine.kept();
    assert!(count > 50 && bytes <= 100_000, "{count} channels, {bytes} bytes");
    let first = (0..1_000).find(|number| {
        *number > 0 && !replay(&mut engine, &format!("kept.{number}"), Since::Latest, ALL).messages.is_empty()
    });
    assert_eq!(first, Some(1_000 - count as u64 + 1), "the newest, and");
    assert_eq!(
        offsets(&replay(&mut engine, "kept.0", Since::Latest, ALL)),
        [1],
        "the one that is read again and again"
    );
}

fn with_headers(name: &str, headers: &str) -> Arc<Message> {
    let headers = Some(format!("NATS/1.0\r\n{headers}\r\n").into_bytes().into());
    Arc::new(Message::new(subject(name), None, headers, Box::default()))
}

#[test]
fn what_was_said_last_is_said_again_only_once_it_is_not_kept_any_more() {
    let keep = Keep { messages: 2, bytes: 10_000, age: Duration::from_secs(60) };
    let rule = |history| Rule { history, is_distinct: true, ..Rule::default() };
    let rules = [("kept.*", rule(Some(keep))), ("bare.*", rule(None))];
    let rules = Rules::new(rules.map(|(name, rule)| (Pattern::new(name).unwrap(), rule)));
    let mut engine = Engine::new(Arc::new(rules), 100_000, 1);
    let mut say = |name: &str, headers: &str, now: Tick| {
        let appended = engine.publish(&with_headers(name, headers), now, &mut PlaceSet::default());
        taken(appended).map(|position| position.unwrap().offset).map_err(|repetition| repetition.position.offset)
    };
    let later = Tick::ZERO + Duration::from_secs(61);
    for name in ["kept.1", "bare.1"] {
        assert_eq!(say(name, "Tg-Distinct: a\r\n", Tick::ZERO), Ok(1));
        assert_eq!(say(name, "Tg-Distinct: a\r\n", Tick::ZERO), Err(1), "it has no place of its own");
        assert_eq!(say(name, "Tg-Distinct: b\r\n", Tick::ZERO), Ok(2));
        assert_eq!(say(name, "Tg-Key: k\r\nTg-Distinct: b\r\n", Tick::ZERO), Ok(3));
        assert_eq!(say(name, "Tg-Distinct: b\r\n", Tick::ZERO), Err(2));
        assert_eq!(say(name, "", Tick::ZERO), Ok(4));
    }
    assert_eq!(say("bare.1", "Tg-Key: k\r\nTg-Distinct: b\r\n", later), Err(3));
    assert_eq!(say("kept.1", "Tg-Key: k\r\nTg-Distinct: b\r\n", later), Ok(5), "who comes now would not hear it");
    assert_eq!(say("none.1", "Tg-Distinct: a\r\n", Tick::ZERO), Ok(1));
    assert_eq!(say("none.1", "Tg-Distinct: a\r\n", Tick::ZERO), Ok(2), "its rule does not say so");
}
