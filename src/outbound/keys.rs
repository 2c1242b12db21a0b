//! The key set that an issuer publishes: fetched again and again, and when a token names a key that is not known.
//!
//! ```text
//!  GET url --200, within the bounds--> KeySet --Fetched--> every shard         next: as long as Cache-Control says, within bounds
//!     |                                                                        or sooner, when a shard asks
//!     '--anything else: FetchFault --Fetched--> the old keys hold              next: soon, then later and later
//! ```
//!
//! The configuration alone says where to: nothing of a token goes into a request, and no redirect is followed.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use log::{info, warn};
use tokio::runtime::Builder;
use tokio::sync::{Notify, mpsc};
use tokio::time::{self, Instant};

use super::answer::WholeAnswer;
use super::names::look_up;
use super::watch::Common;
use super::wire::{Aim, converse};
use super::{OutboundNews, within};
use crate::base::{Remote, mix};
use crate::conn::published::PublishedKeys;
use crate::conn::route::AuthId;
use crate::limits::{
    KEY_ASKS_APART, KEY_CONNECT_TIMEOUT, KEY_FETCH_TIMEOUT, KEY_RETRY_FIRST, KEY_RETRY_MAX, KEY_SET_BYTES_MAX,
    KEYS_KEPT_MAX, KEYS_KEPT_MIN,
};
use crate::mesh::keys::{FetchFault, KeyMail};
use crate::proto::http::AnswerHead;
use crate::proto::tls::client::ServersTls;
use crate::proto::token::{Algorithms, KeySet};
use crate::proto::upstream::{ServerAddress, UpstreamServer};

/// An issuer that publishes its keys.
#[derive(Clone, Debug)]
pub(crate) struct KeySource {
    pub auth: AuthId,
    /// Of the auth, for the log.
    pub name: Box<str>,
    pub url: Box<str>,
    pub server: UpstreamServer,
    pub path: Box<str>,
    /// For the server alone; `None`: in clear.
    pub tls: Option<ServersTls>,
    pub allowed: Algorithms,
}

/// The outcome of a fetch that has failed.
#[derive(Debug, PartialEq)]
struct Failure(FetchFault, String);

impl From<String> for Failure {
    fn from(words: String) -> Failure {
        Failure(FetchFault::Unreachable, words)
    }
}

/// Fetches until nothing takes the news. `wanted`: a shard asks. Keeps `beginning` until the first fetch has ended.
pub(super) async fn follow(source: KeySource, common: Common, wanted: Arc<Notify>, beginning: mpsc::Sender<()>) {
    let (mut beginning, mut failures) = (Some(beginning), 0);
    loop {
        let outcome = fetch_in_time(&source).await;
        tell(&source, &common, &outcome, failures > 0);
        let ended = Instant::now();
        let draw = mix(common.clock.now().micros() ^ u64::from(source.auth.0) << 48);
        let (keys, pause) = match outcome {
            Ok((set, kept)) => {
                failures = 0;
                let fetched_s = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_secs());
                (Ok(PublishedKeys { set: set.into(), fetched_s }), kept)
            }
            Err(Failure(fault, _)) => {
                failures += 1;
                (Err(fault), retry_after(failures))
            }
        };
        let mail = KeyMail::Fetched { auth: source.auth, keys };
        if common.tell.send(OutboundNews::Keys(mail)).await.is_err() {
            return;
        }
        beginning.take();
        tokio::select! {
            () = time::sleep(apart(pause, draw)) => {}
            // The next one that it asks for is not before its time, whatever shards do.
            () = wanted.notified() => time::sleep_until(ended + KEY_ASKS_APART).await,
        }
    }
}

/// Fetches each key set once, one after the other: how many keys it has, or a clause about the reason. The error is this machine's.
pub(crate) fn fetch_once(sources: &[KeySource]) -> io::Result<Vec<Result<usize, String>>> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let fetched = sources.iter().map(|source| {
        let outcome = runtime.block_on(fetch_in_time(source));
        outcome.map(|(set, _)| set.len()).map_err(|Failure(_, words)| words)
    });
    let fetched = fetched.collect();
    // A lookup that is under way cannot be stopped, and nothing waits for it.
    runtime.shutdown_background();
    Ok(fetched)
}

