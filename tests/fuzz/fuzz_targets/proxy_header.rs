//! Fuzzes the PROXY headers of load balancers.

#![no_main]

#[path = "../checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::at_splits(bytes, checks::proxy_header::check));
