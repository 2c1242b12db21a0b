//! A whole gateway in this process, on real sockets, on both drivers: what each kind of peer gets for what it sends.

mod addresses;
mod admin;
mod bus;
mod doors;
mod events;
mod front;
mod hostile;
mod hosts;
mod liveness;
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
