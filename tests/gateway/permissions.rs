//! Permissions per channel, on real sockets: the configuration of docs/permissions.md, as it stands there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tidegate::gateway::config::Config;
use tidegate::gateway::{Builder, Gateway};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

use crate::support::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The folder of the configuration: its file is written once.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(written)
}

fn written() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("permissions");
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("token.secret");
    fs::write(&file, SECRET)
        .and_then(|()| fs::set_permissions(file, fs::Permissions::from_mode(0o600)))
        .expect("a file");
    folder
}

/// The first configuration of the page, with listeners, a publishing WebSocket and rules for channels.
fn gateway(driver: &str) -> Builder {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/permissions.md");
    let page = fs::read_to_string(page).expect("the page");
    let (_, block) = page.split_once("```toml\n").expect("a configuration");
    let (block, _) = block.split_once("```").expect("its end");
    let text = format!(
        "driver = \"{driver}\"\nshards = 2\n[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\nhosts = \"a\"\n\
         [[channel]]\nname = \"room.*\"\nhistory = {{ messages = 10 }}\npresence = true\n{block}\
         [[route]]\npath = \"/news/{{topic}}\"\nwebsocket = {{ channel = \"news.{{topic}}\", publish = true }}\n"
    );
    let config = Config::parse(&folder().join("tidegate.toml"), &text, []);
    Builder::new(config.unwrap_or_else(|errors| panic!("{errors}")))
}

fn token(claims: &Value) -> String {
    let mut claims = claims.clone();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    claims["exp"] = (now + 600).into();
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("a token")
}

fn ann() -> String {
    token(&json!({"sub": "ann", "rooms": ["7", "9"]}))
}

fn editor() -> String {
    token(&json!({"sub": "bob", "role": "editor"}))
}

fn open(gateway: &Gateway, path: &str, token: &str) -> tungstenite::WebSocket<Raw> {
    let mut request = format!("ws://{}{path}", front(gateway)).into_client_request().expect("a URL");
    request.headers_mut().insert("Authorization", format!("Bearer {token}").parse().expect("a value"));
    tungstenite::client(request, Raw::connect(front(gateway))).expect("an upgrade").0
}

#[test]
fn members_hear_their_rooms_and_nobody_else_does() {
    on_both_drivers_with(gateway, |gateway| {
        let status = |token: &str, room: &str| {
            let head = format!("GET /events/{room} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
            Raw::connect(front(gateway)).send(head).read_until("\r\n\r\n")[9..12].to_owned()
        };
        assert_eq!(["7", "9", "8"].map(|room| status(&ann(), room)), ["200", "200", "403"]);
        assert_eq!(["7", "*"].map(|room| status(&editor(), room)), ["403", "403"]);
    });
}

#[test]
fn readers_of_the_news_read_and_editors_write() {
    on_both_drivers_with(gateway, |gateway| {
        let (mut reader, mut editor) = (open(gateway, "/news/1", &ann()), open(gateway, "/news/1", &editor()));
        editor.send(Message::text("extra")).expect("sent");
        assert_eq!(reader.read().expect("the news").into_text().expect("text"), "extra");
        reader.send(Message::text("fake")).expect("sent");
        let Ok(Message::Close(Some(close))) = reader.read() else { panic!("a close frame") };
        assert_eq!(u16::from(close.code), 1008);
        publish(gateway, "news.1", "", "last");
        let heard: Vec<String> =
            (0..2).map(|_| editor.read().expect("the news").into_text().expect("text").to_string()).collect();
        assert_eq!(heard, ["extra", "last"]);
    });
}

#[test]
fn each_command_of_the_client_protocol_needs_its_right() {
    on_both_drivers_with(gateway, |gateway| {
        for (token, expected) in
            [(ann(), [0, 103, 0, 103, 0, 103, 0, 0]), (editor(), [103, 103, 103, 0, 103, 0, 103, 103])]
        {
            let mut client = open(gateway, "/connection/websocket", &token);
            let mut answer = |id: usize, command: &Value| {
                let mut command = command.clone();
                command["id"] = id.into();
                client.send(Message::text(command.to_string())).expect("sent");
                loop {
                    let text = client.read().expect("an answer").into_text().expect("text");
                    let lines: Vec<Value> =
                        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
                    if let Some(own) = lines.iter().find(|line| line["id"] == id) {
                        return own["error"]["code"].as_u64().unwrap_or(0);
                    }
                }
            };
            assert_eq!(answer(1, &json!({"connect": {}})), 0);
            let commands = [
                json!({"subscribe": {"channel": "room.7"}}),
                json!({"subscribe": {"channel": "room.8"}}),
                json!({"subscribe": {"channel": "user.ann.inbox"}}),
                json!({"subscribe": {"channel": "user.bob.inbox"}}),
                json!({"publish": {"channel": "room.7", "data": {}}}),
                json!({"publish": {"channel": "news.1", "data": {}}}),
                json!({"history": {"channel": "room.7", "limit": 1}}),
                json!({"presence": {"channel": "room.9"}}),
            ];
            let codes: Vec<u64> = commands.iter().zip(2..).map(|(command, id)| answer(id, command)).collect();
            assert_eq!(codes, expected);
        }
        assert_eq!(metric(gateway, "closed_total:not_permitted"), 9);
    });
}
