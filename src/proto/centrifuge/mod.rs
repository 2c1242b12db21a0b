//! Centrifugo's client protocol in its JSON form: commands of a client in, replies and pushes out.
//!
//! ```text
//!  text frame:  {"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"room.1"}}     commands, a line each
//!               {"id":1,"connect":{"client":"…","ping":25,"pong":true}}              a reply has its command's id
//!               {"push":{"channel":"room.1","pub":{"data":…,"offset":7}}}            a push has none
//!               {}                                                                   ping one way, pong the other
//! ```
//!
//! After `client.proto` of <https://github.com/centrifugal/protocol> and <https://centrifugal.dev/docs/server/codes>.
//! Fields for features that this gateway lacks (deltas, filters, compaction) are skipped, as by any server without
//! them.

pub mod code;
mod command;
mod json;
mod push;
mod reply;

pub use code::{Code, Disconnect, Unsubscribed, disconnect};
pub use command::{
    Command, ConnectRequest, HistoryRequest, Request, StreamPosition, SubscribeRequest, Text, count, line_len,
    read_command,
};
pub use json::{Data, is_json};
pub use push::{
    ClientInfo, write_change, write_message, write_own_message, write_publication, write_subscribe, write_unsubscribe,
};
pub use reply::{
    ConnectResult, Expiry, HistoryResult, Nothing, PresenceResult, PresenceStats, Publication, RefreshResult,
    ReplyBody, ReplyError, RpcResult, ServerSubscriptions, SubscribeResult, write_reply,
};

/// The subprotocol that clients may offer.
pub const SUBPROTOCOL: &str = "centrifuge-json";
/// The ping to the client, and the client's pong.
pub const PING: &[u8] = b"{}";
