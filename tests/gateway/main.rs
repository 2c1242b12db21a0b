//! A whole gateway in this process, on real sockets, on both drivers: what each kind of peer gets for what it sends, byte by byte
//! and through the clients that applications use (`autobahn`, `centrifuge`, `nats`, `workers`).

mod addresses;
mod admin;
mod autobahn;
mod bus;
mod centrifuge;
#[path = "../process/certificate.rs"]
mod certificate;
mod doors;
mod events;
mod front;
mod hostile;
mod hosts;
mod liveness;
mod nats;
mod origins;
mod paths;
mod peers;
mod records;
mod requests;
mod service;
mod streams;
mod support;
mod tls;
mod users;
mod workers;
