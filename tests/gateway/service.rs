//! Services: messages to in-process workers and to workers on the bus, answers, notices and commands.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Instant;

use tidegate::base::NodeId;
use tidegate::gateway::{Builder, Gateway};
use tidegate::proto::event::Message as BusMessage;
use tidegate::worker::{Received, Worker};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Bytes, Message, WebSocket};

use crate::support::*;

const ECHO: &str = "/echo?user=ann";

/// Gives each message of the service to `answer`, until the gateway ends.
fn serve(mut worker: Worker, answer: impl Fn(&Worker, &BusMessage)) {
    worker.serve("echo").expect("a valid name");
    loop {
        match worker.recv(Instant::now() + PATIENCE) {
            Received::Message(message) => answer(&worker, &message),
            Received::Nothing => {}
            Received::Stopped => return,
        }
    }
}

fn is_message(message: &BusMessage) -> bool {
    message.header("Tg-Kind") == Some("message")
}

fn with_worker(driver: &str, answer: impl Fn(&Worker, &BusMessage) + Send + 'static) -> Builder {
    builder(driver, "").worker("worker", move |worker| serve(worker, answer))
}

/// A worker may come after the first client: its message waits for that.
fn say(client: &mut WebSocket<Raw>, text: &str) {
    client.send(Message::text(text)).unwrap();
}

fn hear(client: &mut WebSocket<Raw>) -> String {
    client.read().unwrap().into_text().unwrap().to_string()
}

fn expect_close(client: &mut WebSocket<Raw>, code: CloseCode) {
    let message = client.read().unwrap();
    let Message::Close(Some(frame)) = message else { panic!("a close frame, not {message:?}") };
    assert_eq!(frame.code, code);
}

#[test]
fn an_in_process_worker_echoes_text_and_binary() {
    let echo = |worker: &Worker, message: &BusMessage| {
        if is_message(message) {
            worker.reply(message, &message.payload).unwrap();
        }
    };
    on_both_drivers_with(
        |driver| with_worker(driver, echo),
        |gateway| {
            let mut clients: Vec<_> = (0..4).map(|_| websocket(gateway, ECHO)).collect();
            let sent =
                [Message::text("tide"), Message::binary(vec![0, 0xff]), Message::text(""), Message::binary("text")];
            for _ in 0..20 {
                for client in &mut clients {
                    sent.iter().for_each(|message| client.send(message.clone()).unwrap());
                }
                for client in &mut clients {
                    sent.iter().for_each(|message| assert_eq!(client.read().unwrap(), *message));
                }
            }
            drop(clients);
            expect_nobody(gateway);
        },
    );
}

#[test]
fn the_node_of_a_gateway_is_in_its_ids() {
    let node: NodeId = "0000000a".parse().expect("a node");
    let answer = |worker: &Worker, message: &BusMessage| {
        if is_message(message) {
            let conn = message.header("Tg-Conn").unwrap_or_default();
            let digits = conn.strip_prefix("0000000a.").unwrap_or("none");
            worker.publish(&format!("tg.conn.{digits}"), &[], b"of no node").unwrap();
            worker.reply(message, conn.as_bytes()).unwrap();
        }
    };
    on_both_drivers_with(
        |driver| with_worker(driver, answer).node(node),
        |gateway| {
            let mut client = websocket(gateway, ECHO);
            say(&mut client, "x");
            let conn = hear(&mut client);
            assert!(conn.starts_with("0000000a.") && conn.len() == 25, "{conn}");
        },
    );
}

#[test]
fn all_messages_of_a_connection_go_to_one_worker() {
    let build = |driver: &str| {
        ["one", "two", "three"].iter().fold(builder(driver, ""), |builder, name| {
            builder.worker(name, |worker| {
                serve(worker, |worker, message| {
                    if is_message(message) {
                        worker.reply(message, name.as_bytes()).unwrap();
                    }
                });
            })
        })
    };
    on_both_drivers_with(build, |gateway| {
        let mut answered_by = BTreeSet::new();
        for _ in 0..30 {
            let mut client = websocket(gateway, ECHO);
            (0..20).for_each(|_| say(&mut client, "x"));
            let first = hear(&mut client);
            (1..20).for_each(|_| assert_eq!(hear(&mut client), first));
            answered_by.insert(first);
        }
        assert_eq!(answered_by.len(), 3, "each worker has its share");
        expect_nobody(gateway);
    });
}

