//! How the command is used: its help, its version, and what it does not understand.

use crate::cli::program::{code, out, run};

#[test]
fn help_names_each_verb_and_the_exit_codes() {
    let output = run(&["--help"]);
    assert_eq!(code(&output), 0);
    for word in
        ["serve", "check", "config", "demo", "pub", "sub", "send", "kick", "revoke", "upstream", "Exit codes: 0"]
    {
        assert!(out(&output).contains(word), "{word}");
    }
    for verb in ["serve", "check", "config", "pub", "sub", "send", "kick", "revoke", "upstream"] {
        let output = run(&[verb, "--help"]);
        assert!(code(&output) == 0 && out(&output).contains("Examples:"), "{verb}");
    }
}

#[test]
fn version_is_the_crates() {
    assert_eq!(out(&run(&["--version"])), format!("tidegate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [&[][..], &["launch"], &["sub"], &["sub", "x", "--count", "0"], &["pub", "a", "b", "--rate", "0"]]
    {
        assert_eq!(code(&run(arguments)), 2, "{arguments:?}");
    }
}
