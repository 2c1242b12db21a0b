//! The recipes of the pages work, line by line as they stand, on a box on which nothing has been installed: tests/house/documents/box.sh.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::markdown::{Page, project};
use super::words::lines;

/// Longer than anything here takes; what waits so long for the gateway waits in vain.
const PATIENCE_S: &str = "120";

/// Runs a script on a box. It ends with the first line that fails.
fn run(name: &str, script: &str) {
    let folder = std::env::temp_dir().join(format!("tidegate-box-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let own = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "unchanged"];
    let user: &[&str] = if is_root() { &[] } else { &["--user", "--map-root-user"] };
    let mut child = Command::new("timeout")
        .args([PATIENCE_S, "unshare"])
        .args(own)
        .args(user)
        .args([project("tests/house/documents/box.sh"), folder.clone(), PathBuf::from(env!("CARGO_BIN_EXE_tidegate"))])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare is part of util-linux");
    child.stdin.take().expect("piped").write_all(format!("set -x\n{script}").as_bytes()).expect("the box reads it");
    let output = child.wait_with_output().expect("it ends");
    _ = std::fs::remove_dir(&folder);
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{}: {}", output.status, said.join("\n"));
}

fn is_root() -> bool {
    // SAFETY: it has no arguments, and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// A line as the script has it: what may end with another code than 0 says so on its page, and a gateway that serves does so in
/// the background.
fn in_script(line: &str) -> String {
    let is = |start: &str| line.trim_start_matches("sudo ").starts_with(start);
    if is("tidegate serve") {
        return format!("{line} &\nserved $!");
    }
    if is("tuning/tune --check") {
        return format!("{line}\n[ $? -le 1 ]");
    }
    // "Exit code 0: they fit; 1: they do not; 2: it cannot tell".
    if is("tidegate doctor") {
        return format!("{line}\n[ $? -le 2 ]");
    }
    line.to_owned()
}

/// All shell lines of a page, in their order.
fn script(page: &Page) -> String {
    let lines = lines(page).into_iter().map(|(_, line)| {
        let line = in_script(&line);
        match line.contains("[ $?") {
            true => format!("set +e\n{line} || exit 1\nset -e\n"),
            false => format!("{line}\n"),
        }
    });
    lines.collect()
}

/// The README's configuration, all of its parts, as a file of the working directory.
fn configuration() -> String {
    let readme = Page::read("README.md");
    let parts: Vec<&str> =
        readme.blocks().iter().filter(|block| block.language == "toml").map(|block| block.text).collect();
    assert!(parts.len() > 1, "a configuration, and the route that accepts requests");
    format!("cat >tidegate.toml <<'END'\n{}\nEND\n", parts.join("\n"))
}

#[test]
fn the_readme_installs_a_gateway_and_uses_it() {
    let readme = Page::read("README.md");
    // Within the text: what reads and watches.
    let spans: String = readme
        .spans()
        .iter()
        .filter(|(_, span)| (span.starts_with("curl ") || span.starts_with("tidegate sub ws")) && !span.contains('…'))
        .map(|(_, span)| format!("{span}{}\n", if span.starts_with("tidegate") { " --timeout 0.2" } else { "" }))
        .collect();
    assert!(spans.contains("/history") && spans.contains("/metrics") && spans.contains("tidegate sub"), "{spans}");
    run("readme", &format!("{}{}{spans}", configuration(), script(&readme)));
}

/// What systemd would start is what the units say, so that is started here.
#[test]
fn operations_leads_from_an_empty_box_to_units_whose_commands_run() {
    let operations = Page::read("docs/operations.md");
    let judge = "
        units=$(find /etc/systemd/system -maxdepth 1 -name 'tidegate*' | sort)
        [ $(wc -l <<<$units) = 1 ] && [ $(wc -w <<<$units) = 3 ]
        systemd-analyze verify --man=no $units
        for unit in tidegate tidegate-tune; do
            [ -e /etc/systemd/system/multi-user.target.wants/$unit.service ]
        done
        [ -e /etc/systemd/system/sockets.target.wants/tidegate.socket ]
        start=$(sed -n 's/^ExecStart=//p' /etc/systemd/system/tidegate-tune.service)
        cd / && $start
        [ -e /etc/sysctl.d/90-tidegate.conf ]
        $(sed -n 's/^ExecStartPre=//p' /etc/systemd/system/tidegate.service)
        $(sed -n 's/^ExecStart=//p' /etc/systemd/system/tidegate.service) &
        served $!
        kill $!
        wait $!
    ";
    run("operations", &format!("{}{}{judge}", configuration(), script(&operations)));
}
