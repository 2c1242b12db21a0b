//! What the demo prints is run as it stands: with `curl`, with the binary where it is, and with the packages whose lines
//! stand before.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::examples::running::{Running, repository};

/// A folder like the project's after the printed lines that get packages: `examples`, and a `.venv`.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("tidegate-demo's-lines-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder can be made");
        symlink(repository("examples"), path.join("examples")).expect("a link");
        symlink(repository("tests/.venv"), path.join(".venv")).expect("a link");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// The demo as it talks to a person, on free ports: its lines, as a word and what follows it.
fn demo(program: &Path) -> (Running, Vec<(String, String)>) {
    let ports = ["--port", "--tls-port", "--bus-port", "--admin-port"].map(|port| [port, "0"]);
    let mut demo = Running::start(Command::new(program).arg("demo").args(ports.concat()));
    let mut lines = Vec::new();
    while lines.last().is_none_or(|(word, _)| word != "talk") {
        let line = demo.line();
        if let Some((word, rest)) = line.strip_prefix("  ").and_then(|line| line.split_once(' ')) {
            lines.push((word.to_owned(), rest.trim().to_owned()));
        }
    }
    (demo, lines)
}

/// A line in a shell of the folder, with nothing on the PATH but what the system has.
fn shell(folder: &Folder, line: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {line}")]).current_dir(&folder.0).env("PATH", "/usr/local/bin:/usr/bin:/bin");
    shell.stdin(Stdio::null());
    shell
}

fn expect(folder: &Folder, line: &str, part: &str) {
    let mut running = Running::start(&mut shell(folder, line));
    while !running.line().contains(part) {}
}

#[test]
fn every_line_that_the_demo_prints_works_as_it_stands() {
    let folder = Folder::new();
    // Where a shell has to have it quoted.
    let program = folder.0.join("tidegate of mine");
    fs::hard_link(env!("CARGO_BIN_EXE_tidegate"), &program)
        .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_tidegate"), &program).map(drop))
        .expect("the binary has another name");
    let (_demo, lines) = demo(&program);
    let of = |word: &str| -> Vec<&str> {
        lines.iter().filter(|(other, _)| other == word).map(|(_, line)| line.as_str()).collect()
    };
    let words: Vec<&str> = lines.iter().map(|(word, _)| word.as_str()).collect();
    assert_eq!(words, ["look", "subscribe", "publish", "watch", "get", "work", "get", "work", "talk"]);

    for url in of("look")[0].split_whitespace().filter(|word| word.starts_with("http")) {
        expect(&folder, &format!("curl -sk {url}"), "<!doctype html>");
    }
    expect(&folder, of("subscribe")[0], "event: location");
    expect(&folder, of("publish")[0], "\"position\"");
    expect(&folder, of("watch")[0], "\"lat\"");
    for (get, work) in of("get").into_iter().zip(of("work")) {
        expect_gets(get);
        let mut worker = Running::start(&mut shell(&folder, work));
        assert!(worker.line().starts_with("echo: working for"));
        let output = shell(&folder, of("talk")[0]).output().expect("it runs");
        assert!(output.status.success() && output.stdout == b"hello\n", "{work}: {output:?}");
    }
}

/// A line that gets packages gets those that the tests have; it is not run, so that the tests need no network.
fn expect_gets(line: &str) {
    let has = |path: &str, text: &str| fs::read_to_string(repository(path)).expect(path).contains(text);
    match line.split_once("pip install ") {
        Some((_, package)) => assert!(has("tests/requirements.txt", &format!("\n{package}==")), "{line}"),
        None => {
            assert_eq!(line, "npm install --prefix examples");
            assert!(has("examples/package.json", "\"nats\""));
        }
    }
}
