//! A bus to test against: a gateway of our own, or the server that `BUS_UNDER_TEST` names.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::{Client, ConnectOptions};

pub const USER: &str = "alice";
pub const PASSWORD: &str = "secret";
/// Nothing takes so long; whoever waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Bus {
    /// `HOST:PORT`.
    pub address: String,
    _gateway: Option<Gateway>,
}

struct Gateway {
    process: Child,
    config: PathBuf,
}

impl Bus {
    /// Starts a gateway for the test `name`. With BUS_UNDER_TEST=HOST:PORT, a server that listens there is used instead,
    /// such as `nats-server --user alice --pass secret`: so we know that the tests ask for what NATS does.
    pub fn start(name: &str) -> Bus {
        match std::env::var("BUS_UNDER_TEST") {
            Ok(address) => Bus { address, _gateway: None },
            // Two shards, so that workers are apart and messages cross the mesh.
            Err(_) => Bus::start_with(name, 2),
        }
    }

    /// A gateway with so many shards, whatever else is to be tested.
    pub fn start_with(name: &str, shards: usize) -> Bus {
        let config = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nats_{name}_{shards}.toml"));
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n\n[admin]\naddress = \"127.0.0.1:0\"\n\n\
             [bus]\naddress = \"127.0.0.1:0\"\nuser = \"{USER}\"\npassword = \"{PASSWORD}\"\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["serve", "--shards", &shards.to_string(), "--config"])
            .arg(&config)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("listening bus ").map(str::to_owned));
        // Whatever else it says is read, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        let gateway = Gateway { process, config };
        Bus { address: address.expect("the gateway says where its bus listens"), _gateway: Some(gateway) }
    }

    pub fn url(&self) -> String {
        format!("nats://{USER}:{PASSWORD}@{}", self.address)
    }

    /// An async-nats client with these options.
    pub async fn connect(&self, options: ConnectOptions) -> Client {
        let options = options.user_and_password(USER.into(), PASSWORD.into()).max_reconnects(1);
        options.connect(&self.address).await.expect("the bus takes the right password")
    }

    pub async fn client(&self) -> Client {
        self.connect(ConnectOptions::new()).await
    }

    /// A connection without a library, after INFO.
    pub fn raw(&self) -> Raw {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Raw { stream: BufReader::new(stream) };
        let mut info = String::new();
        raw.stream.read_line(&mut info).unwrap();
        assert!(info.starts_with("INFO {") && info.ends_with("} \r\n"), "{info}");
        raw
    }

    /// Sends CONNECT with these keys beside the credentials, and the bytes.
    pub fn say(&self, keys: &str, bytes: &[u8]) -> Raw {
        let mut raw = self.raw();
        raw.send(format!("CONNECT {{\"user\":\"{USER}\",\"pass\":\"{PASSWORD}\"{keys}}}\r\n").as_bytes());
        raw.send(bytes);
        raw
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself; then the test has failed for another reason.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}

pub struct Raw {
    stream: BufReader<TcpStream>,
}

impl Raw {
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Exactly these bytes come next.
    pub fn expect(&mut self, wanted: &str) {
        let mut answer = vec![0; wanted.len()];
        let mut filled = 0;
        while filled < answer.len() {
            match self.stream.read(&mut answer[filled..]) {
                Ok(count) if count > 0 => filled += count,
                end => panic!("{end:?} after {:?}, not {wanted:?}", answer[..filled].escape_ascii().to_string()),
            }
        }
        assert_eq!(answer.escape_ascii().to_string(), wanted.as_bytes().escape_ascii().to_string());
    }

    /// Exactly these bytes come, and then the end.
    pub fn expect_last(&mut self, wanted: &str) {
        self.expect(wanted);
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("the connection is closed");
        assert_eq!(rest.escape_ascii().to_string(), "");
    }
}
