//! Figures that may not grow. A change that needs a higher bound moves code out instead, or gives the reason here.

use super::measures::{cycles, files_that_name, methods_by_type, shared_names, vague_comment_lines};
use super::source::files;

/// Inherent methods of one type: what still fits into one head.
const METHODS_MAX: usize = 40;

/// Types above that, today's number, and what is going to lower it.
const METHODS: &[(&str, usize, &str)] =
    &[("Core", 54, "each feature of a shard is a chapter of it: features get types of their own")];

/// Lines of the longest file, with its tests, and of the longest function.
const FILE_LINES_MAX: usize = 550;
const FUNCTION_LINES_MAX: usize = 75;

/// Features, the stems of their names, and how many files of src may know them: their own rooms, their letters, the line by which they
/// sign up, and the steps and settings that lead to them.
pub const FEATURES: &[(&str, &[&str], usize)] = &[
    ("questions to clients", &["question"], 15),
    ("messages to acknowledge", &["unacked", "ackmail", "client_acks"], 15),
    ("presence", &["presence", "roster"], 30),
    ("replay", &["replay"], 23),
    // 12 of them are its own rooms: sources and turns are the latest.
    ("accepted requests", &["requests", "request_id", "requestid"], 30),
    ("what is held for slow clients", &["held", "holding"], 20),
];

/// Comment lines with who, whoever, whom, nobody, somebody or anew, where a noun would be clearer.
const VAGUE_COMMENT_LINES_MAX: usize = 3;

/// Types whose name another type has too: a name alone should say which one is meant. Of those that are left, one of each pair is public
/// for programs that embed the gateway: `Delivery`, `Error`, `Place` and `Route` of the configuration.
const SHARED_NAMES_MAX: usize = 8;

/// Groups of files that import each other in a circle.
const CYCLES_MAX: usize = 6;

#[test]
fn no_type_grows_beyond_its_bound() {
    let files = files();
    let found = methods_by_type(files);
    let bound =
        |name: &str| METHODS.iter().find(|(known, ..)| *known == name).map_or(METHODS_MAX, |(_, bound, _)| *bound);
    let too_many: Vec<_> = found.iter().filter(|(name, (count, _))| *count > bound(name)).collect();
    assert!(too_many.is_empty(), "types with too many methods (name, (methods, files)): {too_many:?}");
    let loose: Vec<_> =
        METHODS.iter().filter(|(name, bound, _)| found.get(*name).is_none_or(|(n, _)| n < bound)).collect();
    assert!(loose.is_empty(), "these bounds can be lowered: {loose:?}");
}

#[test]
fn files_and_functions_stay_readable() {
    let files = files();
    for file in files {
        assert!(file.lines.len() <= FILE_LINES_MAX, "src/{}: {} lines", file.path, file.lines.len());
        for function in &file.functions {
            let (name, lines) = (&function.name, function.lines);
            assert!(lines <= FUNCTION_LINES_MAX, "src/{}: {name} has {lines} lines", file.path);
        }
    }
}

#[test]
fn a_feature_is_known_to_few_files() {
    let files = files();
    for (feature, stems, bound) in FEATURES {
        let places = files_that_name(files, stems);
        assert!(places.len() <= *bound, "{feature} is named in {} files: {places:?}", places.len());
    }
}

#[test]
fn comments_gain_no_vague_words() {
    let count = vague_comment_lines(files());
    assert!(
        count <= VAGUE_COMMENT_LINES_MAX,
        "{count} comment lines with who, whoever, whom, nobody, somebody or anew"
    );
}

#[test]
fn types_have_names_of_their_own() {
    let shared = shared_names(files());
    let count: usize = shared.values().sum();
    assert!(count <= SHARED_NAMES_MAX, "{count} types share their name with another: {shared:?}");
}

#[test]
fn no_cycle_of_files_is_added() {
    let files = files();
    let groups = cycles(files);
    assert!(groups.len() <= CYCLES_MAX, "{groups:?}");
}
