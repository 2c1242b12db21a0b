//! The memory of `tidegate serve`, which holds keys: no core dump has it, unless its operator wants that.

use std::fs;

use crate::command::unconfigured;

/// Whether `serve` with these arguments asks the kernel to hide its memory.
fn hides_memory(name: &str, arguments: &[&str]) -> bool {
    let _box = crate::shared();
    let calls = std::env::temp_dir().join(format!("tidegate-memory-{name}-{}", std::process::id()));
    let mut command = unconfigured("strace");
    command.args(["-f", "-qq", "-e", "trace=prctl", "-o"]).arg(&calls);
    command.args([env!("CARGO_BIN_EXE_tidegate"), "serve", "--check"]).args(arguments);
    command.env("TIDEGATE_LISTENER_0_ADDRESS", "127.0.0.1:0");
    let output = command.output().expect("strace runs (tests/install.sh installs it)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = fs::read_to_string(&calls).expect("strace writes");
    fs::remove_file(&calls).expect("it is ours");
    said.lines().any(|line| line.contains("prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE) = 0"))
}

#[test]
fn keys_are_in_no_core_dump_unless_a_developer_wants_them_there() {
    assert!(hides_memory("default", &[]));
    assert!(!hides_memory("dumpable", &["--dumpable"]));
}
