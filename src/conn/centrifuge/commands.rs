//! The commands of a client, one by one.

use std::time::Duration;

use serde_json::value::RawValue;

use super::recovery::{position, since};
use super::replayed::Query;
use super::{
    AskedBy, Calls, Centrifuge, CentrifugeStep, ChannelSubscription, ClientSession, Connecting, PendingQuery,
    PositionRequest, Rhythm, Stage, Subscriptions, Surroundings, VERSION, reply, say,
};
use crate::base::Tick;
use crate::conn::Identity;
use crate::conn::outbox::Outbox;
use crate::conn::rights::{RightRules, RightVerdict, Rights};
use crate::conn::route::CentrifugeRoute;
use crate::limits;
use crate::proto::CloseReason;
use crate::proto::authorize::AskedRight;
use crate::proto::bus::HeaderBlock;
use crate::proto::centrifuge::{
    Code, Command, ConnectRequest, Expiry, HistoryRequest, Nothing, RefreshResult, ReplyBody, Request,
    SubscribeRequest, SubscribeResult, read_command,
};
use crate::proto::control;
use crate::proto::event::Message;
use crate::proto::permission::Right;
use crate::proto::replay::{ExcerptBounds, Since};
use crate::proto::reserved::headers::{CONN_HEADER, INFO_HEADER};
use crate::proto::reserved::{ACK_METHOD, ANSWER_METHOD};
use crate::proto::subject::Subject;
use crate::proto::token::{ConnectionClaims, SubscriptionClaims, TokenFault, TokenRefusal};
use crate::proto::user::User;

/// The payload of a command without one.
const NULL: &[u8] = b"null";

/// The reason why a command is not carried out.
pub(super) enum CommandRefusal {
    /// The command is answered with an error.
    Answer(Code),
    /// The client may not do that with this channel: the same, and it is counted.
    Denied,
    /// The application is asked first.
    Asks(Vec<AskedRight>),
    /// The client is disconnected.
    End(CloseReason),
    /// The token is refused, with the consequence for the client.
    Token(TokenRefusal, Consequence),
}

/// The consequence of a refused token.
#[derive(Clone, Copy)]
pub(super) enum Consequence {
    Answer(Code),
    End(CloseReason),
}

impl From<Code> for CommandRefusal {
    fn from(code: Code) -> CommandRefusal {
        CommandRefusal::Answer(code)
    }
}

impl From<CloseReason> for CommandRefusal {
    fn from(reason: CloseReason) -> CommandRefusal {
        CommandRefusal::End(reason)
    }
}

