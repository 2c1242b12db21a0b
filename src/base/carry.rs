//! The bytes of an incomplete message, kept between two receives.

/// Unused bytes of a receive. Empty, it holds no heap memory.
#[derive(Default)]
pub struct Carry {
    // One word in each connection instead of three; most connections carry no bytes.
    #[expect(clippy::box_collection)]
    bytes: Option<Box<Vec<u8>>>,
}

impl Carry {
    pub fn new() -> Carry {
        Carry::default()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn len(&self) -> usize {
        self.bytes.as_ref().map_or(0, |bytes| bytes.len())
    }

    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref().map_or(&[], |bytes| bytes)
    }

    /// Bytes of memory that it occupies.
    pub fn capacity(&self) -> usize {
        self.bytes.as_ref().map_or(0, |bytes| bytes.capacity())
    }

    /// Takes the carried bytes, joined with `fresh`; the carry is empty afterwards.
    pub fn take_joined(&mut self, fresh: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = *self.bytes.take()?;
        bytes.extend_from_slice(fresh);
        Some(bytes)
    }

    /// Keeps `rest` for the next receive. The carry must be empty.
    pub fn keep(&mut self, rest: &[u8]) {
        assert!(self.is_empty(), "a carry is taken before it is kept again");
        self.bytes = if rest.is_empty() { None } else { Some(Box::new(rest.to_vec())) };
    }

    /// Keeps the rest of a vector from [`Carry::take_joined`] after `used` bytes, without a second allocation.
    pub fn keep_rest(&mut self, mut joined: Vec<u8>, used: usize) {
        assert!(self.is_empty(), "a carry is taken before it is kept again");
        joined.drain(..used);
        if joined.is_empty() {
            return;
        }
        if joined.capacity() > joined.len() * 4 + 1024 {
            joined.shrink_to_fit();
        }
        self.bytes = Some(Box::new(joined));
    }

    /// Adds bytes that arrived while the connection was not reading.
    pub fn append(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.bytes.get_or_insert_default().extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_what_was_kept_with_what_is_fresh() {
        let mut carry = Carry::new();
        carry.keep(b"he");
        let joined = carry.take_joined(b"llo").unwrap();
        assert_eq!(joined, b"hello");
        carry.keep_rest(joined, 4);
        assert_eq!(carry.len(), 1);
        assert_eq!(carry.take_joined(b"").unwrap(), b"o");
        assert!(carry.is_empty() && carry.bytes.is_none());
    }
}
