//! The project itself: the structure of its code, what its pages say, and what its tests need.
//!
//! ```text
//!  source     every file of src, parsed: functions, methods by type, fields, names of types, imports
//!   '-- measures   the figures of the whole           cargo test --test house -- --nocapture figures
//!   '-- bounds     figures that may not grow, each with the reason for the bound
//!  floors     imports look down
//!  names      the gateway's own names are spelled in one place
//!  documents  what the pages say is true
//!  tools      what the tests start is installed by their script
//!  library    what a program compiles that embeds the gateway
//! ```

mod bounds;
mod documents;
mod floors;
mod library;
mod measures;
mod names;
mod source;
mod tools;
