//! `tidegate demo`: the gateway, a page to look at, and two workers, all in this process and on loopback only.
//!
//! ```text
//!  browser --page, event streams, WebSockets--> gateway <--mesh--> report: where the drivers are
//!  curl ------POST /api/channels/...----------> gateway <--mesh--> match_rides: a driver for the ride
//!  NATS client -------------bus---------------> gateway
//! ```

mod certificate;
mod page;
mod rides;
mod route;
mod words;
mod workers;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;

use log::LevelFilter;
use serde_json::json;

use super::log_lines::log_to_stderr;
use super::output::{complain, print};
use super::stop::Stop;
use tidegate::gateway::config::{
    Admin, Bus, Config, DriverChoice, Listener, Route, SseTarget, Target, UserSource, WebSocketTarget,
};
use tidegate::gateway::{Builder, Gateway};
use tidegate::limits;

/// Starts a gateway with a page to look at, on loopback, until Ctrl-C
///
/// Reads no file and writes none. If a default port is taken, the demo uses a free one.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Port of the page, over HTTP [default: 8080]
    #[arg(long)]
    port: Option<u16>,
    /// Port of the page over TLS, with a certificate made at start [default: 8443]
    #[arg(long)]
    tls_port: Option<u16>,
    /// Port of the bus, for NATS clients [default: 4222]
    #[arg(long)]
    bus_port: Option<u16>,
    /// Port of the publish API [default: 9180]
    #[arg(long)]
    admin_port: Option<u16>,
    /// The kernel's interface for network I/O; `auto` takes io_uring if this kernel allows it, otherwise epoll
    #[arg(long, default_value = "auto", value_parser = ["auto", "epoll", "uring"])]
    driver: String,
    /// Print the addresses as one line of JSON
    #[arg(long)]
    json: bool,
}

/// The addresses of the demo.
#[derive(Clone, Copy)]
struct Addresses {
    plain: SocketAddr,
    tls: SocketAddr,
    bus: SocketAddr,
    admin: SocketAddr,
}

/// Runs until a signal.
pub fn run(args: &DemoArgs) -> ExitCode {
    // A warning that the wanted driver is not available is worth a line; the start itself is reported on stdout.
    log_to_stderr(LevelFilter::Warn);
    match Stop::new().and_then(|stop| Ok((stop, start(args)?))) {
        Ok((stop, (gateway, addresses))) => {
            print(&if args.json { addresses.json() } else { words::words(&addresses, &words::program()) });
            stop.wait(gateway)
        }
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn start(args: &DemoArgs) -> Result<(Gateway, Addresses), String> {
    let addresses = Addresses {
        plain: address(args.port, 8080)?,
        tls: address(args.tls_port, 8443)?,
        bus: address(args.bus_port, 4222)?,
        admin: address(args.admin_port, 9180)?,
    };
    let driver = match args.driver.as_str() {
        "epoll" => DriverChoice::Epoll,
        "uring" => DriverChoice::Uring,
        _ => DriverChoice::Auto,
    };
    let certificate = certificate::SelfSigned::new()?;
    let listeners = vec![
        Listener {
            address: addresses.plain,
            tls: None,
            clients: None,
            hosts: Vec::new(),
            proxy_protocol_from: Vec::new(),
        },
        Listener {
            address: addresses.tls,
            tls: Some(vec![certificate.files()]),
            clients: None,
            hosts: Vec::new(),
            proxy_protocol_from: Vec::new(),
        },
    ];
    let config = Config {
        listeners,
        bus: Some(Bus { address: addresses.bus, credentials: None }),
        admin: Some(Admin::at(addresses.admin)),
        routes: gateway_routes(),
        driver,
        ..Config::default()
    };
    // Once per process, and needed until its end.
    let page = page::page(addresses.admin, addresses.bus, &words::program()).leak();
    let gateway = Builder::new(config)
        .page("/", "text/html; charset=utf-8", page.as_bytes())
        .worker("report", workers::report)
        .worker("match-rides", workers::match_rides)
        .start()
        .map_err(|error| error.to_string())?;
    Ok((gateway, addresses))
}

/// A loopback address: with the given port, otherwise with the usual one, otherwise with a free one.
fn address(asked: Option<u16>, usual: u16) -> Result<SocketAddr, String> {
    let on = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // Only a test: the gateway claims the address in a moment, and reports an error if another program was faster.
    let bind = |port| TcpListener::bind(on(port)).and_then(|listener| listener.local_addr());
    match asked {
        Some(port) => bind(port).map_err(|error| format!("port {port} cannot be used: {error}")),
        None => bind(usual).or_else(|_| bind(0)).map_err(|error| format!("no port can be used on loopback: {error}")),
    }
}

fn gateway_routes() -> Vec<Route> {
    let route = |path: &str, target| Route {
        hosts: Vec::new(),
        scheme: None,
        path: path.to_owned(),
        methods: vec!["GET".to_owned()],
        origins: Vec::new(),
        request_headers: Vec::new(),
        auth: Vec::new(),
        target,
    };
    let service = |name: &str, user| {
        Target::WebSocket(WebSocketTarget {
            channel: None,
            service: Some(name.to_owned()),
            publish: false,
            user,
            control: false,
            subprotocols: Vec::new(),
            headers: Vec::new(),
        })
    };
    let location = SseTarget { channels: vec!["driver.location.{driver}".to_owned()], retry: limits::SSE_RETRY };
    let room = WebSocketTarget {
        channel: Some("room.{room}".to_owned()),
        service: None,
        publish: true,
        user: None,
        control: false,
        subprotocols: Vec::new(),
        headers: Vec::new(),
    };
    vec![
        route("/api/sse/drivers/{driver}/location", Target::Sse(location)),
        route("/ws/rides", service(workers::SERVICE, Some(UserSource::Query("driver".to_owned())))),
        route("/ws/rooms/{room}", Target::WebSocket(room)),
        // For a worker that the user starts: examples/echo.py and examples/echo.mjs.
        route("/ws/echo", service("echo", None)),
    ]
}

impl Addresses {
    fn json(&self) -> String {
        let Addresses { plain, tls, bus, admin } = self;
        let addresses = json!({
            "page": format!("http://{plain}/"),
            "tls": format!("https://{tls}/"),
            "bus": format!("nats://{bus}"),
            "admin": format!("http://{admin}/"),
        });
        format!("{addresses}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_default_is_replaced_and_a_taken_wish_is_refused() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(address(None, port).unwrap().port(), port);
        assert!(address(Some(port), port).unwrap_err().starts_with(&format!("port {port} cannot be used")));
    }
}
