//! WebSockets that real servers serve: what a client sends comes back, whatever stands between, and each end learns of the other
//! one's end.

use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

use super::programs::Program;
use super::*;

fn echo(socket: &mut WebSocket<Raw>, message: Message) {
    socket.send(message.clone()).expect("it is open");
    let heard = socket.read().expect("it is open");
    assert!(heard == message, "{} bytes sent, {} heard", message.len(), heard.len());
}

/// The code and the words of the Close that comes next.
fn closed(socket: &mut WebSocket<Raw>) -> (CloseCode, String) {
    match socket.read().expect("a Close") {
        Message::Close(Some(frame)) => (frame.code, frame.reason.to_string()),
        other => panic!("{other:?} instead of a Close"),
    }
}

fn end(mut socket: WebSocket<Raw>) {
    socket.close(None).expect("it is open");
    while socket.read().is_ok() {}
}

/// Messages of all sizes, from several clients, then a Close by each end.
fn expect_an_echo(gateway: &Gateway, path: &str) {
    let mut sockets: Vec<_> = (0..3).map(|_| websocket(gateway, path)).collect();
    for len in [0, 1, 125, 126, 65_535, 65_536, 1_000_000] {
        for socket in &mut sockets {
            echo(socket, Message::text("x".repeat(len)));
            echo(socket, Message::binary(vec![7; len]));
        }
    }
    sockets.into_iter().for_each(end);
    await_that(&format!("{path}: no tunnel"), || metric(gateway, "tunnels_open") == 0);
}

#[test]
fn sockets_reach_node_and_uvicorn_and_pass_through_nginx_and_haproxy() {
    let (node, uvicorn) = (Program::node(), Program::uvicorn());
    let (nginx, haproxy) = (Program::nginx_before(node.address), Program::haproxy_before(node.address));
    let servers = [("node", &node), ("uvicorn", &uvicorn), ("nginx", &nginx), ("haproxy", &haproxy)];
    let routes: Vec<String> = servers.iter().map(|(name, program)| route(name, program.address, "")).collect();
    on_both_drivers(&routes.concat(), |gateway| {
        for (name, _) in servers {
            expect_an_echo(gateway, &format!("/{name}/chat"));
        }
        // The server closes, with a code of its own.
        let mut socket = websocket(gateway, "/node/chat");
        socket.send(Message::text("close it")).expect("it is open");
        assert_eq!(closed(&mut socket), (CloseCode::Library(4001), "close it".to_owned()));
        while socket.read().is_ok() {}
        drop(socket);
        // A path that is no WebSocket.
        let answer = ask(front(gateway), "GET /node/none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        expect_nobody(gateway);
        for reason in ["upstream_garbage", "upstream_broke", "upstream_closed", "upstream_refused", "slow_consumer"] {
            assert_eq!(metric(gateway, &format!("closed_total:{reason}")), 0, "{reason}");
        }
    });
}

#[test]
fn a_server_that_is_killed_loses_its_own_sockets_and_no_others() {
    let (first, second) = (Program::node(), Program::node());
    let routes = [route("first", first.address, ""), route("second", second.address, "")].concat();
    let gateway = builder("epoll", &routes).start().expect("the gateway starts");
    let (mut lost, mut kept) = (websocket(&gateway, "/first/chat"), websocket(&gateway, "/second/chat"));
    echo(&mut lost, Message::text("here"));
    drop(first);
    assert!(lost.read().is_err() || lost.read().is_err(), "it has gone");
    echo(&mut kept, Message::text("still here"));
    let answer = tungstenite::client(format!("ws://{}/first/chat", front(&gateway)), Raw::connect(front(&gateway)));
    assert!(answer.is_err_and(|error| error.to_string().contains("502")), "nothing listens");
    end(kept);
    drop(lost);
    gateway.stop();
}

#[test]
fn a_gateway_that_goes_sends_both_ends_a_close() {
    let node = Program::node();
    for driver in ["epoll", "uring"] {
        let gateway = builder(driver, &route("app", node.address, "")).start().expect("the gateway starts");
        let mut socket = websocket(&gateway, "/app/chat");
        echo(&mut socket, Message::text("here"));
        let reader = std::thread::spawn(move || closed(&mut socket));
        gateway.stop();
        let (code, words) = reader.join().expect("a Close");
        assert_eq!(code, CloseCode::Away, "{words}");
    }
    await_that("the server has got a Close, too", || {
        node.log().matches("a WebSocket has ended: 1001 the gateway has ended it").count() == 2
    });
}
