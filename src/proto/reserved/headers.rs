//! Headers with a meaning: their names, their meaning, and the messages that carry them.
//!
//! ```text
//!  a publisher says      Tg-Event, Tg-Opcode, Tg-Key, Tg-Distinct, Nats-Msg-Id; Tg-Timeout and Tg-Ack to clients
//!  the gateway says      Tg-Conn, Tg-User, … of a client; Tg-Request, … of an accepted request
//! ```

use crate::proto::http::TRACE_FIELD;

/// The event name on event streams.
pub const EVENT_HEADER: &str = "Tg-Event";
/// The opcode for WebSocket clients, `text` or `binary`.
pub const OPCODE_HEADER: &str = "Tg-Opcode";
/// The key of the value that the message updates, in a channel with several values.
pub const KEY_HEADER: &str = "Tg-Key";
/// The value by which a message is distinct from the one before it, in channels with `distinct`.
pub const DISTINCT_HEADER: &str = "Tg-Distinct";
/// The publisher's name of the message. Of several messages with one name, a channel takes the first.
pub const ID_HEADER: &str = "Nats-Msg-Id";

/// How long an answer to a question is awaited.
pub const TIMEOUT_HEADER: &str = "Tg-Timeout";
/// For how long, and how many times at most, a message is sent until a client acknowledges it.
pub const ACK_HEADER: &str = "Tg-Ack";

/// The client: its connection; its user as one token of a subject (`proto::user`), and as the application writes the
/// name; the `info` of its token.
pub const CONN_HEADER: &str = "Tg-Conn";
pub const USER_HEADER: &str = "Tg-User";
pub const USER_NAME_HEADER: &str = "Tg-User-Name";
pub const INFO_HEADER: &str = "Tg-Info";

/// The kind of a message to a service.
pub const KIND_HEADER: &str = "Tg-Kind";
pub const ROUTE_HEADER: &str = "Tg-Route";
pub const METHOD_HEADER: &str = "Tg-Method";

/// The subprotocol that was chosen for a client's WebSocket.
pub const SUBPROTOCOL_HEADER: &str = "Tg-Subprotocol";

/// An accepted request.
pub const REQUEST_HEADER: &str = "Tg-Request";
pub const PATH_HEADER: &str = "Tg-Path";
pub const QUERY_HEADER: &str = "Tg-Query";
pub const CHANNEL_HEADER: &str = "Tg-Channel";
pub const ATTEMPT_HEADER: &str = "Tg-Attempt";
pub const STATUS_HEADER: &str = "Tg-Status";

/// The request and its trace, by the names that servers get them by.
pub const HTTP_ID_HEADER: &str = "X-Request-Id";
pub const TRACE_HEADER: &str = TRACE_FIELD;

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct HeaderRow {
    pub name: &'static str,
    /// The messages that carry the header.
    pub carried_by: &'static str,
    pub meaning: &'static str,
}

/// Every header with a meaning.
pub const HEADERS: &[HeaderRow] = &[
    HeaderRow {
        name: EVENT_HEADER,
        carried_by: "any publication; results of requests",
        meaning: "the event name on event streams; names that begin with `tg.` are refused",
    },
    HeaderRow {
        name: OPCODE_HEADER,
        carried_by: "any publication; clients' messages",
        meaning: "`text` or `binary`, the kind of WebSocket frame; without this header, text if the payload is UTF-8",
    },
    HeaderRow {
        name: KEY_HEADER,
        carried_by: "publications to channels",
        meaning: "the key of the value that the message updates: with `delivery = \"latest\"`, a slow client gets the \
                  newest message of each key",
    },
    HeaderRow {
        name: DISTINCT_HEADER,
        carried_by: "publications to channels",
        meaning: "the value of the message: in a channel with `distinct = true`, a message with the same value as the \
                  one before it is not delivered",
    },
    HeaderRow {
        name: ID_HEADER,
        carried_by: "publications to channels",
        meaning: "the publisher's name of the message, 1 to 256 bytes: of several messages with one name, a channel \
                  takes the first, for two minutes",
    },
    HeaderRow {
        name: TIMEOUT_HEADER,
        carried_by: "questions to clients",
        meaning: "the time to wait for an answer, in milliseconds",
    },
    HeaderRow {
        name: ACK_HEADER,
        carried_by: "messages to connections and users",
        meaning: "`<seconds>` or `<seconds>, <times>`: for how long, and how many times at most, the message is sent \
                  until a client acknowledges it",
    },
    HeaderRow {
        name: CONN_HEADER,
        carried_by: "messages that come from a client or are about one",
        meaning: "the connection, as in `tg.conn.<id>`",
    },
    HeaderRow {
        name: USER_HEADER,
        carried_by: "the same messages, and requests",
        meaning: "the user, as in `tg.user.<user>`",
    },
    HeaderRow {
        name: USER_NAME_HEADER,
        carried_by: "the same messages, and requests",
        meaning: "the user's name, as the application writes it",
    },
    HeaderRow {
        name: INFO_HEADER,
        carried_by: "publications over the client protocol; joins and leaves",
        meaning: "the claim `info` of the client's token, as JSON",
    },
    HeaderRow {
        name: KIND_HEADER,
        carried_by: "messages to services",
        meaning: "the kind of the message: `open`, `message`, `close`, `rpc` or `request`",
    },
    HeaderRow {
        name: ROUTE_HEADER,
        carried_by: "messages to services",
        meaning: "the path of the client's route, as in the configuration",
    },
    HeaderRow {
        name: METHOD_HEADER,
        carried_by: "messages to services",
        meaning: "the method of the call (`rpc`) or of HTTP (`request`)",
    },
    HeaderRow {
        name: SUBPROTOCOL_HEADER,
        carried_by: "messages to services of WebSockets",
        meaning: "the subprotocol that was chosen (`route.websocket.subprotocols`), if one was",
    },
    HeaderRow {
        name: REQUEST_HEADER,
        carried_by: "requests and their results",
        meaning: "the id of the request, as in `tg.request.<id>`",
    },
    HeaderRow { name: PATH_HEADER, carried_by: "requests", meaning: "the path of the URL, as the client wrote it" },
    HeaderRow { name: QUERY_HEADER, carried_by: "requests", meaning: "the query of the URL, if there is one" },
    HeaderRow {
        name: CHANNEL_HEADER,
        carried_by: "requests",
        meaning: "the channel on which the result will be published",
    },
    HeaderRow {
        name: ATTEMPT_HEADER,
        carried_by: "requests, from the second attempt on",
        meaning: "the number of workers that have been given the request, including this one",
    },
    HeaderRow {
        name: STATUS_HEADER,
        carried_by: "answers of workers to requests; results",
        meaning: "of a result: `done`, `failed` or `expired`; an answer with any other status than `done` is a failure",
    },
    HeaderRow {
        name: HTTP_ID_HEADER,
        carried_by: "requests; of WebSockets the messages of the kind `open`",
        meaning: "the id of the HTTP request, as servers get it and the access log has it: that of a trusted proxy, or the gateway's own",
    },
    HeaderRow {
        name: TRACE_HEADER,
        carried_by: "requests; of WebSockets the messages of the kind `open`",
        meaning: "the trace that it belongs to (W3C Trace Context): that of a trusted proxy, or a new one",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::proto::bus::headers::is_valid_name;

    #[test]
    fn a_header_has_one_line_and_a_name_that_can_be_written() {
        let names: BTreeSet<_> = HEADERS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), HEADERS.len());
        assert!(names.iter().all(|name| is_valid_name(name)));
    }
}