impl Centrifuge {
    /// Handles one command. The answer goes to `outbox`, unless the shard owes it; the result is the step for the
    /// shard.
    pub(super) fn command<'a>(
        &mut self,
        line: &'a [u8],
        around: &Surroundings<'_>,
        outbox: &mut Outbox,
    ) -> Result<CentrifugeStep<'a>, CloseReason> {
        let Command { id, request } = read_command(line)?;
        let pace = self.pace;
        around.spend(&mut self.pace, 1);
        let outcome = match request {
            Request::Connect(connect) => self.connect(id, &connect, around, outbox),
            request if self.is_connected() => self.connected(id, request, around, outbox),
            _ => Err(CloseReason::BadCommand.into()),
        };
        match outcome {
            Ok(step) => Ok(step.unwrap_or(CentrifugeStep::Answered)),
            Err(CommandRefusal::End(reason)) => Err(reason),
            Err(CommandRefusal::Answer(code)) => {
                reply(outbox, id, &code.into());
                Ok(CentrifugeStep::Answered)
            }
            Err(CommandRefusal::Denied) => {
                reply(outbox, id, &Code::PERMISSION_DENIED.into());
                Ok(CentrifugeStep::Denied)
            }
            // The command is paid for when it is carried out.
            Err(CommandRefusal::Asks(asked)) => {
                self.pace = pace;
                self.asked.wait(line, around.answers);
                Ok(CentrifugeStep::Ask(asked))
            }
            Err(CommandRefusal::Token(refused, Consequence::End(reason))) => {
                Ok(CentrifugeStep::TokenRefused { refused, end: Some(reason) })
            }
            Err(CommandRefusal::Token(refused, Consequence::Answer(code))) => {
                reply(outbox, id, &code.into());
                let end = self.pace.refuse(refused, around.now).then_some(CloseReason::TokensRefused);
                Ok(CentrifugeStep::TokenRefused { refused, end })
            }
        }
    }

    fn connected<'a>(
        &mut self,
        id: u32,
        request: Request<'a>,
        around: &Surroundings<'_>,
        outbox: &mut Outbox,
    ) -> Result<Option<CentrifugeStep<'a>>, CommandRefusal> {
        match request {
            Request::Subscribe(subscribe) => self.subscribe(id, &subscribe, around, outbox),
            Request::Unsubscribe(request) => {
                let subs = self.session().and_then(|session| session.subscriptions.remove(&request.channel));
                reply(outbox, id, &ReplyBody::Unsubscribe(Nothing {}));
                Ok(subs.map(|(subs, _)| CentrifugeStep::Unsubscribe(subs)))
            }
            Request::Publish(publish) => {
                if around.settings.is_forged(payload(publish.data)) {
                    return Err(Code::PERMISSION_DENIED.into());
                }
                let message = self.publication(&publish.channel, payload(publish.data), around)?;
                let number = self.session().and_then(|session| session.publications.begin(id, Tick::NEVER));
                let number = number.ok_or(Code::TOO_MANY_REQUESTS)?;
                Ok(Some(CentrifugeStep::Publish { number, message }))
            }
            Request::Rpc(rpc) if &*rpc.method == ANSWER_METHOD => {
                let control::Answer { id: question, data } = control::Answer::parse(payload(rpc.data));
                Ok(Some(CentrifugeStep::Answer { command: id, id: question, data: data.into() }))
            }
            Request::Rpc(rpc) if &*rpc.method == ACK_METHOD => {
                Ok(Some(CentrifugeStep::Ack { command: id, id: control::parse_ack(payload(rpc.data)) }))
            }
            Request::Rpc(rpc) => {
                if around.target.service.is_none() {
                    return Err(Code::METHOD_NOT_FOUND.into());
                }
                let until = around.now + limits::CALL_TIMEOUT;
                let serial = self.session().and_then(|session| session.calls.begin(id, until));
                let serial = serial.ok_or(Code::TOO_MANY_REQUESTS)?;
                Ok(Some(CentrifugeStep::Call { serial, method: rpc.method, payload: payload(rpc.data).into() }))
            }
            // The command has no answer that could carry an error.
            Request::Send(_) if around.target.service.is_none() => Err(CloseReason::BadCommand.into()),
            Request::Send(send) => Ok(Some(CentrifugeStep::Send(payload(send.data).into()))),
            Request::Presence(request) => self.ask_presence(id, Query::Presence, &request.channel, around),
            Request::PresenceStats(request) => self.ask_presence(id, Query::PresenceStats, &request.channel, around),
            Request::History(request) => self.ask_history(id, &request, around),
            Request::Refresh(request) => self.refresh(id, &request.token, around, outbox),
            Request::SubRefresh(request) => self.sub_refresh(id, &request.channel, &request.token, around, outbox),
            Request::Ping => {
                reply(outbox, id, &ReplyBody::Ping(Nothing {}));
                Ok(None)
            }
            // Any frame is a sign of life; a pong has no other meaning.
            Request::Pong => Ok(None),
            Request::Connect(_) => Err(CloseReason::BadCommand.into()),
        }
    }

    fn connect<'a>(
        &mut self,
        id: u32,
        connect: &ConnectRequest<'_>,
        around: &Surroundings<'_>,
        outbox: &mut Outbox,
    ) -> Result<Option<CentrifugeStep<'a>>, CommandRefusal> {
        if self.is_connected() {
            return Err(CloseReason::BadCommand.into());
        }
        let (admission, proof) = around.admit(&mut self.pace, &connect.token).map_err(CommandRefusal::of_connect)?;
        // A stream with a proof ends with it (`Identity::until`), others with what their token said.
        let ttl = admission.ttl.filter(|_| proof.is_none());
        let client = proof.map(Identity::proven).or(admission.user.map(|user| Identity::new(Some(user), None)));
        let Stage::Greeting { channels, .. } = &mut self.stage else { return Ok(None) };
        let rights = rights(client.as_ref().unwrap_or(&self.identity), around);
        may_be_served(rights, channels, around.target)?;
        let mut subscriptions = Subscriptions::default();
        let mut opened = Vec::new();
        for channel in channels.drain(..).chain(admission.channels) {
            match subscriptions.add(channel.clone(), None) {
                Ok(tag) => {
                    let stands_at = connect.subs.as_ref().and_then(|subs| subs.get(channel.as_str()));
                    let recovering = stands_at.and_then(since);
                    let newcomer = around.newcomer(&channel);
                    let (since, is_kept) = (recovering.or(newcomer), newcomer.is_some());
                    if since.is_some() {
                        let was_recovering = recovering.is_some();
                        subscriptions.ask(tag, PositionRequest { by: AskedBy::Connect, was_recovering, is_kept });
                    }
                    opened.push(ChannelSubscription { tag, channel, since, is_watched: false });
                }
                // Route and token may name the same channel.
                Err(Code::ALREADY_SUBSCRIBED) => {}
                Err(_) => return Err(CloseReason::TooManyChannels.into()),
            }
        }
        if let Some(client) = client {
            self.identity = client.begun(around.settings.process.unix_time, around.now);
        }
        let user = self.identity.user().and_then(User::subject);
        let expires = end(ttl, around.now);
        let interval = around.settings.generation.ping_interval;
        let part = (around.address.key.slot.wrapping_mul(0x9e37_79b9) >> 24) as u8;
        let rhythm = Rhythm::new(interval, part, around.now);
        let info = admission.info;
        let (calls, publications) = (Calls::default(), Calls::default());
        let connecting = Connecting {
            id,
            client: around.conn_id().to_string(),
            ttl: admission.ttl,
            ping_s: interval.as_secs().max(1),
            results: opened.iter().map(|channel| (channel.tag, channel.channel.clone(), None)).collect(),
        };
        let is_answered = !subscriptions.are_asked();
        if is_answered {
            say(outbox, |out| connecting.write(out));
        }
        self.stage = Stage::Connected(ClientSession {
            rhythm,
            subscriptions,
            calls,
            publications,
            info,
            expires,
            connecting: (!is_answered).then(|| Box::new(connecting)),
            query: None,
        });
        Ok(Some(CentrifugeStep::Open { user, channels: opened }))
    }

    fn subscribe<'a>(
        &mut self,
        id: u32,
        subscribe: &SubscribeRequest<'_>,
        around: &Surroundings<'_>,
        outbox: &mut Outbox,
    ) -> Result<Option<CentrifugeStep<'a>>, CommandRefusal> {
        let channel = channel(&subscribe.channel)?;
        around.spend(&mut self.pace, limits::COMMANDS_PER_SUBSCRIPTION);
        let SubscriptionClaims { ttl, may_publish } = match &around.target.token {
            Some(verifier) if !subscribe.token.is_empty() => {
                let (token, user) = ((verifier, &*subscribe.token), self.identity.user());
                let claims = around.admit_to(&mut self.pace, token, user, channel.as_str());
                claims.map_err(CommandRefusal::of_subscribe)?
            }
            _ => {
                permit(rights(&self.identity, around).by_command(Right::Hear, &channel, &around.target.channels))?;
                SubscriptionClaims { ttl: None, may_publish: false }
            }
        };
        let has_presence = around.settings.generation.channels.of(&channel).has_presence;
        let is_watched = has_presence
            && subscribe.join_leave.unwrap_or(false)
            && may_watch(rights(&self.identity, around), &channel)?;
        let Some(session) = self.session() else { return Ok(None) };
        let until = end(ttl, around.now);
        let tag = session.subscriptions.add(channel.clone(), until)?;
        session.subscriptions.refresh(channel.as_str(), until, may_publish);
        let recovering = since(subscribe);
        let newcomer = around.newcomer(&channel);
        let (since, is_kept) = (recovering.or(newcomer), newcomer.is_some());
        if since.is_some() {
            let by = AskedBy::Command { id, ttl };
            session.subscriptions.ask(tag, PositionRequest { by, was_recovering: recovering.is_some(), is_kept });
        } else {
            let answer = SubscribeResult { expiry: Expiry::after(ttl), ..SubscribeResult::default() };
            reply(outbox, id, &ReplyBody::Subscribe(answer));
        }
        Ok(Some(CentrifugeStep::Subscribe(ChannelSubscription { tag, channel, since, is_watched })))
    }

    fn ask_history<'a>(
        &mut self,
        id: u32,
        request: &HistoryRequest<'_>,
        around: &Surroundings<'_>,
    ) -> Result<Option<CentrifugeStep<'a>>, CommandRefusal> {
        let channel = self.check_asking(Right::History, &request.channel, around)?;
        if around.newcomer(&channel).is_none() {
            return Err(Code::NOT_AVAILABLE.into());
        }
        let is_reverse = request.reverse.unwrap_or(false);
        let limit = request.limit.unwrap_or(0);
        let from = request.since.as_ref().map(|since| position(&since.epoch, since.offset.unwrap_or(0)));
        let since = match (limit, from) {
            (0, _) => Since::Now,
            (_, None) if is_reverse => Since::Latest,
            (_, None) => Since::Beginning,
            (_, Some(Since::After(position))) if is_reverse => Since::Before(position),
            (_, Some(Since::AfterOffset(offset))) if is_reverse => Since::BeforeOffset(offset),
            (_, Some(since)) => since,
        };
        let messages_max = usize::try_from(limit).unwrap_or(usize::MAX).clamp(1, limits::REPLAY_MESSAGES_MAX);
        let Some(session) = self.session() else { return Ok(None) };
        session.query =
            Some(PendingQuery { id, about: Query::History { is_reverse, is_exact: from.is_some() && limit != 0 } });
        let bounds = ExcerptBounds { messages_max, bytes_max: limits::REPLAY_BYTES_MAX };
        Ok(Some(CentrifugeStep::History { channel, since, bounds }))
    }

    fn ask_presence<'a>(
        &mut self,
        id: u32,
        about: Query,
        name: &str,
        around: &Surroundings<'_>,
    ) -> Result<Option<CentrifugeStep<'a>>, CommandRefusal> {
        let channel = self.check_asking(Right::Watch, name, around)?;
        if !around.settings.generation.channels.of(&channel).has_presence {
            return Err(Code::NOT_AVAILABLE.into());
        }
        let Some(session) = self.session() else { return Ok(None) };
        session.query = Some(PendingQuery { id, about });
        Ok(Some(CentrifugeStep::Presence { channel }))
    }

    /// The client's publication, with headers that name the sender.
    fn publication(
        &mut self,
        name: &str,
        payload: &[u8],
        around: &Surroundings<'_>,
    ) -> Result<Message, CommandRefusal> {
        let subject = channel(name)?;
        let is_in_token = self.session().is_some_and(|session| session.subscriptions.may_publish(name));
        if !is_in_token {
            permit(rights(&self.identity, around).by_command(Right::Publish, &subject, &around.target.publish_to))?;
        }
        let mut headers = HeaderBlock::new();
        headers.push(CONN_HEADER, around.conn_id().text().as_str());
        if let Some(user) = self.identity.user() {
            user.push_headers(&mut headers);
        }
        if let Some(info) = self.session().and_then(|session| session.info.as_deref()) {
            headers.push(INFO_HEADER, info.get());
        }
        // The one copy: from the lent bytes to a value that can cross threads.
        Ok(Message::new(subject, None, Some(headers.finish()), payload.into()))
    }

    /// Without a permission for that, only clients that subscribe to a channel, or may, can ask about it.
    fn check_asking(&mut self, right: Right, name: &str, around: &Surroundings<'_>) -> Result<Subject, CommandRefusal> {
        let channel = channel(name)?;
        let is_subscribed = self.session().is_some_and(|session| session.subscriptions.contains(name));
        let rights = rights(&self.identity, around);
        let otherwise = || match is_subscribed {
            true => RightVerdict::Allowed,
            false => rights.by_command(Right::Hear, &channel, &around.target.channels),
        };
        permit(rights.about(right, &channel, otherwise))?;
        Ok(channel)
    }

    fn refresh<'a>(
        &mut self,
        id: u32,
        token: &str,
        around: &Surroundings<'_>,
        outbox: &mut Outbox,
    ) -> Result<Option<CentrifugeStep<'a>>, CommandRefusal> {
        if around.target.token.is_none() && around.target.token_auth.is_none() {
            return Err(Code::NOT_AVAILABLE.into());
        }
        let (ConnectionClaims { user, ttl, info, .. }, proof) =
            around.admit(&mut self.pace, token).map_err(CommandRefusal::of_refresh)?;
        // A refresh cannot change the user of a connection.
        if user.as_ref() != self.identity.user() {
            return Err(CommandRefusal::of_refresh(TokenFault::OtherUser.into()));
        }
        let expires = end(ttl.filter(|_| proof.is_none()), around.now);
        if let Some(proof) = proof {
            self.identity.refresh(proof, (around.settings.process.unix_time)(), around.now);
        }
        let Some(session) = self.session() else { return Ok(None) };
        session.expires = expires;
        session.info = info;
        let client = around.conn_id().to_string();
        let answer = RefreshResult { client: &client, version: VERSION, expiry: Expiry::after(ttl) };
        reply(outbox, id, &ReplyBody::Refresh(answer));
        Ok(None)
    }

    fn sub_refresh<'a>(
        &mut self,
        id: u32,
        channel: &str,
        token: &str,
        around: &Surroundings<'_>,
        outbox: &mut Outbox,
    ) -> Result<Option<CentrifugeStep<'a>>, CommandRefusal> {
        let verifier = around.target.token.as_ref().ok_or(Code::NOT_AVAILABLE)?;
        let claims = around.admit_to(&mut self.pace, (verifier, token), self.identity.user(), channel);
        let SubscriptionClaims { ttl, may_publish } = claims.map_err(CommandRefusal::of_refresh)?;
        let until = end(ttl, around.now);
        if !self.session().is_some_and(|session| session.subscriptions.refresh(channel, until, may_publish)) {
            return Err(Code::PERMISSION_DENIED.into());
        }
        reply(outbox, id, &ReplyBody::SubRefresh(Expiry::after(ttl)));
        Ok(None)
    }
}

