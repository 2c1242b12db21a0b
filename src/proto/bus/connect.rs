//! The options of CONNECT.

use serde_json::{Map, Value};

use super::BusError;

/// The options of a worker's CONNECT. Unknown keys are ignored, missing ones and `null` have nats-server's defaults.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The worker wants `+OK` for each verb.
    pub verbose: bool,
    pub pedantic: bool,
    /// Whether the worker gets its own messages on its own subscriptions.
    pub echo: bool,
    /// The worker supports HMSG.
    pub headers: bool,
    /// Requests status 503 for a request that has no responder.
    pub no_responders: bool,
    pub user: Option<String>,
    pub pass: Option<String>,
    pub auth_token: Option<String>,
    pub name: Option<String>,
    pub lang: Option<String>,
    pub version: Option<String>,
    /// 0, or 1 for a client that accepts further INFO.
    pub protocol: u8,
}

impl Default for ConnectOptions {
    fn default() -> ConnectOptions {
        ConnectOptions {
            verbose: true,
            pedantic: true,
            echo: true,
            headers: false,
            no_responders: false,
            user: None,
            pass: None,
            auth_token: None,
            name: None,
            lang: None,
            version: None,
            protocol: 0,
        }
    }
}

/// Leaves out the credentials, so that they are never logged.
impl std::fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("name", &self.name)
            .field("lang", &self.lang)
            .field("version", &self.version)
            .field("verbose", &self.verbose)
            .field("pedantic", &self.pedantic)
            .field("echo", &self.echo)
            .field("headers", &self.headers)
            .field("no_responders", &self.no_responders)
            .finish_non_exhaustive()
    }
}

impl ConnectOptions {
    /// Parses the argument of CONNECT.
    pub fn parse(json: &str) -> Result<ConnectOptions, BusError> {
        let Ok(Value::Object(mut keys)) = serde_json::from_str(json) else { return Err(BusError::Malformed) };
        let defaults = ConnectOptions::default();
        let options = ConnectOptions {
            verbose: boolean(&keys, "verbose", defaults.verbose)?,
            pedantic: boolean(&keys, "pedantic", defaults.pedantic)?,
            echo: boolean(&keys, "echo", defaults.echo)?,
            headers: boolean(&keys, "headers", defaults.headers)?,
            no_responders: boolean(&keys, "no_responders", defaults.no_responders)?,
            user: text(&mut keys, "user")?,
            pass: text(&mut keys, "pass")?,
            auth_token: text(&mut keys, "auth_token")?,
            name: text(&mut keys, "name")?,
            lang: text(&mut keys, "lang")?,
            version: text(&mut keys, "version")?,
            protocol: protocol(&keys)?,
        };
        if options.no_responders && !options.headers {
            return Err(BusError::NoRespondersNeedHeaders);
        }
        Ok(options)
    }
}

fn boolean(keys: &Map<String, Value>, key: &str, default: bool) -> Result<bool, BusError> {
    match keys.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(BusError::Malformed),
    }
}

fn text(keys: &mut Map<String, Value>, key: &str) -> Result<Option<String>, BusError> {
    match keys.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(value)) => Ok(Some(value)),
        Some(_) => Err(BusError::Malformed),
    }
}

fn protocol(keys: &Map<String, Value>) -> Result<u8, BusError> {
    match keys.get("protocol") {
        None | Some(Value::Null) => Ok(0),
        Some(Value::Number(number)) => match number.as_u64() {
            Some(0) => Ok(0),
            Some(1) => Ok(1),
            _ => Err(BusError::InvalidClientProtocol),
        },
        Some(_) => Err(BusError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_options_have_the_defaults_of_nats_server() {
        for json in ["{}", r#"{"verbose":null,"user":null,"protocol":null,"tls_required":false,"foo":[1]}"#] {
            assert!(ConnectOptions::parse(json).unwrap() == ConnectOptions::default(), "{json}");
        }
    }

    #[test]
    fn reads_what_clients_send() {
        let json = r#"{"verbose":false,"pedantic":false,"user":"a","pass":"b\"c","lang":"python3","version":"2.9.0",
            "protocol":1,"echo":false,"headers":true,"no_responders":true,"name":"w","auth_token":"t"}"#;
        let options = ConnectOptions::parse(json).unwrap();
        assert!(!options.verbose && !options.pedantic && !options.echo && options.headers && options.no_responders);
        assert_eq!((options.user.as_deref(), options.pass.as_deref()), (Some("a"), Some("b\"c")));
        assert_eq!((options.name.as_deref(), options.auth_token.as_deref()), (Some("w"), Some("t")));
        assert_eq!(options.protocol, 1);
        let shown = format!("{options:?}");
        assert!(shown.contains("python3") && !shown.contains("b\\\"c"), "{shown}");
    }

    #[test]
    fn refuses_what_cannot_be_meant() {
        for (json, error) in [
            ("", BusError::Malformed),
            ("[]", BusError::Malformed),
            ("{bad", BusError::Malformed),
            (r#"{"verbose":"x"}"#, BusError::Malformed),
            (r#"{"user":1}"#, BusError::Malformed),
            (r#"{"protocol":"1"}"#, BusError::Malformed),
            (r#"{"protocol":9}"#, BusError::InvalidClientProtocol),
            (r#"{"protocol":-1}"#, BusError::InvalidClientProtocol),
            (r#"{"no_responders":true}"#, BusError::NoRespondersNeedHeaders),
        ] {
            assert_eq!(ConnectOptions::parse(json).map(drop), Err(error), "{json}");
        }
        assert!(ConnectOptions::parse(&"[".repeat(4000)).is_err());
    }
}
