//! TLS 1.3 after the handshake, by strangers' hands: tlslite-ng breaks its rules, OpenSSL updates its keys. What the gateway
//! answers is what a server of plain rustls answers, with the exceptions of [`DIFFERENCES`].

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tidegate::gateway::Gateway;
use tidegate::proto::ws::Opcode;

use crate::peers::{masked, upgrade};
use crate::support::*;
use crate::tls::{Certificates, connect, on_both_drivers_over_tls, read_head, secure};

/// Cases in which the gateway's answer is not that of rustls: the cases, the gateway's answer, that of rustls, and why.
/// Sections are those of RFC 8446; docs/decisions/tls-alerts.md has the same by rule.
const DIFFERENCES: &[(&[&str], &str, &str, &str)] = &[
    (&["flood_of_key_updates"], "alert 10", "eof", "data pays for KeyUpdates, and an end has an alert"),
    (&["key_updates_between_empty_records"], "alert 10", "404", "empty records pay for no KeyUpdate"),
    (&["flood_of_empty", "flood_of_user_canceled"], "alert 10", "eof", "an end has an alert"),
    (&["oversized_header"], "alert 22", "alert 50", "record_overflow for a length beyond 2^14 + 256 (section 5.2)"),
    (&["one_more_on_the_wire"], "alert 22", "alert 20", "record_overflow for a length beyond 2^14 + 256 (section 5.2)"),
    (&["only_padding"], "alert 10", "eof", "unexpected_message for a record without a type (section 5.4)"),
    (&["unknown_type"], "alert 10", "alert 50", "unexpected_message for an unexpected type (section 5)"),
    (
        &["another_protocol", "empty_alert_in_the_clear"],
        "alert 10",
        "alert 50",
        "unexpected_message for an unexpected type (section 5): after the handshake that is any but application_data",
    ),
    (
        &["alert_in_the_clear", "key_update_in_the_clear", "client_hello_in_the_clear"],
        "alert 10",
        "alert 20",
        "the same: such a record cannot be authentic, and is not decrypted",
    ),
    (&["outside_type_21", "outside_type_22", "outside_type_24"], "alert 10", "404", "the same"),
    (
        &["outside_minor_1", "outside_minor_4"],
        "alert 20",
        "404",
        "the header is authenticated as it came (section 5.2)",
    ),
    (&["outside_major_2"], "alert 20", "alert 50", "the same; the version is not checked otherwise (section 5.1)"),
    (
        &["change_cipher_spec_of_another_value", "change_cipher_spec_of_two_bytes", "empty_change_cipher_spec"],
        "alert 10",
        "alert 50",
        "unexpected_message for any other change_cipher_spec (section 5)",
    ),
    (&["change_cipher_spec_in_a_key_update"], "alert 10", "alert 20", "the same"),
    (
        &["data_inside_a_key_update", "key_update_around_empty_data", "key_update_around_an_alert"],
        "alert 10",
        "eof",
        "unexpected_message for an unexpected type (section 5): nothing may come inside a message (section 5.1)",
    ),
    (
        &["key_update_around_an_empty_record", "empty_handshake", "empty_handshake_with_padding"],
        "alert 10",
        "404",
        "unexpected_message for empty handshake records (section 5.4)",
    ),
    (
        &["empty_alert", "empty_alert_with_padding"],
        "alert 10",
        "alert 50",
        "unexpected_message for empty alert records (section 5.4)",
    ),
    (&["key_update_of_64_kib"], "alert 50", "eof", "decode_error for a wrong length (section 6.2)"),
    (
        &["key_update_with_data_behind_it"],
        "alert 10",
        "eof",
        "nothing may follow a KeyUpdate in its record (section 5.1)",
    ),
    (
        &["warning", "unknown_warning", "no_renegotiation"],
        "eof",
        "alert 50",
        "an alert means an error whatever its level (section 6.2), and an error is not answered",
    ),
    (
        &[
            "message_1",
            "message_2",
            "message_4",
            "message_5",
            "message_8",
            "message_11",
            "message_13",
            "message_15",
            "message_254",
        ],
        "alert 10",
        "alert 50",
        "a message without a place is refused by its type; rustls decodes it first",
    ),
];

