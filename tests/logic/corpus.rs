//! The fuzz targets' seeds, and what fuzzing once found, run as ordinary tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::checks;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

fn entries(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn every_seed_passes_its_check_at_every_kind_of_split() {
    for (target, check) in checks::TARGETS {
        let seeds = entries(&corpus().join(target));
        assert!(!seeds.is_empty(), "{target} has no seeds");
        for seed in seeds {
            // Shown only when the check panics.
            println!("{}", seed.display());
            checks::at_splits(&fs::read(seed).unwrap(), *check);
        }
    }
}

#[test]
fn every_corpus_has_its_check_and_its_fuzz_target() {
    let targets: BTreeSet<PathBuf> = checks::TARGETS.iter().map(|(target, _)| corpus().join(target)).collect();
    assert_eq!(entries(&corpus()), targets);
    let fuzz = corpus().with_file_name("");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for (target, _) in checks::TARGETS {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} is no binary of tests/fuzz/Cargo.toml");
        assert!(fuzz.join(format!("fuzz_targets/{target}.rs")).is_file(), "{target} has no fuzz target");
    }
}
