//! The applications of docs/login.md, with Express and with FastAPI, behind the configuration of their section: as they
//! stand there, but for the address.

use std::path::Path;
use std::process::Command;

use super::{said, script};
use crate::documented::{ANY, Folder, block, port, start_text};
use crate::proxied::programs::{Program, TOKEN_SECRET};

const PAGE: &str = "docs/login.md";
const TOKEN: &str = "What a login does";
const FORWARD: &str = "A server that decides";

/// Starts the section's application behind its gateway, and walks through both as `way` of snippets.py says.
fn walk(way: &str, heading: &str, application: &Program) {
    let folder = Folder::new(&format!("snippet-{way}-{}", application.name));
    folder.write("token.secret", TOKEN_SECRET);
    let address = application.address.to_string();
    let text = block(PAGE, heading, "toml").replace("127.0.0.1:3000", &address);
    assert!(text.contains(&address), "the address of {heading:?}");
    let gateway = start_text(&folder, &text, &[("LISTENER_0_ADDRESS", ANY)]);
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.venv/bin/python");
    said(Command::new(python).arg(script("snippets.py")).args([way, &port(&gateway, false)]));
    gateway.stop();
}

#[test]
fn a_login_with_express_signs_tokens_that_open_every_route() {
    walk("token", TOKEN, &Program::express(&block(PAGE, TOKEN, "js")));
}

#[test]
fn a_login_with_fastapi_signs_tokens_that_open_every_route() {
    walk("token", TOKEN, &Program::fastapi(&block(PAGE, TOKEN, "python")));
}

#[test]
fn a_server_with_express_decides_about_every_route() {
    walk("forward", FORWARD, &Program::express(&block(PAGE, FORWARD, "js")));
}

#[test]
fn a_server_with_fastapi_decides_about_every_route() {
    walk("forward", FORWARD, &Program::fastapi(&block(PAGE, FORWARD, "python")));
}