#[test]
fn workers_hear_of_each_connection_from_open_to_close() {
    let (said, heard) = mpsc::channel();
    let (said, heard) = (Mutex::new(said), Mutex::new(heard));
    // One driver after the other: both gateways' workers tell the same listener.
    for driver in ["epoll", "uring"] {
        let said = said.lock().unwrap().clone();
        let builder = with_worker(driver, move |_, message| {
            let header = |name| message.header(name).unwrap_or("none").to_owned();
            let payload = String::from_utf8_lossy(&message.payload).into_owned();
            said.send([header("Tg-Kind"), header("Tg-Conn"), header("Tg-User"), header("Tg-Route"), payload]).unwrap();
        });
        let gateway = builder.start().unwrap();
        let next = || heard.lock().unwrap().recv_timeout(PATIENCE).expect("a notice");
        let mut first = websocket(&gateway, ECHO);
        say(&mut first, "am I heard");
        // The worker may have come after the first opening; from this message on it is there.
        let opened = next();
        if opened[0] == "open" {
            assert_eq!(next()[0], "message");
        }
        let mut client = websocket(&gateway, ECHO);
        say(&mut client, "hello");
        let [open, message] = [next(), next()];
        assert_eq!([&open[0], &open[2], &open[3]], ["open", "ann", "/echo"]);
        assert_eq!([&message[0], &message[4]], ["message", "hello"]);
        client.close(None).unwrap();
        let close = next();
        assert_eq!([&close[0], &close[2]], ["close", "ann"]);
        assert!(open[1] == message[1] && message[1] == close[1] && open[1] != opened[1], "one id each");
        drop((client, first));
        assert_eq!(next()[0], "close", "whoever just leaves is noticed, too");
        expect_nobody(&gateway);
        gateway.stop();
    }
}

/// What a client says it wants, done by a worker: in process here, on the bus below.
fn obey(worker: &Worker, message: &BusMessage) {
    let connection = message.reply.as_ref().map_or("", |reply| reply.as_str());
    let text = String::from_utf8_lossy(&message.payload).into_owned();
    let (verb, channel) = text.split_once(' ').unwrap_or((&text, ""));
    match verb {
        "subscribe" | "unsubscribe" | "close" => {
            worker.publish(&format!("{connection}.{verb}"), &[], channel.as_bytes()).unwrap();
            worker.reply(message, b"done").unwrap();
        }
        "tell" => worker.publish("tg.user.ann", &[("Tg-Opcode", "binary")], b"all of you").unwrap(),
        _ => {}
    }
}

#[test]
fn workers_subscribe_unsubscribe_tell_and_close_clients() {
    on_both_drivers_with(
        |driver| with_worker(driver, obey),
        |gateway| {
            let mut client = websocket(gateway, ECHO);
            let mut other = websocket(gateway, ECHO);
            expect_commands_obeyed(gateway, &mut client, &mut other, say);
        },
    );
}

#[test]
fn workers_on_the_bus_do_the_same() {
    on_both_drivers("", |gateway| {
        let worker = Mutex::new(bus(gateway));
        let mut worker_lock = worker.lock().unwrap();
        worker_lock.send("SUB tg.service.echo workers 1\r\nPING\r\n").read_until("PONG\r\n");
        let mut client = websocket(gateway, ECHO);
        say(&mut client, "who am I");
        let notices = worker_lock.read_until("who am I\r\n");
        let id =
            notices.rsplit("Tg-Conn: ").next().and_then(|rest| rest.split("\r\n").next()).expect("an id").to_owned();
        let mut other = websocket(gateway, ECHO);
        drop(worker_lock);
        expect_commands_obeyed(gateway, &mut client, &mut other, |_, command| {
            let (verb, channel) = command.split_once(' ').unwrap_or((command, ""));
            let mut worker = worker.lock().unwrap();
            let length = channel.len();
            if verb == "tell" {
                let headers = "NATS/1.0\r\nTg-Opcode: binary\r\n\r\n";
                let total = headers.len() + 10;
                worker.send(format!("HPUB tg.user.ann {} {total}\r\n{headers}all of you\r\n", headers.len()));
            } else {
                worker.send(format!("PUB tg.conn.{id}.{verb} {length}\r\n{channel}\r\nPUB tg.conn.{id} 4\r\ndone\r\n"));
            }
        });
        // The connection is gone: whoever asks it something hears that at once.
        let mut worker = worker.into_inner().unwrap();
        worker.send("CONNECT {\"headers\":true,\"no_responders\":true,\"verbose\":false}\r\nSUB answer 2\r\n");
        await_that("503", || {
            worker.send(format!("PUB tg.conn.{id} answer 1\r\n?\r\nPING\r\n")).read_until("PONG\r\n").contains("503")
        });
        drop(worker);
        expect_nobody(gateway);
    });
}

