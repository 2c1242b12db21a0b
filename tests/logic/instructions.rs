//! The hot operations execute as many instructions as the baseline says, and the verdict on others is the right one.

use std::process::Command;

#[path = "../../benches/instructions/baseline.rs"]
mod baseline;

use baseline::{Baseline, Circumstances, TOLERANCE, TOLERANCE_ELSEWHERE, Verdict};

/// Built as everything that is measured: the counts of a debug build would guard nothing.
#[test]
fn hot_operations_execute_what_the_baseline_says() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo).args(["bench", "--bench", "instructions"]).output().expect("cargo starts");
    let words = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "\n{}", String::from_utf8_lossy(&words));
}

fn circumstances(rustc: &str, processor: &str) -> Circumstances {
    let named = |name: &str, words: &str| (name.to_owned(), words.to_owned());
    [named("rustc", rustc), named("processor", processor)].into()
}

fn baseline() -> Baseline {
    Baseline { taken_with: circumstances("1", "x86_64 avx2"), instructions: [("seal".to_owned(), 1000.0)].into() }
}

/// The verdict on so many instructions of the operation that the baseline has with 1,000.
fn verdict(count: f64, rustc: &str, processor: &str) -> Verdict {
    baseline().judge("seal", count, &circumstances(rustc, processor))
}

#[test]
fn a_count_off_the_baseline_fails_whether_worse_or_better() {
    let at = |percent: f64| verdict(1000.0 + 10.0 * percent, "1", "x86_64 avx2");
    assert_eq!([at(0.0), at(TOLERANCE - 0.1), at(0.1 - TOLERANCE)], [Verdict::Same; 3]);
    assert_eq!((at(TOLERANCE + 0.1), at(-TOLERANCE - 0.1)), (Verdict::Worse, Verdict::Better));
    assert!(!Verdict::Worse.is_accepted() && !Verdict::Better.is_accepted());
    assert!(Verdict::Better.to_string().contains("improve the baseline"));
}

#[test]
fn another_compiler_or_processor_is_forgiven_more_and_never_asked_to_improve() {
    for (rustc, processor) in [("2", "x86_64 avx2"), ("1", "x86_64")] {
        let at = |percent: f64| verdict(1000.0 + 10.0 * percent, rustc, processor);
        assert_eq!([at(TOLERANCE_ELSEWHERE - 0.1), at(-90.0)], [Verdict::Same; 2]);
        assert_eq!(at(TOLERANCE_ELSEWHERE + 0.1), Verdict::Worse);
    }
    assert_eq!(baseline().differences(&circumstances("2", "x86_64 avx2")), ["rustc"]);
}

#[test]
fn another_architecture_is_not_compared_and_an_unknown_operation_fails() {
    assert_eq!(verdict(9000.0, "1", "aarch64"), Verdict::NotCompared);
    let present = baseline().taken_with;
    let new = baseline().judge("open", 1.0, &present);
    assert!(new == Verdict::New && !new.is_accepted());
}

#[test]
fn a_baseline_survives_its_text() {
    assert_eq!(Baseline::parse(&baseline().text()), Ok(baseline()));
    for bad in ["", "{}", r#"{"taken_with": {"rustc": 1}, "instructions": {}}"#] {
        assert!(Baseline::parse(bad).is_err(), "{bad}");
    }
}
