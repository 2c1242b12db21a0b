//! From checked values to [`Config`]: fills in defaults, and checks that values fit together.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{Error, Errors, Place};
use super::table;
use super::tree::{Content, Table};
use super::validate::{Broken, is_what, subject_of};
use super::{
    Bus, CertificateFiles, Channel, ClientFiles, Config, Credentials, Delivery, Drain, DriverChoice, Keep, Limits,
    Listener, Pin, Queue, Rule, TlsOptions, Trusted, TrustedHeader, address, form,
};
use crate::limits::CHANNEL_RULES_MAX;

mod access_log;
mod admin;
mod auth;
mod centrifuge;
mod client_limits;
mod doubts;
mod permissions;
mod reach;
mod routes;
mod section;
mod upstreams;

use section::Section;

/// Builds as much as possible; for each missing part, `errors` has the reason.
pub(super) fn build(folder: &Path, root: &Table, broken: &Broken, errors: &mut Errors) -> Config {
    let top = Section { table: root, place: Place::File, path: String::new() };
    let auth_names = top.tables("auth").iter().filter_map(|auth| auth.text("name")).collect();
    let is_tokenless = |auth: &&Section<'_>| auth.value("jwt").is_none();
    let tokenless_auths = top.tables("auth").iter().filter(is_tokenless).filter_map(|auth| auth.text("name")).collect();
    let has_permissions = !top.tables("permission").is_empty();
    let mut builder = ConfigBuilder { folder, broken, errors, auth_names, tokenless_auths, has_permissions };
    let mut upstreams = upstreams::all(&mut builder, &top);
    let routes = builder.routes(&top, &mut upstreams);
    let auths = auth::all(&mut builder, &top, &mut upstreams);
    let (permissions, deciders) = permissions::all(&mut builder, &top);
    let config = Config {
        listeners: builder.listeners(&top),
        tls: builder.tls(&top),
        trust: trust(&top),
        bus: top.table("bus").and_then(|bus| builder.bus(&bus)),
        admin: top.table("admin").and_then(|section| admin::read(&mut builder, &section)),
        client_limits: builder.client_limits(&top, &routes),
        routes,
        auths,
        permissions,
        deciders,
        upstreams,
        channels: builder.channels(&top),
        access_log: access_log::read(&mut builder, &top),
        drain: drain(&top),
        limits: builder.limits(&top),
        shards: top.size("shards"),
        pin: match top.fitting("pin") {
            Some(Content::Switch(true)) => Pin::Yes,
            Some(Content::Switch(false)) => Pin::No,
            _ => Pin::Auto,
        },
        driver: match top.text("driver").as_deref() {
            Some("epoll") => DriverChoice::Epoll,
            Some("uring") => DriverChoice::Uring,
            _ => DriverChoice::Auto,
        },
        log: top.text("log").and_then(|level| level.parse().ok()).unwrap_or(log::LevelFilter::Info),
        links: Vec::new(),
        doubts: Vec::new(),
    };
    builder.addresses(&top);
    builder.doubts(&top, &config);
    config
}

fn drain(top: &Section<'_>) -> Drain {
    let empty = Table::default();
    let section = top.table("drain").unwrap_or(Section { table: &empty, place: Place::File, path: "drain".to_owned() });
    Drain {
        notice: Duration::from_secs(section.whole("notice_s")),
        spread: Duration::from_secs(section.whole("spread_s")),
    }
}

fn trust(top: &Section<'_>) -> Trusted {
    let Some(section) = top.table("trust") else { return Trusted::default() };
    let header = match section.text("header").as_deref() {
        Some("forwarded") => TrustedHeader::Forwarded,
        _ => TrustedHeader::XForwardedFor,
    };
    Trusted { networks: section.texts("networks"), header }
}

struct ConfigBuilder<'a> {
    folder: &'a Path,
    broken: &'a Broken,
    errors: &'a mut Errors,
    /// Of all `[[auth]]`.
    auth_names: Vec<String>,
    /// Of those without tokens.
    tokenless_auths: Vec<String>,
    has_permissions: bool,
}

