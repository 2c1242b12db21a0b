//! The structure of the code, measured, with bounds on the figures that tend to grow unnoticed.
//!
//! ```text
//!  source     every file of src, parsed: functions, methods by type, fields, names of types, imports
//!   '-- measures   the figures of the whole           cargo test --test house -- --nocapture figures
//!   '-- bounds     figures that may not grow, each with the reason for the bound
//!  floors     imports look down
//!  library    what a program compiles that embeds the gateway
//! ```

mod bounds;
mod floors;
mod library;
mod measures;
mod source;
