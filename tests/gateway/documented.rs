//! The configurations of docs/edge.md, as they stand there: only addresses are others, and the files that they name are made.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tidegate::conn::Door;
use tidegate::gateway::config::Config;
use tidegate::gateway::{Builder, Gateway};

use crate::proxied::programs::{Program, TOKEN_SECRET};

/// A folder with the files that configurations name.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("tidegate-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        Folder(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let file = self.0.join(name);
        let written =
            fs::write(&file, text).and_then(|()| fs::set_permissions(file, fs::Permissions::from_mode(0o600)));
        written.expect("a file");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The first block in this language below this heading of a page.
pub(crate) fn block(page: &str, heading: &str, language: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = fs::read_to_string(file).expect("the page");
    let (_, rest) = text.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let section = rest.split("\n## ").next().expect("a first part");
    let (_, block) = section.split_once(&format!("\n```{language}\n")).expect("a block");
    block.split_once("```").expect("its end").0.to_owned()
}

/// Starts it beside an admin listener: with servers at these addresses instead of those of the page, and with these variables.
pub(crate) fn start(
    folder: &Folder,
    heading: &str,
    servers: &[(&str, &Program)],
    variables: &[(&str, &str)],
) -> Gateway {
    let mut text = block("docs/edge.md", heading, "toml");
    for (named, server) in servers {
        assert_eq!(text.matches(named).count(), 1, "{named} of {heading:?}");
        text = text.replace(named, &server.address.to_string());
    }
    start_text(folder, &text, variables)
}

/// The same for a configuration whose addresses have been replaced.
pub(crate) fn start_text(folder: &Folder, text: &str, variables: &[(&str, &str)]) -> Gateway {
    let text = format!("shards = 2\npin = false\n[admin]\naddress = \"127.0.0.1:0\"\nhosts = \"a\"\n{text}");
    let variables = variables.iter().map(|(name, value)| (format!("TIDEGATE_{name}"), (*value).to_owned()));
    let config = Config::parse(&folder.0.join("tidegate.toml"), &text, variables);
    Builder::new(config.unwrap_or_else(|errors| panic!("{errors}"))).start().expect("the gateway starts")
}

pub(crate) const ANY: &str = "127.0.0.1:0";

fn python(words: &[&str]) -> Command {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut command = Command::new(tests.join(".venv/bin/python"));
    command.arg(tests.join("gateway/documented.py")).args(words);
    command
}

pub(crate) fn port(gateway: &Gateway, is_tls: bool) -> String {
    gateway.address(Door::Front, is_tls).expect("a listener").port().to_string()
}

pub(crate) fn with_certificate(folder: &Folder, name: &str) {
    let (certificate, key) = crate::certificate::self_signed();
    folder.write(&format!("{name}.pem"), &certificate);
    folder.write(&format!("{name}.key"), &key);
}

#[test]
fn the_shop_runs_as_its_page_says_and_outlives_its_services() {
    let folder = Folder::new("shop");
    with_certificate(&folder, "shop");
    folder.write("token.secret", TOKEN_SECRET);
    let (first, second, chat) = (Program::node(), Program::node(), Program::node());
    let reports = Program::uvicorn();
    let servers = [
        ("127.0.0.1:3000", &first),
        ("127.0.0.1:3001", &second),
        ("127.0.0.1:8000", &reports),
        ("127.0.0.1:4000", &chat),
    ];
    let variables = [("LISTENER_0_ADDRESS", ANY), ("LISTENER_1_ADDRESS", ANY)];
    let gateway = start(&folder, "A shop behind it", &servers, &variables);
    let mut customer = python(&["shop", &port(&gateway, true), &port(&gateway, false)]);
    let mut customer = customer.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python starts");
    let mut lines = BufReader::new(customer.stdout.take().expect("a pipe")).lines();
    let mut expect_line = |line: &str| assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some(line));
    expect_line("open");
    drop(chat);
    expect_line("closed");
    drop(first);
    writeln!(customer.stdin.take().expect("a pipe")).expect("it reads");
    assert!(customer.wait().expect("it ends").success());
    gateway.stop();
}

#[test]
fn the_mobile_app_is_served_as_its_page_says() {
    let folder = Folder::new("mobile");
    with_certificate(&folder, "app");
    let path = folder.0.to_str().expect("text").to_owned();
    assert!(python(&["keys", &path]).status().expect("python starts").success());
    let server = Program::node();
    let (servers, variables) = ([("127.0.0.1:3000", &server)], [("LISTENER_0_ADDRESS", ANY)]);
    let gateway = start(&folder, "A mobile app with tokens", &servers, &variables);
    assert!(python(&["mobile", &port(&gateway, true), &path]).status().expect("python starts").success());
    gateway.stop();
}

#[test]
fn clients_of_load_balancers_are_known_as_their_page_says() {
    let folder = Folder::new("balancer");
    with_certificate(&folder, "edge");
    let server = Program::node();
    let variables = [
        ("LISTENER_0_ADDRESS", ANY),
        ("LISTENER_0_PROXY_PROTOCOL_FROM", "127.0.0.0/8"),
        ("LISTENER_1_ADDRESS", ANY),
        ("TRUST_NETWORKS", "127.0.0.0/8"),
    ];
    let gateway = start(&folder, "Behind a cloud load balancer", &[("127.0.0.1:3000", &server)], &variables);
    let balancer = Program::balancer_before(gateway.address(Door::Front, true).expect("a listener"));
    let ports = [balancer.address.port().to_string(), port(&gateway, false)];
    assert!(python(&["balancer", &ports[0], &ports[1]]).status().expect("python starts").success());
    drop(balancer);
    gateway.stop();
}
