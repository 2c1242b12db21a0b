//! Questions of the process to the network, for itself and not for a client: the addresses of servers' names, whether servers
//! are well, the keys that issuers publish, and what the application allows its clients. One thread beside the shards, with the
//! runtime of tokio; no byte of a client passes it.
//!
//! ```text
//!  names: lookup_host, again and again --addresses--.
//!                                                   v
//!  watch: a task for each server that needs one --UpstreamMail--> Post --> every shard (`shard::features::proxy`)
//!                                                   ^
//!  probes: GET path, again and again ---judgement---'                     the gateway --DrainMail::Begin--> it ends
//!
//!  keys: a task for each issuer --KeyMail::Fetched--> every shard (`shard::features::key_sets`) --Fetch--> it fetches sooner
//!
//!  deciders: a few tasks for each --Decided--> the shard that has asked (`shard::features::asking`) --DecisionMail::Ask--> its queue
//! ```
//!
//! - `names`      a lookup that fails changes nothing: the last addresses stay
//! - `probes`     one request and the head of its answer
//! - `judgement`  how many of them in a row it takes until a server is down, or up again
//! - `watch`      the servers, each with its addresses
//! - `keys`       key sets
//! - `deciders`   what the application allows its clients, where a URL is asked
//! - `wire`       one request of the thread itself; `answer`: what is said to it
//!
//! Everything here is bounded: tasks by the servers of the configuration, lookups and probes at once, and letters: while
//! a shard's mailbox is full, no further news is taken from the tasks, and they wait.

mod answer;
mod deciders;
mod judgement;
mod keys;
mod names;
mod probes;
mod watch;
mod wire;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time;

use crate::base::{DecisionId, Fold, Place};
use crate::conn::decisions::DecisionOutcome;
use crate::conn::route::AuthId;
use crate::driver::Waker;
use crate::driver::clock::Clock;
use crate::limits::{BACKLOG_RETRY, LOOKUPS_AT_ONCE, OUTBOUND_NEWS_MAX, PROBES_AT_ONCE};
use crate::mesh::decisions::DecisionMail;
use crate::mesh::drain::DrainMail;
use crate::mesh::keys::KeyMail;
use crate::mesh::upstreams::UpstreamMail;
use crate::mesh::{Lane, Mail, Mailbox, Mesh, Post};
use crate::proto::authorize::RightAnswer;
use crate::proto::permission::DeciderId;
use crate::proto::tls::client::ServersTls;
use crate::proto::upstream::UpstreamRule;

use deciders::DeciderQueue;
pub(crate) use deciders::{DeciderSource, reach_once};
pub(crate) use keys::{KeySource, fetch_once};

/// The parts of the thread.
pub(crate) struct OutboundParts {
    pub place: Place,
    pub mesh: Mesh,
    pub mailbox: Mailbox,
    pub waker: Waker,
    /// By id.
    pub upstreams: Box<[UpstreamRule]>,
    /// The same; may be shorter.
    pub upstreams_tls: Box<[Option<ServersTls>]>,
    pub sources: OutboundSources,
    pub fold: Arc<Fold>,
    pub clock: Clock,
}

/// The sources of the thread besides upstreams.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutboundSources {
    /// Issuers that publish their keys.
    pub keys: Vec<KeySource>,
    pub deciders: Vec<DeciderSource>,
}

/// Whether the servers of a configuration, or these sources, need the thread.
pub(crate) fn is_needed(upstreams: &[UpstreamRule], sources: &OutboundSources) -> bool {
    watched(upstreams) + sources.keys.len() + sources.deciders.len() > 0
}

/// The servers that it watches.
pub(crate) fn watched(upstreams: &[UpstreamRule]) -> usize {
    upstreams.iter().map(watch::count).sum()
}

/// The thread's loop. See the module's picture.
pub(crate) struct Outbound {
    runtime: Runtime,
    parts: OutboundParts,
}

impl Outbound {
    /// Opens the runtime's descriptors in the table of the thread that calls.
    pub(crate) fn new(parts: OutboundParts) -> io::Result<Outbound> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .thread_name("lookup")
            .max_blocking_threads(LOOKUPS_AT_ONCE)
            .build()?;
        Ok(Outbound { runtime, parts })
    }

    /// Runs until the gateway tells it to end. `has_begun` hears when each name has been looked up once.
    pub(crate) fn run(self, has_begun: Sender<()>) -> io::Result<()> {
        let Outbound { runtime, parts } = self;
        let outcome = runtime.block_on(serve(parts, has_begun));
        // A lookup that is under way cannot be stopped, and nothing waits for it.
        runtime.shutdown_background();
        outcome
    }
}

