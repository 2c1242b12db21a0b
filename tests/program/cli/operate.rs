//! `send`, `kick`, `revoke`: what each does with a client of a gateway that runs.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use crate::certificate::self_signed;
use crate::cli::folder::Folder;
use crate::cli::program::{code, err, out, run};
use crate::served::{PATIENCE, Served};

#[test]
fn a_user_is_sent_a_message_and_disconnected() {
    let configuration = "shards = 2\n[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/ws\"\nwebsocket = { channel = \"news\", user = { query = \"user\", unverified = true } }\n";
    let (_gateway, [front, admin]) = Served::start("operate", configuration, ["http", "admin"]);
    let admin = format!("http://{admin}");
    let say = |words: &[&str]| run(&[words, &["--admin", &admin]].concat());

    let output = say(&["send", "ann", "hello"]);
    assert_eq!(
        (code(&output), err(&output)),
        (1, format!("tidegate: {admin}: refused with 404: no such connection is here\n"))
    );
    let mut client = TcpStream::connect(&front).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        client,
        "GET /ws?user=ann HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    .expect("it reads");
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("a head");
        heard.push(byte[0]);
    }
    let output = say(&["send", "ann", "hello"]);
    assert_eq!((code(&output), out(&output)), (0, "sent to one connection of ann\n".to_owned()));
    let output = say(&["send", "ann", "well?", "--ask", "1"]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("refused with 404: no connection that can answer is here"), "{}", err(&output));
    let output = say(&["revoke", "--user", "ann", "--json"]);
    assert_eq!((code(&output), out(&output)), (0, "{\"closed\":0}\n".to_owned()), "it has no token");
    let output = say(&["kick", "ann"]);
    assert_eq!((code(&output), out(&output)), (0, "disconnected one connection of ann\n".to_owned()));
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).expect("the end");
    let at = rest.windows(2).rposition(|bytes| bytes == 3003_u16.to_be_bytes()).expect("a close frame");
    assert_eq!(rest[at - 2], 0x88);
    let output = say(&["revoke"]);
    assert_eq!(code(&output), 2);
}

#[test]
fn a_token_lets_an_operator_in_over_tls() {
    let folder = Folder::new("admin");
    let (certificate, key) = self_signed();
    let (certificate, key) = (folder.file("cert.pem", &certificate), folder.file("key.pem", &key));
    let token = folder.file("token", "0123456789abcdef0123456789abcdef\n");
    let configuration = |token: &str| {
        format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\ntoken_file = \"{token}\"\n\
             tls = {{ certificate = \"{certificate}\", key = \"{key}\" }}\n"
        )
    };
    std::fs::set_permissions(&token, Permissions::from_mode(0o644)).expect("it is ours");
    let file = folder.file("open.toml", &configuration(&token));
    let output = run(&["check", &file]);
    assert!(code(&output) == 1 && err(&output).contains("admin.token_file"), "{}", err(&output));
    assert!(err(&output).contains("its mode is 644"), "{}", err(&output));
    std::fs::set_permissions(&token, Permissions::from_mode(0o640)).expect("it is ours");
    let short = folder.file("short", "0123456789\n");
    std::fs::set_permissions(&short, Permissions::from_mode(0o600)).expect("it is ours");
    let output = run(&["check", &folder.file("short.toml", &configuration(&short))]);
    assert!(code(&output) == 1 && err(&output).contains("16 to 256 visible characters"), "{}", err(&output));

    let (_gateway, [_, admin]) = Served::start("operate-tls", &configuration(&token), ["http", "admin"]);
    let (_, port) = admin.rsplit_once(':').expect("a port");
    let admin = format!("https://localhost:{port}");
    let say = |more: &[&str]| run(&[&["pub", "news", "hello", "--admin", &admin, "--ca", &certificate], more].concat());
    let output = say(&[]);
    assert!(code(&output) == 1 && err(&output).contains("refused with 401: this wants a token"), "{}", err(&output));
    let output = say(&["--token-file", &short]);
    assert!(code(&output) == 1 && err(&output).contains("refused with 401: the token is none"), "{}", err(&output));
    let output = say(&["--token-file", &token]);
    assert_eq!(code(&output), 0, "{}", err(&output));
}

#[test]
fn the_admin_listener_may_be_a_socket() {
    let folder = Folder::new("admin-socket");
    let path = folder.0.join("admin.sock").to_string_lossy().into_owned();
    let configuration = format!("[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\nsocket = \"{path}\"\n");
    let place = format!("unix:{path}");
    let say = || run(&["pub", "news", "hello", "--admin", &place]);
    assert!(err(&say()).contains(&path), "it does not listen yet");
    let (gateway, [_, admin]) = Served::start("operate-socket", &configuration, ["http", "admin"]);
    assert_eq!(admin, place);
    assert_eq!(code(&say()), 0, "{}", err(&say()));
    drop(gateway);
}
