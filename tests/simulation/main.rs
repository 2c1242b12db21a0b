//! Whole gateways in memory, with clients of every kind, in virtual time and with seeded faults.
//!
//! ```text
//!  seeds, sweep                     many seeds, one seed
//!    '-- life: Scenario              who comes, what they do, how it ends; after every turn what was heard is
//!         |                          held to what was said
//!         |-- Stage: Gateway         time; shards on the simulator's drivers
//!         |-- Ledger, Ear            what was said; what each subscription heard
//!         '-- Room Me Stream Traveller Worker Poster
//!              |
//!  WebSocket  EventStream  Bus       small step machines: poll, then look at what was received
//!       \          |        /
//!        '------- Line ----'         bytes to be said, bytes heard, how it ended
//!                  |
//!               [ Tls ]              rustls as a client, and what it does out of turn (Deed); in some lines
//!                  |
//!              Endpoint              the simulator's
//! ```
//!
//! `requests` (with `jobs`), `questions`, `unacked` and `presence` have scenarios of their own: accepted requests,
//! their workers and those who wait for the results; questions to clients, and how they end; messages that clients
//! acknowledge, or do not; who comes and goes, and who watches. Questions and messages have one `cast`. `recovery` has
//! clients of the client protocol that come back, `slow` has readers of every delivery. `answers` are plays without
//! chance: what a client with TLS does in the middle of a message, and what it gets. `edge` has servers behind the gateway, and
//! proxied requests, tunnels and event streams to them; `decisions` has an application that is asked what clients may do. All of them are plays on a
//! `stage`, and all that depend on chance are swept over seeds. `fleet` has two gateways in one world, `nodes` two whose ids
//! name them.
//!
//! The clients share no code with the gateway: they are written from the RFCs, so that a mistake in a core is not
//! mirrored here. They panic when the other side breaks its protocol.

mod answers;
mod bus;
mod cast;
mod client;
mod clients;
mod decisions;
mod deed;
mod ear;
mod edge;
mod fleet;
mod gateway;
mod http;
mod jobs;
mod ledger;
mod life;
mod line;
mod nodes;
mod poster;
mod presence;
mod questions;
mod reader;
mod recovery;
mod requests;
mod scenario;
mod script;
mod seeds;
mod slow;
mod sse;
mod stage;
mod sweep;
mod tally;
mod tls;
mod traveller;
mod trust;
mod unacked;
mod websocket;
mod worker;
