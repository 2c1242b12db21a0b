//! Bytes in: what a connection takes off its input, and when it takes nothing.
//!
//! Not reading IS the back-pressure: a connection that is paused is not received for.

use super::centrifuge::Surroundings;
use super::exchange::Exchange;
use super::route::Target;
use super::session::{Phase, Session};
use super::settings::Settings;
use super::websocket::Heard;
use super::{Conn, Link, Step};
use crate::base::{Address, Tick};
use crate::limits;
use crate::proto::CloseReason;

impl Conn {
    /// True while nothing more may be taken off its input.
    pub fn is_paused(&self) -> bool {
        // A peer that does not take our answers gets no more questions in; workers are closed for that instead.
        let is_full = self.link.is_full() && !self.session.is_worker();
        (self.session.is_waiting() || is_full) && self.is_open()
    }

    /// True if the driver is to receive for it now.
    pub fn begin_receive(&mut self) -> bool {
        let may_receive = self.link.can_receive() && !self.is_paused();
        if may_receive {
            self.link.begin_receive();
        }
        may_receive
    }

    /// Whether the meaning at the front of `input` may be taken now. A worker's subscriptions may come in a row while
    /// earlier ones are being confirmed, and so may the commands of one frame; what is said after them waits for that.
    pub fn may_take(&self, input: &[u8]) -> bool {
        !self.is_paused() || self.session.may_subscribe(input) || (self.session.may_go_on() && !self.link.is_full())
    }

    /// Takes one meaning off the front of `input` (plaintext) of the connection at `address`. `Ok(None)`: what is left is not whole.
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
            Phase::EventStream(_) | Phase::Over => {
                *input = &mut [];
                Ok(None)
            }
        }
    }

    /// Takes a command of the client protocol, with what it is seen with.
    fn next_command<'a>(
        &mut self,
        link: &mut Link,
        input: &mut &'a mut [u8],
        address: Address,
        settings: &Settings,
        now: Tick,
    ) -> Result<Option<Step<'a>>, CloseReason> {
        let Phase::Centrifuge(centrifuge) = &mut self.phase else { return Ok(None) };
        let Target::Centrifuge(target) = &settings.generation.routes[self.route].target else { return Ok(None) };
        let around = Surroundings { address, target, settings, now };
        let heard = centrifuge.next(input, &around, &mut link.outbox)?;
        Ok(heard.map(|heard| match heard {
            Heard::Message(step) => {
                link.wait_until_unless_stuck(centrifuge.deadline());
                Step::Centrifuge(step)
            }
            Heard::Goodbye => Step::Close(CloseReason::Normal),
        }))
    }
}
