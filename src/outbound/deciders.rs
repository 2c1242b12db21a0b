//! Parts of the application that decide about clients, by URL: a few connections to each, which stay open.
//!
//! ```text
//!  a shard --DecisionMail::Ask--> queue of the decider --> one of its connections --POST document--> 200 {"allow":true}, or 403
//!     ^                              '-- full: Busy               '-- no answer in time, or none that can be read
//!     '--------------------------------- Decided ---------------------'
//! ```

use std::sync::Arc;
use std::time::Duration;

use log::warn;
use tokio::runtime::Builder;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{self, Instant};

use super::OutboundNews;
use super::answer::WholeAnswer;
use super::names::look_up;
use super::watch::Common;
use super::wire::{Aim, Wire};
use crate::base::{DecisionId, Remote};
use crate::conn::decisions::DecisionOutcome;
use crate::limits::{DECIDER_CONNECTIONS, DECISION_BYTES_MAX, DECISIONS_OPEN_MAX};
use crate::mesh::decisions::DecisionMail;
use crate::proto::authorize::RightAnswer;
use crate::proto::http::AnswerHead;
use crate::proto::permission::DeciderId;
use crate::proto::tls::client::ServersTls;
use crate::proto::upstream::{ServerAddress, UpstreamServer};

/// A decider that is asked by URL.
#[derive(Clone, Debug)]
pub(crate) struct DeciderSource {
    pub decider: DeciderId,
    /// For the log.
    pub url: Box<str>,
    pub server: UpstreamServer,
    pub path: Box<str>,
    /// For the server alone; `None`: in clear.
    pub tls: Option<ServersTls>,
    /// From the question to its answer.
    pub timeout: Duration,
}

/// A decision that a shard waits for.
struct AskedDecision {
    id: DecisionId,
    document: Box<str>,
    until: Instant,
}

type WaitingDecisions = Arc<Mutex<mpsc::Receiver<AskedDecision>>>;

/// Why there is no answer, with a clause about the server.
#[derive(Debug)]
struct NoDecision(DecisionOutcome, String);

impl From<String> for NoDecision {
    fn from(words: String) -> NoDecision {
        NoDecision(DecisionOutcome::Unreachable, words)
    }
}

/// The queue of one decider.
pub(super) struct DeciderQueue {
    pub decider: DeciderId,
    timeout: Duration,
    queue: mpsc::Sender<AskedDecision>,
}

impl DeciderQueue {
    /// Starts the tasks that empty it.
    pub(super) fn start(source: DeciderSource, common: &Common) -> DeciderQueue {
        let (queue, waiting) = mpsc::channel(DECISIONS_OPEN_MAX);
        let (decider, timeout) = (source.decider, source.timeout);
        let (source, waiting) = (Arc::new(source), Arc::new(Mutex::new(waiting)));
        for _ in 0..DECIDER_CONNECTIONS {
            tokio::spawn(serve(source.clone(), common.clone(), waiting.clone()));
        }
        DeciderQueue { decider, timeout, queue }
    }

    /// Returns the letter for the shard if there is no room.
    pub(super) fn push(&self, id: DecisionId, document: Box<str>) -> Result<(), DecisionMail> {
        let asked = AskedDecision { id, document, until: Instant::now() + self.timeout };
        self.queue.try_send(asked).map_err(|_| DecisionMail::Decided { id, answer: Err(DecisionOutcome::Busy) })
    }
}

/// Asks one after the other, until nothing takes the news.
async fn serve(source: Arc<DeciderSource>, common: Common, waiting: WaitingDecisions) {
    let mut kept = None;
    loop {
        let Some(AskedDecision { id, document, until }) = waiting.lock().await.recv().await else { return };
        let in_time = time::timeout_at(until, ask(&source, &mut kept, &document)).await;
        let answer = in_time.unwrap_or_else(|_| {
            let words = format!("it has not answered within {} ms", source.timeout.as_millis());
            Err(NoDecision(DecisionOutcome::TooSlow, words))
        });
        let answer = answer.map_err(|NoDecision(outcome, words)| {
            let url = &source.url;
            if let Some(left_out) = common.fold.say(&("decider", &**url, outcome.word()), common.clock.now()) {
                warn!("permissions that ask {url}: nothing is decided: {words}{left_out}");
            }
            outcome
        });
        if common.tell.send(OutboundNews::Decided(id, answer)).await.is_err() {
            return;
        }
    }
}

/// Asks over the connection that is kept, or over a new one.
async fn ask(source: &DeciderSource, kept: &mut Option<Wire>, document: &str) -> Result<RightAnswer, NoDecision> {
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tidegate\r\nAccept: application/json\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{document}",
        source.path,
        source.server.host(),
        document.len()
    );
    if let Some(wire) = kept.take() {
        match exchange(wire, &request, kept).await {
            // The server has closed it, perhaps before the request came: to ask twice does no harm.
            Err(NoDecision(DecisionOutcome::Unreachable, _)) => {}
            outcome => return outcome,
        }
    }
    exchange(connect(source).await?, &request, kept).await
}

/// Connects once, in the time that an answer may take. The error is a clause.
pub(crate) fn reach_once(source: &DeciderSource) -> Result<(), String> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build().map_err(|error| error.to_string())?;
    let outcome = runtime.block_on(async { time::timeout(source.timeout, connect(source)).await });
    // A lookup that is under way cannot be stopped, and nothing waits for it.
    runtime.shutdown_background();
    let late = |_| Err(format!("it has not answered within {} ms", source.timeout.as_millis()));
    outcome.unwrap_or_else(late).map(drop)
}

/// The first of its addresses that can be reached.
async fn connect(source: &DeciderSource) -> Result<Wire, String> {
    let addresses: Vec<Remote> = match &source.server.at {
        ServerAddress::Fixed(remote) => vec![remote.clone()],
        ServerAddress::Named(name) => {
            let found = look_up(name).await.map_err(|error| error.to_string())?;
            found.iter().copied().map(Remote::Tcp).collect()
        }
    };
    let tls = source.tls.as_ref().and_then(|tls| Some((tls.config.clone(), tls.names.first()?.clone())));
    let mut failure = "it has no address".to_owned();
    for to in addresses {
        let aim = Aim { to, from: None, host: source.server.host().into(), tls: tls.clone() };
        match Wire::open(&aim).await {
            Ok(wire) => return Ok(wire),
            Err(words) => failure = words,
        }
    }
    Err(failure)
}

/// One request. The connection is kept if another may follow.
async fn exchange(mut wire: Wire, request: &str, kept: &mut Option<Wire>) -> Result<RightAnswer, NoDecision> {
    const NO_ANSWER: &str = "its answer is no {\"allow\":true} or {\"allow\":false}";
    let unreadable = |words: &str| NoDecision(DecisionOutcome::Unreadable, words.to_owned());
    let judge = |head: &AnswerHead<'_>| match head.status {
        200 | 403 => Ok((head.status == 200, head.keep_alive)),
        status => Err(unreadable(&format!("it has answered with status {status}"))),
    };
    let mut answer = WholeAnswer::new(DECISION_BYTES_MAX);
    let (has_document, keep_alive) =
        wire.ask(request, |heard, has_ended| answer.hear(heard, has_ended, judge, unreadable)).await?;
    if keep_alive && wire.is_clean() {
        *kept = Some(wire);
    }
    match has_document {
        true => RightAnswer::read(answer.content()).ok_or_else(|| unreadable(NO_ANSWER)),
        false => Ok(RightAnswer { is_allowed: false, kept: None }),
    }
}
