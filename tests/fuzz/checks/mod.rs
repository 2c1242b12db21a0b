//! What must hold for any bytes: one check per fuzz target, run by the fuzzer and by `tests/logic/corpus.rs` alike.
//!
//! ```text
//! bytes --> at_splits --> check(bytes, cuts)    whole, byte by byte, at random cuts
//!                             '--> pieces(bytes, cuts) --> the parser, the rest kept in a carry
//! ```
//!
//! A check panics when the parser breaks a promise. A new one is a file here, a row in [`TARGETS`], a binary in
//! `Cargo.toml` and a folder of seeds in `corpus/`.

// Each fuzz target uses the one check that it is named for.
#![allow(dead_code)]

pub mod bus;
pub mod centrifuge;
pub mod config;
pub mod control;
pub mod engine_entry;
pub mod http_answer;
pub mod http_head;
pub mod proxy_header;
pub mod sse;
pub mod tls_record;
pub mod websocket;

/// Panics unless the parser keeps its promises for `bytes` when they arrive in pieces that end at `cuts`.
pub type Check = fn(bytes: &[u8], cuts: &[usize]);

/// All checks, by the name of their target and corpus.
pub const TARGETS: &[(&str, Check)] = &[
    ("bus", bus::check),
    ("centrifuge", centrifuge::check),
    ("config", config::check),
    ("control", control::check),
    ("engine_entry", engine_entry::check),
    ("http_answer", http_answer::check),
    ("http_head", http_head::check),
    ("proxy_header", proxy_header::check),
    ("sse", sse::check),
    ("tls_record", tls_record::check),
    ("websocket", websocket::check),
];

/// Inputs that are longer than this are not fed byte by byte: parsers may look at a piece again with each byte.
const BYTE_BY_BYTE_MAX: usize = 2048;
const RANDOM_SPLITS: u64 = 4;

/// Runs a check on the bytes whole, byte by byte, and at some cuts that depend on nothing but the bytes.
pub fn at_splits(bytes: &[u8], check: Check) {
    check(bytes, &[]);
    if bytes.len() <= BYTE_BY_BYTE_MAX {
        check(bytes, &(1..bytes.len()).collect::<Vec<_>>());
    }
    let mut random = 0x9e37_79b9_7f4a_7c15 ^ bytes.len() as u64;
    for mean_pieces in (1..=RANDOM_SPLITS).map(|split| 1 << (2 * split)) {
        let is_cut = |_: &usize| {
            // xorshift64 (Marsaglia 2003).
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bytes.len() as u64 <= mean_pieces
        };
        check(bytes, &(1..bytes.len()).filter(is_cut).collect::<Vec<_>>());
    }
}

/// The pieces of `bytes` that end at each of the ascending `cuts`, and what follows the last.
pub fn pieces<'a>(bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([bytes.len()]);
    starts.zip(ends).map(|(start, end)| &bytes[start..end])
}
