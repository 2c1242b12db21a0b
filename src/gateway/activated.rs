//! Sockets on which systemd listens before this process starts, and which it passes on (systemd.socket(5),
//! sd_listen_fds(3)).
//!
//! ```text
//!  LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES --> ActivatedSocket --assign--> the listener of that address, or name
//!                                                               '--> StartError: no listener would accept there
//! ```
//!
//! Such a socket is used unchanged. Its queue outlives the process, so clients that connect during a restart wait for
//! the next process. All shards accept from the same socket, because only systemd may bind its address.

use std::net::SocketAddr;
use std::sync::Arc;

use listenfd::ListenFd;

use super::StartError;
use super::config::address::canonical;
use crate::driver::socket::ListeningSocket;

/// A listening socket that is older than this process.
#[derive(Clone)]
pub struct ActivatedSocket {
    /// FileDescriptorName= of the socket unit.
    pub name: String,
    pub(super) address: SocketAddr,
    pub(super) listener: Arc<ListeningSocket>,
}

/// The address of a configured listener.
pub(super) struct Wanted {
    /// `http`, `https`, `bus` or `admin`.
    pub name: &'static str,
    pub address: SocketAddr,
    /// Every peer of this listener is trusted, so a loopback address must stay on loopback.
    pub is_private: bool,
}

impl ActivatedSocket {
    fn new(name: String, address: SocketAddr, listener: ListeningSocket) -> ActivatedSocket {
        ActivatedSocket { name, address: canonical(address), listener: Arc::new(listener) }
    }

    /// The sockets that were passed to this process; none if systemd did not start it.
    ///
    /// Call it before other threads run: it removes the variables from the environment, so that no child process takes
    /// the sockets for its own.
    pub fn from_environment() -> Result<Vec<ActivatedSocket>, StartError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut descriptors = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..descriptors.len() {
            let name = names.next().unwrap_or_default().to_owned();
            let taken = descriptors.take_tcp_listener(index);
            let listener = taken.and_then(|socket| socket.map(ListeningSocket::activated).transpose());
            let refused = |error| StartError(format!("systemd handed over socket {index} ({name:?}): {error}"));
            if let Some((listener, address)) = listener.map_err(refused)? {
                sockets.push(ActivatedSocket::new(name, address, listener));
            }
        }
        Ok(sockets)
    }
}

/// The socket for each listener, by address or else by name. Listeners without one bind their own.
pub(super) fn assign(
    sockets: Vec<ActivatedSocket>,
    wanted: &[Wanted],
) -> Result<Vec<Option<ActivatedSocket>>, StartError> {
    let mut assigned: Vec<Option<ActivatedSocket>> = vec![None; wanted.len()];
    let mut by_name = Vec::new();
    for socket in sockets {
        let place = wanted.iter().position(|wanted| is_address(wanted.address, socket.address));
        match place.filter(|place| assigned[*place].is_none()) {
            Some(place) => assigned[place] = Some(socket),
            None => by_name.push(socket),
        }
    }
    for socket in by_name {
        let is_free = |place: usize| assigned[place].is_none() && wanted[place].name == socket.name;
        let Some(place) = (0..wanted.len()).find(|place| is_free(*place)) else {
            return Err(unwanted(&socket, wanted));
        };
        let Wanted { name, address, is_private } = wanted[place];
        if is_private && address.ip().is_loopback() && !socket.address.ip().is_loopback() {
            return Err(StartError(format!(
                "systemd handed over {} for the {name} listener, which is configured for loopback alone ({address}); \
                 set {name}.address to what the socket unit listens on",
                socket.address
            )));
        }
        assigned[place] = Some(socket);
    }
    Ok(assigned)
}

/// Two ways to write "every address" mean the same: a socket of systemd on `[::]` takes IPv4 as well.
fn is_address(configured: SocketAddr, activated: SocketAddr) -> bool {
    let is_any = configured.ip().is_unspecified() && activated.ip().is_unspecified();
    configured == activated || is_any && configured.port() == activated.port()
}

fn unwanted(socket: &ActivatedSocket, wanted: &[Wanted]) -> StartError {
    let listeners: Vec<String> = wanted.iter().map(|wanted| format!("{} {}", wanted.name, wanted.address)).collect();
    StartError(format!(
        "systemd handed over {} ({:?}), and no listener is for it; expected the address of one, or its name as \
         FileDescriptorName=: {}",
        socket.address,
        socket.name,
        listeners.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn activated(name: &str, bind: &str) -> ActivatedSocket {
        let (listener, address) = ListeningSocket::activated(TcpListener::bind(bind).unwrap()).unwrap();
        ActivatedSocket::new(name.to_owned(), address, listener)
    }

    fn wanted(name: &'static str, address: &str) -> Wanted {
        Wanted { name, address: address.parse().unwrap(), is_private: matches!(name, "bus" | "admin") }
    }

    #[test]
    fn an_address_goes_before_a_name_and_a_name_where_no_address_is() {
        let (first, second) = (activated("https", "127.0.0.1:0"), activated("http", "127.0.0.1:0"));
        let (by_address, by_name) = (first.address, second.address);
        let listeners =
            [wanted("http", &by_address.to_string()), wanted("http", "127.0.0.1:1"), wanted("https", "127.0.0.1:2")];
        let assigned = assign(vec![first, second], &listeners).unwrap();
        let addresses: Vec<_> = assigned.iter().map(|socket| socket.as_ref().map(|socket| socket.address)).collect();
        assert_eq!(addresses, [Some(by_address), Some(by_name), None]);
    }

    #[test]
    fn every_address_is_every_address() {
        let any = |text: &str| text.parse().unwrap();
        assert!(is_address(any("0.0.0.0:80"), any("[::]:80")));
        assert!(!is_address(any("0.0.0.0:80"), any("[::]:81")));
        assert!(!is_address(any("127.0.0.1:80"), any("0.0.0.0:80")));
    }

    #[test]
    fn an_ipv4_socket_of_both_families_is_for_the_listener_of_its_ipv4_address() {
        if TcpListener::bind("[::1]:0").is_err() {
            return; // a machine without IPv6
        }
        let socket = activated("", "[::ffff:127.0.0.1]:0");
        let address = format!("127.0.0.1:{}", socket.address.port());
        assert_eq!(socket.address.to_string(), address);
        let assigned = assign(vec![socket], &[wanted("http", "127.0.0.1:1"), wanted("admin", &address)]).unwrap();
        assert!(assigned[0].is_none() && assigned[1].is_some());
    }

    #[test]
    fn a_socket_that_nobody_would_accept_from_is_refused() {
        let StartError(words) = assign(vec![activated("web", "127.0.0.1:0")], &[wanted("http", "127.0.0.1:1")])
            .err()
            .expect("nobody listens there");
        assert!(words.contains("\"web\"") && words.ends_with("http 127.0.0.1:1"), "{words}");
    }

    #[test]
    fn a_name_does_not_open_a_private_listener_to_the_world() {
        let outcome = assign(vec![activated("bus", "0.0.0.0:0")], &[wanted("bus", "127.0.0.1:4222")]);
        let StartError(words) = outcome.err().expect("it is refused");
        assert!(words.contains("set bus.address"), "{words}");
        assert!(assign(vec![activated("http", "0.0.0.0:0")], &[wanted("http", "127.0.0.1:1")]).is_ok());
    }
}
