//! Fuzzes the configuration, from a file and from the environment.

#![no_main]

#[path = "../checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::config::check(bytes, &[]));
