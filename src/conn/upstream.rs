//! The upstream's half of a proxied request: a client of HTTP/1.1 on one connection, one request at a time.
//!
//! ```text
//!  Dialling --connected--> Idle --asked--> Asking --head--> Answering --the body's end--> Idle      whole, framed, not a byte left
//!                           ^                | 103: Interim   | Part, Part ..          '-> Over     anything else: CLEAN REUSE
//!                           |                | 100, 102: nothing
//!                           |                | 101: Switched, to a request that asks for a WebSocket (`conn::tunnel`)
//!                           '-- a byte that no request asked for ends it
//! ```
//!
//! - **CLEAN REUSE**: a connection carries another request only if request and answer before it were whole and framed, and not a
//!   byte follows. Else the rest of one client's answer could be read as the answer to another one's request (RFC 9112
//!   section 11.1, response splitting).
//! - The half knows no client: the shard pairs it with one (`conn::proxying`), and moves the bytes.

use std::time::Duration;

use super::settings::Settings;
use crate::base::Key;
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::http::{AnswerHead, Body, BodyStep, is_switched, next_answer};
use crate::proto::upstream::ServerId;
use crate::proto::ws::handshake::Accept;

/// The half that speaks with a server.
pub struct Upstream {
    pub server: ServerId,
    /// The client's half; `None` if it is idle.
    pub partner: Option<Key>,
    pub(super) state: UpstreamState,
    /// Requests that it has carried, the one in hand included.
    pub served: u32,
    pub(super) waits: Waits,
    /// Interim answers to the request in hand.
    interim: u8,
    awaited: AwaitedAnswer,
    /// The whole request has been put into the outbox.
    pub(super) is_request_whole: bool,
    /// Its client takes nothing: the answer is not read.
    pub is_stopped: bool,
    /// It takes nothing more: the rest of the request is dropped, and what it says, or its end, is awaited.
    pub(super) is_deaf: bool,
}

pub(super) enum UpstreamState {
    /// The driver dials.
    Dialling,
    /// No request is in hand.
    Idle,
    /// A request goes out, or its answer is awaited.
    Asking,
    /// The rest of an answer follows; `keeps` is how long the server keeps the connection after it, if it does.
    Answering { body: Body, keeps: Option<Keeps> },
    /// The answer is over, and the connection of no use.
    Over,
}

/// The answer that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwaitedAnswer {
    Any,
    /// To `HEAD`.
    Bodiless,
    /// A WebSocket may be opened, with this answer to the client's key.
    WebSocket(Accept),
}

/// A server keeps the connection, for the time that it has announced, if it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeps(pub Option<Duration>);