async fn fetch_in_time(source: &KeySource) -> Result<(KeySet, Duration), Failure> {
    time::timeout(KEY_FETCH_TIMEOUT, fetch(source)).await.unwrap_or_else(|_| {
        let words = format!("it has not answered within {} s", KEY_FETCH_TIMEOUT.as_secs());
        Err(Failure(FetchFault::TooSlow, words))
    })
}

/// A quarter less at most: gateways that were started together ask at other times.
fn apart(pause: Duration, draw: u64) -> Duration {
    pause - within(pause / 4, draw)
}

fn retry_after(failures: u32) -> Duration {
    KEY_RETRY_FIRST.saturating_mul(1 << (failures - 1).min(16)).min(KEY_RETRY_MAX)
}

fn tell(source: &KeySource, common: &Common, outcome: &Result<(KeySet, Duration), Failure>, had_failed: bool) {
    let KeySource { name, url, .. } = source;
    match outcome {
        Ok((set, _)) => {
            if let Some(remark) = set.remark()
                && let Some(folded) = common.fold.say(&("keys", &**name, &remark), common.clock.now())
            {
                warn!("auth {name:?}: of the keys at {url}, {remark}{folded}");
            }
            if had_failed {
                info!("auth {name:?}: the keys at {url} are fetched again");
            }
        }
        Err(Failure(fault, words)) => {
            if let Some(folded) = common.fold.say(&("keys", &**name, fault.word()), common.clock.now()) {
                warn!(
                    "auth {name:?}: the keys at {url} cannot be fetched, those from before hold for a while: {words}{folded}"
                );
            }
        }
    }
}

/// The set, and how long to keep it.
async fn fetch(source: &KeySource) -> Result<(KeySet, Duration), Failure> {
    let addresses: Arc<[Remote]> = match &source.server.at {
        ServerAddress::Fixed(remote) => [remote.clone()].into(),
        ServerAddress::Named(name) => {
            let found = look_up(name).await.map_err(|error| error.to_string())?;
            found.iter().copied().map(Remote::Tcp).collect()
        }
    };
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tidegate\r\nAccept: application/json\r\nConnection: close\r\n\r\n",
        source.path,
        source.server.host()
    );
    let tls = source.tls.as_ref().and_then(|tls| Some((tls.config.clone(), tls.names.first()?.clone())));
    let mut failure = Failure(FetchFault::Unreachable, "it has no address".to_owned());
    for to in addresses.iter() {
        let aim = Aim { to: to.clone(), from: None, host: source.server.host().into(), tls: tls.clone() };
        let mut answer = KeyAnswer::new(KEY_SET_BYTES_MAX);
        let talk = converse(&aim, &request, |heard, has_ended| hear(&mut answer, heard, has_ended));
        let kept = match time::timeout(KEY_CONNECT_TIMEOUT, talk).await {
            Ok(Ok(kept)) => kept,
            // Another address may be reached.
            Ok(Err(unreachable @ Failure(FetchFault::Unreachable, _))) => {
                failure = unreachable;
                continue;
            }
            Ok(Err(failure)) => return Err(failure),
            Err(_) => {
                failure = Failure(FetchFault::TooSlow, "it takes too long".to_owned());
                continue;
            }
        };
        let set = KeySet::read(answer.content(), source.allowed);
        return set
            .map(|set| (set, kept))
            .map_err(|words| Failure(FetchFault::Unreadable, format!("what it says {words}")));
    }
    Err(failure)
}

type KeyAnswer = WholeAnswer<Duration>;

/// Takes what has arrived. Returns how long the answer may be kept, once it is whole.
fn hear(answer: &mut KeyAnswer, heard: &mut Vec<u8>, has_ended: bool) -> Result<Option<Duration>, Failure> {
    let judge = |head: &AnswerHead<'_>| match head.status {
        200 => Ok(kept_for(head)),
        status => Err(Failure(FetchFault::Status, format!("it has answered with status {status}"))),
    };
    answer.hear(heard, has_ended, judge, |words| Failure(FetchFault::Unreadable, words.to_owned()))
}

