//! Examples that are played by a script of their own in this folder, which starts all that they need.

use std::process::Command;

use crate::examples::running::repository;

/// Runs a script with the binary and Python; it ends well if all went well.
fn play(script: &str, part: &[&str]) {
    let output = Command::new("node")
        .arg(repository(&format!("tests/program/examples/{script}")))
        .args(part)
        .arg(env!("CARGO_BIN_EXE_tidegate"))
        .arg(repository("tests/.venv/bin/python"))
        .current_dir(repository(""))
        .output()
        .expect("node runs");
    let [seen, complaint] = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
    assert!(output.status.success(), "{seen}{complaint}");
}

#[test]
fn all_have_the_same_document_after_tunnels_and_accidents() {
    play("collaboration.mjs", &[]);
}

#[test]
fn events_of_orders_come_in_order_once_and_to_those_who_come_late() {
    play("orders.mjs", &["order"]);
}

#[test]
fn what_is_not_kept_of_an_order_is_read_from_the_shop() {
    play("orders.mjs", &["gap"]);
}

#[test]
fn an_order_is_followed_through_a_crash_of_the_gateway() {
    play("orders.mjs", &["crash"]);
}

#[test]
fn the_lag_of_each_follower_is_measured() {
    play("orders.mjs", &["lag"]);
}
