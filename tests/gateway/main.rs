//! A whole gateway in this process, on real sockets, on both drivers: what each kind of peer gets for what it sends.

mod front;
mod support;
