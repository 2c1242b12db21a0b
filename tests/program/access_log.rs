//! The access log as an operator meets it: a file that is rotated, a disk that is full, a pipe, stdout, and what cannot be opened.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::served::{PATIENCE, Served, connect};

fn configuration(log: &str) -> String {
    format!(
        "shards = 2\n[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[access_log]\n{log}\n\
         [[route]]\npath = \"/health\"\nrespond = {{ body = \"well\" }}\n"
    )
}

fn start(name: &str, log: &str) -> (Served, [String; 2]) {
    Served::start(&format!("access-{name}"), &configuration(log), ["http", "admin"])
}

/// Requests over one connection, one after the other.
fn ask(front: &str, paths: impl IntoIterator<Item = String>) {
    let mut socket = connect(front);
    for path in paths {
        write!(socket, "GET {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: test \"1\"\r\n\r\n").expect("the gateway reads");
        let mut answer = Vec::new();
        while !answer.ends_with(b"well") {
            let mut piece = [0; 1024];
            let count = socket.read(&mut piece).expect("an answer");
            assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&piece[..count]);
        }
    }
}

fn numbered(range: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    range.map(|number| format!("/health?n={number}"))
}

/// Waits until it is so.
fn wait_until(words: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{words}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn paths(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let path =
        |line: &str| serde_json::from_str::<Value>(line).expect("an object")["path"].as_str().unwrap().to_owned();
    text.lines().map(path).collect()
}

fn metric(admin: &str, name: &str) -> u64 {
    let mut socket = connect(admin);
    write!(socket, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("the gateway reads");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("an answer");
    let values = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
    values.map(|value| value.parse::<u64>().expect("a number")).sum()
}

#[test]
fn a_file_that_is_renamed_is_made_anew_at_a_signal_and_no_line_is_lost() {
    let (mut served, [front, _]) = start("rotation", "file = \"access.log\"");
    let (file, old) = (served.folder().join("access.log"), served.folder().join("access.log.1"));
    ask(&front, numbered(0..50));
    wait_until("lines are written", || paths(&file).len() == 50);
    fs::rename(&file, &old).expect("it can be renamed");
    ask(&front, numbered(50..60));
    wait_until("it goes on in the file that is open", || paths(&old).len() == 60);
    served.signal("-USR1");
    wait_until("there is a new file", || file.exists());
    ask(&front, numbered(60..70));
    wait_until("it goes on in the new file", || paths(&file).len() == 10);
    ask(&front, numbered(70..71));
    served.signal("-TERM");
    assert!(served.wait().success());
    assert_eq!([paths(&old), paths(&file)].concat(), numbered(0..71).collect::<Vec<_>>());
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).expect("it is there").permissions());
    assert_eq!(mode & 0o007, 0, "others may not read who was there");
}

#[test]
fn a_full_disk_costs_lines_and_is_said_once() {
    let (mut served, [front, admin]) = start("full", "file = \"/dev/full\"");
    for number in 0..3 {
        ask(&front, numbered(0..5));
        wait_until("lines are counted", || metric(&admin, "tidegate_access_log_unwritten_total ") == 5 * (number + 1));
    }
    served.signal("-TERM");
    assert!(served.wait().success());
    let log: Vec<String> = served.log().lines().collect::<Result<_, _>>().expect("the log is text");
    assert_eq!(log.iter().filter(|line| line.contains("the access log cannot be written")).count(), 1, "{log:#?}");
}

