use proptest::prelude::*;

use super::*;

const HOME: Place = Place(0);
const FAR: Place = Place(1);

fn key(slot: u32) -> Key {
    Key { slot, generation: 0 }
}

fn address(place: Place, slot: u32) -> Address {
    Address { place, key: key(slot) }
}

fn requester() -> Requester {
    Requester { reply: Subject::new("_INBOX.1").unwrap(), wants_no_responders: None }
}

fn places(list: &[Place]) -> PlaceSet {
    let mut places = PlaceSet::default();
    list.iter().for_each(|place| places.insert(*place));
    places
}

fn end_of(over: Option<Over>) -> Option<QuestionOutcome> {
    over.map(|over| over.end)
}

fn at(ms: u64) -> Tick {
    Tick::from_millis(ms)
}

#[test]
fn the_first_answer_wins_and_the_others_hear_of_it() {
    let mut questions = PendingQuestions::new(HOME, 7);
    let id = questions.begin(requester(), places(&[HOME, FAR]), at(9)).unwrap();
    assert_eq!(questions.reported(id, HOME, &[key(1)]), Reported::Waiting);
    assert_eq!(questions.answered(id, address(FAR, 2)), None, "it was not asked");
    assert_eq!(questions.reported(id, FAR, &[key(2)]), Reported::Waiting);
    let over = questions.answered(id, address(FAR, 2)).unwrap();
    assert_eq!((over.end, &over.others[..]), (QuestionOutcome::Answered, &[address(HOME, 1)][..]));
    assert_eq!(questions.answered(id, address(HOME, 1)), None, "the second is dropped");
    assert!(questions.is_empty() && questions.deadline() == Tick::NEVER);
}

#[test]
fn an_early_answer_leaves_a_place_that_reports_later() {
    let mut questions = PendingQuestions::new(HOME, 7);
    let id = questions.begin(requester(), places(&[HOME, FAR]), at(9)).unwrap();
    questions.reported(id, HOME, &[key(1)]);
    assert_eq!(end_of(questions.answered(id, address(HOME, 1))), Some(QuestionOutcome::Answered));
    assert_eq!(questions.reported(id, FAR, &[key(2)]), Reported::TooLate);
}

#[test]
fn nobody_there_everybody_gone_and_late_are_told_apart() {
    let mut questions = PendingQuestions::new(HOME, 7);
    let id = questions.begin(requester(), places(&[HOME, FAR]), at(9)).unwrap();
    assert_eq!(questions.reported(id, HOME, &[]), Reported::Waiting);
    let Reported::Over(over) = questions.reported(id, FAR, &[]) else { panic!("all have reported") };
    assert_eq!(over.end, QuestionOutcome::NobodyThere);

    let id = questions.begin(requester(), places(&[HOME, FAR]), at(9)).unwrap();
    assert_eq!(questions.reported(id, HOME, &[key(1)]), Reported::Waiting);
    assert_eq!(questions.left(id, address(HOME, 1)), None, "others may have been asked");
    let Reported::Over(over) = questions.reported(id, FAR, &[]) else { panic!("all have reported") };
    assert_eq!(over.end, QuestionOutcome::Gone);

    let id = questions.begin(requester(), places(&[HOME]), at(9)).unwrap();
    questions.reported(id, HOME, &[key(1), key(2)]);
    assert_eq!(questions.left(id, address(HOME, 1)), None);
    assert_eq!(end_of(questions.left(id, address(HOME, 2))), Some(QuestionOutcome::Gone));

    let id = questions.begin(requester(), places(&[HOME]), at(9)).unwrap();
    questions.reported(id, HOME, &[key(1)]);
    assert_eq!((questions.deadline(), questions.late(at(8))), (at(9), None));
    let (_, over) = questions.late(at(9)).unwrap();
    assert_eq!((over.end, over.others.len()), (QuestionOutcome::Late, 1));
    assert_eq!(questions.late(at(9)), None);
}

#[test]
fn only_so_many_are_open() {
    let mut questions = PendingQuestions::new(HOME, 7);
    for _ in 0..limits::QUESTIONS_PER_SHARD_MAX {
        assert!(questions.begin(requester(), places(&[HOME]), at(9)).is_some());
    }
    assert_eq!(questions.begin(requester(), places(&[HOME]), at(9)), None);
    assert!(questions.late(at(9)).is_some());
    assert!(questions.begin(requester(), places(&[HOME]), at(9)).is_some());
}

