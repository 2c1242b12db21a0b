//! The description of the admin listener (docs/openapi.json) is what it takes and answers.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tidegate::conn::admin::ENDPOINTS;
use tidegate::gateway::Builder;

use crate::support::*;

const TOKEN: &str = "all-of-it-all-of-it";
const OTHER: &str = "metrics-only-metrics-only";

fn project(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn document() -> Value {
    let text = std::fs::read_to_string(project("docs/openapi.json")).expect("the file");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn each_endpoint_is_described_and_each_description_is_of_an_endpoint() {
    let document = document();
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let scope = operation["security"][1]["token"][0].as_str().map(str::to_owned);
            described.insert((method.to_uppercase(), path.clone(), scope));
        }
    }
    let endpoints = ENDPOINTS.iter().map(|endpoint| {
        let scope = endpoint.scope.map(|scope| scope.word().to_owned());
        (endpoint.method.to_owned(), endpoint.path.to_owned(), scope)
    });
    assert_eq!(described, endpoints.collect());
}

/// The routes of the description's examples.
fn gateway(driver: &str) -> Builder {
    let admin = format!(
        "[admin]\naddress = \"127.0.0.1:0\"\nhosts = \"a\"\ntoken = \"{TOKEN}\"\n\
         tokens = {{ token = \"{OTHER}\", scopes = \"metrics\" }}\n"
    );
    let text = ROUTES.replace("[admin]\naddress = \"127.0.0.1:0\"\nhosts = \"a\"\n", &admin);
    let more = "[[route]]\npath = \"/asked\"\n\
                websocket = { service = \"echo\", control = true, user = { query = \"user\", unverified = true } }\n\
                [[upstream]]\nname = \"app\"\nservers = [\"127.0.0.1:3000\"]\n\
                [[channel]]\nname = \"room.*\"\nhistory = { messages = 10 }\npresence = true\n";
    builder_of_text(driver, 2, &format!("{text}{more}"))
}

#[test]
fn each_operation_answers_as_described() {
    on_both_drivers_with(gateway, |gateway| {
        let output = Command::new(project("tests/.venv/bin/python"))
            .arg(project("tests/gateway/openapi.py"))
            .args([front(gateway).to_string(), admin(gateway).to_string(), TOKEN.to_owned(), OTHER.to_owned()])
            .output()
            .expect("Python runs");
        let (said, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.ends_with(" requests as documented\n"), "{said}{complaints}");
    });
}

#[test]
fn the_gateway_serves_its_description() {
    on_both_drivers_with(gateway, |gateway| {
        let answer = ask(admin(gateway), "GET /api/openapi.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains("\r\nContent-Type: application/json"), "{head}");
        assert_eq!(serde_json::from_str::<Value>(body).expect("JSON"), document());
    });
}
