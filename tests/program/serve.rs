//! `tidegate serve` as operations meet it, with `sub` and `pub` as its users.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::command::unconfigured;

/// Longer than any single step takes, even where everything is slow.
const PATIENCE: Duration = Duration::from_secs(60);

const ROUTES: &str = r#"
[bus]
address = "127.0.0.1:0"
token = "secret"

[admin]
address = "127.0.0.1:0"

[[route]]
path = "/events/{name}"
sse = { channel = "news.{name}" }

[[route]]
path = "/ws/{name}"
websocket = { channel = "news.{name}" }
"#;

/// The binary, with SIGHUP as a shell leaves it: tests that run under nohup(1) or a service hand on that it is ignored.
fn tidegate(arguments: &[&str]) -> Command {
    let mut command = unconfigured("env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_tidegate")]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the output is text")
}

/// A folder with a configuration, a certificate and a key; removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, listeners: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("tidegate-serve-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder can be made");
        let (certificate, key) = crate::certificate::self_signed();
        let text = format!("shards = 2\n{listeners}{ROUTES}");
        for (name, text) in [("cert.pem", &certificate), ("key.pem", &key), ("tidegate.toml", &text)] {
            std::fs::write(path.join(name), text).expect("a file can be written");
        }
        Folder(path)
    }

    fn configuration(&self) -> String {
        self.0.join("tidegate.toml").to_string_lossy().into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A gateway that runs; killed in the end, if it is still there.
struct Served {
    child: Child,
    /// What it said about itself: (kind, address).
    listening: Vec<(String, String)>,
    _stdout: BufReader<ChildStdout>,
    _folder: Folder,
}

impl Served {
    fn start(name: &str, more: &[&str]) -> Served {
        Served::start_with(name, more, &[])
    }

    fn start_with(name: &str, more: &[&str], variables: &[(&str, &str)]) -> Served {
        Served::start_with_stderr(name, more, variables, Stdio::inherit())
    }

    fn start_with_stderr(name: &str, more: &[&str], variables: &[(&str, &str)], stderr: Stdio) -> Served {
        let listeners = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
                         tls = { certificate = \"cert.pem\", key = \"key.pem\" }\n";
        let folder = Folder::new(name, listeners);
        let file = folder.configuration();
        let arguments = [&["serve", "--config", &file], more].concat();
        let mut command = tidegate(&arguments);
        command.envs(variables.iter().copied()).stderr(stderr);
        let mut child = command.spawn().expect("the binary runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is ours"));
        let mut listening = Vec::new();
        while listening.len() < 4 {
            let mut line = String::new();
            assert!(stdout.read_line(&mut line).expect("a line comes") > 0, "it says where it listens");
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!((words.len(), words[0]), (3, "listening"), "{line}");
            listening.push((words[1].to_owned(), words[2].to_owned()));
        }
        Served { child, listening, _stdout: stdout, _folder: folder }
    }

    fn address(&self, kind: &str) -> &str {
        &self.listening.iter().find(|(own, _)| own == kind).expect("it listens there").1
    }

    fn url(&self, scheme: &str, path: &str) -> String {
        match scheme {
            // The certificate is for this name.
            "https" | "wss" => format!("{scheme}://{}{path}", self.address("https").replace("127.0.0.1", "localhost")),
            "nats" => format!("nats://secret@{}", self.address("bus")),
            _ => format!("{scheme}://{}{path}", self.address("http")),
        }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Subscribes; the channel's first message must be published again and again until it has arrived.
fn subscribed(arguments: &[&str]) -> Child {
    tidegate(&[&["sub"], arguments].concat()).spawn().expect("the binary runs")
}

fn publish(served: &Served, payload: &str, more: &[&str]) -> Output {
    let admin = format!("http://{}", served.address("admin"));
    let way = if more.contains(&"--bus") { vec![] } else { vec!["--admin", &admin] };
    tidegate(&[&["pub", "news.sea", payload], &way[..], more].concat()).output().expect("the binary runs")
}

/// The first line that the subscriber prints while the message is published until it does.
fn first_line(served: &Served, subscriber: &mut Child, more: &[&str]) -> String {
    let stdout = subscriber.stdout.take().expect("stdout is ours");
    let reader = std::thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line).map(|_| (line, stdout))
    });
    while !reader.is_finished() {
        let output = publish(served, "high tide", more);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let (line, mut rest) = reader.join().expect("the reader ends").expect("a line comes");
    // The subscriber may say more: it must not meet a closed pipe.
    std::thread::spawn(move || rest.read_to_end(&mut Vec::new()));
    line
}

#[test]
fn tells_its_addresses_in_the_order_of_the_configuration() {
    let served = Served::start("addresses", &["--driver", "epoll"]);
    let kinds: Vec<&str> = served.listening.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["http", "https", "bus", "admin"]);
    assert!(served.listening.iter().all(|(_, address)| !address.ends_with(":0")), "{:?}", served.listening);
}

