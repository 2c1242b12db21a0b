//! Fuzzes the entries of the engine.

#![no_main]

#[path = "../checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::at_splits(bytes, checks::engine_entry::check));
