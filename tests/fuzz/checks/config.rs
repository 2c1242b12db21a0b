//! Promises of the configuration: every mistake is one line with its place, and what is accepted is safe to start.
//!
//! A comment such as `#TIDEGATE_SHARDS=2` sets that variable.

use std::path::Path;

use tidegate::conn::route::{ChannelTemplate, PathTemplate};
use tidegate::gateway::config::{Config, Place, Target};

/// A configuration is read as a whole, so `cuts` mean nothing here.
pub fn check(bytes: &[u8], _cuts: &[usize]) {
    let text = String::from_utf8_lossy(bytes);
    let variables = || {
        let assignments = text.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
        assignments.map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let read = Config::parse(Path::new("tidegate.toml"), &text, variables());
    assert_eq!(read, Config::parse(Path::new("tidegate.toml"), &text, variables()), "the same text means the same");
    match read {
        Ok(config) => check_accepted(&config),
        Err(errors) => {
            assert!(errors.iter().count() > 0, "a refusal says why");
            let lines = text.lines().count().max(1);
            for (error, line) in errors.iter().zip(errors.lines()) {
                assert!(!line.chars().any(char::is_control), "{line:?} is one line");
                if let Place::Line { line, column } = error.place {
                    // A text that ends too early is missed on the line after the last.
                    assert!((1..=lines + 1).contains(&line) && column >= 1, "{error:?} stands in the file");
                }
            }
        }
    }
}

fn check_accepted(config: &Config) {
    assert!(!config.listeners.is_empty());
    if let Some(bus) = &config.bus {
        assert!(bus.credentials.is_some() || bus.address.ip().is_loopback(), "nobody reaches an open bus");
    }
    assert!(config.limits.outbox_bytes_max / 2 >= config.limits.message_bytes_max);
    for route in &config.routes {
        assert!(PathTemplate::parse(&route.path).is_ok() && !route.methods.is_empty(), "{}", route.path);
        let channels: Vec<&String> = match &route.target {
            Target::Sse(sse) => sse.channels.iter().collect(),
            Target::WebSocket(websocket) => websocket.channel.iter().collect(),
            Target::Centrifuge(centrifuge) => centrifuge.server_side.iter().collect(),
            Target::Accept(accept) => vec![&accept.channel],
            Target::Respond(_) | Target::Proxy(_) => Vec::new(),
        };
        assert!(!matches!(route.target, Target::Sse(_)) || !channels.is_empty(), "{}", route.path);
        let own = if matches!(route.target, Target::Accept(_)) { &["{id}", "{user}"][..] } else { &[] };
        channels.iter().for_each(|channel| check_channel(&route.path, channel, own));
    }
}

/// Whatever a client puts into the path, the channel is no reserved one, and every parameter has a value.
fn check_channel(path: &str, channel: &str, own: &[&str]) {
    assert!(ChannelTemplate::parse(channel).is_ok(), "{channel}");
    let tokens: Vec<&str> = channel.split('.').collect();
    assert!(tokens.len() == 1 || (tokens[0] != "tg" && !tokens[0].contains('{')), "{channel}");
    for token in tokens {
        assert!(!token.is_empty() && !token.contains(['*', '>', ' ']), "{channel}");
        let is_known = own.contains(&token) || path.split('/').any(|segment| segment == token);
        assert!(!token.contains('{') || is_known, "{channel} in {path}");
    }
}