#[test]
fn carries_messages_to_every_kind_of_subscriber() {
    let served = Served::start("messages", &[]);
    for (scheme, path) in
        [("http", "/events/sea"), ("https", "/events/sea"), ("ws", "/ws/sea"), ("wss", "/ws/sea"), ("nats", "")]
    {
        let url = served.url(scheme, path);
        let mut arguments = vec![url.as_str(), "--count", "1", "--json", "--timeout", "20"];
        match scheme {
            "nats" => arguments.insert(1, "news.*"),
            "https" | "wss" => arguments.push("--insecure"),
            _ => {}
        }
        for way in [&["--event", "tide"][..], &["--bus", &served.url("nats", "")]] {
            let mut subscriber = subscribed(&arguments);
            let line = first_line(&served, &mut subscriber, way);
            let message: Value = serde_json::from_str(&line).expect("a line of JSON");
            assert_eq!(message["data"], "high tide", "{scheme} {way:?}: {line}");
            assert!(subscriber.wait().expect("it ends").success(), "{scheme} {way:?}");
        }
    }
}

#[test]
fn strangers_who_are_refused_again_and_again_are_one_line() {
    let variables = [("TIDEGATE_LIMITS_CONNECTIONS_MAX", "1"), ("TIDEGATE_SHARDS", "2")];
    let mut served = Served::start_with_stderr("refused", &[], &variables, Stdio::piped());
    let address = served.address("http").to_owned();
    let mut subscriber = subscribed(&[&served.url("http", "/events/sea")]);
    first_line(&served, &mut subscriber, &[]);
    for _ in 0..30 {
        let mut stranger = std::net::TcpStream::connect(&address).expect("it accepts");
        // It is told, or closed without a word; either way it has been refused.
        _ = stranger.write_all(b"GET /events/sea HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        _ = stranger.read(&mut [0]);
    }
    served.child.kill().expect("it runs");
    _ = subscriber.kill();
    _ = subscriber.wait();
    let mut log = String::new();
    served.child.stderr.take().expect("stderr is ours").read_to_string(&mut log).expect("the log is text");
    let told = log.lines().filter(|line| line.contains("too_many_connections")).count();
    assert_eq!(told, 1, "{log}");
}

#[test]
fn a_password_of_the_bus_may_have_any_character() {
    let served = Served::start_with("password", &[], &[("TIDEGATE_BUS_TOKEN", "p@ss: /?#ü")]);
    let url = format!("NATS://p%40ss%3A%20%2F%3F%23%C3%BC@{}", served.address("bus"));
    let output = tidegate(&["pub", "a", "b", "--bus", &url]).output().expect("the binary runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn answers_a_publisher_with_the_position() {
    let served = Served::start("position", &[]);
    let output = publish(&served, "high tide", &["--json"]);
    let line: Value = serde_json::from_slice(&output.stdout).expect("a line of JSON");
    assert!(line["answer"].is_object() || line["answer"].is_string(), "{line}");
}

#[test]
fn closes_websockets_with_1001_and_ends_with_0_when_told_to_stop() {
    for signal in ["-TERM", "-INT"] {
        let mut served = Served::start(&format!("stop{signal}"), &[]);
        let mut subscriber = subscribed(&[&served.url("ws", "/ws/sea")]);
        assert_eq!(first_line(&served, &mut subscriber, &[]), "high tide\n");
        served.signal(signal);
        let output = subscriber.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(1));
        let last = text(&output.stderr).lines().last().map(str::to_owned).unwrap_or_default();
        assert!(last.starts_with("tidegate: the server ended the connection: 1001 "), "{last}");
        assert_eq!(served.child.wait().expect("it ends").code(), Some(0));
    }
}

#[test]
fn ends_at_once_when_told_twice() {
    let mut served = Served::start_with("twice", &[], &[("TIDEGATE_DRAIN_NOTICE_S", "600")]);
    let mut subscriber = subscribed(&[&served.url("ws", "/ws/sea")]);
    assert_eq!(first_line(&served, &mut subscriber, &[]), "high tide\n");
    served.signal("-TERM");
    // It has heard the first one: two at a time may be taken for one.
    let not_ready =
        ["-s", "-o", "/dev/null", "-w", "%{http_code}", &format!("http://{}/ready", served.address("admin"))];
    let deadline = Instant::now() + PATIENCE;
    while text(&Command::new("curl").args(not_ready).output().expect("curl runs").stdout) != "503" {
        assert!(Instant::now() < deadline, "readiness does not fail");
    }
    assert!(served.child.try_wait().expect("it can be asked").is_none(), "its clients are served for ten minutes");
    served.signal("-TERM");
    assert_eq!(served.child.wait().expect("it ends").code(), Some(130));
    assert_eq!(subscriber.wait().expect("it ends").code(), Some(1));
}

#[test]
fn signals_without_a_meaning_are_a_line_and_disturb_nobody() {
    let mut served = Served::start_with_stderr("signals", &[], &[], Stdio::piped());
    let mut stderr = BufReader::new(served.child.stderr.take().expect("stderr is ours"));
    let mut subscriber = subscribed(&[&served.url("ws", "/ws/sea"), "--count", "2"]);
    assert_eq!(first_line(&served, &mut subscriber, &[]), "high tide\n");
    for (signal, words) in [("-HUP", "SIGHUP changes nothing"), ("-USR1", "SIGUSR1 is ignored"), ("-USR2", "SIGUSR2")] {
        served.signal(signal);
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert!(stderr.read_line(&mut line).expect("a line comes") > 0, "{signal} is told");
        }
    }
    served.signal("-PIPE");
    served.signal("-XFSZ");
    assert!(publish(&served, "low tide", &[]).status.success());
    assert!(subscriber.wait().expect("it ends").success(), "it has heard both");
    served.signal("-QUIT");
    assert_eq!(served.child.wait().expect("it ends").code(), Some(0));
}

