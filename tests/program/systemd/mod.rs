//! `tidegate serve` as systemd runs it: sockets handed over, readiness, signs of life, the units themselves.

mod activation;
mod notify;
mod service;
mod units;
