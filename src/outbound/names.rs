//! The addresses of a name, looked up again and again.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::{mpsc, watch};
use tokio::time;

use crate::limits::ADDRESSES_PER_NAME_MAX;
use crate::proto::upstream::ServerName;

/// The outcome of a lookup.
pub(super) type Lookup = Result<Arc<[SocketAddr]>, Arc<io::Error>>;

/// Looks the name up until nothing wants to know. `outcomes` always has the last one; each is marked as a change.
pub(super) async fn follow(
    name: ServerName,
    every: Duration,
    outcomes: watch::Sender<Option<Lookup>>,
    beginning: mpsc::Sender<()>,
) {
    let mut beginning = Some(beginning);
    loop {
        let outcome = look_up(&name).await.map_err(Arc::new);
        if outcomes.send(Some(outcome)).is_err() {
            return;
        }
        // The task that hears of it has a copy of its own.
        beginning.take();
        time::sleep(every).await;
    }
}

/// At least one address. As the system does it: /etc/hosts, then DNS, or what /etc/nsswitch.conf says.
pub(super) async fn look_up(name: &ServerName) -> io::Result<Arc<[SocketAddr]>> {
    let found = lookup_host((&*name.host, name.port)).await?;
    sorted(found).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it has no address"))
}

/// In an order of their own, because resolvers answer in another one each time.
fn sorted(found: impl Iterator<Item = SocketAddr>) -> Option<Arc<[SocketAddr]>> {
    let mut addresses: Vec<SocketAddr> =
        found.map(canonical).filter(|address| !address.ip().is_unspecified()).collect();
    addresses.sort();
    addresses.dedup();
    addresses.truncate(ADDRESSES_PER_NAME_MAX);
    (!addresses.is_empty()).then(|| addresses.into())
}

/// An IPv4 address is IPv4 in every spelling.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => (ip, address.port()).into(),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Option<Vec<String>> {
        let found = sorted(texts.iter().map(|text| text.parse().unwrap()));
        found.map(|found| found.iter().map(SocketAddr::to_string).collect())
    }

    #[test]
    fn the_same_addresses_are_the_same_answer() {
        let one = of(&["10.0.0.2:80", "[::ffff:10.0.0.1]:80", "10.0.0.2:80", "[::1]:80"]);
        assert_eq!(one, of(&["[::1]:80", "10.0.0.1:80", "10.0.0.2:80"]));
        assert_eq!(one, Some(["10.0.0.1:80", "10.0.0.2:80", "[::1]:80"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn an_answer_is_bounded_and_never_empty() {
        let many: Vec<String> = (0..200).map(|number| format!("10.0.0.{number}:80")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(of(&many).map(|found| found.len()), Some(ADDRESSES_PER_NAME_MAX));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["0.0.0.0:80", "[::]:80"]), None, "some filters of advertisements answer so");
    }
}
