//! The verbs that the gateway sends to a worker.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use serde_json::json;

use super::BusError;

/// The greeting.
#[derive(Clone, Copy, Debug)]
pub struct Info<'a> {
    pub server_id: &'a str,
    /// The address of the listener, or the one that stands for every address.
    pub address: SocketAddr,
    /// The number of the worker's connection, for its logs; below 2^53, the largest range of exact numbers in JSON.
    pub client_id: u64,
    /// The address of the worker.
    pub client_ip: IpAddr,
    pub max_payload: usize,
    /// CONNECT must have credentials.
    pub auth_required: bool,
}

/// The version of Go of the server's build: clients require one.
const GO: &str = "none";
/// The release of nats-server whose client protocol this is: packages switch features by it.
const PROTOCOL_RELEASE: &str = "2.9.10";

/// All fields that the protocol's page calls always present, and an id of the worker.
pub fn write_info(out: &mut Vec<u8>, info: &Info<'_>) {
    let mut keys = json!({
        "server_id": info.server_id,
        "server_name": "tidegate",
        "version": PROTOCOL_RELEASE,
        "proto": 1,
        "go": GO,
        "host": info.address.ip().to_string(),
        "port": info.address.port(),
        "headers": true,
        "max_payload": info.max_payload,
        "client_id": info.client_id,
        "client_ip": info.client_ip.to_string(),
    });
    if info.auth_required {
        keys["auth_required"] = true.into();
    }
    write_formatted(out, format_args!("INFO {keys} \r\n"));
}

pub fn write_error(out: &mut Vec<u8>, error: &BusError) {
    if error.is_said() {
        write_formatted(out, format_args!("-ERR '{error}'\r\n"));
    }
}

/// The line of a message without headers; the caller appends `payload_len` bytes and CRLF.
pub fn write_msg(out: &mut Vec<u8>, subject: &str, sid: &str, reply: Option<&str>, payload_len: usize) {
    out.extend_from_slice(b"MSG ");
    write_names(out, subject, sid, reply);
    write_size(out, payload_len);
    out.extend_from_slice(b"\r\n");
}

/// The line of a message with headers; the caller appends `total_len` bytes (a header block of `headers_len`, then the
/// payload) and CRLF.
pub fn write_hmsg(
    out: &mut Vec<u8>,
    subject: &str,
    sid: &str,
    reply: Option<&str>,
    headers_len: usize,
    total_len: usize,
) {
    out.extend_from_slice(b"HMSG ");
    write_names(out, subject, sid, reply);
    write_size(out, headers_len);
    out.push(b' ');
    write_size(out, total_len);
    out.extend_from_slice(b"\r\n");
}

fn write_names(out: &mut Vec<u8>, subject: &str, sid: &str, reply: Option<&str>) {
    for name in [Some(subject), Some(sid), reply].into_iter().flatten() {
        out.extend_from_slice(name.as_bytes());
        out.push(b' ');
    }
}

fn write_size(out: &mut Vec<u8>, size: usize) {
    out.extend_from_slice(itoa::Buffer::new().format(size).as_bytes());
}

fn write_formatted(out: &mut Vec<u8>, words: std::fmt::Arguments<'_>) {
    out.write_fmt(words).expect("writing to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::bus::NO_RESPONDERS;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn greets_with_json() {
        let info = Info {
            server_id: "\"x\"",
            address: "[::1]:4222".parse().unwrap(),
            client_id: 7,
            client_ip: "10.0.0.7".parse().unwrap(),
            max_payload: 1024,
            auth_required: true,
        };
        let line = written(|out| write_info(out, &info));
        let json = line.strip_prefix("INFO ").and_then(|line| line.strip_suffix(" \r\n")).unwrap();
        let keys: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(keys["server_id"], "\"x\"");
        assert_eq!((keys["max_payload"].as_u64(), keys["client_id"].as_u64()), (Some(1024), Some(7)));
        assert_eq!((keys["headers"].as_bool(), keys["auth_required"].as_bool()), (Some(true), Some(true)));
        assert_eq!((keys["host"].as_str(), keys["port"].as_u64()), (Some("::1"), Some(4222)));
        assert_eq!((keys["client_ip"].as_str(), keys["go"].as_str()), (Some("10.0.0.7"), Some("none")));
        let open = written(|out| write_info(out, &Info { auth_required: false, ..info }));
        assert!(!open.contains("auth_required") && !line.trim_end().contains('\n'));
    }

    #[test]
    fn lines_of_messages_are_those_of_nats_server() {
        assert_eq!(written(|out| write_msg(out, "a", "1", None, 0)), "MSG a 1 0\r\n");
        assert_eq!(written(|out| write_msg(out, "a", "1", Some("r.x"), 12)), "MSG a 1 r.x 12\r\n");
        assert_eq!(written(|out| write_hmsg(out, "a", "8", Some("r.x"), 12, 13)), "HMSG a 8 r.x 12 13\r\n");
        let len = NO_RESPONDERS.len();
        assert_eq!(written(|out| write_hmsg(out, "r.x", "7", None, len, len)), "HMSG r.x 7 16 16\r\n");
    }

    #[test]
    fn errors_have_the_words_of_nats_server() {
        for (error, line) in [
            (BusError::UnknownOperation, "-ERR 'Unknown Protocol Operation'\r\n"),
            (BusError::ControlLineTooLong, "-ERR 'maximum control line exceeded'\r\n"),
            (BusError::PayloadTooLarge, "-ERR 'Maximum Payload Violation'\r\n"),
            (BusError::AuthorizationViolation, "-ERR 'Authorization Violation'\r\n"),
            (BusError::AuthenticationTimeout, "-ERR 'Authentication Timeout'\r\n"),
            (BusError::PublishNotAllowed("no".into()), "-ERR 'Permissions Violation for Publish to \"no\"'\r\n"),
            (BusError::SubscribeNotAllowed("no".into()), "-ERR 'Permissions Violation for Subscription to \"no\"'\r\n"),
        ] {
            assert_eq!(written(|out| write_error(out, &error)), line);
        }
    }
}