/// A step of a server's answer.
pub enum UpstreamStep<'a> {
    /// `103 Early Hints`.
    Interim(Box<AnswerHead<'a>>),
    /// The head of the final answer.
    Answer(Box<AnswerHead<'a>>),
    /// A piece of its body.
    Part(&'a [u8]),
    /// A WebSocket is open: frames follow.
    Switched(Box<AnswerHead<'a>>),
    /// Its end. The connection is idle if it may carry another request.
    End(Option<Keeps>),
}

/// How far a request has come when its upstream's connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// No byte of the request was sent.
    Nowhere,
    /// The request, or a part of it, was sent, and nothing of the final answer has arrived; `is_reused`: others were carried before.
    NoAnswer { is_reused: bool },
    /// The answer is cut, or whole by the end of the connection.
    Answer { is_whole: bool },
}

impl Upstream {
    pub(super) fn dialled(server: ServerId, partner: Key) -> Upstream {
        Upstream {
            server,
            partner: Some(partner),
            state: UpstreamState::Dialling,
            waits: Waits::default(),
            served: 0,
            interim: 0,
            awaited: AwaitedAnswer::Any,
            is_request_whole: false,
            is_stopped: false,
            is_deaf: false,
        }
    }

    /// The driver has connected it.
    pub(super) fn connected(&mut self) {
        self.state = UpstreamState::Idle;
    }

    /// A request goes out on it; it must be idle.
    pub(super) fn ask(&mut self, partner: Key, awaited: AwaitedAnswer, waits: Waits) {
        debug_assert!(self.is_idle(), "one request at a time");
        (self.partner, self.waits) = (Some(partner), waits);
        self.state = UpstreamState::Asking;
        self.served += 1;
        (self.interim, self.awaited, self.is_request_whole) = (0, awaited, false);
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, UpstreamState::Idle)
    }

    /// Whether the end of an answer is still to be reported, because its last piece was a step of its own.
    pub(super) fn has_unread(&self) -> bool {
        matches!(&self.state, UpstreamState::Answering { body, .. } if body.is_over())
    }

    /// See [`Came`].
    pub fn came(&self, is_clean_end: bool) -> Came {
        match &self.state {
            UpstreamState::Dialling | UpstreamState::Idle => Came::Nowhere,
            UpstreamState::Asking => Came::NoAnswer { is_reused: self.served > 1 },
            UpstreamState::Answering { body, .. } => {
                Came::Answer { is_whole: is_clean_end && body.ends_with_connection() }
            }
            UpstreamState::Over => Came::Answer { is_whole: true },
        }
    }

    /// Takes what the server says off the front of `input`. `Ok(None)`: the rest is incomplete. After an error the connection must not
    /// be read further.
    pub(super) fn next<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<UpstreamStep<'a>>, CloseReason> {
        loop {
            match &mut self.state {
                // Bytes that no request has asked for would be the answer to the next one.
                UpstreamState::Idle if !input.is_empty() => return Err(CloseReason::UpstreamGarbage),
                UpstreamState::Dialling | UpstreamState::Idle => return Ok(None),
                UpstreamState::Over => {
                    *input = &mut [];
                    return Ok(None);
                }
                UpstreamState::Asking if input.is_empty() => return Ok(None),
                UpstreamState::Asking => {
                    let Some(head) = next_answer(input, matches!(self.awaited, AwaitedAnswer::Bodiless))? else {
                        return Ok(None);
                    };
                    if let Some(step) = self.answered(head)? {
                        return Ok(Some(step));
                    }
                }
                UpstreamState::Answering { body, keeps } => {
                    return match body.next(input).map_err(|_| CloseReason::UpstreamBroke)? {
                        BodyStep::Data(piece) => Ok(Some(UpstreamStep::Part(piece))),
                        BodyStep::NeedMore => Ok(None),
                        BodyStep::End => {
                            let keeps = keeps.filter(|_| self.is_request_whole && input.is_empty() && !self.is_deaf);
                            self.state = if keeps.is_some() { UpstreamState::Idle } else { UpstreamState::Over };
                            Ok(Some(UpstreamStep::End(keeps)))
                        }
                    };
                }
            }
        }
    }

    /// The head of an answer has arrived.
    fn answered<'a>(&mut self, head: AnswerHead<'a>) -> Result<Option<UpstreamStep<'a>>, CloseReason> {
        if head.is_interim() {
            self.interim += 1;
            if self.interim > limits::INTERIM_ANSWERS_MAX {
                return Err(CloseReason::UpstreamGarbage);
            }
            // The gateway itself answers `Expect`, and says nothing of 102.
            return Ok((head.status == 103).then(|| UpstreamStep::Interim(Box::new(head))));
        }
        if head.status == 101 {
            return match &self.awaited {
                AwaitedAnswer::WebSocket(accept) if self.is_request_whole && is_switched(&head, accept) => {
                    self.state = UpstreamState::Over;
                    Ok(Some(UpstreamStep::Switched(Box::new(head))))
                }
                // No request has asked for another protocol, or not for this WebSocket.
                _ => Err(CloseReason::UpstreamGarbage),
            };
        }
        let body = Body::new(head.body, u64::MAX).map_err(|_| CloseReason::UpstreamGarbage)?;
        let announced = head.keeps_alive_s().map(|seconds| Duration::from_secs(seconds.into()));
        let keeps = head.keep_alive.then_some(Keeps(announced));
        self.state = UpstreamState::Answering { body, keeps };
        Ok(Some(UpstreamStep::Answer(Box::new(head))))
    }

    /// Its deadline has come. `progress`: bytes that the server has taken of the batch in flight since the last look, if there is
    /// one. Returns the next time to wait.
    pub(super) fn on_deadline(
        &self,
        progress: Option<Option<u32>>,
        settings: &Settings,
    ) -> Result<Duration, CloseReason> {
        match &self.state {
            UpstreamState::Dialling => Err(CloseReason::UpstreamConnectTimeout),
            UpstreamState::Idle | UpstreamState::Over => Err(CloseReason::KeepAliveOver),
            UpstreamState::Asking if self.is_request_whole || progress == Some(Some(0)) => {
                Err(CloseReason::UpstreamTimeout)
            }
            // The client's body is on its way, and timed there.
            UpstreamState::Asking => Ok(settings.generation.send_timeout),
            // The client is to blame, and timed itself.
            UpstreamState::Answering { .. } if self.is_stopped => Ok(self.waits.idle),
            UpstreamState::Answering { .. } => Err(CloseReason::UpstreamBroke),
        }
    }
}

