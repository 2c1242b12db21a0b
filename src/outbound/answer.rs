//! The answer of a server to a request of the thread itself, as it arrives: read as a whole, within bounds.

use crate::limits::{ANSWER_HEAD_BYTES_MAX, INTERIM_ANSWERS_MAX};
use crate::proto::http::{AnswerHead, Body, BodyStep, next_answer};

/// `H`: what the caller wants to know of the head.
pub(super) struct WholeAnswer<H> {
    body_bytes_max: usize,
    interim: u8,
    /// The rest of the body, and the head; `None` before it.
    begun: Option<(Body, H)>,
    content: Vec<u8>,
}

impl<H: Clone> WholeAnswer<H> {
    pub(super) fn new(body_bytes_max: usize) -> WholeAnswer<H> {
        WholeAnswer { body_bytes_max, interim: 0, begun: None, content: Vec::new() }
    }

    /// Takes what has arrived. Returns what `judge` has made of the head once the answer is whole. `unreadable` makes an error of a
    /// clause about the server.
    pub(super) fn hear<E>(
        &mut self,
        heard: &mut Vec<u8>,
        has_ended: bool,
        judge: impl Fn(&AnswerHead<'_>) -> Result<H, E>,
        unreadable: impl Fn(&str) -> E,
    ) -> Result<Option<H>, E> {
        let mut input = &mut heard[..];
        while self.begun.is_none() {
            let Some(head) = next_answer(&mut input, false).map_err(|_| unreadable("its answer is no HTTP"))? else {
                break;
            };
            if head.is_interim() && self.interim < INTERIM_ANSWERS_MAX {
                self.interim += 1;
                continue;
            }
            let judged = judge(&head)?;
            let body = Body::new(head.body, self.body_bytes_max as u64).map_err(|_| unreadable(TOO_LONG))?;
            self.begun = Some((body, judged));
        }
        let mut whole = None;
        if let Some((body, judged)) = &mut self.begun {
            loop {
                match body.next(&mut input).map_err(|_| unreadable("its answer is broken, or too long"))? {
                    BodyStep::Data(piece) => self.content.extend_from_slice(piece),
                    BodyStep::End => {
                        whole = Some(judged.clone());
                        break;
                    }
                    BodyStep::NeedMore => {
                        whole = (has_ended && body.ends_with_connection()).then(|| judged.clone());
                        break;
                    }
                }
            }
        }
        if self.content.len() > self.body_bytes_max || input.len() > ANSWER_HEAD_BYTES_MAX && self.begun.is_none() {
            return Err(unreadable(TOO_LONG));
        }
        let left = input.len();
        heard.drain(..heard.len() - left);
        Ok(whole)
    }

    /// The body, as far as it has arrived.
    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }
}

const TOO_LONG: &str = "its answer is too long";
