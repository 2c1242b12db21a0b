//! The servers that are watched: a task for each, which hears of its addresses, probes them, and tells the shards what has
//! changed.

use std::net::SocketAddr;
use std::sync::Arc;

use log::{info, warn};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::OutboundNews;
use super::judgement::Judgement;
use super::names::{self, Lookup};
use super::probes::probe;
use super::wire::Aim;
use crate::base::{Fold, Remote};
use crate::driver::clock::Clock;
use crate::mesh::upstreams::{FailedCheck, UpstreamMail};
use crate::proto::tls::client::ServersTls;
use crate::proto::upstream::{ServerAddress, ServerId, UpstreamId, UpstreamRule, UpstreamServer};

/// The parts that all tasks share.
#[derive(Clone)]
pub(super) struct Common {
    pub tell: mpsc::Sender<OutboundNews>,
    pub fold: Arc<Fold>,
    pub clock: Clock,
    /// The probes that may go on at once.
    pub probes: Arc<Semaphore>,
}

/// The servers of an upstream that are watched.
pub(super) fn count(rule: &UpstreamRule) -> usize {
    rule.servers.iter().filter(|server| is_watched(rule, server)).count()
}

fn is_watched(rule: &UpstreamRule, server: &UpstreamServer) -> bool {
    server.is_named() || rule.health.is_some()
}

/// Starts the tasks. Each keeps a copy of `beginning` until its name has been looked up once.
pub(super) fn start(
    upstreams: &[UpstreamRule],
    tls: &[Option<ServersTls>],
    common: &Common,
    beginning: &mpsc::Sender<()>,
) {
    for (rule, upstream) in upstreams.iter().zip(0..).filter(|(rule, _)| count(rule) > 0) {
        let rule = Arc::new(rule.clone());
        // With sessions of its own: shards do not wait for it.
        let tls = tls.get(usize::from(upstream)).and_then(Option::as_ref).map(ServersTls::apart);
        for (index, server) in (0u8..).zip(&rule.servers).filter(|(_, server)| is_watched(&rule, server)) {
            let id = ServerId { upstream: UpstreamId(upstream), server: index };
            let watched = Watched::new(id, rule.clone(), tls.clone(), common.clone());
            let (outcomes, lookups) = watch::channel(None);
            match &server.at {
                ServerAddress::Named(name) => {
                    tokio::spawn(names::follow(name.clone(), rule.resolve, outcomes, beginning.clone()));
                    tokio::spawn(watched.run(Some(lookups), Some(beginning.clone())));
                }
                ServerAddress::Fixed(_) => drop(tokio::spawn(watched.run(None, None))),
            }
        }
    }
}

struct Watched {
    id: ServerId,
    rule: Arc<UpstreamRule>,
    tls: Option<ServersTls>,
    common: Common,
    targets: Vec<WatchedAddress>,
    /// The last news of the shards: addresses of a name, and whether the server is up.
    told: (Arc<[SocketAddr]>, bool),
}

/// One address of the server.
struct WatchedAddress {
    aim: Aim,
    verdict: Judgement,
}

impl WatchedAddress {
    fn address(&self) -> Option<SocketAddr> {
        match self.aim.to {
            Remote::Tcp(address) => Some(address),
            Remote::Unix(_) => None,
        }
    }
}

impl Watched {
    fn new(id: ServerId, rule: Arc<UpstreamRule>, tls: Option<ServersTls>, common: Common) -> Watched {
        let mut watched = Watched { id, rule, tls, common, targets: Vec::new(), told: ([].into(), true) };
        if let ServerAddress::Fixed(remote) = &watched.server().at {
            let remote = remote.clone();
            watched.targets.push(watched.target(remote));
        }
        watched
    }

    fn server(&self) -> &UpstreamServer {
        &self.rule.servers[usize::from(self.id.server)]
    }

    fn target(&self, to: Remote) -> WatchedAddress {
        let from = self.rule.source(&to, 0);
        let name = self.tls.as_ref().and_then(|tls| tls.names.get(usize::from(self.id.server)));
        let tls = self.tls.as_ref().zip(name).map(|(tls, name)| (tls.config.clone(), name.clone()));
        WatchedAddress { aim: Aim { to, from, host: self.server().host().into(), tls }, verdict: Judgement::new() }
    }

    /// Until nothing takes its letters.
    async fn run(mut self, mut lookups: Option<watch::Receiver<Option<Lookup>>>, beginning: Option<mpsc::Sender<()>>) {
        let mut beginning = beginning;
        let mut probes = self.rule.health.as_ref().map(|health| {
            let mut probes = interval(health.interval);
            probes.set_missed_tick_behavior(MissedTickBehavior::Delay);
            probes
        });
        loop {
            let is_over = tokio::select! {
                biased;
                outcome = next_lookup(&mut lookups) => match outcome {
                    Some(outcome) => {
                        let is_over = self.looked_up(outcome).await;
                        beginning.take();
                        is_over
                    }
                    None => Err(Gone),
                },
                () = next_probe(&mut probes) => self.probe_all().await,
            };
            if is_over.is_err() {
                return;
            }
        }
    }

