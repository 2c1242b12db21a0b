//! Certificates and keys, as `check` finds them.

use crate::certificate::self_signed;
use crate::cli::folder::Folder;
use crate::cli::program::{code, err, run};

#[test]
fn check_tells_certificates_that_are_missing_or_do_not_fit() {
    let folder = Folder::new("certificates");
    let (first, key) = self_signed();
    let (other, _) = self_signed();
    folder.file("cert.pem", &first);
    folder.file("key.pem", &key);
    folder.file("other.pem", &other);
    let check = |certificate: &str, key: &str| {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:1\"\ntls = {{ certificate = \"{certificate}\", key = \"{key}\" }}\n"
        );
        let output = run(&["check", &folder.file("tidegate.toml", &text)]);
        (code(&output), err(&output).replace(&format!("{}/", folder.0.display()), ""))
    };
    assert_eq!(check("cert.pem", "key.pem"), (0, String::new()));
    let told = |words: &str| (1, format!("tidegate.toml: listener 127.0.0.1:1: {words}\n"));
    assert_eq!(check("no.pem", "key.pem"), told("no.pem: No such file or directory (os error 2)"));
    assert_eq!(check("key.pem", "key.pem"), told("key.pem: no certificate in it"));
    assert_eq!(check("other.pem", "key.pem"), told("other.pem with key.pem: the key does not fit the certificate"));
}

#[test]
fn check_tells_keys_of_tokens_that_could_verify_none() {
    let folder = Folder::new("keys");
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    folder.file("p384.pem", &p384.public_key_pem());
    folder.file("p256.pem", &p256.public_key_pem());
    folder.file("p256.key", &p256.serialize_pem());
    let told = |verb: &[&str], key: &str| {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:1\"\n[[route]]\npath = \"/ws\"\n\
             websocket = {{ protocol = \"centrifuge-json\", token = {{ {key} }} }}\n"
        );
        let output = run(&[verb, &[&folder.file("tidegate.toml", &text)]].concat());
        (code(&output), err(&output).replace(&format!("{}/", folder.0.display()), ""))
    };
    let es256 = "ES256 takes keys on the curve P-256 (RFC 7518 section 3.4)";
    for verb in [&["check"][..], &["serve", "--check"]] {
        for (key, words) in [
            (
                "ecdsa_public_key = \"p384.pem\"",
                format!("ecdsa_public_key p384.pem is a key on the curve P-384; {es256}"),
            ),
            (
                "ecdsa_public_key = \"no.pem\"",
                "ecdsa_public_key no.pem cannot be read: No such file or directory (os error 2)".to_owned(),
            ),
        ] {
            assert_eq!(told(verb, key), (1, format!("tidegate.toml: route /ws: {words}\n")));
        }
        let (code, words) = told(verb, "ecdsa_public_key = \"p256.key\"");
        assert!(code == 1 && words.contains("p256.key is a private key"), "{words}");
        let (code, words) = told(verb, "hmac_secret = \"-----BEGIN PUBLIC KEY-----\"");
        assert!(code == 1 && words.contains("hmac_secret is a key in PEM; expected"), "{words}");
        let (code, words) = told(verb, "hmac_secret = \"secret\"");
        assert!(
            code == 0 && words.contains("warning: route /ws: hmac_secret is short enough to be guessed"),
            "{words}"
        );
        for fits in ["ecdsa_public_key = \"p256.pem\"".to_owned(), format!("hmac_secret = \"{}\"", "x".repeat(32))] {
            assert_eq!(told(verb, &fits), (0, String::new()));
        }
    }
}

#[test]
fn check_warns_of_certificates_that_clients_will_not_accept() {
    let folder = Folder::new("doubts");
    let file = folder.file(
        "tidegate.toml",
        "[[listener]]\naddress = \"127.0.0.1:1\"\ntls = { certificate = \"cert.pem\", key = \"key.pem\" }\n",
    );
    let key = rcgen::KeyPair::generate().unwrap();
    folder.file("key.pem", &key.serialize_pem());
    let check = |names: &[&str], years: std::ops::Range<i32>| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut wanted = rcgen::CertificateParams::new(names).unwrap();
        wanted.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        wanted.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        folder.file("cert.pem", &wanted.self_signed(&key).unwrap().pem());
        let output = run(&["check", &file]);
        assert_eq!(code(&output), 0, "{}", err(&output));
        err(&output).replace(&format!("{}/", folder.0.display()), "")
    };
    assert_eq!(check(&["localhost"], 2020..2120), "");
    assert_eq!(check(&["127.0.0.1"], 2020..2120), "");
    let told = "tidegate.toml: warning: listener 127.0.0.1:1: cert.pem: the certificate ";
    for (names, years, words) in [
        (&["localhost"][..], 2019..2020, "has expired, "),
        (&["localhost"], 2119..2120, "is not valid yet, but in "),
        (&[], 2020..2120, "names no host (subjectAltName), "),
    ] {
        let err = check(names, years);
        assert!(err.starts_with(&format!("{told}{words}")) && err.lines().count() == 1, "{err}");
    }
}
