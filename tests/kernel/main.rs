//! The program `tidegate` and the kernel: limits on descriptors, system calls that fail, memory that is not shown.
//!
//! ```text
//! descriptors, faults, memory     side by side    [`shared`]
//! capacity                        30,000 sockets, alone   [`alone`]
//! ```

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

#[path = "../process/addresses.rs"]
mod addresses;
mod capacity;
#[path = "../process/command.rs"]
mod command;
mod descriptors;
mod faults;
mod memory;

/// The box: its ports, its memory and its cores.
static BOX: RwLock<()> = RwLock::new(());

/// Held by a test beside which others of its kind may run.
fn shared() -> RwLockReadGuard<'static, ()> {
    BOX.read().unwrap_or_else(PoisonError::into_inner)
}

/// Held by a test that takes the box for itself.
fn alone() -> RwLockWriteGuard<'static, ()> {
    BOX.write().unwrap_or_else(PoisonError::into_inner)
}