/// How long a route waits for an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// From the end of the request to the head of its answer.
    pub answer: Duration,
    /// Between two pieces of the answer.
    pub idle: Duration,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::upstream::UpstreamId;
    use crate::proto::ws::handshake::accept;

    const CLIENT: Key = Key { slot: 1, generation: 1 };
    const SERVER: ServerId = ServerId { upstream: UpstreamId(0), server: 0 };

    /// One that has been connected, and carries a request.
    fn asked_for(awaited: AwaitedAnswer, is_request_whole: bool) -> Upstream {
        let mut upstream = Upstream::dialled(SERVER, CLIENT);
        upstream.connected();
        upstream.ask(CLIENT, awaited, Waits::default());
        upstream.is_request_whole = is_request_whole;
        upstream
    }

    fn asked(is_to_head: bool, is_request_whole: bool) -> Upstream {
        let awaited = if is_to_head { AwaitedAnswer::Bodiless } else { AwaitedAnswer::Any };
        asked_for(awaited, is_request_whole)
    }

    /// What it says, in words, for bytes that arrive in pieces which end at `cuts`.
    fn says_at(upstream: &mut Upstream, bytes: &[u8], cuts: &[usize]) -> Vec<String> {
        let (mut said, mut carry, mut fed) = (Vec::new(), Vec::new(), 0);
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            carry.extend_from_slice(&bytes[fed..cut]);
            fed = cut;
            let mut input = &mut carry[..];
            while !input.is_empty() || upstream.has_unread() {
                match upstream.next(&mut input) {
                    Ok(None) => break,
                    Ok(Some(UpstreamStep::Interim(head))) => said.push(format!("interim {}", head.status)),
                    Ok(Some(UpstreamStep::Switched(head))) => said.push(format!("switched {}", head.status)),
                    Ok(Some(UpstreamStep::Answer(head))) => said.push(format!("answer {}", head.status)),
                    Ok(Some(UpstreamStep::Part(piece))) => {
                        let piece = String::from_utf8_lossy(piece);
                        match said.last_mut().filter(|last| last.starts_with("part ")) {
                            Some(last) => last.push_str(&piece),
                            None => said.push(format!("part {piece}")),
                        }
                    }
                    Ok(Some(UpstreamStep::End(keeps))) => {
                        said.push(if keeps.is_some() { "end, kept" } else { "end" }.to_owned());
                    }
                    Err(reason) => {
                        said.push(reason.name().to_owned());
                        return said;
                    }
                }
            }
            carry = input.to_vec();
        }
        said
    }

    fn says(answer: &str) -> Vec<String> {
        says_at(&mut asked(false, true), answer.as_bytes(), &[])
    }

    #[test]
    fn a_whole_answer_leaves_the_connection_for_another_request() {
        assert_eq!(
            says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            ["answer 200", "part hello", "end, kept"]
        );
        assert_eq!(
            says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n"),
            ["answer 200", "part hello", "end, kept"]
        );
        for bodiless in ["204 No Content", "304 Not Modified", "200 OK\r\nContent-Length: 0"] {
            let mut upstream = asked(false, true);
            let answer = format!("HTTP/1.1 {bodiless}\r\n\r\n");
            assert_eq!(says_at(&mut upstream, answer.as_bytes(), &[])[1..], ["end, kept"], "{bodiless}");
            assert!(upstream.is_idle());
        }
        let mut upstream = asked(true, true);
        let to_head = says_at(&mut upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", &[]);
        assert_eq!(to_head, ["answer 200", "end, kept"]);
    }

    #[test]
    fn a_connection_that_is_not_clean_is_not_used_again() {
        for (what, answer) in [
            ("it closes", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"),
            ("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
            ("more than announced", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!"),
            ("a second answer", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n"),
        ] {
            let mut upstream = asked(false, true);
            assert_eq!(says_at(&mut upstream, answer.as_bytes(), &[]), ["answer 200", "part hi", "end"], "{what}");
            assert!(!upstream.is_idle(), "{what}");
        }
        let early = says_at(&mut asked(false, false), b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n", &[]);
        assert_eq!(early, ["answer 413", "end"], "the request was not whole");
        let mut deaf = asked(false, true);
        deaf.is_deaf = true;
        assert_eq!(says_at(&mut deaf, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &[]), ["answer 200", "end"]);
    }

    #[test]
    fn a_byte_that_no_request_has_asked_for_ends_an_idle_connection() {
        let mut upstream = asked(false, true);
        says_at(&mut upstream, b"HTTP/1.1 204 No Content\r\n\r\n", &[]);
        assert_eq!(says_at(&mut upstream, b"H", &[]), ["upstream_garbage"]);
    }

    #[test]
    fn early_hints_are_passed_on_and_other_interim_answers_are_not() {
        let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n\
                      HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(says(answer), ["interim 103", "answer 200", "end, kept"]);
    }

    #[test]
    fn a_ninth_interim_answer_is_garbage() {
        let interim = |count| "HTTP/1.1 100 Continue\r\n\r\n".repeat(count);
        let eight = format!("{}HTTP/1.1 204 No Content\r\n\r\n", interim(limits::INTERIM_ANSWERS_MAX.into()));
        assert_eq!(says(&eight), ["answer 204", "end, kept"]);
        assert_eq!(says(&interim(usize::from(limits::INTERIM_ANSWERS_MAX) + 1)), ["upstream_garbage"]);
    }

    #[test]
    fn a_101_that_no_request_has_asked_for_is_garbage() {
        assert_eq!(says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"), ["upstream_garbage"]);
        assert_eq!(says(SWITCHED), ["upstream_garbage"]);
    }

    const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    #[test]
    fn a_101_opens_a_websocket_only_if_it_answers_the_key_of_a_whole_request() {
        let awaited = AwaitedAnswer::WebSocket(accept("dGhlIHNhbXBsZSBub25jZQ=="));
        let says = |answer: &str, is_whole| says_at(&mut asked_for(awaited, is_whole), answer.as_bytes(), &[]);
        assert_eq!(says(SWITCHED, true), ["switched 101"]);
        assert_eq!(says(SWITCHED, false), ["upstream_garbage"]);
        assert_eq!(says(&SWITCHED.replace("s3pP", "S3pP"), true), ["upstream_garbage"]);
        let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
        assert_eq!(says(refusal, true), ["answer 403", "part no", "end, kept"]);
    }

    #[test]
    fn a_body_that_breaks_its_framing_has_broken_off() {
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n";
        assert_eq!(says(answer), ["answer 200", "part hello", "upstream_broke"]);
    }

    #[test]
    fn the_end_of_the_connection_completes_only_a_body_that_lasts_until_then() {
        let came = |answer: &str, is_clean_end| {
            let mut upstream = asked(false, true);
            says_at(&mut upstream, answer.as_bytes(), &[]);
            upstream.came(is_clean_end)
        };
        let until_end = "HTTP/1.1 200 OK\r\n\r\nhello";
        assert_eq!(came(until_end, true), Came::Answer { is_whole: true });
        assert_eq!(came(until_end, false), Came::Answer { is_whole: false }, "a reset");
        assert_eq!(came("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", true), Came::Answer { is_whole: false });
        assert_eq!(came("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2", true), Came::NoAnswer { is_reused: false });
        let mut reused = asked(false, true);
        says_at(&mut reused, b"HTTP/1.1 204 No Content\r\n\r\n", &[]);
        reused.ask(CLIENT, AwaitedAnswer::Any, Waits::default());
        assert_eq!(reused.came(true), Came::NoAnswer { is_reused: true });
        assert_eq!(Upstream::dialled(SERVER, CLIENT).came(false), Came::Nowhere);
    }

    #[test]
    fn each_stage_has_its_deadline() {
        let settings = Settings::default();
        let mut upstream = Upstream::dialled(SERVER, CLIENT);
        assert_eq!(upstream.on_deadline(None, &settings), Err(CloseReason::UpstreamConnectTimeout));
        upstream.connected();
        assert_eq!(upstream.on_deadline(None, &settings), Err(CloseReason::KeepAliveOver));
        upstream.ask(CLIENT, AwaitedAnswer::Any, Waits::default());
        assert!(upstream.on_deadline(Some(Some(1)), &settings).is_ok(), "the body is being sent");
        assert_eq!(
            upstream.on_deadline(Some(Some(0)), &settings),
            Err(CloseReason::UpstreamTimeout),
            "it takes nothing"
        );
        upstream.is_request_whole = true;
        assert_eq!(upstream.on_deadline(None, &settings), Err(CloseReason::UpstreamTimeout));
        says_at(&mut upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nh", &[]);
        assert_eq!(upstream.on_deadline(None, &settings), Err(CloseReason::UpstreamBroke));
        upstream.is_stopped = true;
        assert!(upstream.on_deadline(None, &settings).is_ok(), "the client is to blame");
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_says_the_same(
            interim in 0..3_usize,
            head in prop::sample::select(vec![
                "200 OK\r\nContent-Length: 12\r\n",
                "200 OK\r\nTransfer-Encoding: chunked\r\n",
                "200 OK\r\n",
                "204 No\r\n",
                "101 Up\r\n",
                "200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
            ]),
            body in prop::sample::select(vec!["5\r\nhello\r\n0\r\n\r\n", "hello, world", "5\r\nhelloX", ""]),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let text = format!("{}HTTP/1.1 {head}\r\n{body}", "HTTP/1.1 103 Hi\r\n\r\n".repeat(interim)).into_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
            cuts.sort_unstable();
            let at_once = says_at(&mut asked(false, true), &text, &[]);
            let mut in_pieces = says_at(&mut asked(false, true), &text, &cuts);
            // A byte that follows the answer in a later piece ends the connection, which is no more of use than before.
            if at_once.last().is_some_and(|last| last == "end") && in_pieces.last().is_some_and(|last| last == "upstream_garbage") {
                in_pieces.pop();
                prop_assert_eq!(in_pieces.pop(), Some("end, kept".to_owned()));
                in_pieces.push("end".to_owned());
            }
            prop_assert_eq!(in_pieces, at_once);
        }
    }
}