#[test]
fn a_connection_answers_what_it_was_asked_once() {
    let mut asked = OwedAnswers::default();
    let questions = [Open { id: 1, home: HOME }, Open { id: 2, home: FAR }];
    assert!(questions.iter().all(|question| asked.begin(key(1), *question)));
    assert_eq!((asked.answer(key(2), 1), asked.answer(key(1), 3)), (None, None));
    assert_eq!((asked.answer(key(1), 2), asked.answer(key(1), 2)), (Some(FAR), None));
    assert_eq!(&asked.leave(key(1))[..], [questions[0]]);
    assert!(asked.is_empty());
}

#[test]
fn a_connection_owes_only_so_many_answers_and_makes_up_only_so_many() {
    let mut asked = OwedAnswers::default();
    for id in 0..limits::QUESTIONS_PER_CONNECTION_MAX as u64 {
        assert!(asked.begin(key(1), Open { id, home: HOME }));
    }
    assert!(!asked.begin(key(1), Open { id: u64::MAX, home: HOME }));
    (0..limits::STRAY_ANSWERS_MAX).for_each(|_| assert!(asked.forgive(key(1))));
    assert!(!asked.forgive(key(1)));
    asked.leave(key(1));
    assert!(asked.is_empty());
}

#[derive(Clone, Debug)]
enum Event {
    Begin { far: bool, until: u64 },
    Report { question: usize, far: bool, count: u32 },
    Answer { question: usize, far: bool, slot: u32 },
    Leave { question: usize, far: bool, slot: u32 },
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let which = (0..4usize, any::<bool>(), 0..3u32);
    prop_oneof![
        (any::<bool>(), 1..20u64).prop_map(|(far, until)| Event::Begin { far, until }),
        which.clone().prop_map(|(question, far, count)| Event::Report { question, far, count }),
        which.clone().prop_map(|(question, far, slot)| Event::Answer { question, far, slot }),
        which.prop_map(|(question, far, slot)| Event::Leave { question, far, slot }),
        (0..9u64).prop_map(Event::Wait),
    ]
}

proptest! {
    #[test]
    fn every_question_ends_once(events in proptest::collection::vec(event(), 0..80)) {
        let mut questions = PendingQuestions::new(HOME, 7);
        let mut ids: Vec<u64> = Vec::new();
        let mut ended: Vec<u64> = Vec::new();
        let mut now = 0;
        let place = |far: bool| if far { FAR } else { HOME };
        for event in events {
            let named = |question: usize| ids.iter().rev().nth(question).copied();
            match event {
                Event::Begin { far, until } => {
                    let asked = if far { places(&[HOME, FAR]) } else { places(&[HOME]) };
                    ids.push(questions.begin(requester(), asked, at(now + until)).unwrap());
                }
                Event::Report { question, far, count } => {
                    let keys: Vec<Key> = (0..count).map(key).collect();
                    if let Some(id) = named(question)
                        && let Reported::Over(_) = questions.reported(id, place(far), &keys)
                    {
                        ended.push(id);
                    }
                }
                Event::Answer { question, far, slot } => {
                    let over = named(question).and_then(|id| Some((id, questions.answered(id, address(place(far), slot))?)));
                    if let Some((id, over)) = over {
                        prop_assert_eq!(over.end, QuestionOutcome::Answered);
                        ended.push(id);
                    }
                }
                Event::Leave { question, far, slot } => {
                    let id = named(question);
                    ended.extend(id.filter(|id| questions.left(*id, address(place(far), slot)).is_some()));
                }
                Event::Wait(time) => {
                    now += time;
                    while let Some((id, over)) = questions.late(at(now)) {
                        prop_assert_eq!(over.end, QuestionOutcome::Late);
                        ended.push(id);
                    }
                }
            }
            prop_assert_eq!(questions.len() + ended.len(), ids.len());
            prop_assert_eq!(questions.deadlines.len(), questions.len());
        }
        while questions.late(at(now + 100)).is_some() {}
        prop_assert!(questions.is_empty());
        ended.sort_unstable();
        let count = ended.len();
        ended.dedup();
        prop_assert_eq!(ended.len(), count, "none ends twice");
    }
}
