//! A client of the bus, for workers and publishers: the NATS client protocol as its documentation has it.

use tidegate::driver::sim::Endpoint;

use crate::line::{End, Line};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub subject: String,
    /// The number of the subscription that it came for.
    pub sid: u64,
    pub reply: Option<String>,
    /// The header block with its version line, as it came; empty for MSG.
    pub headers: String,
    pub payload: Vec<u8>,
}

impl Message {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.split("\r\n").skip(1);
        lines.find_map(|line| line.split_once(':').filter(|(key, _)| *key == name)).map(|(_, value)| value.trim())
    }

    /// The status of the version line, such as 503 when nobody responds.
    pub fn status(&self) -> Option<u16> {
        self.headers.split("\r\n").next()?.strip_prefix("NATS/1.0")?.split_whitespace().next()?.parse().ok()
    }
}

pub struct Bus {
    line: Line,
    sids: u64,
    /// Set once the server has introduced itself.
    pub info: Option<serde_json::Value>,
    /// Taken out by whoever checks them.
    pub received: Vec<Message>,
    pub errors: Vec<String>,
    /// Answers to our PINGs: everything sent before the ping has been processed.
    pub pongs: usize,
    pings: usize,
    /// A message whose payload has not come whole.
    begun: Option<Begun>,
}

/// A control line that announced bytes.
struct Begun {
    subject: String,
    sid: u64,
    reply: Option<String>,
    headers_len: usize,
    total_len: usize,
}

impl Bus {
    /// Says CONNECT on a fresh connection; `options` are more members of its JSON object, without braces.
    pub fn new(endpoint: Endpoint, options: &str) -> Bus {
        let mut line = Line::new(endpoint);
        let separator = if options.is_empty() { "" } else { "," };
        let connect = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":true,\"headers\":true,\"no_responders\":true{separator}{options}}}\r\n"
        );
        line.say(connect.as_bytes());
        Bus { line, sids: 0, info: None, received: Vec::new(), errors: Vec::new(), pongs: 0, pings: 0, begun: None }
    }

    /// How the connection ended, once it has.
    pub fn end(&self) -> Option<End> {
        self.line.end
    }

    /// Subscribes, in a queue group if `group` names one, and returns the subscription's number.
    pub fn subscribe(&mut self, pattern: &str, group: &str) -> u64 {
        self.sids += 1;
        let separator = if group.is_empty() { "" } else { " " };
        self.line.say(format!("SUB {pattern}{separator}{group} {}\r\n", self.sids).as_bytes());
        self.sids
    }

    /// Unsubscribes, after `max` messages in all if it is not zero.
    pub fn unsubscribe(&mut self, sid: u64, max: u64) {
        let after = if max == 0 { String::new() } else { format!(" {max}") };
        self.line.say(format!("UNSUB {sid}{after}\r\n").as_bytes());
    }

    /// Publishes; `reply` may be empty.
    pub fn publish(&mut self, subject: &str, reply: &str, payload: &[u8]) {
        let separator = if reply.is_empty() { "" } else { " " };
        self.line.say(format!("PUB {subject}{separator}{reply} {}\r\n", payload.len()).as_bytes());
        self.line.say(payload);
        self.line.say(b"\r\n");
    }

    /// Publishes with headers; `reply` may be empty.
    pub fn publish_with(&mut self, subject: &str, reply: &str, headers: &[(&str, &str)], payload: &[u8]) {
        let mut block = String::from("NATS/1.0\r\n");
        for (name, value) in headers {
            block.push_str(&format!("{name}: {value}\r\n"));
        }
        block.push_str("\r\n");
        let separator = if reply.is_empty() { "" } else { " " };
        let total_len = block.len() + payload.len();
        self.line.say(format!("HPUB {subject}{separator}{reply} {} {total_len}\r\n{block}", block.len()).as_bytes());
        self.line.say(payload);
        self.line.say(b"\r\n");
    }

    /// Asks for a PONG behind everything sent so far.
    pub fn ping(&mut self) {
        self.pings += 1;
        self.line.say(b"PING\r\n");
    }

    /// True if every ping has been answered.
    pub fn is_settled(&self) -> bool {
        self.line.has_said_all() && self.pongs == self.pings
    }

    pub fn poll(&mut self) {
        self.line.poll();
        loop {
            if let Some(begun) = self.begun.take() {
                let Some(bytes) = self.line.take(begun.total_len + 2) else {
                    self.begun = Some(begun);
                    return;
                };
                self.on_message(begun, &bytes);
            }
            let Some(control) = self.line.take_until(b"\r\n") else { return };
            self.on_control(&String::from_utf8(control).expect("control lines are text"));
        }
    }

    fn on_message(&mut self, begun: Begun, bytes: &[u8]) {
        let payload = bytes.strip_suffix(b"\r\n").expect("a payload ends with CRLF");
        let (headers, payload) = payload.split_at(begun.headers_len);
        let headers = String::from_utf8(headers.to_vec()).expect("headers are text");
        assert!(headers.is_empty() || headers.starts_with("NATS/1.0") && headers.ends_with("\r\n\r\n"), "{headers:?}");
        let Begun { subject, sid, reply, .. } = begun;
        self.received.push(Message { subject, sid, reply, headers, payload: payload.to_vec() });
    }

    fn on_control(&mut self, control: &str) {
        let (verb, rest) = control.split_once(' ').unwrap_or((control, ""));
        let words: Vec<&str> = rest.split_whitespace().collect();
        match (verb, words.as_slice()) {
            ("INFO", _) => self.info = Some(serde_json::from_str(rest).expect("INFO carries JSON")),
            ("PING", []) => self.line.say(b"PONG\r\n"),
            ("PONG", []) => {
                self.pongs += 1;
                assert!(self.pongs <= self.pings, "a PONG that nobody asked for");
            }
            ("+OK", []) => panic!("verbose was not asked for"),
            ("-ERR", _) => self.errors.push(rest.trim_matches('\'').to_owned()),
            ("MSG", [subject, sid, reply @ .., total]) if reply.len() <= 1 => {
                self.begun = Some(Begun::new(subject, sid, reply, "0", total));
            }
            ("HMSG", [subject, sid, reply @ .., headers, total]) if reply.len() <= 1 => {
                self.begun = Some(Begun::new(subject, sid, reply, headers, total));
            }
            _ => panic!("the bus said {control:?}"),
        }
        assert!(self.info.is_some(), "INFO comes first, not {control:?}");
    }
}

