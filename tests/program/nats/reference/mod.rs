//! What NATS verbs do, tried on the gateway and on nats-server: the same plays, byte by byte the same answers.
//!
//! ```text
//!  plays: who connects how, who says what --> nats-server ------------------> what each has heard --+
//!                                        '--> the gateway, 1, 2 and 4 shards --> the same            '--> equal
//! ```

mod plays;
mod server;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;

use serde_json::Value;

use crate::nats::bus::Bus;
use plays::PLAYS;
use server::Server;

/// Which shard a connection comes to is the kernel's choice.
const ROUNDS: usize = 3;

#[test]
fn verbs_have_the_effects_that_they_have_in_nats_server() {
    let server = Server::start();
    let wanted: Vec<_> = PLAYS.iter().map(|play| stage::perform(play, &server.address)).collect();
    for shards in [1, 2, 4] {
        let bus = Bus::start_with("reference", shards);
        for (play, wanted) in PLAYS.iter().zip(&wanted) {
            for round in 0..ROUNDS {
                let heard = stage::perform(play, &bus.address);
                assert_eq!(&heard, wanted, "{}: {shards} shards, round {round}", play.name);
            }
        }
    }
}

/// What a server greets with.
fn info(address: &str) -> BTreeMap<String, Value> {
    let mut line = String::new();
    BufReader::new(TcpStream::connect(address).unwrap()).read_line(&mut line).unwrap();
    serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap()
}

#[test]
fn the_greeting_has_all_that_nats_server_says() {
    let (server, bus) = (Server::start(), Bus::start_with("greeting", 2));
    let (wanted, greeting) = (info(&server.address), info(&bus.address));
    let differs = ["server_id", "server_name", "go", "port", "client_id"];
    for (key, wanted) in &wanted {
        let said = greeting.get(key).unwrap_or_else(|| panic!("{key} is missing: {greeting:?}"));
        match differs.contains(&key.as_str()) {
            true => assert_eq!(std::mem::discriminant(said), std::mem::discriminant(wanted), "{key}: {said}"),
            false => assert_eq!(said, wanted, "{key}"),
        }
    }
    assert_eq!(greeting["port"].to_string(), bus.address.rsplit(':').next().unwrap());
    let ids: BTreeSet<u64> = (0..50).map(|_| info(&bus.address)["client_id"].as_u64().unwrap()).collect();
    assert!(ids.len() == 50 && ids.iter().all(|id| *id < 1000), "{ids:?}");
}
