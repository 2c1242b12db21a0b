//! What the admin listener says of itself.

use tidegate::gateway::Gateway;

use crate::support::*;

/// The status line and the body of the answer to a request without one.
fn said(gateway: &Gateway, method: &str, target: &str) -> (String, String) {
    let request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    let answer = Raw::connect(admin(gateway)).send(request).read_all();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

#[test]
fn a_path_that_there_is_not_is_answered_with_those_that_there_are() {
    on_both_drivers("", |gateway| {
        let (status, paths) = said(gateway, "GET", "/");
        assert_eq!((status.as_str(), paths.lines().count()), ("HTTP/1.1 404 Not Found", 1));
        for target in ["/nowhere", "/api", "/api/channels", "/api/channels/a/b", "/metrics/", "/health/x"] {
            assert_eq!(said(gateway, "GET", target), (status.clone(), paths.clone()), "{target}");
        }
        let (_, listed) = paths.trim_end().split_once("expected ").expect("what there is");
        let listed = listed.replace(" or ", ", ");
        let listed: Vec<_> = listed.split(", ").map(|one| one.split_once(' ').expect("method and path")).collect();
        assert_eq!(listed.len(), 7, "{listed:?}");
        for (method, path) in listed {
            let target = path.replace("{channel}", "room.1").replace("{user}", "ann");
            let (status, _) = said(gateway, method, &target);
            assert_eq!(status, "HTTP/1.1 200 OK", "{method} {target}");
        }
    });
}
