//! `[[limit]]`: which of its keys fit together, and the routes that it names.

use super::super::{ClientLimit, Config, Frequency, LimitedBy, Route, Target, form};
use super::{ConfigBuilder, Section};
use crate::limits::LIMITS_MAX;
use crate::proto::networks::Networks;

const MEASURES: [&str; 4] = ["connections", "handshakes", "requests", "messages"];
const RATES: [&str; 3] = ["handshakes", "requests", "messages"];

impl ConfigBuilder<'_> {
    pub(super) fn client_limits(&mut self, top: &Section<'_>, routes: &[Route]) -> Vec<ClientLimit> {
        let sections = top.tables("limit");
        if let Some(section) = sections.get(LIMITS_MAX) {
            self.missing(section, &format!("there are too many [[limit]]; expected at most {LIMITS_MAX}"));
        }
        let mut limits: Vec<ClientLimit> = Vec::new();
        for section in &sections {
            let Some(name) = self.required(section, "name") else { continue };
            if limits.iter().any(|other| other.name == name) {
                self.conflict(section, "name", "is the name of an earlier [[limit]]; expected another");
            }
            if MEASURES.iter().all(|measure| section.value(measure).is_none()) {
                let message = "[[limit]] bounds nothing; expected connections, handshakes, requests or messages";
                self.missing(section, message);
            }
            let limit = client_limit(section, name);
            self.conflicts_of_limit(section, &limit, routes);
            limits.push(limit);
        }
        limits
    }

    fn conflicts_of_limit(&mut self, section: &Section<'_>, limit: &ClientLimit, routes: &[Route]) {
        let is_by_network = matches!(limit.by, LimitedBy::Network { .. });
        for prefix in ["ipv4_prefix", "ipv6_prefix"] {
            if !is_by_network && section.value(prefix).is_some() {
                let words = "is for networks; expected by = \"address\" or \"network\", or no prefix";
                self.conflict(section, prefix, words);
            }
        }
        if section.value("handshakes").is_some() && (!is_by_network || !limit.routes.is_empty()) {
            let words = "is for connections, before their user or route is known; expected by = \"address\" or \"network\", \
                         and no routes";
            self.conflict(section, "handshakes", words);
        }
        if let Some(path) = limit.routes.iter().find(|path| routes.iter().all(|route| route.path != **path)) {
            let known: Vec<String> = routes.iter().map(|route| format!("{:?}", route.path)).collect();
            let words =
                format!("has {path:?}, which is the path of no [[route]]; expected one of {}", known.join(", "));
            self.conflict(section, "routes", &words);
        }
    }

    pub(super) fn doubts_of_client_limits(&mut self, top: &Section<'_>, config: &Config) {
        let knows_users = config.routes.iter().any(|route| {
            !route.auth.is_empty()
                || match &route.target {
                    Target::WebSocket(target) => target.user.is_some(),
                    Target::Accept(target) => target.user.is_some(),
                    Target::Centrifuge(target) => {
                        target.user.is_some() || target.token.is_some() || target.token_auth.is_some()
                    }
                    Target::Sse(_) | Target::Respond(_) | Target::Proxy(_) => false,
                }
        });
        for section in top.tables("limit") {
            let has = |name: &str| section.value(name).is_some();
            if has("burst") && !RATES.into_iter().any(has) {
                self.doubt(&section, "burst", "has no effect without handshakes, requests or messages");
            }
            if section.text("excess").as_deref() == Some("close") && !has("messages") {
                self.doubt(&section, "excess", "has no effect without messages");
            }
            if section.text("by").as_deref() == Some("user") && !knows_users {
                self.doubt(&section, "by", "limits nothing: no route has a user, a token or an auth");
            }
            let except = section.texts("except");
            if Networks::parse(except.iter().map(String::as_str)).is_some_and(|all| all.have_all_of_a_family()) {
                self.doubt(&section, "except", "has every address: the limit is for none of them");
            }
        }
    }
}

fn client_limit(section: &Section<'_>, name: String) -> ClientLimit {
    let by = match section.text("by").as_deref() {
        Some("user") => LimitedBy::User,
        Some("route") => LimitedBy::Route,
        by => {
            let (ipv4, ipv6) = if by == Some("network") { (24, 48) } else { (32, 64) };
            let bits = |name: &str, bits: u8| match section.fitting(name) {
                Some(_) => u8::try_from(section.whole(name)).unwrap_or(bits),
                None => bits,
            };
            LimitedBy::Network { ipv4_prefix: bits("ipv4_prefix", ipv4), ipv6_prefix: bits("ipv6_prefix", ipv6) }
        }
    };
    let number = |name: &str| section.fitting(name).and_then(|_| u32::try_from(section.whole(name)).ok());
    let rate = |name: &str| section.text(name).and_then(|text| form::rate(&text));
    let frequency = |name: &str| rate(name).map(|(count, per)| Frequency { count, per });
    ClientLimit {
        name,
        by,
        connections: number("connections"),
        handshake_rate: frequency("handshakes"),
        request_rate: frequency("requests"),
        message_rate: frequency("messages"),
        burst: number("burst"),
        routes: section.texts("routes"),
        except: section.texts("except"),
        closes: section.text("excess").as_deref() == Some("close"),
    }
}
