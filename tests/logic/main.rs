//! Parts of the gateway, each alone: no gateway runs here.
//!
//! A test of `drivers` takes a table of descriptors for its thread, and with it copies of all sockets that this process has open:
//! they would outlive their close. So nothing else here opens a socket in the table of the process.

#[path = "../fuzz/checks/mod.rs"]
mod checks;
mod config;
mod corpus;
mod drivers;
mod http;
mod instructions;
mod tuning;
