//! `tidegate serve` as systemd runs it: sockets handed over, readiness, signs of life.

mod activation;
mod notify;
mod service;
