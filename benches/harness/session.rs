//! A process and its load, and what both take while something goes on.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::cpu;
use crate::load::{Clients, Crew, Front, Outcome, Pace};
use crate::process::{Process, Setup};
use crate::progress::Progress;
use crate::report::Figure;

/// Dropped from the top: clients leave before their server ends.
pub struct Session {
    pub crew: Crew,
    pub process: Process,
    pub front: Front,
}

/// What both ends took.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    pub process: Duration,
    pub load: Duration,
}

impl Session {
    /// With so many threads of the load.
    pub fn start(hands: usize, setup: &Setup<'_>, tls: Option<&Arc<ClientConfig>>) -> Result<Session, String> {
        let crew = Crew::start(hands)?;
        let process = Process::start(setup)?;
        let front = Front::new(&process, tls)?;
        Ok(Session { crew, process, front })
    }

    /// What `body` comes to, and what it took.
    pub fn spend<T>(&self, body: impl FnOnce(&Crew) -> Result<T, String>) -> Result<(T, Spent), String> {
        let (process, load) = (self.process.cpu()?, cpu::own()?);
        let outcome = body(&self.crew)?;
        let spent =
            Spent { process: self.process.cpu()?.saturating_sub(process), load: cpu::own()?.saturating_sub(load) };
        Ok((outcome, spent))
    }

    /// One phase of traffic.
    pub fn run(
        &self,
        clients: Clients,
        pace: Pace,
        duration: Duration,
        progress: &mut Progress,
    ) -> Result<(Outcome, Spent), String> {
        self.spend(|crew| crew.run(&[clients], pace, duration, progress))
    }
}

/// What is told of every phase with deliveries.
pub fn figures(outcome: &Outcome, spent: Spent) -> Vec<Figure> {
    let (tally, seconds) = (&outcome.tally, outcome.elapsed.as_secs_f64());
    let millions = tally.deliveries as f64 / 1e6;
    // What never came counts as lost too, although no later message shows it.
    let missing = outcome.expected.saturating_sub(tally.deliveries);
    vec![
        ("deliveries_per_s", tally.deliveries as f64 / seconds),
        ("lost", missing.max(tally.lost) as f64),
        ("closed", tally.closed as f64),
        ("p50_ms", tally.latency_ms(0.5)),
        ("p90_ms", tally.latency_ms(0.9)),
        ("p99_ms", tally.latency_ms(0.99)),
        ("p999_ms", tally.latency_ms(0.999)),
        ("max_ms", tally.latency_ms(1.0)),
        ("cpu_s_per_million", spent.process.as_secs_f64() / millions),
        ("load_cpu_s_per_million", spent.load.as_secs_f64() / millions),
        ("cpu_cores", spent.process.as_secs_f64() / seconds),
        ("load_cpu_cores", spent.load.as_secs_f64() / seconds),
    ]
}