/// Runs a command in a terminal of its own until it says that it listens, prints whether it ignores SIGHUP, closes the
/// terminal, and prints its exit code. One that ignores the signal is told to stop.
const IN_A_TERMINAL: &str = r#"
import os, pty, re, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
heard = b""
while b"listening http" not in heard:
    heard += os.read(terminal, 4096)
status = open(f"/proc/{pid}/status").read()
ignores = bool(int(re.search(r"SigIgn:\s*(\w+)", status)[1], 16) & 1)
os.close(terminal)
if ignores:
    os.kill(pid, 15)
print(ignores, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

#[test]
fn a_closed_terminal_ends_it_with_a_drain_unless_it_was_told_to_outlive_that() {
    let folder = Folder::new("terminal", "[[listener]]\naddress = \"127.0.0.1:0\"\n");
    let serve = format!("{} serve --config {}", env!("CARGO_BIN_EXE_tidegate"), folder.configuration());
    let usual = format!("exec env --default-signal=HUP {serve}");
    // What nohup(1) does, without its file.
    let outliving = format!("trap '' HUP; exec {serve}");
    for (script, expected) in [(usual, "False 0\n"), (outliving, "True 0\n")] {
        let output = unconfigured("python3").args(["-c", IN_A_TERMINAL, "sh", "-c", &script]).output();
        let output = output.expect("Python runs");
        assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
    }
}

#[test]
fn serves_where_nobody_can_hear_what_it_says() {
    for (out, err) in [("/dev/null", "/dev/full"), ("/dev/full", "/dev/full"), ("&-", "&-"), ("/dev/full", "/dev/null")]
    {
        let address = crate::ports::free_address();
        let folder = Folder::new("deaf", &format!("[[listener]]\naddress = \"{address}\"\n"));
        let script =
            format!("exec {} serve --config {} >{out} 2>{err}", env!("CARGO_BIN_EXE_tidegate"), folder.configuration());
        let mut child = unconfigured("sh").args(["-c", &script]).spawn().expect("a shell runs");
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(address).is_err() {
            let ended = child.try_wait().expect("it can be asked");
            assert!(ended.is_none() && Instant::now() < deadline, "{out} {err}: {ended:?}");
        }
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs").success());
        assert_eq!(child.wait().expect("it ends").code(), Some(0), "{out} {err}");
    }
}

#[test]
fn tells_in_one_line_why_it_does_not_start() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it has an address");
    let folder = Folder::new("taken", &format!("[[listener]]\naddress = \"{address}\"\n"));
    let output = tidegate(&["serve", "--config", &folder.configuration()]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    let err = text(&output.stderr);
    let told: Vec<&str> = err.lines().filter(|line| line.starts_with("tidegate: ")).collect();
    assert!(told.len() == 1 && told[0].contains(&address.to_string()), "{err}");
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn a_second_gateway_on_an_address_of_the_first_does_not_start_and_says_so_in_one_line() {
    let served = Served::start("first", &[]);
    for kind in ["http", "https", "bus", "admin"] {
        let address = served.address(kind);
        let anywhere = address.replace("127.0.0.1", "0.0.0.0");
        for address in [address, &anywhere] {
            let folder = Folder::new("second", &format!("[[listener]]\naddress = \"{address}\"\n"));
            let output = tidegate(&["serve", "--config", &folder.configuration()]).output().expect("the binary runs");
            let err = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{kind} {address}: {err}");
            let told: Vec<&str> = err.lines().filter(|line| line.starts_with("tidegate: ")).collect();
            let expected = format!("tidegate: cannot listen on {address}: Address already in use (os error 98)");
            assert_eq!(told, [expected], "{err}");
        }
    }
}

#[test]
fn refuses_mistakes_before_it_listens_and_checks_only_when_asked() {
    let folder = Folder::new("mistakes", "[[listener]]\nadress = \"127.0.0.1:0\"\n");
    let output = tidegate(&["serve", "--config", &folder.configuration()]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(":3: unknown key \"adress\""), "{}", text(&output.stderr));
    let folder = Folder::new("check", "[[listener]]\naddress = \"127.0.0.1:0\"\n");
    let output =
        tidegate(&["serve", "--check", "--config", &folder.configuration()]).output().expect("the binary runs");
    assert_eq!(text(&output.stdout), format!("{}: ok, listeners: 1, routes: 2\n", folder.configuration()));
}

#[test]
fn a_check_looks_at_what_decides_about_clients() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let here = format!("http://{}/authorize", listener.local_addr().expect("it is bound"));
    let ask = |ask: &str| format!("[[permission]]\nchannels = \"a.>\"\nallow = \"hear\"\nask = {{ {ask} }}\n");
    let check = |name: &str, asks: &str, words: &[&str]| {
        let folder = Folder::new(name, &format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{asks}"));
        let output =
            tidegate(&[&["check"], words, &[&*folder.configuration()]].concat()).output().expect("the binary runs");
        (output.status.code(), text(&output.stderr).replace(&folder.configuration(), "file"))
    };
    let both = ask(&format!("url = \"{here}\"")) + &ask("url = \"http://127.0.0.1:9/\"");
    let (code, said) = check("deciders", &both, &["--online"]);
    assert!(said.contains(&format!("file: permission.ask: {here} is reached\n")), "{said}");
    assert!(said.contains("file: permission.ask: http://127.0.0.1:9/ cannot be reached: "), "{said}");
    assert_eq!((code, check("deciders-offline", &both, &[]).0), (Some(1), Some(0)));
    let (code, said) = check("deciders-ca", &ask("url = \"https://127.0.0.1/\", ca = \"nowhere.pem\""), &[]);
    assert!(code == Some(1) && said.contains("file: permission.ask: ca "), "{said}");
}

#[test]
fn a_check_that_may_ask_the_network_says_which_keys_cannot_be_fetched() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let answering = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("it is asked");
        let mut head = [0; 4_096];
        let length = socket.read(&mut head).expect("a request");
        let key = r#"{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let body = format!("{{\"keys\": [{key}]}}");
        write!(socket, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("it reads");
        text(&head[..length])
    });
    let auth = |name: &str, port: u16| {
        format!("[[auth]]\nname = \"{name}\"\njwt = {{ keys = \"http://127.0.0.1:{port}/{name}.json\" }}\n")
    };
    let auths = auth("good", port) + &auth("away", 9);
    let folder = Folder::new("online", &format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{auths}"));
    let configuration = folder.configuration();
    let output = tidegate(&["check", "--online", &configuration]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains(&format!("{configuration}: auth good: 1 key at http://127.0.0.1:{port}/good.json\n")),
        "{said}"
    );
    assert!(said.contains("auth away: the keys at http://127.0.0.1:9/away.json cannot be fetched: "), "{said}");
    assert!(answering.join().expect("it answers").starts_with("GET /good.json HTTP/1.1\r\n"));
    let output = tidegate(&["check", &configuration]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(0), "it asks nothing by itself");
}