fn clients(builder: &mut ConfigBuilder<'_>, section: &Section<'_>) -> Option<ClientFiles> {
    let ca = builder.required(section, "ca")?;
    let crl = section.text("crl").map(|file| builder.path(section, "crl", &file));
    Some(ClientFiles { ca: builder.path(section, "ca", &ca), crl, is_required: section.switch("required") })
}

impl ConfigBuilder<'_> {
    fn listeners(&mut self, top: &Section<'_>) -> Vec<Listener> {
        let sections = top.tables("listener");
        if top.value("listener").is_none() && !self.broken.contains(&Place::File) {
            let message = "there is no [[listener]]; expected at least one, with an address";
            self.errors.push(Error::new(&Place::File, message));
        }
        sections.iter().filter_map(|section| self.listener(section)).collect()
    }

    fn listener(&mut self, section: &Section<'_>) -> Option<Listener> {
        let tls = self.certificates(section);
        let address = address::read(&self.required(section, "address")?)?;
        let proxy_protocol_from = section
            .table("proxy_protocol")
            .map(|section| self.required_texts(&section, "from", "a network, or a list of networks"));
        let clients = section.table("clients").and_then(|section| clients(self, &section));
        if clients.is_some() && tls.is_none() {
            self.conflict(
                section,
                "clients",
                "has no effect without tls, in whose handshake clients show certificates",
            );
        }
        Some(Listener {
            address,
            tls,
            clients,
            hosts: section.texts("hosts"),
            proxy_protocol_from: proxy_protocol_from.unwrap_or_default(),
        })
    }

    /// The certificates of a listener; `None` for a plain one.
    fn certificates(&mut self, section: &Section<'_>) -> Option<Vec<CertificateFiles>> {
        let certificates = section.tables("tls");
        if section.value("tls").is_some_and(|tls| matches!(&tls.content, Content::List(items) if items.is_empty())) {
            self.conflict(section, "tls", "is an empty list; expected a table, or a list of tables");
        }
        let files: Vec<CertificateFiles> = certificates.iter().filter_map(|files| self.certificate(files)).collect();
        (!certificates.is_empty()).then_some(files)
    }

    /// The texts of a required key, at least one.
    fn required_texts(&mut self, section: &Section<'_>, name: &str, expected: &str) -> Vec<String> {
        let texts = section.texts(name);
        match section.value(name).map(|value| &value.content) {
            None => _ = self.required(section, name),
            Some(Content::List(items)) if items.is_empty() => {
                self.conflict(section, name, &format!("is an empty list; expected {expected}"));
            }
            Some(_) => {}
        }
        texts
    }

    fn tls(&self, top: &Section<'_>) -> TlsOptions {
        let Some(section) = top.table("tls") else { return TlsOptions::default() };
        TlsOptions {
            ticket_keys_file: section
                .text("ticket_keys_file")
                .map(|file| self.path(&section, "ticket_keys_file", &file)),
            refuses_unknown_names: section.text("unknown_names").as_deref() == Some("refuse"),
            requires_ems: section.switch("require_ems"),
        }
    }

    fn certificate(&mut self, section: &Section<'_>) -> Option<CertificateFiles> {
        let certificate = self.required(section, "certificate");
        let key = self.required(section, "key");
        Some(CertificateFiles {
            certificate: self.path(section, "certificate", &certificate?),
            key: self.path(section, "key", &key?),
        })
    }

    /// Paths in the file begin at the file's folder, paths in variables at the working directory.
    fn path(&self, section: &Section<'_>, name: &str, text: &str) -> PathBuf {
        match section.value(name).map(|value| &value.place) {
            Some(Place::Variable(_)) => PathBuf::from(text),
            _ => self.folder.join(text),
        }
    }

    fn bus(&mut self, section: &Section<'_>) -> Option<Bus> {
        let (user, password, token) = (section.text("user"), section.text("password"), section.text("token"));
        let address = address::read(&section.text("address")?)?;
        if token.is_some() && (user.is_some() || password.is_some()) {
            self.conflict(section, "token", "is set beside a user or a password; expected one or the other");
        }
        let credentials = match (user, password, token) {
            (Some(user), Some(password), _) => Some(Credentials::User { user, password }),
            (_, _, Some(token)) => Some(Credentials::Token(token)),
            (Some(_), None, None) => {
                self.conflict(section, "user", "is set without bus.password; expected both");
                None
            }
            (None, Some(_), None) => {
                self.conflict(section, "password", "is set without bus.user; expected both");
                None
            }
            (None, None, None) => {
                if !address.ip().is_loopback() {
                    let words = "can be reached from other machines and has no credentials; expected bus.token, or \
                                 bus.user and bus.password, or a loopback address";
                    self.conflict(section, "address", words);
                }
                None
            }
        };
        Some(Bus { address, credentials })
    }

    fn channels(&mut self, top: &Section<'_>) -> Vec<Channel> {
        let mut channels: Vec<Channel> = Vec::new();
        let sections = top.tables("channel");
        if let Some(section) = sections.get(CHANNEL_RULES_MAX) {
            self.missing(section, &format!("there are too many [[channel]]; expected at most {CHANNEL_RULES_MAX}"));
        }
        for section in sections {
            let Some(name) = self.required(&section, "name") else { continue };
            self.no_parameters(&section, "name");
            self.reach_of_rule(&section, &name, &channels);
            let has_presence = section.switch("presence");
            let grace = if has_presence { section.whole("presence_grace_s") } else { 0 };
            channels.push(Channel {
                name,
                rule: Rule {
                    history: section.table("history").map(|history| keep(&history)),
                    is_for_newcomers: section.table("history").is_some_and(|history| history.switch("newcomers")),
                    delivery: delivery(&section),
                    queue: section.table("queue").map(|bounds| queue(&bounds)).unwrap_or_default(),
                    is_distinct: section.switch("distinct"),
                    has_presence,
                    presence_grace: Duration::from_secs(grace),
                    is_shared: false,
                },
            });
        }
        channels
    }

    fn limits(&mut self, top: &Section<'_>) -> Limits {
        let empty = Table::default();
        let section =
            top.table("limits").unwrap_or(Section { table: &empty, place: Place::File, path: "limits".to_owned() });
        let limits = Limits {
            message_bytes_max: section.size("message_bytes_max"),
            fragments_max: u32::try_from(section.whole("fragments_max")).unwrap_or(u32::MAX),
            commands_per_second: u32::try_from(section.whole("commands_per_second")).unwrap_or(u32::MAX),
            payload_bytes_max: section.size("payload_bytes_max"),
            outbox_bytes_max: section.size("outbox_bytes_max"),
            history_bytes_max: section.size("history_bytes_max"),
            accepted_bytes_max: section.size("accepted_bytes_max"),
            unacked_bytes_max: section.size("unacked_bytes_max"),
            arriving_bytes_max: section.size("arriving_bytes_max"),
            handshaking_bytes_max: section.size("handshaking_bytes_max"),
            waiting_bytes_max: section.size("waiting_bytes_max"),
            connections_max: section.value("connections_max").map(|_| section.size("connections_max")),
            tallies_max: section.size("tallies_max"),
            ping_interval: Duration::from_secs(section.whole("ping_interval_s")),
            head_timeout: Duration::from_secs(section.whole("head_timeout_s")),
            body_timeout: Duration::from_secs(section.whole("body_timeout_s")),
            message_timeout: Duration::from_secs(section.whole("message_timeout_s")),
            keep_alive_timeout: Duration::from_secs(section.whole("keep_alive_timeout_s")),
            handshake_timeout: Duration::from_secs(section.whole("handshake_timeout_s")),
            handshake_wait: Duration::from_secs(section.whole("handshake_wait_s")),
            handshakes_waiting_max: section.size("handshakes_waiting_max"),
            sse_heartbeat: Duration::from_secs(section.whole("sse_heartbeat_s")),
            send_timeout: Duration::from_secs(section.whole("send_timeout_s")),
            peer_timeout: Duration::from_secs(section.whole("peer_timeout_s")),
        };
        // A single message never makes a client slow.
        if limits.outbox_bytes_max / 2 < limits.message_bytes_max && !self.broken.contains(&section.place) {
            let (name, words) = if section.value("outbox_bytes_max").is_some() {
                ("outbox_bytes_max", "expected at least twice limits.message_bytes_max".to_owned())
            } else {
                let half = limits.outbox_bytes_max / 2;
                (
                    "message_bytes_max",
                    format!("expected at most {half}, half of limits.outbox_bytes_max; or raise that"),
                )
            };
            if let (Some(row), Some(value)) = (section.row(name), section.value(name)) {
                self.errors.push(Error::new(&value.place, format!("{}; {words}", is_what(row, value))));
            }
        }
        limits
    }

    /// No two listeners may share an address, or have one that contains the other.
    fn addresses(&mut self, top: &Section<'_>) {
        let listeners = top.tables("listener");
        let (bus, admin) = (top.table("bus"), top.table("admin"));
        let mut taken: Vec<SocketAddr> = Vec::new();
        for section in listeners.iter().chain(&bus).chain(&admin) {
            // Beside a path, there is no address that is not written.
            let is_at_path = section.has_row("socket") && section.value("socket").is_some();
            let address = section.text("address").filter(|_| !is_at_path || section.value("address").is_some());
            let Some(address) = address.and_then(|text| address::read(&text)) else { continue };
            if address::is_of_many(address) {
                let words = "is not an address that clients can connect to; expected one of this machine";
                self.conflict(section, "address", words);
            }
            let other = taken.iter().find(|other| address::overlap(**other, address));
            if let Some(other) = other {
                let words = match *other == address {
                    true => format!("{address} is taken by another listener; expected an address of its own"),
                    false => format!(
                        "{address} is taken by another listener, on {other}; expected another port, or one address"
                    ),
                };
                let place = section.value("address").map_or(&section.place, |value| &value.place);
                self.errors.push(Error::new(place, subject_said(section, "address", place, &words)));
            }
            taken.push(address);
        }
    }

    /// A required text.
    fn required(&mut self, section: &Section<'_>, name: &str) -> Option<String> {
        let row = section.row(name)?;
        let text = section.text(name);
        if section.value(name).is_none() {
            let message = format!("{} has no {name}; expected {}", section.spoken(), row.kind.expected());
            self.missing(section, &message);
        }
        text
    }

    /// An error about the whole table, unless a mistake in it already explains it.
    fn missing(&mut self, section: &Section<'_>, message: &str) {
        if !self.broken.contains(&section.place) {
            let message = match &section.place {
                Place::Variable(name) => format!("{name}: {message}"),
                _ => message.to_owned(),
            };
            self.errors.push(Error::new(&section.place, message));
        }
    }

    /// An error about a value that is valid alone and does not fit the others.
    fn conflict(&mut self, section: &Section<'_>, name: &str, words: &str) {
        let error = said_of(section, name, words);
        self.errors.push(error);
    }

    /// A warning about a legal value that is probably a mistake.
    fn doubt(&mut self, section: &Section<'_>, name: &str, words: &str) {
        let doubt = said_of(section, name, words);
        self.errors.doubt(doubt);
    }
}