impl Surroundings<'_> {
    /// What a client asks of a channel that it joins for the first time; `None` if the channel keeps no history.
    fn newcomer(&self, channel: &Subject) -> Option<Since> {
        self.settings.generation.channels.of(channel).since_for_newcomers()
    }
}

impl CommandRefusal {
    /// Without a valid token the client cannot connect.
    fn of_connect(refused: TokenRefusal) -> CommandRefusal {
        CommandRefusal::Token(
            refused,
            match refused {
                TokenRefusal::Missing => Consequence::Answer(Code::UNAUTHORIZED),
                TokenRefusal::Expired => Consequence::Answer(Code::TOKEN_EXPIRED),
                TokenRefusal::NotYetValid => Consequence::Answer(Code::TOKEN_NOT_YET_VALID),
                TokenRefusal::Unsettled => Consequence::Answer(Code::INTERNAL),
                TokenRefusal::Invalid(_) => Consequence::End(CloseReason::InvalidToken),
            },
        )
    }

    /// A refused subscription does not affect the connection.
    fn of_subscribe(refused: TokenRefusal) -> CommandRefusal {
        match refused {
            TokenRefusal::Invalid(_) => CommandRefusal::Token(refused, Consequence::Answer(Code::PERMISSION_DENIED)),
            refused => CommandRefusal::of_connect(refused),
        }
    }

