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
    on_both_drivers("[[upstream]]\nname = \"app\"\nservers = [\"127.0.0.1:9\", \"unix:/run/a.sock\"]\n", |gateway| {
        let (status, paths) = said(gateway, "GET", "/");
        assert_eq!((status.as_str(), paths.lines().count()), ("HTTP/1.1 404 Not Found", 1));
        for target in ["/nowhere", "/api", "/api/channels", "/api/channels/a/b", "/metrics/", "/health/x"] {
            assert_eq!(said(gateway, "GET", target), (status.clone(), paths.clone()), "{target}");
        }
        let (_, listed) = paths.trim_end().split_once("expected ").expect("what there is");
        let listed = listed.replace(" or ", ", ");
        let listed: Vec<_> = listed.split(", ").map(|one| one.split_once(' ').expect("method and path")).collect();
        assert_eq!(listed.len(), 11, "{listed:?}");
        for (method, path) in listed {
            let target = path.replace("{channel}", "room.1").replace("{user}", "ann").replace("{name}", "app");
            let target = target.replace("{server}", "unix%3A%2Frun%2Fa.sock");
            let (status, _) = said(gateway, method, &target);
            // Without a body, it revokes nothing.
            let expected = if target == "/api/revocations" { "HTTP/1.1 400 Bad Request" } else { "HTTP/1.1 200 OK" };
            assert_eq!(status, expected, "{method} {target}");
        }
    });
}

#[test]
fn a_server_is_taken_out_in_all_shards_before_the_answer() {
    on_both_drivers("[[upstream]]\nname = \"app\"\nservers = [\"127.0.0.1:9\", \"unix:/run/a.sock\"]\n", |gateway| {
        for (verb, drained) in [("drain", 2), ("drain", 2), ("ready", 0)] {
            let (status, body) = said(gateway, "POST", &format!("/api/upstreams/app/unix:%2Frun%2Fa.sock/{verb}"));
            assert_eq!(status, "HTTP/1.1 200 OK");
            let is_drained = drained > 0;
            assert_eq!(
                body,
                format!("{{\"drained\":{is_drained},\"server\":\"unix:/run/a.sock\",\"upstream\":\"app\"}}")
            );
            assert_eq!(metric(gateway, "upstream_drained"), drained, "in both shards");
            let (_, list) = said(gateway, "GET", "/api/upstreams");
            assert_eq!(list.matches("\"state\":\"drained\"").count(), usize::from(is_drained), "{list}");
        }
        for (target, words) in [
            ("/api/upstreams/ap/127.0.0.1:9/drain", "there is no upstream \"ap\"; expected one of: app\n"),
            (
                "/api/upstreams/app/127.0.0.1:8/ready",
                "the upstream \"app\" has no server \"127.0.0.1:8\"; expected one of: 127.0.0.1:9, unix:/run/a.sock\n",
            ),
        ] {
            assert_eq!(said(gateway, "POST", target), ("HTTP/1.1 404 Not Found".to_owned(), words.to_owned()));
        }
        for (method, target) in [("GET", "/api/upstreams/app/127.0.0.1:9/drain"), ("POST", "/api/upstreams")] {
            assert_eq!(said(gateway, method, target).0, "HTTP/1.1 405 Method Not Allowed");
        }
    });
}
