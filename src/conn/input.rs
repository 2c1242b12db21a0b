//! Bytes in: what a connection takes off its input, and when it is paused.
//!
//! Not reading IS the back-pressure: no `recv` is submitted for a paused connection.

use super::centrifuge::Surroundings;
use super::exchange::Exchange;
use super::halves;
use super::link::has_rest;
use super::proxying::ProxyStep;
use super::quota::Quotas;
use super::route::RouteTarget;
use super::session::{Phase, Session};
use super::settings::Settings;
use super::websocket::Heard;
use super::{Conn, Link, Step};
use crate::base::{Address, Tick};
use crate::limits;
use crate::proto::CloseReason;

impl Conn {
    /// True while nothing more may be taken off the input.
    pub fn is_paused(&self) -> bool {
        // A peer that does not read our answers may send no more requests. A worker is disconnected instead; what a half of a
        // proxied request says goes to its partner, which decides.
        let is_full = self.link.is_full() && !self.session.is_worker() && !halves::is_proxied(&self.session);
        (self.session.is_waiting() || is_full) && self.is_open()
    }

    /// True if the driver should receive for the connection now.
    pub fn begin_receive(&mut self) -> bool {
        let may_receive = self.link.can_receive() && (!self.is_paused() || listens_for_end(self));
        if may_receive {
            self.link.begin_receive();
        }
        may_receive
    }

    /// Whether the item at the front of `input` may be taken now. While subscriptions are being confirmed, a worker may
    /// send further ones, and the remaining commands of a frame may follow; everything else waits for the
    /// confirmations.
    pub fn may_take(&self, input: &[u8]) -> bool {
        !self.is_paused() || self.session.may_subscribe(input) || (self.session.may_go_on() && !self.link.is_full())
    }

    /// Takes one item off the front of the plaintext `input` of the connection at `address`. `Ok(None)`: the rest is
    /// incomplete.
    #[inline]
    pub fn next<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        address: Address,
        settings: &Settings,
        now: Tick,
    ) -> Result<Option<Step<'a>>, CloseReason> {
        self.session.next(&mut self.link, input, address, settings, now)
    }
}

/// Whether it is received for although nothing is taken off the input: the end of a client that waits for a server, or for its
/// admission, should be noticed. What else it sends, one receive at most, waits in the carry.
fn listens_for_end(conn: &Conn) -> bool {
    halves::awaits_server(&conn.session) && !has_rest(&conn.link)
}

impl Session {
    /// See [`Conn::next`].
    #[inline]
    pub(super) fn next<'a>(
        &mut self,
        link: &mut Link,
        input: &mut &'a mut [u8],
        address: Address,
        settings: &Settings,
        now: Tick,
    ) -> Result<Option<Step<'a>>, CloseReason> {
        match &mut self.phase {
            Phase::Http(_) => Exchange { session: self, link, address, settings, now }.next_request(input),
            Phase::WebSocket(_, websocket) => {
                let heard = websocket.next(input, &settings.generation.websocket, &mut link.outbox)?;
                if heard.is_none() {
                    link.wait_no_longer_than(websocket.await_rest(now + settings.generation.message_timeout));
                }
                Ok(heard.map(|heard| match heard {
                    Heard::Message(message) => Step::Message(message),
                    Heard::Goodbye => Step::Close(CloseReason::Normal),
                }))
            }
            Phase::Centrifuge(_) => self.next_command(link, input, address, settings, now),
            Phase::Worker(worker) => {
                let was_waiting = worker.is_waiting_for_credentials();
                let step = worker.next(input, self.registrations > 0, &settings.generation.bus, &mut link.outbox)?;
                if was_waiting && !worker.is_waiting_for_credentials() {
                    link.wait_until(now + limits::BUS_PING_INTERVAL);
                }
                Ok(step.map(Step::Worker))
            }
            Phase::Upstream(upstream) => {
                let said = upstream.next(input)?;
                Ok(said.map(|said| Step::Proxy(ProxyStep::Upstream(said))))
            }
            Phase::Tunnel(tunnel) => {
                let counted = settings.generation.quotas.as_deref().is_some_and(Quotas::has_messages);
                Ok(tunnel.next(input, counted).map(|frames| Step::Proxy(ProxyStep::Frames(frames))))
            }
            Phase::EventStream(..) | Phase::Over => {
                *input = &mut [];
                Ok(None)
            }
        }
    }

    /// Takes a command of the client protocol, with its context.
    fn next_command<'a>(
        &mut self,
        link: &mut Link,
        input: &mut &'a mut [u8],
        address: Address,
        settings: &Settings,
        now: Tick,
    ) -> Result<Option<Step<'a>>, CloseReason> {
        let Phase::Centrifuge(centrifuge) = &mut self.phase else { return Ok(None) };
        let RouteTarget::Centrifuge(target) = &settings.generation.routes[self.route].target else { return Ok(None) };
        let around = Surroundings { address, target, settings, now, answers: &[] };
        let heard = centrifuge.next(input, &around, &mut link.outbox)?;
        if heard.is_none() {
            let until = now + settings.generation.message_timeout;
            link.wait_no_longer_than(centrifuge.websocket.await_rest(until));
        }
        Ok(heard.map(|heard| match heard {
            Heard::Message(step) => {
                link.wait_until_unless_stuck(centrifuge.deadline());
                Step::Centrifuge(step)
            }
            Heard::Goodbye => Step::Close(CloseReason::Normal),
        }))
    }
}
