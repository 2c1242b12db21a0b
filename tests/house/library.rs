//! A program that embeds the gateway compiles the gateway and not the command line.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The packages of the normal dependencies, by name.
fn dependencies(options: &[&str]) -> BTreeSet<String> {
    let mut tree = Command::new("cargo");
    tree.current_dir(env!("CARGO_MANIFEST_DIR"));
    tree.args(["tree", "--offline", "-p", "tidegate", "-e", "normal", "--prefix", "none"]).args(options);
    let output = tree.output().expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let packages = String::from_utf8(output.stdout).expect("text");
    packages.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The dependencies that the feature `cli` switches on.
fn of_the_command_line() -> Vec<String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = fs::read_to_string(manifest).expect("the manifest is text");
    let (_, feature) = manifest.split_once("\ncli = [").expect("a feature for the command line");
    let (feature, _) = feature.split_once(']').expect("the end of its list");
    feature.split('"').filter_map(|word| word.strip_prefix("dep:")).map(str::to_owned).collect()
}

#[test]
fn the_library_has_no_dependency_of_the_command_line() {
    let optional = of_the_command_line();
    assert!(optional.iter().any(|name| name == "clap"), "the feature is read: {optional:?}");
    let (whole, library) = (dependencies(&[]), dependencies(&["--no-default-features"]));
    println!("packages: {} with the command line, {} without", whole.len(), library.len());
    for name in &optional {
        assert!(whole.contains(name), "the command line has {name}");
        assert!(!library.contains(name), "the library has {name}");
    }
    let brought_in = library.iter().find(|name| name.starts_with("clap"));
    assert_eq!(brought_in, None, "brought in by another dependency");
}
