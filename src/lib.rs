//! Tidegate: an edge gateway for connections that stay open.
//!
//! It terminates TLS, upgrades WebSockets, frames Server-Sent Events, and carries messages between many clients and a
//! handful of backend workers that speak the NATS client protocol.
//!
//! ```text
//!  floor 5   gateway                     the process: configuration, threads, drain
//!  floor 4   shard  worker  outbound     one core's loop  |  in-process workers  |  names and health of servers
//!  floor 3   mesh                        mail between threads
//!  floor 2   conn     hub                one connection   |  subscriptions and channels
//!  floor 1   proto    driver             bytes <-> meaning (pure)  |  kernel <-> completions
//!  floor 0   base     limits             containers, time, counters  |  every bound and its reason
//! ```
//!
//! Imports look down, never up and never sideways; `tests/house` holds that. `docs/ARCHITECTURE.md` is the long form.
//!
//! The command line (`src/cli`) is a part of the program `tidegate`, not of this library: what only it needs is behind the
//! features `cli` and `jemalloc`, which are on unless a program that embeds the gateway says `default-features = false`.
//!
//! A program that embeds the gateway uses [`gateway`] and [`worker`]; everything public in these two has documentation
//! (`missing_docs`). The other public modules are public for the command line, the tests and the benchmarks. An item that says `pub`
//! can be reached from outside (`unreachable_pub`): of all others the compiler finds those that have no use left.
#![warn(unreachable_pub)]

pub mod base;
pub mod conn;
pub mod driver;
pub mod gateway;
mod hub;
pub mod limits;
pub mod mesh;
mod outbound;
pub mod proto;
pub mod shard;
pub mod worker;
