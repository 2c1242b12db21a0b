//! A client that speaks Centrifugo's protocol: commands to steps, answers and pushes to frames, pings, expiry of
//! tokens.
//!
//! ```text
//!  Greeting --connect (token, user)--> Connected --end: a close frame with the protocol's code--> (ending)
//!     '-- not in time: NotConnected       | ^
//!                                         v '-- subscribed, answered: news from the shard
//!   subscribe, unsubscribe, publish, rpc, send, refresh, … --> an answer, and a CentrifugeStep where the shard has to act
//! ```
//!
//! Legal calls: before `connect` only that command; any other is a `BadCommand`. The shard gives the answers that it
//! owes (to a call, for example) with [`Centrifuge::answered`].

mod asked;
mod calls;
mod commands;
mod pace;
mod recovery;
mod replayed;
mod rhythm;
mod subscriptions;
mod tokens;
mod unread;

use std::borrow::Cow;
use std::mem;

use serde_json::value::RawValue;

use super::Identity;
use super::decisions::DecidedRight;
use super::outbox::Outbox;
use super::route::CentrifugeRoute;
use super::settings::Settings;
use super::websocket::{Heard, WebSocket};
use crate::base::{Address, ConnId, Key, Tick};
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::authorize::AskedRight;
use crate::proto::centrifuge::{
    self, Code, Data, Nothing, ReplyBody, ReplyError, RpcResult, SubscribeResult, Text, Unsubscribed, line_len,
};
use crate::proto::channel::Rules;
use crate::proto::event::{Event, Message, Position};
use crate::proto::replay::{ExcerptBounds, Gap, Since};
use crate::proto::subject::Subject;
use crate::proto::token::TokenRefusal;
use crate::proto::ws::{Opcode, frame};

use asked::Asked;
use calls::Calls;
use pace::Pace;
use replayed::{Connecting, PendingQuery};
use rhythm::Rhythm;
use subscriptions::{AskedBy, PositionRequest, Subscriptions};
use unread::{Unread, take_lent};

/// The server version for clients.
const VERSION: &str = concat!("Tidegate ", env!("CARGO_PKG_VERSION"));
/// A worker's error, in the header of NATS services (ADR-32 of NATS' architecture).
const ERROR_HEADER: &str = "Nats-Service-Error";
const ERROR_CODE_HEADER: &str = "Nats-Service-Error-Code";
/// Lower numbers belong to the protocol.
const ERROR_CODE_MIN: u32 = 400;

/// A task for the shard.
#[derive(Debug)]
pub enum CentrifugeStep<'a> {
    /// The client has connected: subscribe it to its user and to its server-side channels, by tag.
    Open {
        user: Option<Subject>,
        channels: Vec<ChannelSubscription>,
    },
    Subscribe(ChannelSubscription),
    /// Read the kept messages of a channel ([`Centrifuge::history`]).
    History {
        channel: Subject,
        since: Since,
        bounds: ExcerptBounds,
    },
    /// List the clients of a channel ([`Centrifuge::presence`]).
    Presence {
        channel: Subject,
    },
    /// End the subscription: its keys in the hub.
    Unsubscribe(Vec<Key>),
    /// Publish, and answer when the message has its position in the channel ([`Centrifuge::published`]).
    Publish {
        number: u32,
        message: Message,
    },
    /// Give the call to a worker of the service, which answers to `serial` ([`Centrifuge::answered`]).
    Call {
        serial: u32,
        method: Text<'a>,
        payload: Cow<'a, [u8]>,
    },
    /// Give the message to a worker of the service.
    Send(Cow<'a, [u8]>),
    /// A token was refused; with `end`, the client is disconnected.
    TokenRefused {
        refused: TokenRefusal,
        end: Option<CloseReason>,
    },
    /// Pass on the answer to a question, and tell the command `command` whether the question was open
    /// ([`Centrifuge::taken`]).
    Answer {
        command: u32,
        id: Option<u64>,
        data: Cow<'a, [u8]>,
    },
    /// Pass on the acknowledgement of a message, in the same way.
    Ack {
        command: u32,
        id: Option<u64>,
    },
    /// Ask the application whether the client may do that, and go on with the decisions ([`checked`](super::checked)).
    Ask(Vec<AskedRight>),
    /// Nothing: the command is answered, because the client may not do what it asks for.
    Denied,
    /// Nothing: the command is answered, or needs no answer.
    Answered,
}

