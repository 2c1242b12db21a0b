//! The demo in a real browser: tests/page.mjs drives its page in headless Chromium.

use std::path::Path;
use std::process::Command;

#[test]
fn the_page_shows_drivers_rides_and_chat_and_survives_a_restart() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    assert!(tests.join("node_modules").exists(), "run tests/install.sh first");
    let output = Command::new("node")
        .arg(tests.join("page.mjs"))
        .args([env!("CARGO_BIN_EXE_tidegate"), "demo"])
        .output()
        .expect("node runs");
    let (seen, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{seen}{complaint}");
}
