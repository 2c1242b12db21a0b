//! Variables that Kubernetes and Docker set for other services, and that begin like ours ("service links").
//!
//! ```text
//!  Service named tidegate, or tidegate-<other>, in the pod's namespace (Kubernetes, "Discovering services"):
//!    TIDEGATE_SERVICE_HOST=10.96.0.7      TIDEGATE_PORT=tcp://10.96.0.7:80
//!    TIDEGATE_SERVICE_PORT=80             TIDEGATE_PORT_80_TCP=tcp://10.96.0.7:80
//!    TIDEGATE_SERVICE_PORT_HTTP=80        TIDEGATE_PORT_80_TCP_ADDR=10.96.0.7, _PORT=80, _PROTO=tcp
//!  docker run --link web:tidegate ("Legacy container links"): as the right column, and
//!    TIDEGATE_NAME=/worker/tidegate       TIDEGATE_ENV_<of the other container>=…
//! ```
//!
//! A variable is a link only if both its name *and* its value have the form of one: `TIDEGATE_BUS_PORT=4222` is a
//! misspelled key, while `TIDEGATE_BUS_PORT=tcp://10.96.0.7:4222` comes from a Service named `tidegate-bus`. No key has
//! such a name.

use std::net::{IpAddr, SocketAddr};

use super::environment::PREFIX;

/// Transports that a Service or a container may have.
const TRANSPORTS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// Whether a variable is a service link.
pub(super) fn is_link(name: &str, value: &str) -> bool {
    // Keep the underscore in front, so that a service named exactly like the prefix needs no special case.
    let Some(rest) = name.strip_prefix(PREFIX.trim_end_matches('_')) else { return false };
    let ends = |end: &str, fits: fn(&str) -> bool| rest.ends_with(end) && fits(value);
    ends("_SERVICE_HOST", is_host)
        || ends("_PORT", is_url)
        || ends("_NAME", is_docker_name)
        || rest.contains("_ENV_")
        || is_named_port(rest) && is_port(value)
        || is_of_a_port(rest, value)
}

/// `_SERVICE_PORT`, alone or followed by the name of the port.
fn is_named_port(rest: &str) -> bool {
    let behind = rest.split_once("_SERVICE_PORT").map(|(_, behind)| behind);
    behind.is_some_and(|behind| behind.is_empty() || behind.starts_with('_'))
}

/// `_PORT_80_TCP`, alone or with a suffix.
fn is_of_a_port(rest: &str, value: &str) -> bool {
    let parts: Vec<&str> = rest.split('_').collect();
    (0..parts.len()).any(|at| match parts[at..] {
        ["PORT", number, transport, ref after @ ..] if is_port(number) && TRANSPORTS.contains(&transport) => {
            match after {
                // Docker sets the begin and the end of a port range.
                [] | ["START" | "END"] => is_url(value),
                ["ADDR"] => is_host(value),
                ["PORT"] | ["PORT", "START" | "END"] => is_port(value),
                ["PROTO"] => TRANSPORTS.contains(&value.to_uppercase().as_str()),
                _ => false,
            }
        }
        _ => false,
    })
}

fn is_host(value: &str) -> bool {
    value.parse::<IpAddr>().is_ok()
}

fn is_port(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_digit()) && value.parse::<u16>().is_ok()
}

/// `tcp://10.96.0.7:80`, `udp://[fd00::7]:53`.
fn is_url(value: &str) -> bool {
    let Some((transport, address)) = value.split_once("://") else { return false };
    TRANSPORTS.contains(&transport.to_uppercase().as_str()) && address.parse::<SocketAddr>().is_ok()
}

/// `/worker/tidegate`: the name of this container, then that of the link.
fn is_docker_name(value: &str) -> bool {
    value.strip_prefix('/').is_some_and(|names| names.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::super::table::{Row, TABLE};
    use super::*;

    /// As Kubernetes sets them for Services named `tidegate` and `tidegate-bus`, and as Docker does for a link.
    const LINKS: &[(&str, &str)] = &[
        ("SERVICE_HOST", "10.96.0.7"),
        ("SERVICE_HOST", "fd00::7"),
        ("SERVICE_PORT", "8080"),
        ("SERVICE_PORT_HTTP", "8080"),
        ("SERVICE_PORT_METRICS_V2", "9180"),
        ("PORT", "tcp://10.96.0.7:8080"),
        ("PORT", "udp://[fd00::7]:53"),
        ("PORT_8080_TCP", "tcp://10.96.0.7:8080"),
        ("PORT_8080_TCP_ADDR", "10.96.0.7"),
        ("PORT_8080_TCP_PORT", "8080"),
        ("PORT_8080_TCP_PROTO", "tcp"),
        ("PORT_53_UDP", "udp://10.96.0.7:53"),
        ("PORT_7_SCTP_PROTO", "sctp"),
        ("PORT_8000_TCP_START", "tcp://172.17.0.5:8000"),
        ("PORT_8000_TCP_PORT_END", "8010"),
        ("NAME", "/worker/tidegate"),
        ("ENV_POSTGRES_PASSWORD", "anything at all"),
    ];

    #[test]
    fn knows_what_is_set_for_a_service_whatever_follows_our_name_in_its_own() {
        for (name, value) in LINKS {
            for service in ["TIDEGATE", "TIDEGATE_BUS", "TIDEGATE_ADMIN", "TIDEGATE_CHANNEL_0", "TIDEGATE_PORT"] {
                assert!(is_link(&format!("{service}_{name}"), value), "{service}_{name}={value}");
            }
            assert!(!is_link(&format!("POSTGRES_{name}"), value));
        }
    }

    #[test]
    fn a_slip_in_a_key_is_no_link() {
        for (name, value) in [
            ("TIDEGATE_PORT", "8080"),
            ("TIDEGATE_BUS_PORT", "4222"),
            ("TIDEGATE_BUS_PORT", "nats://10.0.0.1:4222"),
            ("TIDEGATE_SERVICE_HOST", "gate.example"),
            ("TIDEGATE_SERVICE_PORT", "http"),
            ("TIDEGATE_SERVICE_PORTS", "8080"),
            ("TIDEGATE_PORT_8080", "tcp://10.96.0.7:8080"),
            ("TIDEGATE_PORT_HTTP_TCP", "tcp://10.96.0.7:8080"),
            ("TIDEGATE_NAME", "gate"),
            ("TIDEGATE_CHANNEL_0_NAMES", "room.*"),
            ("TIDEGATE_ROUTE_0_WEBSOCKET_SERVICES", "rides"),
            ("TIDEGATE_ENV", "production"),
        ] {
            assert!(!is_link(name, value), "{name}={value}");
        }
    }

    #[test]
    fn no_key_is_named_like_a_link() {
        for variable in TABLE.iter().filter_map(Row::variable) {
            let variable = variable.replace("_N_", "_0_");
            let values = ["10.0.0.1", "80", "tcp://10.0.0.1:80", "tcp"];
            assert!(values.iter().all(|value| !is_link(&variable, value)), "{variable}");
        }
    }
}
