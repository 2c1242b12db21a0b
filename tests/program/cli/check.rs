//! What `check` says of a configuration, and where it takes it from.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use crate::cli::folder::Folder;
use crate::cli::program::{code, err, out, run, tidegate};

#[test]
fn check_accepts_what_config_prints() {
    let folder = Folder::new("defaults");
    let file = folder.file("tidegate.toml", &out(&run(&["config"])));
    let output = run(&["check", &file]);
    assert_eq!((code(&output), err(&output)), (0, String::new()));
    assert_eq!(out(&output), format!("{file}: ok, listeners: 1, routes: 1\n"));
}

#[test]
fn without_a_file_it_is_said_that_there_is_none_and_how_to_get_one() {
    let folder = Folder::new("nowhere");
    for verb in ["check", "serve"] {
        let output = tidegate(&[verb]).current_dir(&folder.0).output().unwrap();
        let expected = "tidegate.toml: this file does not exist; `tidegate config` prints one to start from, \
                        --config names another";
        assert_eq!(code(&output), 1);
        assert!(err(&output).lines().any(|line| line == expected), "{}", err(&output));
    }
}

#[test]
fn check_tells_every_mistake_in_one_line_and_exits_with_1() {
    let folder = Folder::new("mistakes");
    let file =
        folder.file("tidegate.toml", "[[listener]]\nadress = \"127.0.0.1:1\"\n[limits]\nfragments_max = \"many\"\n");
    let output = run(&["check", &file]);
    assert_eq!((code(&output), out(&output)), (1, String::new()));
    let expected = [
        format!("{file}:2: unknown key \"adress\" in [[listener]]; did you mean \"address\"?"),
        format!("{file}:4: limits.fragments_max is \"many\"; expected a whole number from 1 to 1000000"),
    ];
    assert_eq!(err(&output).lines().collect::<Vec<_>>(), expected);
}

#[test]
fn check_reads_the_ticket_keys_and_refuses_a_file_that_others_can_read() {
    let folder = Folder::new("tickets");
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    folder.file("cert.pem", &key.cert.pem());
    folder.file("key.pem", &key.signing_key.serialize_pem());
    let keys = folder.file("ticket.keys", "no key\n");
    let file = folder.file(
        "tidegate.toml",
        "[tls]\nticket_keys_file = \"ticket.keys\"\n[[listener]]\naddress = \"127.0.0.1:1\"\n\
         tls = { certificate = \"cert.pem\", key = \"key.pem\" }\n",
    );
    let found = |mode: u32| {
        std::fs::set_permissions(&keys, Permissions::from_mode(mode)).unwrap();
        let output = run(&["check", &file]);
        (code(&output), err(&output))
    };
    let place = format!("{file}: listener 127.0.0.1:1: {keys}: ");
    let words = "its mode is 644, and other users could use the keys; expected 640 or less (chmod 640)\n";
    assert_eq!(found(0o644), (1, format!("{place}{words}")));
    let words =
        "line 1: no key; expected 80 or 48 bytes in base64 or hexadecimal, as \"openssl rand -hex 80\" writes\n";
    assert_eq!(found(0o640), (1, format!("{place}{words}")));
    folder.file("ticket.keys", &"0a".repeat(80));
    assert_eq!(found(0o600), (0, String::new()));
    let doctor = out(&run(&["doctor", "--connections", "1", "--config", &file]));
    assert!(doctor.contains("note ticket keys: 1 in "), "{doctor}");
}

#[test]
fn check_reads_the_file_of_the_working_directory_and_the_environment() {
    let folder = Folder::new("directory");
    folder.file("tidegate.toml", "[[listener]]\naddress = \"127.0.0.1:1\"\n");
    let output =
        tidegate(&["check"]).current_dir(&folder.0).env("TIDEGATE_LISTENER_1_ADDRESS", "127.0.0.1:2").output().unwrap();
    assert_eq!(out(&output), "tidegate.toml: ok, listeners: 2, routes: 0\n");
    let output = tidegate(&["check"]).current_dir(&folder.0).env("TIDEGATE_LISTENER", "127.0.0.1:2").output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(err(&output).starts_with("unknown variable TIDEGATE_LISTENER; "), "{}", err(&output));
}

#[test]
fn a_file_is_named_with_or_without_the_arguments_name_and_wins_over_the_variable() {
    let folder = Folder::new("named");
    let file = folder.file("a.toml", "[[listener]]\naddress = \"127.0.0.1:1\"\n");
    let other = folder.file("b.toml", "");
    for arguments in [
        &["check", &file][..],
        &["check", "--config", &file],
        &["serve", "--check", &file],
        &["serve", "--check", "--config", &file],
    ] {
        let output = tidegate(arguments).env("TIDEGATE_CONFIG", &other).output().unwrap();
        assert_eq!(
            (code(&output), out(&output)),
            (0, format!("{file}: ok, listeners: 1, routes: 0\n")),
            "{arguments:?}"
        );
    }
    for verb in [&["check"][..], &["serve", "--check"]] {
        let output = tidegate(verb).env("TIDEGATE_CONFIG", &file).output().unwrap();
        assert_eq!(out(&output), format!("{file}: ok, listeners: 1, routes: 0\n"), "{verb:?}");
        assert_eq!(code(&run(&[verb, &[&file, "--config", &other]].concat())), 2, "one file, not two");
    }
}

#[test]
fn starts_beside_a_service_of_its_name_and_still_tells_a_slip() {
    let folder = Folder::new("links");
    let file = folder.file("tidegate.toml", "[[listener]]\naddress = \"127.0.0.1:1\"\n");
    let check =
        |variables: &[(&str, &str)]| tidegate(&["check", &file]).envs(variables.iter().copied()).output().unwrap();
    let output = check(&[
        ("TIDEGATE_PORT", "tcp://10.96.0.7:8080"),
        ("TIDEGATE_SERVICE_HOST", "10.96.0.7"),
        ("TIDEGATE_SERVICE_PORT", "8080"),
        ("TIDEGATE_SERVICE_PORT_HTTP", "8080"),
        ("TIDEGATE_PORT_8080_TCP", "tcp://10.96.0.7:8080"),
        ("TIDEGATE_PORT_8080_TCP_ADDR", "10.96.0.7"),
        ("TIDEGATE_PORT_8080_TCP_PORT", "8080"),
        ("TIDEGATE_PORT_8080_TCP_PROTO", "tcp"),
        ("TIDEGATE_ADMIN_SERVICE_HOST", "10.96.0.9"),
        ("TIDEGATE_NAME", "/worker/tidegate"),
        ("TIDEGATE_ENV_PATH", "/usr/bin"),
    ]);
    assert_eq!((code(&output), err(&output).as_str()), (0, ""));
    let output = check(&[("TIDEGATE_PORT", "8080")]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).starts_with("unknown variable TIDEGATE_PORT; "), "{}", err(&output));
}
