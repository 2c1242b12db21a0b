//! Legal settings that are probably mistakes: values that contradict each other, or have no effect. `check` warns of them, and
//! so does the log at start.

use std::time::Duration;

use super::super::{Config, Target};
use super::admin;
use super::auth;
use super::permissions;
use super::upstreams::doubts_of_circles;
use super::{ConfigBuilder, Section};
use crate::limits;
use crate::proto::networks::Networks;

impl ConfigBuilder<'_> {
    pub(super) fn doubts(&mut self, top: &Section<'_>, config: &Config) {
        self.doubts_of_limits(top, config);
        self.doubts_of_channels(top, config);
        self.doubts_of_reach(top, config);
        self.doubts_of_trust(top, config);
        doubts_of_circles(self, top, config);
        self.doubts_of_client_limits(top, config);
        auth::doubts(self, top, config);
        permissions::doubts(self, top, config);
        if let (Some(section), Some(admin)) = (top.table("admin"), &config.admin) {
            admin::doubts(self, &section, admin);
        }
    }

    fn doubts_of_trust(&mut self, top: &Section<'_>, config: &Config) {
        let Some(section) = top.table("trust") else { return };
        let networks = Networks::parse(config.trust.networks.iter().map(String::as_str)).unwrap_or_default();
        if networks.have_all_of_a_family() {
            let words = "has every address: each client can give itself any address; expected those of the proxies";
            self.doubt(&section, "networks", words);
        } else if networks.is_empty() && section.text("header").as_deref() == Some("forwarded") {
            self.doubt(&section, "header", "has no effect without trust.networks");
        }
    }

    fn doubts_of_limits(&mut self, top: &Section<'_>, config: &Config) {
        let Some(section) = top.table("limits") else { return };
        let limits = &config.limits;
        let said = |names: [&'static str; 2]| names.into_iter().find(|name| section.value(name).is_some());
        let seconds = |time: Duration| time.as_secs();
        // Of two keys that contradict each other, the one that is written gets the warning.
        if let Some(name) = said(["peer_timeout_s", "send_timeout_s"])
            && limits.peer_timeout <= limits.send_timeout
        {
            let (peer, send) = (seconds(limits.peer_timeout), seconds(limits.send_timeout));
            let words = format!(
                "makes limits.peer_timeout_s {peer} and limits.send_timeout_s {send}: the kernel ends slow clients before they \
                 are told; expected a longer peer_timeout_s"
            );
            self.doubt(&section, name, &words);
        }
        if let Some(name) = said(["handshake_wait_s", "handshake_timeout_s"])
            && limits.handshake_wait > limits.handshake_timeout
        {
            let (wait, timeout) = (seconds(limits.handshake_wait), seconds(limits.handshake_timeout));
            let words = format!(
                "makes limits.handshake_wait_s {wait} and limits.handshake_timeout_s {timeout}, which bounds wait and \
                 handshake together; expected a shorter handshake_wait_s"
            );
            self.doubt(&section, name, &words);
        }
        if let Some(name) = said(["outbox_bytes_max", "payload_bytes_max"])
            && limits.outbox_bytes_max < limits.payload_bytes_max
        {
            let (outbox, payload) = (limits.outbox_bytes_max, limits.payload_bytes_max);
            let words = format!(
                "makes limits.outbox_bytes_max {outbox} and limits.payload_bytes_max {payload}: a client that one such message \
                 waits for takes no other"
            );
            self.doubt(&section, name, &words);
        }
        if config.channels.iter().any(|channel| channel.rule.history.is_some())
            && section.value("history_bytes_max").is_some()
        {
            match limits.history_bytes_max {
                0 => self.conflict(
                    &section,
                    "history_bytes_max",
                    "is 0, and a [[channel]] has a history; expected more, or no history",
                ),
                bytes if bytes < limits.payload_bytes_max => {
                    let words = "is less than limits.payload_bytes_max: a history cannot keep the longest messages";
                    self.doubt(&section, "history_bytes_max", words);
                }
                _ => {}
            }
        }
    }

    fn doubts_of_channels(&mut self, top: &Section<'_>, config: &Config) {
        for section in top.tables("channel") {
            // `tidegate config` writes the default even without presence.
            let is_default = section.whole("presence_grace_s") == limits::PRESENCE_GRACE.as_secs();
            if !is_default && !section.switch("presence") {
                self.doubt(&section, "presence_grace_s", "has no effect without presence = true");
            }
            if let Some(queue) = section.table("queue")
                && queue.value("bytes").is_some()
                && queue.size("bytes") > config.limits.outbox_bytes_max
            {
                let words = format!(
                    "is more than limits.outbox_bytes_max, {}, the bound in force",
                    config.limits.outbox_bytes_max
                );
                self.doubt(&queue, "bytes", &words);
            }
        }
    }

    /// Routes whose service can have no worker, or whose channel no publisher.
    fn doubts_of_reach(&mut self, top: &Section<'_>, config: &Config) {
        if top.value("bus").is_some() {
            return;
        }
        let is_published = |target: &Target| match target {
            Target::WebSocket(target) => target.publish,
            Target::Centrifuge(target) => !target.publish_to.is_empty(),
            Target::Sse(_) | Target::Accept(_) | Target::Respond(_) | Target::Proxy(_) => false,
        };
        let has_publisher =
            top.value("admin").is_some() || config.routes.iter().any(|route| is_published(&route.target));
        for section in top.tables("route") {
            for kind in ["sse", "websocket", "accept"] {
                let Some(target) = section.table(kind) else { continue };
                if target.value("service").is_some() {
                    self.doubt(&target, "service", "has no workers: there is no [bus] for them to connect to");
                }
                for name in ["channel", "channels"] {
                    if kind == "sse" && target.value(name).is_some() && !has_publisher {
                        let words = "gets no messages: there is no [bus], no [admin] and no route that publishes";
                        self.doubt(&target, name, words);
                    }
                }
            }
        }
    }
}
