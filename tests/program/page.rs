//! Real pages in a real browser, headless Chromium: the demo's, driven by tests/page.mjs, and an `EventSource` whose
//! connection is cut, by tests/resume.mjs, or that finds no place, by tests/places.mjs; pages of other origins, by
//! tests/origins.mjs; a page of a server behind the gateway, by tests/proxied.mjs; an
//! upload to a slow one, by tests/uploads.mjs; the clients of the README, by tests/readme.mjs.

use std::path::Path;
use std::process::Command;

/// Runs a script of tests/ against the binary; it ends well if all went well.
fn drive(script: &str, command: &[&str]) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    assert!(tests.join("node_modules").exists(), "run tests/install.sh first");
    let output = Command::new("node")
        .arg(tests.join(script))
        .arg(env!("CARGO_BIN_EXE_tidegate"))
        .args(command)
        .output()
        .expect("node runs");
    let (seen, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{seen}{complaint}");
}

#[test]
fn the_page_shows_drivers_rides_and_chat_and_survives_a_restart() {
    drive("page.mjs", &["demo"]);
}

#[test]
fn an_event_source_misses_nothing_when_its_connection_is_cut() {
    drive("resume.mjs", &[]);
}

#[test]
fn event_sources_that_find_no_place_come_back_until_there_is_one() {
    drive("places.mjs", &[]);
}

#[test]
fn pages_of_other_origins_do_what_the_routes_let_them() {
    drive("origins.mjs", &[]);
}

#[test]
fn a_page_behind_the_gateway_has_its_requests_streams_and_sockets_from_one_server_that_may_restart() {
    drive("proxied.mjs", &[]);
}

#[test]
fn an_upload_of_a_page_runs_ahead_of_its_server_by_no_more_than_sockets_hold() {
    drive("uploads.mjs", &[]);
}

#[test]
fn the_clients_of_the_readme_do_what_it_says() {
    drive("readme.mjs", &[]);
}
