//! The commands of a client, one per line.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::ops::Deref;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Number;
use serde_json::value::RawValue;

use super::json::is_json;
use crate::proto::CloseReason;

/// One command. Payloads borrow from the frame, and so do texts without escapes.
#[derive(Debug)]
pub struct Command<'a> {
    /// The id of the command and of its reply; 0 for a command without a reply.
    pub id: u32,
    pub request: Request<'a>,
}

#[derive(Debug)]
pub enum Request<'a> {
    Connect(ConnectRequest<'a>),
    Subscribe(SubscribeRequest<'a>),
    Unsubscribe(ChannelRequest<'a>),
    Publish(PublishRequest<'a>),
    Presence(ChannelRequest<'a>),
    PresenceStats(ChannelRequest<'a>),
    History(HistoryRequest<'a>),
    Ping,
    Send(SendRequest<'a>),
    Rpc(RpcRequest<'a>),
    Refresh(RefreshRequest<'a>),
    SubRefresh(SubRefreshRequest<'a>),
    /// `{}`: the answer to our ping.
    Pong,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ConnectRequest<'a> {
    #[serde(borrow)]
    pub token: Text<'a>,
    /// The client's positions in its server-side channels.
    #[serde(borrow)]
    pub subs: Option<BTreeMap<Text<'a>, SubscribeRequest<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SubscribeRequest<'a> {
    #[serde(borrow)]
    pub channel: Text<'a>,
    #[serde(borrow)]
    pub token: Text<'a>,
    /// The client resubscribes, and has received everything up to `epoch` and `offset`.
    pub recover: Option<bool>,
    #[serde(borrow)]
    pub epoch: Text<'a>,
    #[serde(deserialize_with = "whole")]
    pub offset: Option<u64>,
    /// The client asks for joins and leaves.
    pub join_leave: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ChannelRequest<'a> {
    #[serde(borrow)]
    pub channel: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PublishRequest<'a> {
    #[serde(borrow)]
    pub channel: Text<'a>,
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SendRequest<'a> {
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RpcRequest<'a> {
    #[serde(borrow)]
    pub method: Text<'a>,
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct HistoryRequest<'a> {
    #[serde(borrow)]
    pub channel: Text<'a>,
    /// 0 requests only the position, -1 everything.
    #[serde(deserialize_with = "whole")]
    pub limit: Option<i64>,
    #[serde(borrow)]
    pub since: Option<StreamPosition<'a>>,
    pub reverse: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct StreamPosition<'a> {
    #[serde(deserialize_with = "whole")]
    pub offset: Option<u64>,
    #[serde(borrow)]
    pub epoch: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RefreshRequest<'a> {
    #[serde(borrow)]
    pub token: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SubRefreshRequest<'a> {
    #[serde(borrow)]
    pub channel: Text<'a>,
    #[serde(borrow)]
    pub token: Text<'a>,
}

/// A whole number in any spelling: some languages have only doubles, and write `7.0`. `null` is `None`.
fn whole<'de, D: Deserializer<'de>, T: TryFrom<i128>>(deserializer: D) -> Result<Option<T>, D::Error> {
    /// Up to this value, doubles represent every whole number (RFC 8259 section 6).
    const DOUBLE_MAX: f64 = 9_007_199_254_740_991.0;
    let Some(number) = Option::<Number>::deserialize(deserializer)? else { return Ok(None) };
    let double = || number.as_f64().filter(|double| double.fract() == 0.0 && double.abs() <= DOUBLE_MAX);
    let signed = number.as_i64().map(i128::from);
    let whole = signed.or(number.as_u64().map(i128::from)).or_else(|| double().map(|double| double as i128));
    let fitting = whole.and_then(|whole| T::try_from(whole).ok());
    fitting.map(Some).ok_or_else(|| D::Error::custom("no whole number of the right size"))
}

/// A text; `null` and a missing field are the empty text.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "Option<Borrowed<'a>>")]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
#[serde(transparent)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> From<Option<Borrowed<'a>>> for Text<'a> {
    fn from(text: Option<Borrowed<'a>>) -> Text<'a> {
        Text(text.map(|text| text.0).unwrap_or_default())
    }
}

impl Text<'_> {
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }
}

/// For look-ups by `&str`; the order is that of the text.
impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A line as it was written. If it has several requests, the first one in the order of these fields counts.
#[derive(Default, Deserialize)]
#[serde(default)]
struct CommandObject<'a> {
    #[serde(deserialize_with = "whole")]
    id: Option<u32>,
    #[serde(borrow)]
    connect: Option<ConnectRequest<'a>>,
    #[serde(borrow)]
    subscribe: Option<SubscribeRequest<'a>>,
    #[serde(borrow)]
    unsubscribe: Option<ChannelRequest<'a>>,
    #[serde(borrow)]
    publish: Option<PublishRequest<'a>>,
    #[serde(borrow)]
    presence: Option<ChannelRequest<'a>>,
    #[serde(borrow)]
    presence_stats: Option<ChannelRequest<'a>>,
    #[serde(borrow)]
    history: Option<HistoryRequest<'a>>,
    ping: Option<serde::de::IgnoredAny>,
    #[serde(borrow)]
    send: Option<SendRequest<'a>>,
    #[serde(borrow)]
    rpc: Option<RpcRequest<'a>>,
    #[serde(borrow)]
    refresh: Option<RefreshRequest<'a>>,
    #[serde(borrow)]
    sub_refresh: Option<SubRefreshRequest<'a>>,
}

impl<'a> CommandObject<'a> {
    fn request(self) -> Option<Request<'a>> {
        let first = self.connect.map(Request::Connect);
        first
            .or_else(|| self.subscribe.map(Request::Subscribe))
            .or_else(|| self.unsubscribe.map(Request::Unsubscribe))
            .or_else(|| self.publish.map(Request::Publish))
            .or_else(|| self.presence.map(Request::Presence))
            .or_else(|| self.presence_stats.map(Request::PresenceStats))
            .or_else(|| self.history.map(Request::History))
            .or_else(|| self.ping.map(|_| Request::Ping))
            .or_else(|| self.send.map(Request::Send))
            .or_else(|| self.rpc.map(Request::Rpc))
            .or_else(|| self.refresh.map(Request::Refresh))
            .or_else(|| self.sub_refresh.map(Request::SubRefresh))
    }
}

/// Bytes of the first line of a frame, with its end.
pub fn line_len(frame: &[u8]) -> usize {
    memchr::memchr(b'\n', frame).map_or(frame.len(), |end| end + 1)
}

/// Reads a line that is not blank. A line that no server could answer is a `BadCommand`: it is not JSON, or has no
/// known request, or no id for the reply.
pub fn read_command(line: &[u8]) -> Result<Command<'_>, CloseReason> {
    let line = line.trim_ascii();
    if line == b"{}" {
        return Ok(Command { id: 0, request: Request::Pong });
    }
    // serde also accepts lists for structures.
    if !line.starts_with(b"{") || !is_json(line) {
        return Err(CloseReason::BadCommand);
    }
    let mut line: CommandObject<'_> = serde_json::from_slice(line).map_err(|_| CloseReason::BadCommand)?;
    let id = line.id.take().unwrap_or(0);
    match line.request() {
        Some(request) if id != 0 || matches!(request, Request::Send(_)) => Ok(Command { id, request }),
        None if id == 0 => Ok(Command { id, request: Request::Pong }),
        _ => Err(CloseReason::BadCommand),
    }
}

/// The most commands that a frame can have.
pub fn count(frame: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', frame).count() + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lines of a frame that are not blank, split as a connection splits them.
    fn lines(mut frame: &[u8]) -> impl Iterator<Item = &[u8]> {
        std::iter::from_fn(move || {
            frame = frame.trim_ascii_start();
            let (line, rest) = frame.split_at(line_len(frame));
            frame = rest;
            (!line.is_empty()).then_some(line)
        })
    }

    fn all(frame: &[u8]) -> Vec<String> {
        lines(frame).map(|line| format!("{:?}", read_command(line))).collect()
    }

    fn one(line: &str) -> String {
        let said = all(line.as_bytes());
        assert_eq!(said.len(), 1, "{line}");
        said[0].clone()
    }

    #[test]
    fn reads_what_the_packages_write() {
        let frame = &br#"{"connect":{"token":"abc","name":"js","version":"5"},"id":1}
{"subscribe":{"channel":"room.1","recover":true,"offset":7,"epoch":"000000a1","join_leave":true,"flag":1},"id":2}
{"publish":{"channel":"room.1","data":{"a": [1.50]}},"id":3}
{"rpc":{"method":"book","data":"x"},"id":4}
{"send":{"data":[]}}
{"history":{"channel":"room.1","limit":10,"since":{"offset":3,"epoch":"e"},"reverse":false},"id":5}
{}
"#[..];
        let mut lines = lines(frame);
        let mut next = || read_command(lines.next().unwrap()).unwrap();
        let Request::Connect(connect) = next().request else { panic!("connect") };
        assert_eq!(&*connect.token, "abc");
        let Command { id: 2, request: Request::Subscribe(subscribe) } = next() else { panic!("subscribe") };
        assert_eq!((&*subscribe.channel, subscribe.recover), ("room.1", Some(true)));
        assert_eq!((subscribe.offset, &*subscribe.epoch, subscribe.join_leave), (Some(7), "000000a1", Some(true)));
        assert!(matches!(subscribe.channel.0, Cow::Borrowed(_)), "no copy of a name without escapes");
        let Request::Publish(publish) = next().request else { panic!("publish") };
        assert_eq!(publish.data.unwrap().get(), "{\"a\": [1.50]}");
        let Request::Rpc(rpc) = next().request else { panic!("rpc") };
        assert_eq!((&*rpc.method, rpc.data.unwrap().get()), ("book", "\"x\""));
        assert!(matches!(next(), Command { id: 0, request: Request::Send(SendRequest { data: Some(_) }) }));
        let Request::History(history) = next().request else { panic!("history") };
        assert_eq!((history.limit, history.since.unwrap().offset), (Some(10), Some(3)));
        assert!(matches!(next().request, Request::Pong));
        assert!(lines.next().is_none());
    }

    #[test]
    fn null_is_as_if_it_were_not_there() {
        assert_eq!(
            one(r#"{"id":1,"connect":null,"subscribe":{"channel":null,"token":null,"offset":null}}"#),
            one(r#"{"id":1,"subscribe":{}}"#)
        );
        assert!(one(r#"{"id":0}"#).contains("Pong"));
        assert!(one(" { } ").contains("Pong"));
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        let written = |id: &str, offset: &str, limit: &str| {
            let since = format!("{{\"offset\":{offset}}}");
            one(&format!("{{\"id\":{id},\"history\":{{\"limit\":{limit},\"since\":{since}}}}}"))
        };
        let plain = written("7", "0", "-1");
        assert!(plain.contains("id: 7") && plain.contains("limit: Some(-1)"), "{plain}");
        for (id, offset, limit) in [("7.0", "0.0", "-1.0"), ("0.7e1", "-0.0", "-1"), ("7", "-0", "-10e-1")] {
            assert_eq!(written(id, offset, limit), plain);
        }
        let large = written("4294967295", "18446744073709551615", "3000000000");
        assert!(large.contains("Some(18446744073709551615)") && large.contains("limit: Some(3000000000)"), "{large}");
        for (id, offset, limit) in [
            ("7.5", "0", "1"),
            ("7", "0.5", "1"),
            ("7", "-1", "1"),
            ("7", "1e300", "1"),
            ("7", "\"0\"", "1"),
            ("4294967296.0", "0", "1"),
        ] {
            assert_eq!(written(id, offset, limit), "Err(BadCommand)", "{id} {offset} {limit}");
        }
    }

    #[test]
    fn what_cannot_be_answered_is_a_bad_command() {
        for line in [
            "hello",
            "[]",
            "1",
            "{\"id\":1}",
            "{\"id\":1,\"dance\":{}}",
            "{\"connect\":{}}",
            "{\"id\":-1,\"ping\":{}}",
            "{\"id\":4294967296,\"ping\":{}}",
            "{\"id\":1,\"subscribe\":{\"channel\":7}}",
            "{\"id\":1,\"subscribe\":[}",
            "{\"id\":1,\"publish\":{\"channel\":\"a\",\"data\":",
            "{\"id\":1,\"id\":2,\"ping\":{}}",
            "\u{feff}{}",
        ] {
            assert_eq!(one(line), "Err(BadCommand)", "{line}");
        }
        assert_eq!(all(b"{}\nx\n{}"), [one("{}"), one("x"), one("{}")]);
        let deep = format!("{{\"id\":1,\"rpc\":{{\"data\":{}{}}}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(one(&deep), "Err(BadCommand)");
        assert_eq!(all(b"\xff"), ["Err(BadCommand)"]);
        assert_eq!(all(b"{\"id\":1,\"rpc\":{\"data\":\"\xff\"}}"), ["Err(BadCommand)"]);
    }

    proptest! {
        #[test]
        fn any_frame_is_read_to_its_end(frame in prop::collection::vec(prop::sample::select(
            b"{}\n\":,[]1idsubcrechanl nu\\\xff".to_vec()), 0..200)) {
            prop_assert!(all(&frame).len() <= count(&frame));
        }

        #[test]
        fn payloads_arrive_as_they_were(text in ".*", number in any::<i64>()) {
            let data = serde_json::json!({"text": text, "list": [number, null]});
            let line = serde_json::to_string(&serde_json::json!({"id": 1, "rpc": {"method": text, "data": data}})).unwrap();
            let Request::Rpc(rpc) = read_command(line.as_bytes()).unwrap().request else { panic!("rpc") };
            prop_assert_eq!(&*rpc.method, &*text);
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(rpc.data.unwrap().get()).unwrap(), data);
        }
    }
}
