//! `tidegate demo`: the gateway, a page to look at, and workers in this process.

pub mod rides;
pub mod route;
