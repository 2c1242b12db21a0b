//! The texts that the demo prints: its addresses, and commands that can be run unchanged in another terminal.
//!
//! The commands need only `curl` and the binary itself, which is named so that a shell finds it. A command that needs a
//! NATS client follows the line that installs it.

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

/// The binary as a shell finds it from any folder: by its name if the PATH has it, otherwise by its path.
pub fn program() -> String {
    let Ok(binary) = std::env::current_exe() else { return NAME.to_owned() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(NAME)).find(|file| file.exists());
    match found.and_then(|file| file.canonicalize().ok()) {
        Some(found) if found == binary => NAME.to_owned(),
        _ => quoted(&binary),
    }
}

/// One word of a shell command.
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