impl Begun {
    fn new(subject: &str, sid: &str, reply: &[&str], headers: &str, total: &str) -> Begun {
        let begun = Begun {
            subject: subject.to_owned(),
            sid: sid.parse().expect("our sids are numbers"),
            reply: reply.first().map(|&reply| reply.to_owned()),
            headers_len: headers.parse().expect("a size"),
            total_len: total.parse().expect("a size"),
        };
        assert!(begun.headers_len <= begun.total_len, "headers are part of the total");
        begun
    }
}

#[cfg(test)]
mod tests {
    use tidegate::driver::sim::{Faults, World};

    use super::*;
    use crate::script::{Script, in_worlds};

    fn open(script: &mut Script) -> Bus {
        let mut client = Bus::new(script.connect(), "\"name\":\"w\"");
        script.connected(|| client.poll());
        script.say(b"INFO {\"max_payload\":1048576,\"headers\":true}\r\n");
        let connect = String::from_utf8(script.hear_until(b"\r\n", || client.poll())).unwrap();
        let options: serde_json::Value = serde_json::from_str(connect.strip_prefix("CONNECT ").unwrap()).unwrap();
        assert_eq!((&options["name"], &options["verbose"]), (&"w".into(), &false.into()));
        client
    }

    #[test]
    fn says_what_the_protocol_has_for_it() {
        in_worlds(|mut script| {
            let mut client = open(&mut script);
            let sid = client.subscribe("tg.service.rides", "workers");
            client.subscribe("driver.>", "");
            client.unsubscribe(sid, 3);
            client.publish("driver.location.7", "", b"here");
            client.publish("ask.me", "_INBOX.1", b"");
            client.publish_with("room.1", "", &[("Tg-Key", "k")], b"hi");
            client.ping();
            assert!(!client.is_settled());
            let heard = script.hear_until(b"PING\r\n", || client.poll());
            assert_eq!(
                String::from_utf8(heard).unwrap(),
                "SUB tg.service.rides workers 1\r\nSUB driver.> 2\r\nUNSUB 1 3\r\n\
                 PUB driver.location.7 4\r\nhere\r\nPUB ask.me _INBOX.1 0\r\n\r\n\
                 HPUB room.1 23 25\r\nNATS/1.0\r\nTg-Key: k\r\n\r\nhi\r\n"
            );
            script.say(b"PONG\r\n");
            script.until(|| {
                client.poll();
                client.is_settled()
            });
        });
    }

    #[test]
    fn hears_messages_with_and_without_headers() {
        in_worlds(|mut script| {
            let mut client = open(&mut script);
            script.say(b"MSG a.b 1 2\r\n\r\n\r\nMSG a.b 1 _INBOX.9 0\r\n\r\nPING\r\n");
            script.say(b"HMSG c 2 27 30\r\nNATS/1.0\r\nTg-Kind: open\r\n\r\nabc\r\n");
            script.say(b"HMSG _INBOX.1 3 16 16\r\nNATS/1.0 503\r\n\r\n\r\n-ERR 'Unknown Protocol Operation'\r\n");
            script.until(|| {
                client.poll();
                !client.errors.is_empty()
            });
            assert_eq!(client.errors, ["Unknown Protocol Operation"]);
            let [plain, empty, with_header, nobody] = &client.received[..] else { panic!("{:?}", client.received) };
            assert_eq!((plain.subject.as_str(), plain.sid, &plain.payload[..]), ("a.b", 1, &b"\r\n"[..]));
            assert_eq!((empty.reply.as_deref(), empty.payload.len()), (Some("_INBOX.9"), 0));
            assert_eq!((with_header.header("Tg-Kind"), &with_header.payload[..]), (Some("open"), &b"abc"[..]));
            assert_eq!((with_header.status(), nobody.status()), (None, Some(503)));
            assert_eq!(script.hear_until(b"\r\n", || client.poll()), b"PONG");
        });
    }

    #[test]
    fn sees_the_end_of_the_connection() {
        in_worlds(|mut script| {
            let mut client = open(&mut script);
            script.finish();
            script.until(|| {
                client.poll();
                client.end().is_some()
            });
            assert_eq!(client.end(), Some(End::Finished));
        });
    }

    #[test]
    fn sees_that_the_connection_broke() {
        let faults = Faults { reset: 1_000, life_us: 20_000..=20_000, ..Faults::none() };
        let mut script = Script::new(World::new(0, faults));
        let mut client = Bus::new(script.world().connect(script.address()).unwrap(), "");
        script.until(|| {
            client.poll();
            client.end().is_some()
        });
        assert!(matches!(client.end(), Some(End::Broken(_))), "{:?}", client.end());
    }
}
