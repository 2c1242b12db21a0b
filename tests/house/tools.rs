//! What the tests start is there on a bare Debian: part of it from the beginning, or installed by tests/install.sh.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Calls that take a program's name first, as the tests write them.
const CALLS: &[&str] = &["Command::new(", "clean(", "unconfigured(", "spawn(", "execFile)("];

/// Programs of the packages that debootstrap puts into its smallest root: dash, bash, coreutils, util-linux.
const ESSENTIAL: &[&str] = &["sh", "bash", "timeout", "env", "unshare", "mkfifo"];

/// What tests/install.sh asks for in words of its own: `command -v node`, and Python with what makes environments.
const ASKED_FOR: &[&str] = &["cargo", "node", "npm", "python3"];

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The sources of a folder in Rust and JavaScript, without packages that were installed there.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "node_modules" && name != "target" {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") || name.ends_with(".mjs") {
            found.push(path);
        }
    }
}

/// The programs that a source starts by name; a program in a variable has been named elsewhere.
fn programs(source: &str) -> impl Iterator<Item = String> {
    let named = CALLS.iter().flat_map(move |call| {
        source.match_indices(call).filter_map(move |(at, _)| {
            let name = source[at + call.len()..].trim_start().strip_prefix('"')?.split('"').next()?;
            Some(name.to_owned())
        })
    });
    // Paths as they stand, like the browser's.
    let paths = ["\"/usr/bin/", "\"/usr/sbin/"].into_iter().flat_map(move |folder| {
        source.match_indices(folder).filter_map(move |(at, _)| {
            let name = source[at + folder.len()..].split('"').next()?;
            (!name.contains([':', '/'])).then(|| name.to_owned())
        })
    });
    named.chain(paths)
}

/// The files that tests/install.sh looks for, each behind its package: `package:file`.
fn installed(script: &str) -> BTreeSet<String> {
    let list = script.split_once("for pair in").and_then(|(_, rest)| rest.split_once("; do")).expect("the list").0;
    let files = list.split_whitespace().filter_map(|pair| pair.split_once(":/"));
    files.filter_map(|(_, file)| file.rsplit('/').next()).map(str::to_owned).collect()
}

#[test]
fn whatever_program_the_tests_start_is_installed_by_their_script() {
    let script = fs::read_to_string(project("tests/install.sh")).expect("the script is there");
    let mut there = installed(&script);
    there.extend(ESSENTIAL.iter().chain(ASKED_FOR).map(|name| (*name).to_owned()));
    for name in ASKED_FOR.iter().filter(|name| **name != "cargo") {
        assert!(script.contains(name), "tests/install.sh does not ask for {name}");
    }
    let mut files = Vec::new();
    for folder in ["tests", "benches/instructions"] {
        sources(&project(folder), &mut files);
    }
    let mut started = BTreeSet::new();
    for file in files.iter().filter(|file| !file.ends_with("tests/house/tools.rs")) {
        let source = fs::read_to_string(file).expect("a source is text");
        for program in programs(&source) {
            let place = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("a file of ours").display();
            assert!(there.contains(&program), "{place} starts {program}, which tests/install.sh does not install");
            started.insert(program);
        }
    }
    for program in ["ip", "kill", "strace", "systemd-socket-activate", "chromium"] {
        assert!(started.contains(program), "{program} is started, and has not been found in the sources");
    }
}

#[test]
fn shellcheck_has_nothing_to_say_about_the_scripts() {
    let scripts =
        [".ci/run", "tests/bare.sh", "tests/house/documents/box.sh", "tests/install.sh", "tests/run.sh"].map(project);
    let output = Command::new("shellcheck").arg("-x").args(scripts).output().expect("shellcheck is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn packages_of_the_examples_are_those_that_the_tests_have() {
    let read = |path: &str| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(project(path)).expect(path)).expect(path)
    };
    let (examples, tests) = (read("examples/package.json"), read("tests/package.json"));
    let examples = examples["dependencies"].as_object().expect("a table");
    assert!(!examples.is_empty());
    for (package, version) in examples {
        assert_eq!(Some(version), tests["dependencies"].get(package), "{package}");
    }
}
