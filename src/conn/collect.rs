//! The complete body of a request, collected: for a publication, an operation, or an accepted request.

use super::Step;
use super::about::About;
use super::accept::Accepting;
use super::admin::operation::OperationHead;
use super::admin::publication::PublicationHead;
use super::incoming::Consumer;
use super::origins::Page;
use crate::proto::event::Message;
use crate::proto::http::Framing;

/// The bytes of a body that have arrived, and its purpose.
pub(super) struct Collect {
    purpose: Purpose,
    payload: Vec<u8>,
    /// The length of the body, if the head gives it.
    announced: Option<usize>,
}

/// The use of the complete body.
pub(super) enum Purpose {
    Publish(PublicationHead),
    Operate(OperationHead),
    Accept(Box<Accepting>),
    /// The text names tokens.
    Revoke,
}

impl Purpose {
    fn page(&self) -> Option<&Page> {
        match self {
            Purpose::Publish(_) | Purpose::Operate(_) | Purpose::Revoke => None,
            Purpose::Accept(accepting) => accepting.page.as_ref(),
        }
    }

    /// Bytes of the parts of the head that are kept.
    fn bytes(&self) -> usize {
        match self {
            Purpose::Publish(PublicationHead { headers, .. }) | Purpose::Operate(OperationHead { headers, .. }) => {
                headers.as_ref().map_or(0, |headers| headers.len())
            }
            Purpose::Accept(accepting) => accepting.bytes(),
            Purpose::Revoke => 0,
        }
    }

    /// The page of another origin that may read a refusal.
    pub(super) fn into_page(self) -> Option<Box<Page>> {
        match self {
            Purpose::Publish(_) | Purpose::Operate(_) | Purpose::Revoke => None,
            Purpose::Accept(accepting) => accepting.page.map(Box::new),
        }
    }
}

impl Collect {
    /// `framing`: of the body.
    pub(super) fn new(purpose: Purpose, framing: Framing) -> Collect {
        let announced = match framing {
            Framing::Length(len) => usize::try_from(len).ok(),
            Framing::None | Framing::Chunked | Framing::UntilEnd => None,
        };
        Collect { purpose, payload: Vec::new(), announced }
    }
}

impl Consumer for Collect {
    /// The decoder bounds the body, so there is always room.
    fn room(&self) -> usize {
        usize::MAX
    }

    /// Capacity doubles as bytes arrive, and never exceeds an announced length: a complete body of that length fits
    /// exactly, and is not copied again. A chunked body may be.
    fn take<'a>(&mut self, piece: &'a [u8]) -> Option<Step<'a>> {
        let len = self.payload.len();
        if self.payload.capacity() - len < piece.len() {
            let to_come = self.announced.map_or(usize::MAX, |announced| announced - len);
            self.payload.reserve_exact(len.max(piece.len()).min(to_come));
        }
        self.payload.extend_from_slice(piece);
        None
    }

    fn finish<'a>(self) -> (About, Step<'a>) {
        let payload = self.payload.into_boxed_slice();
        match self.purpose {
            Purpose::Publish(PublicationHead { subject, headers }) => {
                let about = About::Published(Box::new(subject.clone()));
                (about, Step::Publish(Message::new(subject, None, headers, payload)))
            }
            Purpose::Operate(head) => head.finish(payload),
            Purpose::Revoke => (About::Revoked { ended: 0, shards: 0 }, Step::Revoke(payload)),
            Purpose::Accept(accepting) => {
                let (asked, owed) = accepting.finish(payload);
                (About::Accepted(Box::new(owed)), Step::Accept(Box::new(asked)))
            }
        }
    }

    fn bytes(&self) -> usize {
        self.payload.capacity() + self.purpose.bytes()
    }

    fn page(&self) -> Option<&Page> {
        self.purpose.page()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::subject::Subject;

    fn collected(framing: Framing, pieces: &[&[u8]]) -> (Box<[u8]>, usize) {
        let publication = PublicationHead { subject: Subject::new("a").unwrap(), headers: None };
        let mut collect = Collect::new(Purpose::Publish(publication), framing);
        for piece in pieces {
            assert!(piece.len() <= collect.room() && collect.take(piece).is_none());
        }
        let capacity = collect.payload.capacity();
        let (_, Step::Publish(message)) = collect.finish() else { panic!("a publication") };
        (message.payload.clone(), capacity)
    }

    #[test]
    fn a_body_whose_length_is_known_fits_into_its_memory() {
        let body = vec![b'x'; 100_000];
        for piece in [1, 7, 1_500, 99_999, 100_000] {
            let pieces: Vec<&[u8]> = body.chunks(piece).collect();
            let (payload, capacity) = collected(Framing::Length(100_000), &pieces);
            assert_eq!((payload.len(), capacity), (100_000, 100_000), "in pieces of {piece}");
            assert_eq!(collected(Framing::Chunked, &pieces).0, payload);
        }
    }

    #[test]
    fn memory_is_taken_as_bytes_arrive_and_not_as_they_are_announced() {
        let (payload, capacity) = collected(Framing::Length(1 << 20), &[b"0123456789", b"a"]);
        assert_eq!((&payload[..], capacity), (&b"0123456789a"[..], 20));
    }
}
