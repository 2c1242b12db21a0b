//! Containers, time and counters that every floor above uses. Nothing here knows what a socket or a protocol is.

pub mod address;
pub mod batch;
pub mod carry;
pub mod conn_id;
pub mod counters;
pub mod fold;
mod joined;
pub mod key;
pub mod loads;
mod name_table;
pub mod node;
pub mod request_id;
mod route_id;
pub mod shrink;
pub mod tallies;
pub mod tick;
pub mod wheel;

pub use address::{Address, Place};
pub use batch::Batch;
pub use carry::Carry;
pub use conn_id::ConnId;
pub use fold::{Fold, LeftOut};
pub use joined::joined;
pub use key::{Key, Slots};
pub use loads::Loads;
pub use name_table::NameTable;
pub use node::NodeId;
pub use request_id::RequestId;
pub use route_id::RouteId;
pub use shrink::shrink;
pub use tallies::{Acquired, Tallies, Tally, TallyKey};
pub use tick::{CoarseTick, Tick};
pub use wheel::Wheel;
