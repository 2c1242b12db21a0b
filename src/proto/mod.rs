//! Bytes and their meaning. Pure: bytes, time and randomness are arguments, and there is no I/O.
//!
//! ```text
//!  tls      records  <-> plaintext         http   heads, bodies, replies, upgrade decision
//!  ws       frames   <-> messages          sse    messages -> event stream records
//!  bus      the NATS client protocol       event  one message, encoded once per framing
//!  subject  names and patterns             close  why a connection ends: the table
//!  channel  rules by pattern               replay   coming back: what is asked for, excerpts, gaps
//!  presence  the clients of a channel
//!  centrifuge  commands, replies, pushes   token  signed claims
//!  control  questions and answers         name   any name as one token of a subject
//!  user     one of the application's   reserved  names of the gateway's own
//!  networks  sets of IP addresses          proxy_header  a load balancer's word about its client
//!  pace     rates, in one number each     upstream  groups of servers, and what chooses one of them
//!  access   lines of the access log                 authorize  questions to the application about clients
//!  engine   what several gateways share, as asked and said
//! ```
//!
//! A parser takes one meaning off the front of its input and returns it; an incomplete one stays in the input.

// Bytes, time and randomness are arguments; clippy.toml lists the forbidden calls.
#![deny(clippy::disallowed_methods)]

pub mod access;
pub mod authorize;
pub mod bus;
pub mod centrifuge;
pub mod channel;
pub mod close;
pub mod control;
pub mod engine;
pub mod event;
pub mod http;
pub mod name;
pub mod networks;
pub mod pace;
pub mod permission;
pub mod presence;
pub mod proxy_header;
pub mod replay;
pub mod request;
pub mod reserved;
pub mod sse;
pub mod subject;
pub mod tls;
pub mod token;
pub mod upstream;
pub mod user;
pub mod ws;

pub use close::CloseReason;
