//! Bytes that many batches share, joined.

use std::iter::repeat_n;
use std::rc::Rc;

/// The pieces one after the other, in one allocation: a vector that becomes an `Rc` would be copied once more.
pub fn joined(pieces: &[&[u8]]) -> Rc<[u8]> {
    let len = pieces.iter().map(|piece| piece.len()).sum();
    let mut joined: Rc<[u8]> = repeat_n(0, len).collect();
    let mut rest = Rc::get_mut(&mut joined).expect("nobody else has it yet");
    for piece in pieces {
        let (here, behind) = rest.split_at_mut(piece.len());
        here.copy_from_slice(piece);
        rest = behind;
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_out() {
        assert_eq!(*joined(&[b"a", b"", b"bcd"]), *b"abcd");
        assert!(joined(&[]).is_empty() && joined(&[b""]).is_empty());
    }
}
