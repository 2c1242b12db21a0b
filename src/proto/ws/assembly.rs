//! An incomplete message: fragments, and the part of a frame that has arrived.

use std::mem;

use crate::base::Tick;
use crate::proto::CloseReason;

use super::frame::{FrameHeader, Opcode};
use super::mask::{self, Mask};
use super::utf8;

/// An incomplete message.
#[derive(Debug)]
pub(super) struct Assembly {
    opcode: Opcode,
    message: Vec<u8>,
    /// Used for text only.
    validator: utf8::Validator,
    /// The number of frames that have begun.
    fragments: u32,
    /// The frame whose payload is arriving; `None` between two fragments.
    frame: Option<Arriving>,
    /// The deadline of its caller for the message, without the time for the bytes that have arrived.
    pub(super) until: Option<Tick>,
}

#[derive(Debug)]
struct Arriving {
    fin: bool,
    /// The mask for the next byte.
    mask: Option<Mask>,
    /// Bytes that have not arrived. The message limit has been checked for them, so there is room.
    missing: usize,
}

/// What the available bytes complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CompletedPart {
    /// Nothing: all input is used, and the frame continues.
    Part,
    Fragment,
    Message,
}

impl Assembly {
    /// An empty message of the kind that its first frame says.
    pub(super) fn new(opcode: Opcode) -> Assembly {
        let (message, validator) = Default::default();
        Assembly { opcode, message, validator, fragments: 0, frame: None, until: None }
    }

    /// Bytes that have arrived.
    pub(super) fn len(&self) -> usize {
        self.message.len()
    }

    /// Bytes of memory for them.
    pub(super) fn capacity(&self) -> usize {
        self.message.capacity()
    }

    pub(super) fn fragments(&self) -> u32 {
        self.fragments
    }

    /// Whether a frame has begun and not ended: then its payload comes next.
    pub(super) fn is_receiving(&self) -> bool {
        self.frame.is_some()
    }

    /// Takes the header of the next frame, which the session has admitted.
    pub(super) fn begin_frame(&mut self, header: &FrameHeader) {
        assert!(self.frame.is_none(), "a frame begins only after the one before it has ended");
        self.fragments += 1;
        self.frame = Some(Arriving { fin: header.fin, mask: header.mask, missing: header.len as usize });
    }

    /// Moves the bytes that have arrived into the message: the one copy of an assembled message. Most messages arrive
    /// whole.
    #[inline(never)]
    pub(super) fn receive(&mut self, input: &mut &mut [u8]) -> Result<CompletedPart, CloseReason> {
        let frame = self.frame.as_mut().expect("called while a frame arrives");
        let bytes = take_front(input, frame.missing.min(input.len()));
        if let Some(key) = &mut frame.mask {
            mask::apply(bytes, *key);
            *key = mask::advance(*key, bytes.len());
        }
        if self.opcode == Opcode::Text {
            self.validator.feed(bytes).map_err(|_| CloseReason::WebSocketUtf8)?;
        }
        // Capacity follows the bytes that have arrived, at most doubling, and does not exceed what the last frame can
        // fill.
        if self.message.capacity() - self.message.len() < bytes.len() {
            let doubled = self.message.len().max(bytes.len());
            self.message.reserve_exact(if frame.fin { doubled.min(frame.missing) } else { doubled });
        }
        self.message.extend_from_slice(bytes);
        frame.missing -= bytes.len();
        if frame.missing > 0 {
            return Ok(CompletedPart::Part);
        }
        let fin = frame.fin;
        self.frame = None;
        match fin {
            false => Ok(CompletedPart::Fragment),
            true if self.validator.is_complete() => Ok(CompletedPart::Message),
            true => Err(CloseReason::WebSocketUtf8),
        }
    }

    pub(super) fn into_message(self) -> (Opcode, Vec<u8>) {
        (self.opcode, self.message)
    }
}

/// Takes `len` bytes off the front of `input`.
pub(super) fn take_front<'a>(input: &mut &'a mut [u8], len: usize) -> &'a mut [u8] {
    let (front, rest) = mem::take(input).split_at_mut(len);
    *input = rest;
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary_frame(fin: bool, len: u64) -> FrameHeader {
        FrameHeader { fin, opcode: Opcode::Binary, mask: None, len }
    }

    #[test]
    fn a_claimed_length_reserves_nothing() {
        let mut assembly = Assembly::new(Opcode::Binary);
        assembly.begin_frame(&binary_frame(true, 1 << 40));
        assert_eq!(assembly.receive(&mut &mut [1; 100][..]), Ok(CompletedPart::Part));
        assert_eq!(assembly.message.capacity(), 100);
    }

    #[test]
    fn room_doubles_over_many_small_fragments() {
        let mut assembly = Assembly::new(Opcode::Binary);
        let mut reservations = 0;
        for _ in 0..4096 {
            let capacity = assembly.message.capacity();
            assembly.begin_frame(&binary_frame(false, 1));
            assert_eq!(assembly.receive(&mut &mut [1][..]), Ok(CompletedPart::Fragment));
            reservations += usize::from(assembly.message.capacity() != capacity);
        }
        assert!(reservations <= 13, "{reservations} reservations for 4096 bytes");
        assembly.begin_frame(&binary_frame(true, 1));
        assert_eq!(assembly.receive(&mut &mut [1][..]), Ok(CompletedPart::Message));
        assert_eq!(assembly.into_message(), (Opcode::Binary, vec![1; 4097]));
    }
}
