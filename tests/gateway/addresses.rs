//! Whose an address is: of one gateway, for as long as that runs.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use tidegate::driver::socket::private_descriptor_table;
use tidegate::gateway::config::Config;
use tidegate::gateway::{Builder, Gateway, StartError};

use crate::ports::free_address;
use crate::support::{front, on_both_drivers};

/// A gateway with a listener at each of these addresses, and nothing to say.
fn start(addresses: &[SocketAddr]) -> Result<Gateway, StartError> {
    let listeners = addresses.iter().map(|address| format!("[[listener]]\naddress = \"{address}\"\n"));
    let text = format!("shards = 2\n{}", listeners.collect::<String>());
    let config = Config::parse(Path::new("test.toml"), &text, []).unwrap_or_else(|errors| panic!("{errors}"));
    Builder::new(config).start()
}

/// As a socket for both families would name it.
fn mapped(address: SocketAddr) -> SocketAddr {
    let SocketAddr::V4(address) = address else { panic!("{address} is of IPv6") };
    (address.ip().to_ipv6_mapped(), address.port()).into()
}

#[test]
fn an_address_is_of_one_gateway_and_free_when_that_has_stopped() {
    private_descriptor_table().expect("threads may have tables");
    on_both_drivers("", |gateway| {
        let StartError(words) = start(&[front(gateway)]).err().expect("somebody listens there");
        let taken = format!("cannot listen on {}: Address already in use (os error 98)", front(gateway));
        assert_eq!(words, taken);
        let StartError(words) = start(&[mapped(front(gateway))]).err().expect("it is the same address");
        assert_eq!(words, taken);
    });
    let address = free_address();
    for spelling in [address, mapped(address), address] {
        let gateway = start(&[spelling]).unwrap_or_else(|error| panic!("{error}"));
        TcpStream::connect(address).expect("it accepts");
        gateway.stop();
        TcpStream::connect(address).expect_err("nobody listens");
    }
}

#[test]
fn a_gateway_that_does_not_start_leaves_no_address_taken() {
    private_descriptor_table().expect("threads may have tables");
    let (free, taken) = (free_address(), TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    let addresses = [free, taken.local_addr().expect("it has an address")];
    start(&addresses).err().expect("the second is taken");
    TcpStream::connect(free).expect_err("nobody listens");
    drop(taken);
    start(&addresses).unwrap_or_else(|error| panic!("{error}")).stop();
}
