//! Where something lives: which thread, and which connection of it.

use super::Key;
use crate::limits::SHARDS_MAX;
use std::fmt;
use std::str::FromStr;

/// Numbers the threads that mail each other: the shards first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(pub u16);

impl Place {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One connection of the gateway. Written as 16 hexadecimal digits it is the connection id of `tg.conn.<id>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Always a shard: its number fits eight bits.
    pub place: Place,
    pub key: Key,
}

const _: () = assert!(SHARDS_MAX <= 1 << 8, "the number of a shard fits the first byte of an address");

impl Address {
    pub fn to_bits(self) -> u64 {
        u64::from(self.place.0) << 56 | self.key.to_bits()
    }

    pub fn from_bits(bits: u64) -> Address {
        Address { place: Place((bits >> 56) as u16), key: Key::from_bits(bits) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each message of a client says where its answer goes, so this does without the machinery of `{:016x}`.
        let mut digits = [0; 16];
        for (index, digit) in digits.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(self.to_bits() >> (60 - 4 * index)) as usize % 16];
        }
        f.write_str(str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

/// The text is not 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnAddress;

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Address, NotAnAddress> {
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotAnAddress);
        }
        u64::from_str_radix(text, 16).map(Address::from_bits).map_err(|_| NotAnAddress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_its_text() {
        let address = Address { place: Place(255), key: Key { slot: 0x1234_5678, generation: 0xAB_CDEF } };
        assert_eq!(address.to_string(), "ffabcdef12345678");
        assert_eq!(address.to_string().parse(), Ok(address));
        for bad in ["", "12", "+fabcdef12345678", "ffabcdef123456789"] {
            assert_eq!(bad.parse::<Address>(), Err(NotAnAddress), "{bad}");
        }
    }
}
