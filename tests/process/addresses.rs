//! Where `tidegate serve` listens, as it says itself: a line for each listener, with the address at its end.

use std::io::BufRead;
use std::net::SocketAddr;

/// Of the first listeners, in their order.
pub fn addresses<const COUNT: usize>(stdout: &mut impl BufRead) -> [SocketAddr; COUNT] {
    std::array::from_fn(|_| {
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line comes");
        let word = line.split_whitespace().next_back();
        word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no address in {line:?}"))
    })
}
