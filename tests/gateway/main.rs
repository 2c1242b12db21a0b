//! A whole gateway in this process, on real sockets, on both drivers: what each kind of peer gets for what it sends, byte by byte
//! and through the clients that applications use (`autobahn`, `centrifuge`, `workers`).
//!
//! The shards of a gateway copy the descriptors of the thread that starts it. A test whose thread has a table of its own
//! ([`private_descriptor_table`](tidegate::driver::socket::private_descriptor_table)) has no client that stays open in another test's
//! gateway.

mod addresses;
mod admin;
mod autobahn;
mod bus;
mod centrifuge;
#[path = "../process/certificate.rs"]
mod certificate;
mod documented;
mod doors;
mod events;
mod foreign;
mod front;
mod hostile;
mod hosts;
mod hurried;
mod introduced;
mod liveness;
mod login;
mod openapi;
mod origins;
mod paths;
mod peers;
mod permissions;
#[path = "../process/ports.rs"]
mod ports;
mod proxied;
mod records;
mod requests;
mod service;
mod streams;
mod support;
mod tls;
mod trust;
mod under_load;
mod users;
mod workers;