    /// The previous token is still valid, so the client may fetch another one. The packages do that only after a
    /// temporary error.
    fn of_refresh(refused: TokenRefusal) -> CommandRefusal {
        match refused {
            TokenRefusal::Expired => CommandRefusal::Token(refused, Consequence::Answer(Code::TOKEN_EXPIRED_AGAIN)),
            refused => CommandRefusal::of_connect(refused),
        }
    }
}

/// A channel's name, if it is valid and not reserved.
fn channel(name: &str) -> Result<Subject, Code> {
    let channel = Subject::new(name).map_err(|_| Code::BAD_REQUEST)?;
    if channel.is_reserved() || channel.is_inbox() { Err(Code::PERMISSION_DENIED) } else { Ok(channel) }
}

fn payload(data: Option<&RawValue>) -> &[u8] {
    data.map_or(NULL, |data| data.get().as_bytes())
}

fn end(ttl: Option<u64>, now: Tick) -> Option<Tick> {
    ttl.map(|ttl| now + Duration::from_secs(ttl))
}

fn rights<'r>(client: &'r Identity, around: &'r Surroundings<'_>) -> Rights<'r> {
    Rights::new(RightRules::of(around.settings, around.answers, around.now), client)
}

fn permit(verdict: RightVerdict) -> Result<(), CommandRefusal> {
    match verdict {
        RightVerdict::Allowed => Ok(()),
        RightVerdict::Denied => Err(CommandRefusal::Denied),
        RightVerdict::Unclear => Err(Code::UNDECIDED.into()),
        RightVerdict::Asks(asked) => Err(CommandRefusal::Asks(vec![*asked])),
    }
}

/// Whether a subscription has joins and leaves. Without an answer of the application it has none.
fn may_watch(rights: Rights<'_>, channel: &Subject) -> Result<bool, CommandRefusal> {
    match rights.about(Right::Watch, channel, || RightVerdict::Allowed) {
        RightVerdict::Allowed => Ok(true),
        RightVerdict::Denied | RightVerdict::Unclear => Ok(false),
        RightVerdict::Asks(asked) => Err(CommandRefusal::Asks(vec![*asked])),
    }
}

/// Whether a client may hear the channels that the route subscribes it to. The application is asked about all of them at once.
fn may_be_served(rights: Rights<'_>, channels: &[Subject], target: &CentrifugeRoute) -> Result<(), CommandRefusal> {
    let mut asked = Vec::new();
    for (template, channel) in target.server_side.iter().zip(channels) {
        match permit(rights.on_route(Right::Hear, channel, template.parameters().next().is_none())) {
            Ok(()) => {}
            Err(CommandRefusal::Asks(more)) => asked.extend(more),
            Err(refused) => return Err(refused),
        }
    }
    if asked.is_empty() { Ok(()) } else { Err(CommandRefusal::Asks(asked)) }
}
