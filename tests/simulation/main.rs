//! Whole conversations in memory: clients of every kind over the simulator's connections.
//!
//! ```text
//!  WebSocket  EventStream  Bus       small step machines: poll, then look at what was received
//!       \          |        /
//!        '------- Line ----'         bytes to be said, bytes heard, how it ended
//!                  |
//!              Endpoint              the simulator's
//! ```
//!
//! The clients share no code with the gateway: they are written from the RFCs, so that a mistake in a core is not
//! mirrored here. They panic when the other side breaks its protocol.

mod bus;

mod http;
mod line;
mod script;
mod sse;
mod websocket;