    async fn looked_up(&mut self, outcome: Lookup) -> Result<(), Gone> {
        let (name, text) = (&self.rule.name, &self.server().text);
        let found = match outcome {
            Ok(found) => found,
            Err(error) => {
                if let Some(folded) = self.common.fold.say(&("lookup", &**name, &**text), self.common.clock.now()) {
                    let rest = if self.targets.is_empty() { "it has no address" } else { "its last addresses stay" };
                    warn!("the server {text} of the upstream {name:?} cannot be looked up, {rest}: {error}{folded}");
                }
                return self.say(UpstreamMail::Failed { server: self.id, check: FailedCheck::Lookup }).await;
            }
        };
        if !self.targets.iter().filter_map(WatchedAddress::address).eq(found.iter().copied()) {
            let list: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
            if let Some(folded) = self.common.fold.say(&("addresses", &**name, &**text), self.common.clock.now()) {
                info!("the server {text} of the upstream {name:?} is at {}{folded}", list.join(", "));
            }
            let mut known = std::mem::take(&mut self.targets);
            for address in found.iter() {
                let at = known.iter().position(|target| target.address() == Some(*address));
                let target = at.map_or_else(|| self.target(Remote::Tcp(*address)), |at| known.swap_remove(at));
                self.targets.push(target);
            }
        }
        self.tell().await
    }

    /// Probes each address, all at the same time as far as others leave room.
    async fn probe_all(&mut self) -> Result<(), Gone> {
        let Some(health) = &self.rule.health else { return Ok(()) };
        let mut outcomes = JoinSet::new();
        for (index, target) in self.targets.iter().enumerate() {
            let (aim, rule, room) = (target.aim.clone(), self.rule.clone(), self.common.probes.clone());
            outcomes.spawn(async move {
                let _place = room.acquire().await;
                let outcome = match &rule.health {
                    Some(health) => probe(&aim, health).await,
                    None => Ok(()),
                };
                (index, outcome)
            });
        }
        let mut has_failed = false;
        while let Some(joined) = outcomes.join_next().await {
            let Ok((index, outcome)) = joined else { continue };
            has_failed |= outcome.is_err();
            let has_changed = self.targets[index].verdict.weigh(outcome.is_ok(), health);
            if has_changed {
                self.log_verdict(index, outcome.err());
            }
        }
        if has_failed {
            self.say(UpstreamMail::Failed { server: self.id, check: FailedCheck::Probe }).await?;
        }
        self.tell().await
    }

    fn log_verdict(&self, index: usize, failure: Option<String>) {
        let (name, text, target) = (&self.rule.name, &self.server().text, &self.targets[index]);
        let key = ("health", &**name, &**text, target.address(), failure.is_some());
        let Some(folded) = self.common.fold.say(&key, self.common.clock.now()) else { return };
        let address = match target.address().filter(|_| self.server().is_named()) {
            Some(address) => format!(" at {}", address.ip()),
            None => String::new(),
        };
        match failure {
            Some(words) => {
                warn!("the server {text} of the upstream {name:?}{address} is down, its probes fail: {words}{folded}");
            }
            None => info!("the server {text} of the upstream {name:?}{address} is up again{folded}"),
        }
    }

    /// Tells the shards what they do not know yet. A name is up as long as one of its addresses is, and those that are down
    /// are left out until all are.
    async fn tell(&mut self) -> Result<(), Gone> {
        let is_up = self.targets.is_empty() || self.targets.iter().any(|target| target.verdict.is_up());
        if self.server().is_named() {
            let usable = self.targets.iter().filter(|target| target.verdict.is_up() || !is_up);
            let usable: Arc<[SocketAddr]> = usable.filter_map(WatchedAddress::address).collect();
            if usable != self.told.0 {
                self.told.0 = usable.clone();
                self.say(UpstreamMail::Found { server: self.id, addresses: usable }).await?;
            }
        }
        if is_up != self.told.1 {
            self.told.1 = is_up;
            self.say(UpstreamMail::Probed { server: self.id, is_up }).await?;
        }
        Ok(())
    }

    /// Waits while the shards have no room for letters.
    async fn say(&self, mail: UpstreamMail) -> Result<(), Gone> {
        self.common.tell.send(OutboundNews::Servers(mail)).await.map_err(|_| Gone)
    }
}

/// The thread is about to end: it takes no news.
struct Gone;

/// `None`: there will be none. Of a server with a fixed address there never is one.
async fn next_lookup(lookups: &mut Option<watch::Receiver<Option<Lookup>>>) -> Option<Lookup> {
    let Some(lookups) = lookups else { return std::future::pending().await };
    lookups.changed().await.ok()?;
    lookups.borrow_and_update().clone()
}

async fn next_probe(probes: &mut Option<Interval>) {
    match probes {
        Some(probes) => drop(probes.tick().await),
        None => std::future::pending().await,
    }
}
