//! `upstream`: what it shows of a gateway that runs, and what becomes of a server that is taken out.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use serde_json::Value;

use crate::cli::program::{code, err, out, run};
use crate::cli::server::read_request;
use crate::served::{PATIENCE, Served};

/// Answers each request with this word; one for `/hold` only when it hears so. Tells when it has one.
fn serve(word: &'static str, held: Sender<()>, go_on: Receiver<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let go_on = Arc::new(std::sync::Mutex::new(go_on));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, held, go_on) = (stream.expect("a connection"), held.clone(), go_on.clone());
            thread::spawn(move || {
                let (head, _) = read_request(&mut stream);
                if head.starts_with("GET /hold") {
                    held.send(()).expect("the test waits");
                    go_on.lock().expect("one waits").recv_timeout(PATIENCE).expect("the test goes on");
                }
                let length = word.len();
                let _ =
                    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{word}");
            });
        }
    });
    address
}

fn get(front: &str, path: &str) -> TcpStream {
    let mut client = TcpStream::connect(front).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(client, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("it reads");
    client
}

fn rest(mut client: TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn a_server_is_drained_for_its_deployment_and_comes_back() {
    let (held, is_held) = channel();
    let (release, go_on) = channel();
    let first = serve("first", held.clone(), go_on).to_string();
    let second = serve("second", held, channel().1).to_string();
    let configuration = format!(
        "shards = 2\n[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"app\"\nservers = [\"{first}\", \"{second}\"]\n[[route]]\npath = \"/*\"\nproxy = \"app\"\n"
    );
    let (_gateway, [front, admin]) = Served::start("upstream", &configuration, ["http", "admin"]);
    let admin = format!("http://{admin}");
    let upstream = |words: &[&str]| run(&[&["upstream"], words, &["--admin", &admin]].concat());
    let state = |server: &str| {
        let output = upstream(&["list", "--json"]);
        let answer: Value = serde_json::from_str(&out(&output)).expect("JSON");
        let servers = answer["upstreams"][0]["servers"].as_array().expect("a list").clone();
        servers.iter().find(|row| row["server"] == server).expect("it is there")["state"].as_str().unwrap().to_owned()
    };
    let output = upstream(&["list"]);
    assert!(out(&output).starts_with("UPSTREAM  SERVER"), "{}{}", out(&output), err(&output));
    assert_eq!((state(&first).as_str(), state(&second).as_str()), ("up", "up"));

    let output = upstream(&["drain", "app", &second, "--wait", "60"]);
    assert_eq!((code(&output), out(&output)), (0, format!("{second} of app gets no further request\n")));
    let in_flight = get(&front, "/hold");
    is_held.recv_timeout(PATIENCE).expect("the first server has it");
    let output = upstream(&["ready", "app", &second]);
    assert_eq!((code(&output), out(&output)), (0, format!("{second} of app gets requests again\n")));
    let output = upstream(&["drain", "app", &first, "--wait", "1"]);
    let words = format!("after 1 s, {first} of app has 1 requests; it gets no further ones");
    assert!(code(&output) == 1 && err(&output).contains(&words), "{}", err(&output));
    assert_eq!(state(&first), "draining");
    for _ in 0..16 {
        assert!(rest(get(&front, "/")).ends_with("second"));
    }
    release.send(()).expect("it waits");
    assert!(rest(in_flight).ends_with("first"), "a request in flight goes on to its end");
    let output = upstream(&["drain", "app", &first, "--wait", "60", "--json"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(serde_json::from_str::<Value>(&out(&output)).unwrap()["drained"], true);
    assert_eq!((state(&first).as_str(), state(&second).as_str()), ("drained", "up"));
    assert_eq!(code(&upstream(&["ready", "app", &first])), 0);
    assert_eq!(state(&first), "up");

    let output = upstream(&["drain", "ap", &first]);
    assert!(code(&output) == 1 && err(&output).contains("there is no upstream \"ap\"; expected one of: app"));
}