/// `limits.fragments_max "many" …`, at the value's place.
fn said_of(section: &Section<'_>, name: &str, words: &str) -> Error {
    let place = section.value(name).map_or(&section.place, |value| &value.place);
    let message = match (section.row(name), section.value(name)) {
        (Some(row), Some(value))
            if matches!(value.content, Content::Text(_)) && !matches!(row.kind, table::Kind::Secret) =>
        {
            format!("{} {words}", is_what(row, value).replacen(" is ", " ", 1))
        }
        _ => subject_said(section, name, place, words),
    };
    Error::new(place, message)
}

fn keep(section: &Section<'_>) -> Keep {
    Keep {
        messages: section.size("messages"),
        bytes: section.size("bytes"),
        age: section.text("age").and_then(|text| form::age(&text)).unwrap_or_default(),
    }
}

fn delivery(section: &Section<'_>) -> Delivery {
    match section.text("delivery").as_deref() {
        Some("latest") => Delivery::Latest,
        Some("drop") => Delivery::Drop,
        _ => Delivery::Queue,
    }
}

fn queue(section: &Section<'_>) -> Queue {
    let bytes = section.value("bytes").map(|_| section.size("bytes"));
    Queue { messages: section.size("messages"), bytes: bytes.unwrap_or(Queue::default().bytes) }
}

fn subject_said(section: &Section<'_>, name: &str, place: &Place, words: &str) -> String {
    match section.row(name) {
        Some(row) => format!("{} {words}", subject_of(row, place)),
        None => words.to_owned(),
    }
}
