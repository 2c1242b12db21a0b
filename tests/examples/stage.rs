//! The gateway of an example with its own configuration, on free ports.

use std::process::Command;

use crate::running::{Running, repository};

pub struct Stage {
    gateway: Running,
    front: String,
    bus: String,
}

impl Stage {
    pub fn start(example: &str, driver: &str) -> Stage {
        let mut gateway = Running::start(
            Command::new(env!("CARGO_BIN_EXE_tidegate"))
                .args(["serve", "--shards", "2", "--config"])
                .arg(repository(&format!("examples/{example}/tidegate.toml")))
                .env("TIDEGATE_DRIVER", driver)
                .envs(["LISTENER_0", "BUS"].map(|door| (format!("TIDEGATE_{door}_ADDRESS"), "127.0.0.1:0"))),
        );
        let [front, bus] = ["http", "bus"].map(|door| {
            let line = gateway.line();
            let address = line.strip_prefix(&format!("listening {door} "));
            address.unwrap_or_else(|| panic!("{line:?} is not about {door}")).to_owned()
        });
        Stage { gateway, front, bus }
    }

    pub fn id(&self) -> u32 {
        self.gateway.id()
    }

    pub fn http(&self) -> String {
        format!("http://{}", self.front)
    }

    pub fn nats(&self) -> String {
        format!("nats://{}", self.bus)
    }
}