impl CentrifugeStep<'_> {
    /// The same without borrowing from the frame.
    fn into_owned(self) -> CentrifugeStep<'static> {
        match self {
            CentrifugeStep::Call { serial, method, payload } => {
                CentrifugeStep::Call { serial, method: method.into_owned(), payload: payload.into_owned().into() }
            }
            CentrifugeStep::Send(payload) => CentrifugeStep::Send(payload.into_owned().into()),
            CentrifugeStep::Answer { command, id, data } => {
                CentrifugeStep::Answer { command, id, data: data.into_owned().into() }
            }
            CentrifugeStep::Open { user, channels } => CentrifugeStep::Open { user, channels },
            CentrifugeStep::Subscribe(channel) => CentrifugeStep::Subscribe(channel),
            CentrifugeStep::History { channel, since, bounds } => CentrifugeStep::History { channel, since, bounds },
            CentrifugeStep::Presence { channel } => CentrifugeStep::Presence { channel },
            CentrifugeStep::Unsubscribe(subs) => CentrifugeStep::Unsubscribe(subs),
            CentrifugeStep::Publish { number, message } => CentrifugeStep::Publish { number, message },
            CentrifugeStep::TokenRefused { refused, end } => CentrifugeStep::TokenRefused { refused, end },
            CentrifugeStep::Ack { command, id } => CentrifugeStep::Ack { command, id },
            CentrifugeStep::Ask(asked) => CentrifugeStep::Ask(asked),
            CentrifugeStep::Denied => CentrifugeStep::Denied,
            CentrifugeStep::Answered => CentrifugeStep::Answered,
        }
    }
}

/// A channel to subscribe to. With `since`, its owner is asked for missed messages ([`Centrifuge::replayed`]).
#[derive(Debug)]
pub struct ChannelSubscription {
    pub tag: u32,
    pub channel: Subject,
    pub since: Option<Since>,
    /// The client wants joins and leaves.
    pub is_watched: bool,
}

/// One client's session.
pub struct Centrifuge {
    pub(super) websocket: WebSocket,
    identity: Identity,
    stage: Stage,
    pace: Pace,
    /// The unread commands of a frame: they are taken one by one, and the connection may pause between two of them.
    unread: Unread,
    /// Taken before them.
    pub(super) asked: Asked,
}

enum Stage {
    /// Until the command `connect`; with the channels that the route subscribes the client to.
    Greeting {
        channels: Vec<Subject>,
        until: Tick,
    },
    Connected(ClientSession),
}

struct ClientSession {
    rhythm: Rhythm,
    subscriptions: Subscriptions,
    calls: Calls,
    /// Publications without a position so far.
    publications: Calls,
    /// The claim `info` of its token.
    info: Option<Box<RawValue>>,
    /// When its token expires.
    expires: Option<Tick>,
    connecting: Option<Box<Connecting>>,
    query: Option<PendingQuery>,
}

/// The context of a command.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    pub address: Address,
    pub target: &'a CentrifugeRoute,
    pub settings: &'a Settings,
    pub now: Tick,
    /// The decisions of the application for which the command has waited.
    pub answers: &'a [DecidedRight],
}

impl Surroundings<'_> {
    /// The id of the client's connection.
    fn conn_id(&self) -> ConnId {
        self.settings.process.conn_id(self.address)
    }
}

impl Centrifuge {
    /// An upgraded connection, which must send `connect` before `until`.
    pub fn new(identity: Identity, channels: Vec<Subject>, until: Tick) -> Centrifuge {
        Centrifuge {
            websocket: WebSocket::default(),
            identity,
            stage: Stage::Greeting { channels, until },
            pace: Pace::default(),
            unread: Unread::default(),
            asked: Asked::default(),
        }
    }