fn expect_commands_obeyed(
    gateway: &Gateway,
    client: &mut WebSocket<Raw>,
    other: &mut WebSocket<Raw>,
    command: impl Fn(&mut WebSocket<Raw>, &str),
) {
    for channel in ["news.1", "news.2", "news.3"] {
        command(client, &format!("subscribe {channel}"));
        assert_eq!(hear(client), "done", "and from now on it is subscribed");
        publish(gateway, channel, "", channel);
        assert_eq!(hear(client), channel);
    }
    command(client, "subscribe news.1");
    assert_eq!(hear(client), "done");
    command(client, "unsubscribe news.1");
    assert_eq!(hear(client), "done");
    command(client, "subscribe tg.user.bob");
    assert_eq!(hear(client), "done");
    publish(gateway, "news.1", "", "unheard");
    publish(gateway, "news.2", "", "heard");
    assert_eq!(hear(client), "heard");
    command(client, "tell");
    for client in [&mut *client, &mut *other] {
        assert_eq!(client.read().unwrap(), Message::Binary(Bytes::from_static(b"all of you")));
    }
    command(client, "close");
    expect_close(client, CloseCode::Normal);
    let _ = other.close(None);
}

#[test]
fn a_message_waits_for_the_worker_that_comes() {
    on_both_drivers("", |gateway| {
        let mut clients = [websocket(gateway, ECHO), websocket(gateway, ECHO)];
        for client in &mut clients {
            (0..3).for_each(|number| say(client, &format!("early {number}")));
        }
        await_that("both wait", || metric(gateway, "messages_waiting") == 2);
        let mut worker = bus(gateway);
        worker.send("SUB tg.service.echo workers 1\r\n");
        let mut heard = String::new();
        while heard.matches("early 2\r\n").count() < 2 {
            heard += &worker.read_until("\r\n");
        }
        for number in 0..3 {
            assert_eq!(heard.matches(&format!("early {number}\r\n")).count(), 2, "{heard}");
        }
        drop((clients, worker));
        expect_nobody(gateway);
    });
}

#[test]
fn a_message_waits_for_the_in_process_worker_that_comes() {
    let (start, started) = mpsc::channel::<()>();
    let (start, started) = (Mutex::new(start), Mutex::new(Some(started)));
    let build = |driver: &str| {
        let started = started.lock().unwrap().take().expect("one gateway");
        builder(driver, "").worker("late", move |worker| {
            let _ = started.recv();
            serve(worker, |worker, message| drop(worker.reply(message, &message.payload)));
        })
    };
    let gateway = build("epoll").start().unwrap();
    let mut client = websocket(&gateway, ECHO);
    say(&mut client, "early");
    await_that("it waits", || metric(&gateway, "messages_waiting") == 1);
    start.lock().unwrap().send(()).unwrap();
    assert_eq!(hear(&mut client), "early");
    gateway.stop();
}

#[test]
fn without_a_worker_the_client_is_told_to_come_back() {
    on_both_drivers("", |gateway| {
        let mut client = websocket(gateway, ECHO);
        say(&mut client, "hello");
        let asked = Instant::now();
        expect_close(&mut client, CloseCode::Again);
        assert!(asked.elapsed() >= tidegate::limits::SERVICE_WAIT);
        assert_eq!(metric(gateway, "closed_total:no_worker"), 1);
        drop(client);
        expect_nobody(gateway);
    });
}
