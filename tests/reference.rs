//! What NATS verbs do, tried on the gateway and on nats-server: the same plays, byte by byte the same answers.
//!
//! ```text
//!  plays: who connects how, who says what --> nats-server ------------------> what each has heard --+
//!                                        '--> the gateway, 1, 2 and 4 shards --> the same            '--> equal
//! ```

#[path = "nats/bus.rs"]
mod bus;
#[path = "reference/plays.rs"]
mod plays;
#[path = "reference/server.rs"]
mod server;
#[path = "reference/stage.rs"]
mod stage;

use bus::Bus;
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