#[test]
fn a_pipe_needs_its_reader_at_the_start_and_may_stall_later() {
    let folder = std::env::temp_dir().join(format!("tidegate-access-pipe-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder can be made");
    let pipe = folder.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let log = format!("file = {pipe:?}");
    let words = refusal("pipe", &log);
    assert!(words.contains("no program reads this pipe"), "{words}");
    // Read and write: an open that does not wait for the other end.
    let mut reader = OpenOptions::new().read(true).write(true).open(&pipe).expect("it can be opened");
    let (mut served, [front, admin]) = start("stall", &log);
    // More lines than the pipe holds; the gateway serves on.
    ask(&front, numbered(0..1_000));
    wait_until("lines are counted", || metric(&admin, "tidegate_access_log_unwritten_total ") > 0);
    let mut piece = [0; 64 * 1024];
    let count = reader.read(&mut piece).expect("the pipe is full");
    let first = String::from_utf8_lossy(&piece[..count]).lines().next().map(str::to_owned);
    assert!(first.is_some_and(|line| line.contains("/health?n=0\"")));
    ask(&front, numbered(0..1));
    let begun = Instant::now();
    served.signal("-TERM");
    assert!(served.wait().success());
    assert!(begun.elapsed() < PATIENCE / 2, "a drain does not wait for whoever reads");
    let _ = fs::remove_dir_all(&folder);
}

#[test]
fn stdout_has_lines_of_the_usual_format_behind_the_addresses() {
    let (mut served, [front, _]) = start("stdout", "file = \"stdout\"\nformat = \"combined\"");
    ask(&front, numbered(7..8));
    let line = served.next_line();
    assert!(
        line.starts_with("127.0.0.1 - - [") && line.contains("] \"GET /health?n=7 HTTP/1.1\" 200 4 \"-\""),
        "{line}"
    );
    assert!(line.ends_with(" \"test \\x221\\x22\""), "{line}");
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_the_start() {
    let words = refusal("missing", "file = \"/nowhere/at/all/access.log\"");
    assert!(
        words.contains("access_log.file: /nowhere/at/all/access.log cannot be opened for writing: No such file"),
        "{words}"
    );
}

#[test]
fn a_signal_without_a_log_is_a_line() {
    let configuration = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
    let (mut served, [_]) = Served::start("access-none", configuration, ["http"]);
    served.signal("-USR1");
    let mut log = served.log().lines();
    assert!(log.any(|line| line.expect("the log is text").contains("SIGUSR1 is ignored")));
}

/// The words of a gateway that does not start.
fn refusal(name: &str, log: &str) -> String {
    let file = std::env::temp_dir().join(format!("tidegate-access-{name}-{}.toml", std::process::id()));
    File::create(&file)
        .and_then(|mut file| file.write_all(configuration(log).as_bytes()))
        .expect("a file can be written");
    let mut command = crate::command::unconfigured(env!("CARGO_BIN_EXE_tidegate"));
    let output = command.args(["serve", "--config"]).arg(&file).output().expect("the binary runs");
    let _ = fs::remove_file(&file);
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_end_of_a_stream_has_the_facts_of_its_connection() {
    for driver in ["epoll", "uring"] {
        let text = configuration("file = \"access.log\"\ntcp = true")
            .replace("shards = 2", &format!("shards = 2\ndriver = \"{driver}\""));
        let text = format!("{text}[[route]]\npath = \"/events\"\nsse = {{ channel = \"a\" }}\n");
        let (served, [front, _]) = Served::start(&format!("access-tcp-{driver}"), &text, ["http", "admin"]);
        let file = served.folder().join("access.log");
        let mut socket = connect(&front);
        let request = "GET /events HTTP/1.1\r\nHost: a\r\n\r\n";
        socket.write_all(request.as_bytes()).expect("the gateway reads");
        assert!(socket.read(&mut [0; 1024]).expect("a head") > 0);
        // Linger 0: the socket is reset, and the end of the stream is noticed at once.
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).expect("it is open");
        drop(socket);
        wait_until("the line is written", || paths(&file).len() == 1);
        let line: Value = serde_json::from_str(&fs::read_to_string(&file).expect("it is there")).expect("an object");
        assert_eq!((&line["kind"], &line["retransmits"]), (&"end".into(), &0.into()), "{line}");
        assert_eq!(line["received_bytes"], request.len(), "{line}");
        assert!(line["rtt_us"].as_u64() > Some(0) && line["sent_bytes"].as_u64() > Some(100), "{line}");
    }
}
