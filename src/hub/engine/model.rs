//! The engine beside a naive model, which remembers everything and searches all of it.

use std::time::Duration;

use proptest::prelude::*;

use super::tests::taken;
use super::*;
use crate::limits;
use crate::proto::channel::{Keep, Rule};
use crate::proto::event::Position;
use crate::proto::replay::GapReason;
use crate::proto::subject::Pattern;

const NAMES: [&str; 3] = ["a.1", "a.2", "b.1"];
const AGE: Duration = Duration::from_secs(3);

/// One message of a channel in the model; its offset is its index, from 1.
struct Said {
    bytes: usize,
    at: Tick,
}

#[derive(Clone, Debug)]
enum Deed {
    Publish {
        channel: usize,
        bytes: usize,
    },
    Join {
        channel: usize,
    },
    Leave {
        channel: usize,
    },
    Wait {
        micros: u64,
    },
    Sweep,
    /// Reads from an offset, which may be in the future, or without one.
    Read {
        channel: usize,
        offset: u64,
        is_foreign: bool,
        messages_max: usize,
    },
}

fn keep(messages: usize, bytes: usize) -> Keep {
    Keep { messages, bytes, age: AGE }
}

fn rules(keep: Keep) -> Arc<Rules> {
    Arc::new(Rules::new([(Pattern::new("a.*").unwrap(), Rule { history: Some(keep), ..Rule::default() })]))
}

fn message(subject: &Subject, bytes: usize, number: usize) -> Arc<Message> {
    let mut payload = vec![0; bytes];
    payload.splice(.., number.to_le_bytes().into_iter().cycle().take(bytes));
    Arc::new(Message::new(subject.clone(), None, None, payload.into()))
}

/// Offset of the first message that is kept. Ages are measured in steps of 65.536 ms, rounded up.
fn first_kept(said: &[Said], keep: Keep, now: Tick) -> u64 {
    let mut bytes = 0;
    let mut count = 0;
    // A message is dropped for good: one that was too large took all earlier ones with it.
    for said in said.iter().rev() {
        bytes += said.bytes;
        let is_old = crate::base::CoarseTick::ceil(said.at).tick() + keep.age <= now;
        if count == keep.messages || bytes > keep.bytes || is_old {
            break;
        }
        count += 1;
    }
    (said.len() - count) as u64 + 1
}

fn deed() -> impl Strategy<Value = Deed> {
    let channel = 0..NAMES.len();
    prop_oneof![
        8 => (channel.clone(), 0..60usize).prop_map(|(channel, bytes)| Deed::Publish { channel, bytes }),
        1 => channel.clone().prop_map(|channel| Deed::Join { channel }),
        1 => channel.clone().prop_map(|channel| Deed::Leave { channel }),
        2 => (0..2_000_000u64).prop_map(|micros| Deed::Wait { micros }),
        1 => Just(Deed::Sweep),
        6 => (channel, 0..40u64, prop::bool::weighted(0.1), 0..8usize).prop_map(
            |(channel, offset, is_foreign, messages_max)| Deed::Read { channel, offset, is_foreign, messages_max }
        ),
    ]
}

proptest! {
    #[test]
    fn agrees_with_one_that_remembers_everything(
        messages in 1..10usize,
        bytes in 1..200usize,
        deeds in prop::collection::vec(deed(), 1..120),
    ) {
        let keep = keep(messages, bytes);
        let mut engine = Engine::new(rules(keep), usize::MAX, 7);
        let subjects = NAMES.map(|name| Subject::new(name).unwrap());
        let mut said: [Vec<Said>; NAMES.len()] = Default::default();
        let mut now = Tick::from_millis(1);
        for deed in deeds {
            match deed {
                Deed::Publish { channel, bytes } => {
                    let log = &mut said[channel];
                    let message = message(&subjects[channel], bytes, log.len() + 1);
                    let position = taken(engine.publish(&message, now, &mut PlaceSet::default())).unwrap();
                    log.push(Said { bytes, at: now });
                    prop_assert_eq!(position.unwrap().offset, log.len() as u64);
                }
                Deed::Join { channel } => engine.join(&subjects[channel], Place(0)),
                Deed::Leave { channel } => engine.leave(&subjects[channel], Place(0)),
                Deed::Wait { micros } => now = now + Duration::from_micros(micros),
                Deed::Sweep => engine.sweep(now),
                Deed::Read { channel, offset, is_foreign, messages_max } => {
                    let log = &said[channel];
                    let bounds = ExcerptBounds { messages_max, bytes_max: usize::MAX };
                    let Some(latest) = engine.replay(&subjects[channel], Since::Now, bounds, now) else { continue };
                    let latest = latest.latest;
                    prop_assert_eq!(latest.offset, log.len() as u64);
                    let after = Position { epoch: latest.epoch ^ u32::from(is_foreign), offset };
                    let excerpt = engine.replay(&subjects[channel], Since::After(after), bounds, now).unwrap();
                    let first_kept = match NAMES[channel].starts_with('a') {
                        true => first_kept(log, keep, now),
                        false => latest.offset + 1,
                    };
                    let reason = match () {
                        () if is_foreign => Some(GapReason::Epoch),
                        () if offset > latest.offset => Some(GapReason::Future),
                        () if offset + 1 < first_kept => Some(GapReason::Gone),
                        () => None,
                    };
                    prop_assert_eq!(excerpt.gap.map(|gap| gap.reason), reason);
                    let first = if reason.is_some() { first_kept } else { offset + 1 };
                    if let Some(gap) = excerpt.gap {
                        let kept = (first_kept <= latest.offset).then_some(first_kept);
                        prop_assert_eq!(gap.first.map(|first| first.offset), kept);
                    }
                    let offsets: Vec<u64> = excerpt.messages().map(|(position, _)| position.offset).collect();
                    let expected: Vec<u64> = (first..=latest.offset).take(messages_max).collect();
                    prop_assert_eq!(excerpt.is_last, first + expected.len() as u64 > latest.offset);
                    prop_assert_eq!(&offsets, &expected);
                    for (position, message) in excerpt.messages() {
                        let bytes = log[position.offset as usize - 1].bytes;
                        prop_assert_eq!(message, &self::message(&subjects[channel], bytes, position.offset as usize));
                    }
                }
            }
        }
        now = now + 2 * AGE;
        for _ in 0..3 {
            now = now + limits::HISTORY_SWEEP_INTERVAL;
            engine.sweep(now);
        }
        prop_assert_eq!(engine.kept(), (0, 0), "what is too old is gone, although nobody asks");
    }

    #[test]
    fn never_holds_more_than_it_may(
        bytes_max in 0..20_000usize,
        deeds in prop::collection::vec((0..40usize, 0..2_000usize), 1..300),
    ) {
        let mut engine = Engine::new(rules(keep(50, usize::MAX)), bytes_max, 7);
        for (channel, bytes) in deeds {
            let subject = Subject::new(&format!("a.{channel}")).unwrap();
            let message = message(&subject, bytes, 0);
            taken(engine.publish(&message, Tick::ZERO, &mut PlaceSet::default())).unwrap();
            let (count, held) = engine.kept();
            prop_assert!(held <= bytes_max, "{} channels hold {} of {}", count, held, bytes_max);
        }
    }
}
