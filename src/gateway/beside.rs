//! The thread beside the shards, where the configuration needs one: names and health of servers, and keys of issuers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use log::{error, warn};

use super::StartError;
use crate::limits::{KEYS_WAIT_AT_START, LOOKUP_WAIT_AT_START};
use crate::outbound::{Outbound, OutboundParts};

/// Starts it, and waits a moment until each name has been looked up, and each key set fetched. SHARED BEFORE UNSHARED: after the shards, so that none has
/// copies of its descriptors.
pub(super) fn start(parts: OutboundParts, failures: Sender<String>) -> Result<JoinHandle<()>, StartError> {
    let no = |error| StartError(format!("the thread for names and probes did not start: {error}"));
    let (begun, has_begun) = bounded(1);
    let (patience, awaited) = match parts.sources.keys.is_empty() {
        true => (LOOKUP_WAIT_AT_START, "names of servers have been looked up"),
        false => (KEYS_WAIT_AT_START, "names of servers have been looked up and keys of issuers fetched"),
    };
    let run = move || {
        // An error there is the machine's or ours. Requests go on with what is known.
        let failure = match catch_unwind(AssertUnwindSafe(|| Outbound::new(parts)?.run(begun))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("the thread for names and probes failed: {error}"),
            Err(_) => "the thread for names and probes panicked".to_owned(),
        };
        error!("{failure}");
        let _ = failures.send(failure);
    };
    let thread = std::thread::Builder::new().name("outbound".to_owned()).spawn(run).map_err(no)?;
    if has_begun.recv_timeout(patience).is_err() {
        warn!("not all {awaited} yet; requests that need them get 503 until then");
    }
    Ok(thread)
}
