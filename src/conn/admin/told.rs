//! The answers to operations on connections, in JSON.

use serde_json::{Value, json};

use super::super::about::About;
use super::super::http::Http;
use super::super::session::Phase;
use super::super::settings::Settings;
use super::super::{After, Conn};
use super::expected::Expected;
use crate::base::Tick;
use crate::proto::bus::headers;
use crate::proto::event::Message;
use crate::proto::reserved::headers::{CONN_HEADER, USER_HEADER, USER_NAME_HEADER};

/// One of so many shards' part of the answer to [`Step::Operate`](crate::conn::Step::Operate): how many connections it reaches there.
pub fn reached(conn: &mut Conn, (connections, of): (u32, u16), settings: &Settings, now: Tick) -> After {
    let Some(http) = http(conn) else { return After::KeepOpen };
    match http.about().and_then(|about| about.reached(connections, of)) {
        None => After::KeepOpen,
        Some(0) => fail(conn, 404, "no such connection is here", settings, now),
        Some(all) => say(conn, 200, &json!({ "connections": all }), settings, now),
    }
}

/// The payload of a command is none of it.
pub fn is_malformed(conn: &mut Conn, settings: &Settings, now: Tick) -> After {
    fail(conn, 400, BAD_PAYLOAD, settings, now)
}

const BAD_PAYLOAD: &str =
    "the body is not what this takes: the name of a channel; to close, nothing, \"reconnect\" or \"kick\"";

/// The answer to [`Step::Operate`](crate::conn::Step::Operate) where an outcome is expected. `None`: no connection is there that could bring one about.
pub fn concluded(conn: &mut Conn, outcome: Option<&Message>, settings: &Settings, now: Tick) -> After {
    let Some(About::Outcome(expected)) = http(conn).and_then(Http::about) else { return After::KeepOpen };
    let expected = *expected;
    let Some(message) = outcome else {
        let words = match expected {
            Expected::Answer => "no connection that can answer is here",
            _ => "no such connection is here",
        };
        return fail(conn, 404, words, settings, now);
    };
    let status = message.headers.as_deref().and_then(headers::status);
    let (status, words) = match (expected, status) {
        (Expected::Answer, None) => return answer(conn, 200, message, &message.payload, settings, now),
        (Expected::Acknowledgement, Some(200)) => {
            return answer(conn, 200, message, b"{\"acknowledged\":true}", settings, now);
        }
        (_, None) => return say(conn, 200, &json!({ "connections": 1 }), settings, now),
        (Expected::Answer, Some(400)) => (400, "the time to wait for an answer is no number of milliseconds"),
        (Expected::Acknowledgement, Some(400)) => {
            (400, "what must be acknowledged says for how long: seconds, or seconds, a comma and how many times")
        }
        (_, Some(400)) => (400, BAD_PAYLOAD),
        (Expected::Obedience, Some(410)) => (404, "no such connection is here"),
        (_, Some(410)) => (410, "all connections that were asked have ended"),
        (Expected::Obedience, Some(429)) => (409, "the connection has as many channels as it may have"),
        (_, Some(429)) => (429, "too many messages wait to be acknowledged"),
        (_, Some(408)) => (504, "no client has answered in time"),
        _ => (503, "the gateway goes away"),
    };
    fail(conn, status, words, settings, now)
}

/// An answer with the client that has given it.
fn answer(conn: &mut Conn, status: u16, message: &Message, body: &[u8], settings: &Settings, now: Tick) -> After {
    let names = [CONN_HEADER, USER_HEADER, USER_NAME_HEADER];
    let fields: Vec<(&str, &str)> = names.iter().filter_map(|name| Some((*name, message.header(name)?))).collect();
    write(conn, (status, &fields), body, settings, now)
}

fn fail(conn: &mut Conn, status: u16, words: &str, settings: &Settings, now: Tick) -> After {
    say(conn, status, &json!({ "error": words }), settings, now)
}

fn say(conn: &mut Conn, status: u16, body: &Value, settings: &Settings, now: Tick) -> After {
    write(conn, (status, &[]), body.to_string().as_bytes(), settings, now)
}

fn write(
    conn: &mut Conn,
    (status, fields): (u16, &[(&str, &str)]),
    body: &[u8],
    settings: &Settings,
    now: Tick,
) -> After {
    conn.link.wait_until(now + settings.generation.keep_alive_timeout);
    let Phase::Http(http) = &mut conn.session.phase else { return After::KeepOpen };
    http.operated(status, fields, body, &mut conn.link.outbox)
}

fn http(conn: &mut Conn) -> Option<&mut Http> {
    match &mut conn.session.phase {
        Phase::Http(http) => Some(http),
        _ => None,
    }
}
