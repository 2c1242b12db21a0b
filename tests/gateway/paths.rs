//! Paths: how they are written, asked for and compared, and what their parts become.

use crate::doors::{expect_health, expect_status, get};
use crate::events::events;
use crate::support::*;

#[test]
fn a_part_of_a_path_is_one_token_of_the_channel_whatever_it_is() {
    const NOTIFICATIONS: &str =
        "[[route]]\npath = \"/notifications/{user}\"\nsse = { channel = \"notifications.{user}\" }\n";
    on_both_drivers(NOTIFICATIONS, |gateway| {
        for (part, token) in [
            ("ann", "ann"),
            ("ann@example.org", "ann@example%2Eorg"),
            ("ann%40example%2eorg", "ann@example%2Eorg"),
            ("a.b", "a%2Eb"),
            ("a%20b", "a%20b"),
            ("a+b", "a+b"),
            ("*", "%2A"),
            ("%3e", "%3E"),
            ("..a", "%2E%2Ea"),
            ("100%25", "100%25"),
            ("caf%C3%A9", "caf\u{e9}"),
            ("a%2Fb", "a/b"),
        ] {
            let mut stream = events(gateway, &format!("/notifications/{part}"));
            // As the channel stands in a URL: its escapes are escaped, and what is not ASCII.
            let channel = format!("notifications.{token}");
            let escaped = channel.replace('%', "%25").replace('\u{e9}', "%C3%A9").replace('/', "%2F");
            let request = format!(
                "POST /api/channels/{escaped} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"
            );
            let answer = ask(admin(gateway), &request);
            assert!(
                answer.starts_with("HTTP/1.1 200 ") && answer.contains(&format!("\"{channel}\"")),
                "{part}: {answer}"
            );
            stream.read_until("data: x\n\n");
        }
        let long = "x".repeat(250);
        for part in ["a%00b", "a%0Ab", "a%C2%85", &long, &".".repeat(100)] {
            expect_status(part, front(gateway), get(&format!("/notifications/{part}")), 400);
        }
        expect_status("nobody", front(gateway), get("/notifications/"), 404);
        expect_health(gateway);
    });
}

#[test]
fn a_path_is_written_as_people_read_it_and_asked_for_as_browsers_escape_it() {
    const PATHS: &str = "[[route]]\npath = \"/caf\u{e9}/a b/100%\"\nsse = { channel = \"room.1\" }\n";
    on_both_drivers(PATHS, |gateway| {
        for path in ["/caf%C3%A9/a%20b/100%25", "/caf%c3%a9/%61%20b/1%300%25"] {
            events(gateway, path);
        }
        for path in ["/cafe/a%20b/100%25", "/caf%C3%A9/a+b/100%25", "/caf%25C3%25A9/a%20b/100%25"] {
            let answer = ask(front(gateway), &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 404 "), "{path} got {answer}");
        }
    });
}
