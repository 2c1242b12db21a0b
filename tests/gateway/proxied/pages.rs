//! Pages of other origins that read a server's answers: the route decides where it has `origins`, else the server does.

use super::*;

/// A server that lets every page read its answers, and notes what it is asked.
fn serve_anyone(mut socket: TcpStream) {
    while !next_request(&mut socket).is_empty() {
        let answer =
            b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nVary: Accept\r\nContent-Length: 4\r\n\r\nwell";
        if socket.write_all(answer).is_err() {
            return;
        }
    }
}

#[test]
fn a_route_with_origins_decides_for_its_server() {
    let server = Server::start(serve_anyone);
    let routes = format!(
        "{}origins = [\"https://app.example\"]\n{}origins = \"*\"\n{}",
        server.route("listed", ""),
        server.route("all", ""),
        server.route("servers", "")
    );
    on_both_drivers(&routes, |gateway| {
        let mut client = Raw::connect(front(gateway));
        let mut ask = |path: &str, origin: &str| {
            let lines = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
            let request = format!("GET /{path}/a HTTP/1.1\r\nHost: gate.example\r\n{lines}\r\n");
            let answer = client.send(&request).read_until("\r\n\r\n");
            if answer.contains("200 OK") {
                client.read_until("well");
            }
            let of_cors = |line: &&str| line.starts_with("Access-Control-") || line.starts_with("Vary");
            let mut lines: Vec<String> = answer.lines().filter(of_cors).map(str::to_owned).collect();
            lines.sort();
            (answer[9..12].to_owned(), lines.join(" "))
        };
        let said = |status: &str, lines: &str| (status.to_owned(), lines.to_owned());
        let own = "Access-Control-Allow-Credentials: true Access-Control-Allow-Origin: https://app.example Vary: Accept Vary: Origin";
        assert_eq!(ask("listed", "https://app.example"), said("200", own));
        assert_eq!(ask("listed", ""), said("200", "Vary: Accept Vary: Origin"), "the server's own word is left out");
        assert_eq!(ask("all", "https://any.example"), said("200", "Access-Control-Allow-Origin: * Vary: Accept"));
        assert_eq!(ask("servers", "https://any.example"), said("200", "Access-Control-Allow-Origin: * Vary: Accept"));
        assert_eq!(ask("listed", "https://evil.example").0, "403");
        client.leave();
        expect_nobody(gateway);
    });
}
