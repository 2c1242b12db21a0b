//! What is counted: the operations that a busy gateway executes for each frame, record and delivery.
//!
//! - `parse`  bytes to meaning and back: pure functions of `proto`
//! - `tls`    the record layer
//! - `edge`   requests to a server, and proofs
//! - `turn`   whole turns of a shard, from received bytes to the batch that is sent

mod edge;
mod parse;
mod tls;
mod turn;

/// Calls before the count begins: pools are filled, tables have grown, code that runs once has run.
const CALLS_BEFORE: usize = 8;
/// Calls that are counted; their mean is the figure.
const CALLS_COUNTED: usize = 32;
/// All of them, for operations that use up what is prepared for them.
const CALLS: usize = CALLS_BEFORE + CALLS_COUNTED;

/// Bytes of a message everywhere here, as in the benchmark of the fan-out.
const PAYLOAD_BYTES: usize = 200;

/// One line of the table.
pub struct Operation {
    pub name: &'static str,
    /// What the count is of, in words.
    pub what: &'static str,
    /// How many of that one call does.
    pub each: u64,
    /// Everything that is not counted; what comes back is one call.
    prepare: fn() -> Box<dyn FnMut()>,
}

pub const OPERATIONS: &[Operation] = &[
    Operation { name: "unmask", what: "1 KiB", each: 1, prepare: parse::unmask },
    Operation { name: "websocket-frame", what: "a masked text frame of 200 B", each: 1, prepare: parse::frame },
    Operation { name: "http-upgrade", what: "the head of a browser's upgrade", each: 1, prepare: parse::upgrade },
    Operation { name: "bus-pub", what: "a PUB of 200 B", each: 1, prepare: parse::publish },
    Operation { name: "sse-record", what: "an event of 200 B with id and name", each: 1, prepare: parse::record },
    Operation { name: "tls-seal", what: "a record of 200 B", each: 1, prepare: tls::seal },
    Operation { name: "tls-open", what: "a record of 200 B", each: 1, prepare: tls::open },
    Operation { name: "turn", what: "a turn in which nothing happens", each: 1, prepare: turn::nothing },
    Operation { name: "fanout", what: "a delivery, of a PUB to 1,000", each: turn::PLAIN, prepare: turn::fanout },
    Operation { name: "fanout-tls", what: "a delivery, of a PUB to 100", each: turn::TLS, prepare: turn::fanout_tls },
    Operation { name: "dispatch", what: "a client's frame to its worker", each: 1, prepare: turn::dispatch },
    Operation { name: "answer", what: "a worker's message to a client", each: 1, prepare: turn::answer },
    Operation { name: "echo", what: "a client's frame to its own room, and back", each: 1, prepare: turn::echo },
    Operation { name: "connection", what: "upgrade, subscribe, close", each: 1, prepare: turn::connection },
    Operation {
        name: "connection-limited",
        what: "the same, with a limit for its address",
        each: 1,
        prepare: turn::connection_limited,
    },
    Operation { name: "proxied", what: "a GET to a server, and 1 KiB back", each: 1, prepare: edge::proxied },
    Operation {
        name: "proxied-logged",
        what: "the same, with a line in the access log",
        each: 1,
        prepare: edge::proxied_logged,
    },
    Operation {
        name: "proxied-unread",
        what: "the same, with a token that is not read",
        each: 1,
        prepare: edge::proxied_unread,
    },
    Operation {
        name: "proxied-token",
        what: "the same, with a token seen before",
        each: 1,
        prepare: edge::proxied_token,
    },
    Operation { name: "signature", what: "a check of an ES256 signature", each: 1, prepare: edge::signature },
    Operation { name: "token", what: "a check of an ES256 token not seen before", each: 1, prepare: edge::token },
];

impl Operation {
    pub fn find(name: &str) -> Option<&'static Operation> {
        OPERATIONS.iter().find(|operation| operation.name == name)
    }

    /// How many of what is counted [`Operation::run`] does.
    pub fn count(&self) -> u64 {
        CALLS_COUNTED as u64 * self.each
    }

    pub fn run(&self) {
        let mut call = (self.prepare)();
        (0..CALLS_BEFORE).for_each(|_| call());
        counted_calls(&mut *call);
    }
}

/// What valgrind counts, with all that is called from here; it knows this function by its name ([`COUNTED`]).
#[inline(never)]
fn counted_calls(call: &mut dyn FnMut()) {
    (0..CALLS_COUNTED).for_each(|_| call());
}

/// A pattern for the name of [`counted_calls`], which no other function of the program has in its own.
pub const COUNTED: &str = "*counted_calls*";

/// The payload: letters, so that it is valid UTF-8 and needs no second line in an event stream.
fn payload() -> Vec<u8> {
    (0..PAYLOAD_BYTES).map(|index| b'a' + (index % 26) as u8).collect()
}