/// How long the set is kept (RFC 9111 section 4.2): `max-age` without the age that a cache has counted, within bounds.
fn kept_for(head: &AnswerHead<'_>) -> Duration {
    let seconds = |text: &str| text.trim().trim_matches('"').parse::<u32>().ok();
    let directive = |element: &str| {
        let (name, value) = element.split_once('=')?;
        name.trim().eq_ignore_ascii_case("max-age").then(|| seconds(value))?
    };
    let max_age = head.elements("cache-control").find_map(directive).unwrap_or(0);
    let age = head.header("age").and_then(seconds).unwrap_or(0);
    Duration::from_secs(max_age.saturating_sub(age).into()).clamp(KEYS_KEPT_MIN, KEYS_KEPT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcome of an answer whose bytes arrive in pieces of this size.
    fn heard(answer: &str, piece: usize) -> Result<(Option<Duration>, usize), Failure> {
        let (mut own, mut heard) = (KeyAnswer::new(KEY_SET_BYTES_MAX), Vec::new());
        for bytes in answer.as_bytes().chunks(piece) {
            heard.extend_from_slice(bytes);
            if let Some(kept) = hear(&mut own, &mut heard, false)? {
                return Ok((Some(kept), own.content().len()));
            }
        }
        let kept = hear(&mut own, &mut heard, true)?;
        Ok((kept, own.content().len()))
    }

    fn with(fields: &str) -> String {
        format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
    }

    #[test]
    fn a_set_is_kept_as_long_as_its_answer_says_within_bounds() {
        let hour = Duration::from_secs(3_600);
        for (fields, kept) in [
            ("", KEYS_KEPT_MIN),
            ("Cache-Control: max-age=3600\r\n", hour),
            ("Cache-Control: public, Max-Age=\"3600\"\r\n", hour),
            ("Cache-Control: s-maxage=9, max-age=4000\r\nAge: 400\r\n", hour),
            ("Cache-Control: max-age=4000\r\nAge: 9000\r\n", KEYS_KEPT_MIN),
            ("Cache-Control: max-age=1\r\n", KEYS_KEPT_MIN),
            ("Cache-Control: no-store\r\n", KEYS_KEPT_MIN),
            ("Cache-Control: max-age=4294967295\r\n", KEYS_KEPT_MAX),
            ("Cache-Control: max-age=99999999999\r\n", KEYS_KEPT_MIN),
        ] {
            let answer = with(&format!("{fields}Content-Length: 2\r\n")) + "{}";
            for piece in [1, 7, 1_000] {
                assert_eq!(heard(&answer, piece), Ok((Some(kept), 2)), "{fields}");
            }
        }
    }

    #[test]
    fn an_answer_is_whole_in_each_framing_and_bounded_in_each() {
        let chunked = with("Transfer-Encoding: chunked\r\n") + "2\r\n{}\r\n0\r\n\r\n";
        let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".to_owned() + &with("Content-Length: 2\r\n") + "{}";
        for answer in [chunked, interim, with("") + "{}"] {
            assert_eq!(heard(&answer, 3), Ok((Some(KEYS_KEPT_MIN), 2)), "{answer}");
        }
        assert_eq!(heard(&(with("Content-Length: 3\r\n") + "{}"), 9), Ok((None, 2)), "it is cut");
        let long = "x".repeat(KEY_SET_BYTES_MAX + 1);
        for answer in [
            with(&format!("Content-Length: {}\r\n", long.len())),
            with("") + &long,
            with("Transfer-Encoding: chunked\r\n") + &format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len()),
            "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100),
            "SSH-2.0-OpenSSH\r\n".to_owned(),
        ] {
            let fault = heard(&answer, 4_000).unwrap_err().0;
            let is_endless = answer.starts_with("HTTP/1.1 103");
            assert_eq!(fault, if is_endless { FetchFault::Status } else { FetchFault::Unreadable }, "{answer:.60}");
        }
        let moved = "HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\n\r\n";
        assert_eq!(heard(moved, 9).unwrap_err().0, FetchFault::Status);
    }

    #[test]
    fn failures_are_followed_by_longer_and_longer_pauses() {
        let pauses: Vec<u64> = (1..=12).map(|failures| retry_after(failures).as_secs()).collect();
        assert_eq!(pauses[..4], [1, 2, 4, 8]);
        assert_eq!((pauses[11], retry_after(u32::MAX)), (KEY_RETRY_MAX.as_secs(), KEY_RETRY_MAX));
        let minute = Duration::from_secs(60);
        for draw in 0..100 {
            let pause = apart(minute, mix(draw));
            assert!(pause <= minute && pause >= minute * 3 / 4, "{pause:?}");
        }
    }
}
