//! Where the output goes, and what becomes of what cannot be written.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use crate::cli::folder::Folder;
use crate::cli::program::{code, err, out};
use crate::cli::server::{EVENTS, read_request, serve_once};
use crate::command::unconfigured;

#[test]
fn no_error_is_shown_when_the_reader_has_had_enough() {
    let script = format!("{} config | head -n 1", Path::new(env!("CARGO_BIN_EXE_tidegate")).display());
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!((code(&output), err(&output)), (0, String::new()));
}

#[test]
fn what_cannot_be_written_is_one_line_and_an_exit_code_and_never_a_panic() {
    let folder = Folder::new("full");
    let good = folder.file("good.toml", "[[listener]]\naddress = \"127.0.0.1:1\"\n");
    let bad = folder.file("bad.toml", "[[listener]]\n");
    let shell = |line: String| {
        let script = format!("{} {line}", Path::new(env!("CARGO_BIN_EXE_tidegate")).display());
        unconfigured("sh").args(["-c", &script]).output().unwrap()
    };
    let told = "tidegate: stdout: No space left on device (os error 28)\n";
    for verb in ["config", "config --markdown", "doctor --connections 1", "--help", "sub --help", "--version"] {
        let failed = if verb.starts_with("doctor") { 2 } else { 1 };
        let output = shell(format!("{verb} >/dev/full"));
        assert_eq!((code(&output), err(&output).as_str()), (failed, told), "{verb}");
        assert_eq!(code(&shell(format!("{verb} >/dev/full 2>/dev/full"))), failed, "{verb}");
        let output = shell(format!("{verb} | head -c 1"));
        assert_eq!((code(&output), err(&output).as_str()), (0, ""), "{verb}");
    }
    for (verb, expected) in [
        (format!("check {good}"), 0),
        (format!("check {bad}"), 1),
        (format!("serve {bad}"), 1),
        ("sub ftp://127.0.0.1/".to_owned(), 1),
        ("launch".to_owned(), 2),
    ] {
        assert_eq!(code(&shell(format!("{verb} 2>/dev/full"))), expected, "{verb}");
        assert_eq!(code(&shell(format!("{verb} 2>&-"))), expected, "{verb}");
    }
    assert_eq!(code(&shell(format!("check {good} >/dev/full 2>/dev/full"))), 1);
}

#[test]
fn sub_says_on_stdout_what_was_asked_for_and_ends_well_without_a_stderr() {
    let (port, server) = serve_once(|mut stream| {
        read_request(&mut stream);
        write!(stream, "{EVENTS}\r\ndata: hi\n\n").unwrap();
        _ = stream.read(&mut [0]);
    });
    let program = Path::new(env!("CARGO_BIN_EXE_tidegate")).display();
    let script = format!("{program} sub http://127.0.0.1:{port}/ --count 1 2>/dev/full");
    let output = unconfigured("sh").args(["-c", &script]).output().unwrap();
    server.join().unwrap();
    assert_eq!((code(&output), out(&output).as_str()), (0, "hi\n"));
}
