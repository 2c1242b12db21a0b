//! Fuzzes request heads and the bodies after them.

#![no_main]

#[path = "../checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::at_splits(bytes, checks::http_head::check));
