//! Fuzzes the record layer of TLS 1.3 with records that are authentic, and some that are not.

#![no_main]

#[path = "../checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::at_splits(bytes, checks::tls_record::check));
