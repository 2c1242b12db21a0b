//! Headers with a meaning: their names, the messages that carry them, and what they say there.
//!
//! ```text
//!  a publisher says      Tg-Event, Tg-Opcode, Tg-Key, Tg-Distinct, Nats-Msg-Id; Tg-Timeout and Tg-Ack to clients
//!  the gateway says      Tg-Conn, Tg-User, … of a client; Tg-Request, … of an accepted request
//! ```

/// The event name on event streams.
pub const EVENT_HEADER: &str = "Tg-Event";
/// The opcode towards WebSocket clients, `text` or `binary`.
pub const OPCODE_HEADER: &str = "Tg-Opcode";
/// What the message is the newest value of, where its channel has several.
pub const KEY_HEADER: &str = "Tg-Key";
/// What tells the message from the one before it, in channels whose messages are to be distinct.
pub const DISTINCT_HEADER: &str = "Tg-Distinct";
/// The publisher's name of the message. Of several messages with one name a channel takes the first.
pub const ID_HEADER: &str = "Nats-Msg-Id";

/// How long the answer to a question is waited for.
pub const TIMEOUT_HEADER: &str = "Tg-Timeout";
/// For how long, and how many times at most, a message is sent until a client acknowledges it.
pub const ACK_HEADER: &str = "Tg-Ack";

/// The client: its connection, its user as one token of a subject (`proto::user`) and as its application writes it, what its token
/// says.
pub const CONN_HEADER: &str = "Tg-Conn";
pub const USER_HEADER: &str = "Tg-User";
pub const USER_NAME_HEADER: &str = "Tg-User-Name";
pub const INFO_HEADER: &str = "Tg-Info";

/// The kind of a message to a service.
pub const KIND_HEADER: &str = "Tg-Kind";
pub const ROUTE_HEADER: &str = "Tg-Route";
pub const METHOD_HEADER: &str = "Tg-Method";

/// An accepted request.
pub const REQUEST_HEADER: &str = "Tg-Request";
pub const PATH_HEADER: &str = "Tg-Path";
pub const QUERY_HEADER: &str = "Tg-Query";
pub const CHANNEL_HEADER: &str = "Tg-Channel";
pub const ATTEMPT_HEADER: &str = "Tg-Attempt";
pub const STATUS_HEADER: &str = "Tg-Status";

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub struct HeaderRow {
    pub name: &'static str,
    /// The messages that carry it.
    pub carried_by: &'static str,
    pub meaning: &'static str,
}

/// Every header with a meaning of its own.
pub const HEADERS: &[HeaderRow] = &[
    HeaderRow {
        name: EVENT_HEADER,
        carried_by: "any publication; results of requests",
        meaning: "the event name on event streams; names that begin with `tg.` are refused",
    },
    HeaderRow {
        name: OPCODE_HEADER,
        carried_by: "any publication; clients' messages",
        meaning: "`text` or `binary`, the kind of WebSocket frame; without it, text if the payload is UTF-8",
    },
    HeaderRow {
        name: KEY_HEADER,
        carried_by: "publications to channels",
        meaning: "what the message is the newest value of, where the channel keeps the newest of several (`delivery = \"latest\"`)",
    },
    HeaderRow {
        name: DISTINCT_HEADER,
        carried_by: "publications to channels",
        meaning: "what the message says: in a channel with `distinct = true` it is kept back if the one before it said the same",
    },
    HeaderRow {
        name: ID_HEADER,
        carried_by: "publications to channels",
        meaning: "the publisher's name of the message, of up to 256 bytes: a channel takes one of each name within two minutes",
    },
    HeaderRow {
        name: TIMEOUT_HEADER,
        carried_by: "questions to clients",
        meaning: "how long an answer is waited for, in milliseconds",
    },
    HeaderRow {
        name: ACK_HEADER,
        carried_by: "messages to connections and users",
        meaning: "`<seconds>` or `<seconds>, <times>`: for how long, and how many times at most, it is sent until a client \
                  acknowledges it",
    },
    HeaderRow {
        name: CONN_HEADER,
        carried_by: "whatever comes from a client or is about one",
        meaning: "the connection, as in `tg.conn.<id>`",
    },
    HeaderRow { name: USER_HEADER, carried_by: "the same, and requests", meaning: "the user, as in `tg.user.<user>`" },
    HeaderRow {
        name: USER_NAME_HEADER,
        carried_by: "the same, and requests",
        meaning: "the user, as the application writes the name",
    },
    HeaderRow {
        name: INFO_HEADER,
        carried_by: "publications over the client protocol; joins and leaves",
        meaning: "the claim `info` of the client's token, as JSON",
    },
    HeaderRow {
        name: KIND_HEADER,
        carried_by: "messages to services",
        meaning: "`open`, `message`, `close`, `rpc` or `request`",
    },
    HeaderRow {
        name: ROUTE_HEADER,
        carried_by: "messages to services",
        meaning: "the path of the client's route, as in the configuration",
    },
    HeaderRow {
        name: METHOD_HEADER,
        carried_by: "messages to services",
        meaning: "of the call (`rpc`), or of HTTP (`request`)",
    },
    HeaderRow {
        name: REQUEST_HEADER,
        carried_by: "requests and their results",
        meaning: "the request, as in `tg.request.<id>`",
    },
    HeaderRow {
        name: PATH_HEADER,
        carried_by: "requests",
        meaning: "the path of the URL, as the client has written it",
    },
    HeaderRow { name: QUERY_HEADER, carried_by: "requests", meaning: "the query of the URL, if there is one" },
    HeaderRow {
        name: CHANNEL_HEADER,
        carried_by: "requests",
        meaning: "the channel on which the result will be published",
    },
    HeaderRow {
        name: ATTEMPT_HEADER,
        carried_by: "requests, from the second time on",
        meaning: "how many workers have been given the request, this one included",
    },
    HeaderRow {
        name: STATUS_HEADER,
        carried_by: "answers of workers to requests; results",
        meaning: "of a result `done`, `failed` or `expired`; an answer that says anything but `done` is a failure",
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
