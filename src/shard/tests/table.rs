//! The table of delivery: each rule on each way by which a message reaches its receiver.
//!
//! ```text
//!              no echo   no responder   duplicates   distinct   positions   acknowledgement   presence   limits
//!  plain       a cell: one script for all ways of the rule, on one shard and on three, with the receiver on each of them
//!  wildcard
//!  queue …     a way on which a rule does not apply says why, and a play shows that nothing happens there
//! ```
//!
//! A new way has to answer for every rule, and a new rule for every way: the matches are exhaustive. What is NATS alone is held
//! against nats-server in `tests/program/nats/reference`.

mod acknowledgement;
mod bounds;
mod ear;
mod echo;
mod positions;
mod presence;
mod repetitions;
mod responders;
mod stage;
mod way;

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use ear::Ear;
use stage::{Stage, Voice};
use way::Way;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// A publisher with `echo: false` does not hear itself.
    Echo,
    /// A request that reaches nothing that could answer is answered with 503.
    Responders,
    /// `Nats-Msg-Id`: what is published twice is delivered once.
    Duplicates,
    /// `Tg-Distinct`: what says the same again is not delivered.
    Distinct,
    /// What is published has a place in its channel, by which a client comes back.
    Positions,
    /// `Tg-Ack`: sent until it is acknowledged.
    Acknowledgement,
    /// A receiver is known as one that is there.
    Presence,
    /// One message alone is never too much; what is longer than any may be is refused; what is not taken is bounded.
    Limits,
}

/// What the play of a rule on a way has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Holds,
    /// And why; the play has shown that nothing happens.
    DoesNotApply(&'static str),
}

impl Rule {
    const ALL: [Rule; 8] = [
        Rule::Echo,
        Rule::Responders,
        Rule::Duplicates,
        Rule::Distinct,
        Rule::Positions,
        Rule::Acknowledgement,
        Rule::Presence,
        Rule::Limits,
    ];

    fn play(self, stage: &mut Stage, way: Way) -> Cell {
        match self {
            Rule::Echo => echo::play(stage, way),
            Rule::Responders => responders::play(stage, way),
            Rule::Duplicates => repetitions::play(stage, way, "Nats-Msg-Id"),
            Rule::Distinct => repetitions::play(stage, way, "Tg-Distinct"),
            Rule::Positions => positions::play(stage, way),
            Rule::Acknowledgement => acknowledgement::play(stage, way),
            Rule::Presence => presence::play(stage, way),
            Rule::Limits => bounds::play(stage, way),
        }
    }
}

/// Shards, and the one that the receiver is on: the owner of the room, neither, and the publisher's.
const STAGES: [(u16, u16); 4] = [(1, 0), (3, 0), (3, 1), (3, 2)];

/// On every stage; or on which one it fails, and how.
fn run(rule: Rule, way: Way) -> Result<Cell, String> {
    let mut cells = Vec::new();
    for (shards, ear_at) in STAGES {
        let play = || rule.play(&mut Stage::new(shards, ear_at), way);
        cells.push(catch_unwind(AssertUnwindSafe(play)).map_err(|words| {
            let words = words.downcast_ref::<String>().cloned();
            format!("{shards} shards, receiver on {ear_at}: {}", words.as_deref().unwrap_or("it panics"))
        })?);
    }
    assert!(cells.iter().all(|cell| *cell == cells[0]), "a rule holds on all shards, or on none: {cells:?}");
    Ok(cells[0])
}

#[test]
fn every_rule_holds_on_every_way_or_says_why_it_does_not_apply() {
    let mut grid = format!("{:<12}", "");
    Rule::ALL.iter().for_each(|rule| grid += &format!("{:<17}", format!("{rule:?}").to_lowercase()));
    let (mut reasons, mut failures) = (String::new(), String::new());
    for way in Way::ALL {
        grid += &format!("\n{:<12}", way.name());
        for rule in Rule::ALL {
            let outcome = run(rule, way);
            let word = match &outcome {
                Ok(Cell::Holds) => "holds",
                Ok(Cell::DoesNotApply(_)) => "-",
                Err(_) => "FAILS",
            };
            grid += &format!("{word:<17}");
            match outcome {
                Ok(Cell::Holds) => {}
                Ok(Cell::DoesNotApply(why)) => reasons += &format!("{rule:?}, {}: {why}\n", way.name()),
                Err(words) => failures += &format!("{rule:?}, {}: {words}\n", way.name()),
            }
        }
    }
    println!("{grid}\n\nDoes not apply:\n{reasons}");
    assert!(failures.is_empty(), "{grid}\n\n{failures}");
}
