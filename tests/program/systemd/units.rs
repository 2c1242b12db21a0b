//! The unit files, as systemd's own tools judge them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::systemd::service::Folder;

/// Ten times the exposure that `systemd-analyze security` may find at most.
const EXPOSURE_TENTHS_MAX: u32 = 20;

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

/// The units where the binary is this build's, as `verify` wants to find it.
fn installed() -> Folder {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("tidegate.service.d")).expect("a folder can be made");
    for name in ["tidegate.service", "tidegate.socket", "tidegate-tune.service", "tidegate.service.d/example.conf"] {
        let text = fs::read_to_string(units().join(name)).expect("the unit is there");
        let tune = concat!(env!("CARGO_MANIFEST_DIR"), "/tuning/tune");
        let text = text.replace("/usr/local/bin/tidegate", env!("CARGO_BIN_EXE_tidegate"));
        folder.file(name, &text.replace("/usr/local/share/tidegate/tuning/tune", tune));
    }
    folder
}

fn analyze(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("systemd-analyze").args(arguments).output().expect("systemd-analyze is installed");
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn the_units_are_verified_without_a_word() {
    let folder = installed();
    for name in ["tidegate.service", "tidegate.socket", "tidegate-tune.service"] {
        let file = folder.path().join(name);
        let (is_fine, words) = analyze(&["verify", "--man=no", "--recursive-errors=yes", &file.to_string_lossy()]);
        assert!(is_fine && words.trim().is_empty(), "{name}: {words}");
    }
}

#[test]
fn the_service_is_exposed_little() {
    let threshold = format!("--threshold={EXPOSURE_TENTHS_MAX}");
    for has_drop_in in [true, false] {
        let folder = installed();
        if !has_drop_in {
            fs::remove_dir_all(folder.path().join("tidegate.service.d")).expect("it was there");
        }
        let file = folder.path().join("tidegate.service");
        let (is_fine, words) = analyze(&["security", "--offline=true", &threshold, &file.to_string_lossy()]);
        assert!(is_fine, "{words}");
    }
}

/// What the gateway needs besides what every service may do; without these it would be slower, or not pinned.
#[test]
fn the_filter_lets_rings_tables_and_pinning_through() {
    let text = fs::read_to_string(units().join("tidegate.service")).expect("the unit is there");
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")).collect();
    let last_refusal = lines.iter().rposition(|line| line.starts_with('~')).expect("it refuses some");
    let allowed: Vec<&str> = lines[last_refusal + 1..].iter().flat_map(|line| line.split_whitespace()).collect();
    for call in ["io_uring_setup", "io_uring_enter", "io_uring_register", "unshare", "sched_setaffinity", "prlimit64"] {
        assert!(allowed.contains(&call), "{call}");
    }
}
