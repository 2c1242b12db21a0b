//! HTTP/1.1 (RFC 9110, RFC 9112): as a server, bytes to heads and bodies, replies to bytes; as a proxy, heads to heads.
//!
//! ```text
//! input --> next_head --> Head ---> split_path, query_parameter     what is asked for
//!    |         |           |------> websocket_key                   may it become a WebSocket?
//!    |         |           |------> TraceContext                    which trace does it belong to?
//!    |         |           |------> reply_to                        what of it shapes the answer
//!    |         |           '------> Forwarded                       whose request is it, if a trusted proxy sends it?
//!    |         |-- Ok(None): the caller keeps the rest in carry
//!    |         '-- Err: Glimpse                                     whose page may read why?
//!    '-----> Body::next --> Data, Data, .. End                      then the next head of the pipeline
//!
//! input --> next_answer --> AnswerHead                              an upstream's, with a body of the same kind
//! Head --> write_check --> out                                   the question whether its client is let in
//! Head --> canonical_path, write_request --> out    AnswerHead --> write_answer, write_interim --> out
//!
//! Reply, Refusal, event_stream, switching_protocols, preflight --> out: &mut Vec<u8>
//! Streaming: what follows the head of a stream, in chunks or not
//! ```
//!
//! - A head borrows from the input: the caller copies the parts that outlive the turn, [`ReplyTo`] by value.
//! - **Input that two implementations could read differently is refused**, and the connection closed: requests can be
//!   smuggled past a gateway that guesses (RFC 9112 section 11.2).
//! - Nothing here knows routes, deadlines or sockets. Bounds come from [`crate::limits`].

mod answer;
mod authority;
mod body;
mod canonical;
mod check;
mod chunk;
mod credentials;
mod fields;
mod forward;
mod forwarded;
mod framed;
mod glimpse;
mod head;
mod origin;
mod page_access;
mod reply;
mod target;
mod trace;
mod upgrade;

pub use answer::{AnswerHead, next_answer};
pub use authority::{Authority, Host};
pub use body::{Body, BodyStep, Framing};
pub use canonical::canonical_path;
pub use check::{CheckFields, sent_fields, write_check};
pub use chunk::Streaming;
pub use credentials::ForwardedCredentials;
pub use fields::{Field, HeadFields, is_hop_by_hop};
pub use forward::{
    OwnFields, insert_host, is_looping, may_be_sent, may_be_told, write_answer, write_interim, write_request,
    write_switched,
};
pub use forwarded::{Forwarded, ForwardedHeader, TrustedProxies};
pub use framed::Framed;
pub use glimpse::Glimpse;
pub use head::{Head, next_head, request_line};
pub use origin::Origin;
pub use page_access::PageAccess;
pub use reply::{Cors, Refusal, Reply, ReplyTo, event_stream, go_on, preflight, switching_protocols};
pub use target::{normalized, query_masked, query_parameter, query_without, split_path, unescaped};
pub use trace::{TRACE_FIELD, TraceContext, TraceText};
pub use upgrade::{accepts_events, is_switched, wants_websocket, websocket_key};
