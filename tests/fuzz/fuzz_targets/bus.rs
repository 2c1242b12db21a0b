//! Fuzzes the verbs of the bus, their headers and options.

#![no_main]

#[path = "../checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::at_splits(bytes, checks::bus::check));
