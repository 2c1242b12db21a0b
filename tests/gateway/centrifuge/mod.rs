//! The client protocol through Centrifugo's own packages for JavaScript and Python, against real gateways on both drivers.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tidegate::conn::Door;
use tidegate::driver::socket::private_descriptor_table;
use tidegate::gateway::config::Config;
use tidegate::gateway::{Builder, Gateway};

const CONFIGURATION: &str = r#"
shards = 2

[[listener]]
address = "127.0.0.1:0"

[[listener]]
address = "127.0.0.1:0"
tls = { certificate = "FOLDER/localhost.pem", key = "FOLDER/localhost.key" }

[bus]
address = "127.0.0.1:0"

[[channel]]
name = "room.kept.*"
history = { messages = 10 }

[[channel]]
name = "room.long"
history = { messages = 2000, bytes = 10000000 }

[[channel]]
name = "room.who.*"
presence = true
presence_grace_s = 1

[limits]
# So that pings are seen, and end what is dead.
ping_interval_s = 1

[[route]]
path = "/desk"

[route.websocket]
protocol = "centrifuge-json"
service = "desk"
user = { query = "user", unverified = true }
channels = ["room.>", "weather"]
publish_to = "room.>"
server_side = "news"

[[route]]
path = "/desk/{name}"

[route.websocket]
protocol = "centrifuge-json"
server_side = ["room.kept.{name}", "news"]

[[route]]
path = "/token"

[route.websocket]
protocol = "centrifuge-json"
service = "desk"
channels = "room.*"
publish_to = "room.*"
token = { hmac_secret = "secret" }

[[route]]
path = "/rsa"

[route.websocket]
protocol = "centrifuge-json"
service = "desk"
token = { rsa_public_key = "FOLDER/rsa.pem" }

[[route]]
path = "/lonely"
websocket = { protocol = "centrifuge-json", service = "nobody" }

[[route]]
path = "/listen"
websocket = { protocol = "centrifuge-json", channels = ">" }
"#;

/// A folder with a certificate and an RSA key; gone with the value.
struct Keys(PathBuf);

impl Keys {
    fn new() -> Keys {
        let random = getrandom::u64().expect("randomness");
        let folder = std::env::temp_dir().join(format!("tidegate-test-{random:016x}"));
        fs::create_dir(&folder).unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.join("localhost.pem"), made.cert.pem()).unwrap();
        fs::write(folder.join("localhost.key"), made.signing_key.serialize_pem()).unwrap();
        let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        fs::write(folder.join("rsa.pem"), pair.public_key_pem()).unwrap();
        fs::write(folder.join("rsa.key"), pair.serialize_pem()).unwrap();
        Keys(folder)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn start(driver: &str, keys: &Keys) -> Gateway {
    let configuration = CONFIGURATION.replace("FOLDER", &keys.0.display().to_string());
    let text = format!("driver = \"{driver}\"\n{configuration}");
    let config = Config::parse(Path::new("centrifuge.toml"), &text, []).unwrap_or_else(|errors| panic!("{errors}"));
    Builder::new(config).start().expect("the gateway starts")
}

fn tests_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Runs a program of clients against a gateway on each driver; when it says `ready`, the gateway drains. Another one takes no part
/// in that: it is what clients find that come back after a restart.
fn assert_passes(program: impl Fn() -> Command + Sync) {
    let keys = &Keys::new();
    std::thread::scope(|scope| {
        for driver in ["epoll", "uring"] {
            let program = &program;
            let run = move || {
                private_descriptor_table().expect("threads may have tables");
                let (gateway, successor) = (start(driver, keys), start(driver, keys));
                let address = |of: &Gateway, door, is_tls| of.address(door, is_tls).expect("it listens").to_string();
                let mut child = program()
                    .args(
                        [(Door::Front, false), (Door::Bus, false), (Door::Front, true)]
                            .map(|(door, is_tls)| address(&gateway, door, is_tls)),
                    )
                    .arg(&keys.0)
                    .args([Door::Front, Door::Bus].map(|door| address(&successor, door, false)))
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("it is installed");
                let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
                let said: Vec<String> = lines.by_ref().take_while(|line| line != "ready").collect();
                gateway.stop();
                successor.stop();
                lines.for_each(drop);
                let output = child.wait_with_output().expect("it ends");
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{driver}: {}\n{errors}", said.join("\n"));
            };
            std::thread::Builder::new().name(driver.to_owned()).spawn_scoped(scope, run).expect("a thread");
        }
    });
}

#[test]
fn the_javascript_client_finds_all_as_it_expects() {
    assert_passes(|| {
        let mut node = Command::new("node");
        node.arg(tests_folder().join("gateway/centrifuge/clients.mjs"));
        node
    });
}

#[test]
fn the_python_client_finds_all_as_it_expects() {
    assert_passes(|| {
        let mut python = Command::new(tests_folder().join(".venv/bin/python"));
        python.arg(tests_folder().join("gateway/centrifuge/clients.py"));
        python
    });
}
