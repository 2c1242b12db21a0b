//! The counts that are expected, what they were taken with, and the verdict on others.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

/// How far a count may be from the baseline's, in percent of it, either way.
pub const TOLERANCE: f64 = 3.0;
/// The same where the circumstances differ, and only upwards: another compiler or C library is worth a few percent, an
/// allocation or a copy that was not there before shows all the same.
pub const TOLERANCE_ELSEWHERE: f64 = 25.0;

/// What decides which instructions a given source becomes: by name, in words. Two runs of the same circumstances differ by
/// less than one in a thousand.
pub type Circumstances = BTreeMap<String, String>;

#[derive(Debug, PartialEq)]
pub struct Baseline {
    pub taken_with: Circumstances,
    pub instructions: BTreeMap<String, f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Within the tolerance.
    Same,
    Worse,
    /// Good news, but the baseline would let it be lost again.
    Better,
    /// No count of it is known.
    New,
    /// Another architecture executes other instructions.
    NotCompared,
}

impl Verdict {
    pub fn is_accepted(self) -> bool {
        matches!(self, Verdict::Same | Verdict::NotCompared)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Same => "",
            Verdict::Worse => "WORSE",
            Verdict::Better => "BETTER: improve the baseline",
            Verdict::New => "NEW: not in the baseline",
            Verdict::NotCompared => "not compared: the baseline is another architecture's",
        })
    }
}

impl Baseline {
    pub fn parse(text: &str) -> Result<Baseline, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let map = |name: &str| value[name].as_object().ok_or_else(|| format!("{name:?} is missing"));
        let words = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        let count = |(name, value): (&String, &Value)| Some((name.clone(), value.as_f64()?));
        Ok(Baseline {
            taken_with: map("taken_with")?.iter().map(words).collect::<Option<_>>().ok_or("taken_with: not words")?,
            instructions: map("instructions")?.iter().map(count).collect::<Option<_>>().ok_or("not a count")?,
        })
    }

    /// As the file has it; counts to a tenth of an instruction.
    pub fn text(&self) -> String {
        let rounded = |(name, count): (&String, &f64)| (name.clone(), json!((count * 10.0).round() / 10.0));
        let instructions: Map<String, Value> = self.instructions.iter().map(rounded).collect();
        let value = json!({ "taken_with": self.taken_with, "instructions": instructions });
        format!("{value:#}\n")
    }

    /// The names of the circumstances in which `present` differs.
    pub fn differences(&self, present: &Circumstances) -> Vec<String> {
        let names = self.taken_with.keys().chain(present.keys());
        let mut names: Vec<_> =
            names.filter(|name| self.taken_with.get(*name) != present.get(*name)).cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    /// By the tolerance that these circumstances allow.
    pub fn judge(&self, operation: &str, count: f64, present: &Circumstances) -> Verdict {
        let Some(expected) = self.instructions.get(operation) else { return Verdict::New };
        if architecture(present) != architecture(&self.taken_with) {
            return Verdict::NotCompared;
        }
        let percent = (count / expected - 1.0) * 100.0;
        let is_elsewhere = *present != self.taken_with;
        if percent > if is_elsewhere { TOLERANCE_ELSEWHERE } else { TOLERANCE } {
            Verdict::Worse
        } else if percent < -TOLERANCE && !is_elsewhere {
            Verdict::Better
        } else {
            Verdict::Same
        }
    }
}

/// The first word of what the processor says of itself.
fn architecture(circumstances: &Circumstances) -> Option<&str> {
    circumstances.get("processor")?.split(' ').next()
}