    pub fn is_connected(&self) -> bool {
        matches!(self.stage, Stage::Connected(_))
    }

    /// The client's identity; valid once connected.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The claim `info` of its token: JSON.
    pub fn info(&self) -> Option<&str> {
        match &self.stage {
            Stage::Connected(session) => session.info.as_deref().map(RawValue::get),
            Stage::Greeting { .. } => None,
        }
    }

    fn session(&mut self) -> Option<&mut ClientSession> {
        match &mut self.stage {
            Stage::Connected(session) => Some(session),
            Stage::Greeting { .. } => None,
        }
    }

    // --- bytes in ----------------------------------------------------------------------------------------------------

    /// Takes one command off the front of `input`, or of a frame that was assembled apart from it.
    pub fn next<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        around: &Surroundings<'_>,
        outbox: &mut Outbox,
    ) -> Result<Option<Heard<CentrifugeStep<'a>>>, CloseReason> {
        if let Some(asked) = self.asked.take_answered() {
            let step = self.command(&asked.line, &Surroundings { answers: &asked.answers, ..*around }, outbox)?;
            return Ok(Some(Heard::Message(step.into_owned())));
        }
        let limits = &around.settings.generation.websocket;
        while self.unread.is_empty() {
            match unread::next_frame(input, &mut self.websocket, limits, outbox)? {
                Some(Heard::Message(unread)) => self.unread = unread,
                Some(Heard::Goodbye) => return Ok(Some(Heard::Goodbye)),
                None => return Ok(None),
            }
        }
        let step = match mem::take(&mut self.unread) {
            Unread::Lent(bytes) => {
                let (line, rest) = take_lent(bytes, input);
                self.unread = rest;
                self.command(line, around, outbox)?
            }
            Unread::Owned { frame, at } => {
                let len = line_len(&frame[at..]);
                let step = self.command(&frame[at..at + len], around, outbox)?.into_owned();
                self.unread = Unread::owned(frame, at + len);
                step
            }
        };
        Ok(Some(Heard::Message(step)))
    }

    /// The unread commands of the current frame.
    pub(super) fn unread(&self) -> &Unread {
        &self.unread
    }

    // --- news from the shard -----------------------------------------------------------------------------------------

    /// Adds a key in the hub to the subscription `tag`.
    pub fn subscribed(&mut self, tag: u32, sub: Key) {
        if let Some(session) = self.session() {
            session.subscriptions.subscribed(tag, sub);
        }
    }

    /// Subscribes the client to `channel` at a worker's command, unless it is subscribed or has too many channels.
    pub fn subscribe_by_worker(
        &mut self,
        channel: Subject,
        rules: &Rules,
        outbox: &mut Outbox,
    ) -> Result<ChannelSubscription, Code> {
        let subscriptions = &mut self.session().ok_or(Code::NOT_AVAILABLE)?.subscriptions;
        let tag = subscriptions.add(channel.clone(), None)?;
        let since = rules.of(&channel).since_for_newcomers();
        if since.is_some() {
            subscriptions.ask(tag, PositionRequest { by: AskedBy::Worker, was_recovering: false, is_kept: true });
        } else {
            say(outbox, |out| centrifuge::write_subscribe(out, channel.as_str(), &SubscribeResult::default()));
        }
        Ok(ChannelSubscription { tag, channel, since, is_watched: false })
    }

    /// The reverse. Returns the hub's keys of what has ended.
    pub fn unsubscribe_by_worker(&mut self, channel: &Subject, outbox: &mut Outbox) -> Vec<Key> {
        let Some(session) = self.session() else { return Vec::new() };
        let Some((subs, asked)) = session.subscriptions.remove(channel.as_str()) else { return Vec::new() };
        match asked.map(|asked| asked.by) {
            None => say(outbox, |out| centrifuge::write_unsubscribe(out, channel.as_str(), Unsubscribed::BY_WORKER)),
            // The client does not know yet that it was subscribed, and is now told that it was not.
            Some(AskedBy::Command { id, .. }) => reply(outbox, id, &Code::PERMISSION_DENIED.into()),
            Some(AskedBy::Connect) => session.forget(channel, outbox),
            Some(AskedBy::Worker) => {}
        }
        subs
    }

    /// Sends no joins and leaves before the subscription is answered: a client that asks for the list afterwards finds
    /// them there.
    pub fn push_event(&mut self, tag: u32, event: &Event, outbox: &mut Outbox) {
        let is_early =
            event.is_announcement() && self.session().is_some_and(|session| session.subscriptions.is_asked(tag));
        if !is_early {
            outbox.push_shared(event.centrifuge_frame());
        }
    }

    /// The same, for a client whose position after this event is `stands_at`, not the event's own.
    pub fn push_event_at(&self, event: &Event, stands_at: Option<Position>, outbox: &mut Outbox) {
        outbox.push_shared(&event.centrifuge_frame_at(stands_at));
    }

    /// Sends a control message of the gateway.
    pub fn push_own(&self, json: &[u8], outbox: &mut Outbox) {
        say(outbox, |out| centrifuge::write_own_message(out, json));
    }

    /// The answer or acknowledgement in `command` was passed on, or belonged to nothing.
    pub fn taken(&self, command: u32, is_taken: bool, outbox: &mut Outbox) {
        match is_taken {
            true => reply(outbox, command, &ReplyBody::Rpc(RpcResult { data: Data(b"{}") })),
            false => reply(outbox, command, &Code::NOT_ASKED.into()),
        }
    }

    /// Sends a gap: a message whose data have `"tg":"gap"`.
    pub fn push_gap(&self, channel: &Subject, gap: &Gap, outbox: &mut Outbox) {
        let mut data = gap.to_json(channel);
        data["tg"] = "gap".into();
        say(outbox, |out| centrifuge::write_message(out, Data(data.to_string().as_bytes())));
    }

    /// Bytes of missed messages that wait for the rest of the answer to `connect`.
    pub fn replayed_bytes(&self) -> usize {
        match &self.stage {
            Stage::Connected(session) => session.connecting.as_ref().map_or(0, |connecting| connecting.bytes()),
            Stage::Greeting { .. } => 0,
        }
    }

    /// Whether the next command has to wait: an answer of a channel's owner or of the application is awaited, too many publications are open, or
    /// the client is faster than it may be.
    pub fn is_busy(&self) -> bool {
        self.pace.is_resting()
            || self.asked.is_open()
            || matches!(&self.stage, Stage::Connected(session) if session.is_busy())
    }

    /// The publication `number` has its position: any publication that follows the answer comes later in the channel.
    pub fn published(&mut self, number: u32, outbox: &mut Outbox) {
        if let Some(id) = self.session().and_then(|session| session.publications.end(number)) {
            reply(outbox, id, &ReplyBody::Publish(Nothing {}));
        }
    }

    /// A worker has answered the call `serial`. False if no such call is open.
    pub fn answered(&mut self, serial: u32, message: &Message, outbox: &mut Outbox) -> bool {
        let Some(id) = self.session().and_then(|session| session.calls.end(serial)) else { return false };
        match failure(message) {
            Some(failure) => reply(outbox, id, &ReplyBody::Error(failure)),
            None => reply(outbox, id, &ReplyBody::Rpc(RpcResult { data: Data(&message.payload) })),
        }
        true
    }

    /// The call `serial` found no worker.
    pub fn unanswerable(&mut self, serial: u32, outbox: &mut Outbox) {
        if let Some(id) = self.session().and_then(|session| session.calls.end(serial)) {
            reply(outbox, id, &Code::NO_WORKER.into());
        }
    }

    /// The hub's keys of all subscriptions except the user's.
    pub fn subs(&self) -> Vec<Key> {
        match &self.stage {
            Stage::Connected(session) => session.subscriptions.subs().collect(),
            Stage::Greeting { .. } => Vec::new(),
        }
    }

    // --- time --------------------------------------------------------------------------------------------------------

    /// Bytes have arrived.
    pub fn heard(&mut self) {
        if let Some(session) = self.session() {
            session.rhythm.heard();
        }
    }

    /// When [`Centrifuge::on_deadline`] must be called.
    pub fn deadline(&self) -> Tick {
        let of_stage = match &self.stage {
            Stage::Greeting { until, .. } => *until,
            Stage::Connected(session) => {
                let end = session.expires.map_or(Tick::NEVER, |expires| expires + limits::TOKEN_GRACE);
                end.min(session.rhythm.deadline()).min(session.subscriptions.deadline()).min(session.calls.deadline())
            }
        };
        of_stage.min(self.pace.deadline()).min(self.websocket.due())
    }

    /// Does everything that is due. [`Centrifuge::take_expired`] returns the subscriptions that end with it.
    pub fn on_deadline(&mut self, settings: &Settings, now: Tick, outbox: &mut Outbox) -> Result<(), CloseReason> {
        self.pace.on_deadline(now);
        let session = match &mut self.stage {
            Stage::Greeting { until, .. } if *until <= now => return Err(CloseReason::NotConnected),
            Stage::Greeting { .. } => return Ok(()),
            Stage::Connected(session) => session,
        };
        if session.expires.is_some_and(|expires| expires + limits::TOKEN_GRACE <= now) {
            return Err(CloseReason::TokenExpired);
        }
        while let Some(id) = session.calls.take_late(now) {
            reply(outbox, id, &Code::NO_ANSWER.into());
        }
        if session.rhythm.on_deadline(settings.generation.ping_interval, now)? {
            say(outbox, |out| out.extend_from_slice(centrifuge::PING));
        }
        Ok(())
    }

    /// How many calls have timed out since the last call of this method.
    pub fn take_late(&mut self) -> u64 {
        self.session().map_or(0, |session| session.calls.take_late_count())
    }

    /// Takes a subscription that has to end: its keys in the hub.
    pub fn take_expired(&mut self, now: Tick, outbox: &mut Outbox) -> Option<Vec<Key>> {
        let (channel, subs, why) = self.session()?.subscriptions.take_expired(now)?;
        say(outbox, |out| centrifuge::write_unsubscribe(out, channel.as_str(), why));
        Some(subs)
    }

    // --- the end -----------------------------------------------------------------------------------------------------

    /// The last words: the code says whether to reconnect.
    pub fn end(&self, reason: CloseReason, outbox: &mut Outbox) {
        if let Some(disconnect) = centrifuge::disconnect(reason) {
            self.websocket.write_close(disconnect.code, disconnect.words, outbox);
        }
    }
}