/// What rustls would print where the gateway printed this line.
fn as_rustls(line: &str) -> String {
    let [suite, case, answer] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("no case: {line}") };
    match DIFFERENCES.iter().find(|(cases, ..)| cases.contains(&case)) {
        Some((_, ours, theirs, _)) if *ours == answer => format!("{suite} {case} {theirs}"),
        Some((_, ours, ..)) => panic!("{case}: {ours} is expected: {answer}"),
        None => line.to_owned(),
    }
}

/// What tests/gateway/misbehave.py got from the server at this port: a line for each case.
fn misbehave(port: u16) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = folder.join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run tests/install.sh first", python.display());
    let output = Command::new(python)
        .arg(folder.join("gateway/misbehave.py"))
        .arg(port.to_string())
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Connections that ended because TLS was broken.
fn broken_off(gateway: &Gateway) -> u64 {
    let of = |reason: &str| metric(gateway, &format!("closed_total:{reason}"));
    ["tls_protocol", "tls_forged", "tls_flood", "tls_alert"].into_iter().map(of).sum()
}

/// A server of plain rustls that knows one answer. It ends with the connection that says nothing at all.
fn serve_with_rustls(listener: &TcpListener, certificates: &Certificates, name: &str) {
    let chain = vec![CertificateDer::from_pem_file(certificates.pem(name)).unwrap()];
    let key = PrivateKeyDer::from_pem_file(certificates.key(name)).unwrap();
    let provider = Arc::new(tidegate::proto::tls::config::provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    loop {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        if !answer_with_rustls(&mut socket, ServerConnection::new(config.clone()).unwrap()) {
            return;
        }
    }
}

/// One connection to its end. False if it brought nothing.
fn answer_with_rustls(socket: &mut TcpStream, mut session: ServerConnection) -> bool {
    let mut heard = Vec::new();
    let mut has_come = false;
    loop {
        let is_over = session.read_tls(socket).unwrap() == 0;
        has_come |= !is_over;
        let news = session.process_new_packets();
        if let Ok(news) = &news {
            let start = heard.len();
            heard.resize(start + news.plaintext_bytes_to_read(), 0);
            session.reader().read_exact(&mut heard[start..]).unwrap();
            if heard.ends_with(b"\r\n\r\n") {
                heard.clear();
                session.writer().write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").unwrap();
            }
            if is_over || news.peer_has_closed() {
                session.send_close_notify();
            }
        }
        while session.wants_write() {
            session.write_tls(socket).unwrap();
        }
        if is_over || news.map_or(true, |news| news.peer_has_closed()) {
            break;
        }
    }
    // What is still to come would make a reset of the end, and that could overtake the alert.
    let _ = socket.shutdown(Shutdown::Write);
    let _ = socket.read_to_end(&mut Vec::new());
    has_come
}

#[test]
fn answers_a_peer_that_breaks_the_rules_and_serves_its_neighbour() {
    on_both_drivers_over_tls(&["localhost"], "", |gateway, certificates| {
        let mut neighbour = connect(gateway, certificates, "localhost");
        neighbour.write_all(upgrade("/ws/1").as_bytes()).unwrap();
        read_head(&mut neighbour);

        let ours = misbehave(secure(gateway).port());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let theirs = std::thread::scope(|scope| {
            scope.spawn(|| serve_with_rustls(&listener, certificates, "localhost"));
            let lines = misbehave(address.port());
            drop(TcpStream::connect(address).unwrap());
            lines
        });
        assert_eq!(ours.iter().map(|line| as_rustls(line)).collect::<Vec<_>>(), theirs);

        let has_answer = |line: &&String| line.contains(" alert ") || line.ends_with(" eof");
        let broken = ours.iter().filter(has_answer).count() as u64;
        let cut = ours.iter().filter(|line| line.contains(" stops_")).count() as u64;
        assert!(broken > 20 && cut == 2, "{ours:?}");
        assert_eq!(broken_off(gateway), broken);
        for reason in ["tls_protocol", "tls_forged", "tls_flood", "tls_alert"] {
            assert!(metric(gateway, &format!("closed_total:{reason}")) > 0, "{reason}");
        }
        // A peer that stays open after its 404 ends the socket without a word.
        let answered = ours.iter().filter(|line| line.ends_with(" 404")).count() as u64;
        let is_cut = || metric(gateway, "closed_total:tls_truncated");
        await_that("those who were answered are gone", || (cut..=cut + answered).contains(&is_cut()));

        neighbour.write_all(&masked(Opcode::Ping, b"there?")).unwrap();
        let mut head = [0; 2];
        neighbour.read_exact(&mut head).unwrap();
        // The conversations may have taken so long that the gateway has pinged the silent neighbour meanwhile.
        while head == *b"\x89\x00" {
            neighbour.read_exact(&mut head).unwrap();
        }
        let mut words = [0; 6];
        neighbour.read_exact(&mut words).unwrap();
        assert_eq!((head, words), (*b"\x8a\x06", *b"there?"));
        drop(neighbour);
        expect_nobody(gateway);
    });
}

/// `openssl s_client` in the hands of somebody who types. It ends by itself when it takes too long.
struct OpenSsl {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<std::process::ChildStdout>,
    stderr: BufReader<std::process::ChildStderr>,
}

impl OpenSsl {
    fn connect(gateway: &Gateway, suite: &str) -> OpenSsl {
        let mut command = Command::new("timeout");
        command.arg(PATIENCE.as_secs().to_string()).args(["openssl", "s_client", "-tls1_3", "-ciphersuites", suite]);
        command.arg("-connect").arg(secure(gateway).to_string());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("openssl");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        OpenSsl { child, stdin, stdout, stderr }
    }

    /// `k` sends a KeyUpdate, `K` one that asks for ours.
    fn update_key(&mut self, command: &str) {
        self.type_in(&format!("{command}\n"));
        await_line(&mut self.stderr, "KEYUPDATE");
    }

    fn ask(&mut self) {
        self.type_in("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
        await_line(&mut self.stdout, "HTTP/1.1 404 ");
    }

    /// Ends with close_notify.
    fn quit(mut self) {
        self.type_in("Q\n");
        await_line(&mut self.stderr, "DONE");
        assert!(self.child.wait().unwrap().success());
    }

    fn type_in(&mut self, words: &str) {
        self.stdin.write_all(words.as_bytes()).unwrap();
    }
}

pub fn await_line(output: &mut impl BufRead, word: &str) {
    let mut said = String::new();
    while !said.contains(word) {
        let read = output.read_line(&mut said).unwrap();
        assert!(read > 0, "no {word:?} in {said}");
    }
}

#[test]
fn openssl_updates_its_keys_and_asks_for_ours_with_each_suite() {
    on_both_drivers_over_tls(&["localhost"], "", |gateway, _| {
        for suite in ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"] {
            let mut client = OpenSsl::connect(gateway, suite);
            await_line(&mut client.stdout, suite);
            for command in ["k", "K", "K", "k"] {
                client.update_key(command);
                client.ask();
            }
            client.update_key("K");
            client.quit();
        }
        assert_eq!(broken_off(gateway), 0);
        expect_nobody(gateway);
    });
}

#[test]
fn a_peer_that_stops_reading_in_a_record_is_closed_and_no_other() {
    const LIMIT: &str = "[limits]\noutbox_bytes_max = 131072";
    on_both_drivers_over_tls(&["localhost"], LIMIT, |gateway, certificates| {
        let listen = || {
            let mut peer = connect(gateway, certificates, "localhost");
            peer.write_all(b"GET /sse/1 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            read_head(&mut peer);
            peer
        };
        let (mut stopped, mut reader) = (listen(), listen());
        let payload = "x".repeat(60_000);
        let mut sent = 0;
        while metric(gateway, "closed_total:slow_consumer") == 0 {
            assert!(sent < 1_000, "somebody who reads nothing is too slow some time");
            publish(gateway, "room.1", "", &payload);
            sent += 1;
            if sent == 1 {
                // The header of a record and a bit of it, and then no more.
                stopped.sock.read_exact(&mut [0; 100]).unwrap();
            }
            let mut event = vec![0; payload.len()];
            reader.read_exact(&mut event).unwrap();
        }
        drop(stopped);
        publish(gateway, "room.1", "", "the last one");
        let mut rest = Vec::new();
        while !rest.ends_with(b"the last one\n\n\r\n") {
            let mut byte = [0];
            reader.read_exact(&mut byte).unwrap();
            rest.push(byte[0]);
        }
        assert_eq!(metric(gateway, "closed_total:slow_consumer"), 1);
        drop(reader);
        expect_nobody(gateway);
    });
}
