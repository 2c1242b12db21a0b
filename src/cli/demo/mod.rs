//! `tidegate demo`: the gateway, a page to look at, and workers in this process.

pub mod page;
pub mod rides;
pub mod route;
