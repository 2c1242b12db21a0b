//! The texts that the demo prints: its addresses, and lines that can be run as they stand, in another terminal.
//!
//! Nothing in them has to be installed but `curl` and the binary itself, which is named as it can be found; before a line that
//! needs a NATS client stands the line that gets it.

use std::path::Path;

use super::Addresses;

const NAME: &str = "tidegate";

pub fn words(addresses: &Addresses, program: &str) -> String {
    let Addresses { plain, tls, bus, admin } = addresses;
    format!(
        "Tidegate is open, on loopback only. Ctrl-C ends it.

  look       http://{plain}/   or, with a certificate made just now, https://{tls}/
  subscribe  curl -N http://{plain}/api/sse/drivers/42/location
  publish    curl -d '{{\"name\":\"curl\",\"text\":\"hello\"}}' http://{admin}/api/channels/room.lobby
  watch      {program} sub nats://{bus} 'driver.location.*'

A worker of your own, in the project's folder: a few lines of Python 3 (get, then work), or of JavaScript on Node 18 or newer.

  get        python3 -m venv .venv && .venv/bin/pip install nats-py
  work       .venv/bin/python examples/echo.py nats://{bus}
  get        npm install --prefix examples
  work       node examples/echo.mjs nats://{bus}
  talk       {program} sub ws://{plain}/ws/echo --send hello --count 1
"
    )
}

/// The binary as a shell finds it from any folder: by its name where the PATH leads to it, otherwise by its path.
pub fn program() -> String {
    let Ok(binary) = std::env::current_exe() else { return NAME.to_owned() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(NAME)).find(|file| file.exists());
    match found.and_then(|file| file.canonicalize().ok()) {
        Some(found) if found == binary => NAME.to_owned(),
        _ => quoted(&binary),
    }
}

/// A word of a shell's line.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte)) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        assert_eq!(quoted(Path::new("/opt/tide-gate_1.0/tidegate")), "/opt/tide-gate_1.0/tidegate");
        assert_eq!(quoted(Path::new("/home/ann's box/tidegate")), r"'/home/ann'\''s box/tidegate'");
    }
}
