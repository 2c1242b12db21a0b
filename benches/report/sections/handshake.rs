//! What it costs to let somebody in.

use super::{PHASE, SERVER, Section, better};
use crate::marks::{Bound, Mark};
use crate::plot::grouped;
use crate::runs::Record;
use crate::table::Column;
use crate::table::Show::Number;
use crate::table::server_name;

pub const SECTION: Section = Section {
    title: "Handshake: connect, upgrade, close",
    prose: "\
A client connects, shakes hands (TLS 1.3, a P-256 certificate), upgrades to a WebSocket, closes, and begins again. The
*bound* is what the same costs without TLS, and the server's *half* of a handshake in memory with the same configuration,
where nothing but rustls runs: both measured in this run. *Full* handshakes sign with the certificate's key; *resumed* ones
bring a ticket and need no signature, so they are counted apart.",
    findings,
    runs: &[("handshake", "Connect, upgrade, close")],
    columns: &[
        PHASE,
        SERVER,
        Column("connects_per_s", "connects/s", Number(0)),
        Column("cpu_us", "CPU µs per connect", Number(1)),
        Column("half_us", "half in memory µs", Number(1)),
        Column("bound_us", "bound µs", Number(1)),
        Column("cpu_to_bound", "to bound", Number(2)),
        Column("load_cpu_us", "load's CPU µs", Number(1)),
    ],
    marks: &[Mark {
        what: "full TLS 1.3 handshake, upgrade, close: CPU to the bound",
        short: "to bound",
        run: "handshake",
        of: &[("phase", "full")],
        figure: |row, _| row.figure("cpu_to_bound"),
        bound: Bound::AtMost(1.15),
        unit: "",
        digits: 2,
    }],
    plots: &[],
};

fn findings(record: &Record) -> Vec<String> {
    let found = better(record.rows("handshake"), "cpu_us", &[("phase", "full")]);
    let sentence = found.map(|(row, cpu)| {
        format!(
            "A new TLS connection takes {} µs of the server's CPU on {}: {} of them in a second and core.",
            grouped(cpu, 0),
            server_name(row.server()),
            grouped(1e6 / cpu, 0),
        )
    });
    sentence.into_iter().collect()
}