impl ClientSession {
    fn is_busy(&self) -> bool {
        self.publications.is_full()
            || self.query.is_some()
            || self.connecting.is_some()
            // One after the other: the missed messages of many channels would not fit into the outbox at once.
            || self.subscriptions.are_asked()
    }
}

/// The error in a worker's answer.
fn failure(message: &Message) -> Option<ReplyError<'_>> {
    let code = message.header(ERROR_CODE_HEADER);
    let words = message.header(ERROR_HEADER);
    if code.is_none() && words.is_none() {
        return None;
    }
    let code = code.and_then(|code| code.parse().ok()).filter(|code| *code >= ERROR_CODE_MIN);
    let message = words.unwrap_or(Code::INTERNAL.words);
    Some(ReplyError { code: code.unwrap_or(Code::INTERNAL.number), message, is_temporary: false })
}

fn reply(outbox: &mut Outbox, id: u32, answer: &ReplyBody<'_>) {
    say(outbox, |out| centrifuge::write_reply(out, id, answer));
}

/// Appends one text frame. Its body is written to a buffer first, because the length precedes it.
fn say(outbox: &mut Outbox, write: impl FnOnce(&mut Vec<u8>)) {
    let mut json = Vec::new();
    write(&mut json);
    outbox.write(|out| {
        frame::write_header(out, Opcode::Text, json.len());
        out.extend_from_slice(&json);
    });
}