async fn serve(parts: OutboundParts, has_begun: Sender<()>) -> io::Result<()> {
    let OutboundParts { place, mesh, mailbox, waker, upstreams, upstreams_tls, sources, fold, clock } = parts;
    let woken = waker.awaited()?;
    let mut post = Post::new(mesh, place);
    let (tell, mut news) = mpsc::channel(OUTBOUND_NEWS_MAX);
    // Each task has a copy until it has begun.
    let (beginning, mut begun) = mpsc::channel::<()>(1);
    let common = watch::Common { tell, fold, clock, probes: Arc::new(Semaphore::new(PROBES_AT_ONCE)) };
    watch::start(&upstreams, &upstreams_tls, &common, &beginning);
    let wanted = follow_keys(sources.keys, &common, &beginning);
    let deciders: Vec<DeciderQueue> =
        sources.deciders.into_iter().map(|source| DeciderQueue::start(source, &common)).collect();
    drop(beginning);
    let mut has_begun = Some(has_begun);
    loop {
        let is_stuck = post.backlog() > 0;
        tokio::select! {
            ready = woken.readable() => {
                ready?.clear_ready();
                if is_told_to_end(&waker, &mailbox, &wanted, |decider, id, document| {
                    let queue = deciders.iter().find(|queue| queue.decider == decider);
                    if let Some(Err(full)) = queue.map(|queue| queue.push(id, document)) {
                        post.push(id.place, Mail::Decisions(full));
                    }
                }) {
                    return Ok(());
                }
            }
            piece = news.recv(), if !is_stuck => piece.into_iter().for_each(|piece| tell_shards(&mut post, piece)),
            _ = begun.recv(), if has_begun.is_some() && !is_stuck => {
                while let Ok(piece) = news.try_recv() {
                    tell_shards(&mut post, piece);
                }
                post.flush();
                // The gateway may have given up waiting.
                let _ = has_begun.take().map(|has_begun| has_begun.send(()));
            }
            () = time::sleep(BACKLOG_RETRY), if is_stuck => {}
        }
        post.flush();
    }
}

/// News of a task.
enum OutboundNews {
    Servers(UpstreamMail),
    Keys(KeyMail),
    /// For the shard that has asked.
    Decided(DecisionId, Result<RightAnswer, DecisionOutcome>),
}

/// By auth: wakes the task of its issuer.
type WantedKeys = Vec<(AuthId, Arc<Notify>)>;

fn follow_keys(sources: Vec<KeySource>, common: &watch::Common, beginning: &mpsc::Sender<()>) -> WantedKeys {
    let start = |source: KeySource| {
        let (auth, wanted) = (source.auth, Arc::new(Notify::new()));
        tokio::spawn(keys::follow(source, common.clone(), wanted.clone(), beginning.clone()));
        (auth, wanted)
    };
    sources.into_iter().map(start).collect()
}

/// Takes all letters.
fn is_told_to_end(
    waker: &Waker,
    mailbox: &Mailbox,
    wanted: &WantedKeys,
    mut ask: impl FnMut(DeciderId, DecisionId, Box<str>),
) -> bool {
    waker.take();
    let letters = || [Lane::Tell, Lane::Ask].into_iter().find_map(|lane| mailbox.take(lane));
    for mail in std::iter::from_fn(letters) {
        match mail {
            Mail::Drain(DrainMail::Begin) => return true,
            // However many shards ask before the task looks, it is woken once.
            Mail::Keys(KeyMail::Fetch { auth }) => {
                wanted.iter().filter(|(own, _)| *own == auth).for_each(|(_, wanted)| wanted.notify_one());
            }
            Mail::Decisions(DecisionMail::Ask { id, decider, document }) => ask(decider, id, document),
            _ => {}
        }
    }
    false
}

/// Failures of servers are counted once for the process; the rest concerns each shard.
fn tell_shards(post: &mut Post, news: OutboundNews) {
    match news {
        OutboundNews::Servers(mail @ UpstreamMail::Failed { .. }) => post.push(Place(0), Mail::Upstreams(mail)),
        OutboundNews::Servers(mail) => post.push_all(|| Mail::Upstreams(mail.clone())),
        OutboundNews::Decided(id, answer) => {
            post.push(id.place, Mail::Decisions(DecisionMail::Decided { id, answer }));
        }
        OutboundNews::Keys(mail) => post.push_all(|| Mail::Keys(mail.clone())),
    }
}

/// A part of it, drawn evenly.
fn within(time: Duration, draw: u64) -> Duration {
    time.mul_f64(draw as f64 / u64::MAX as f64)
}
