//! The replies to commands.

use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::value::RawValue;

use super::code::Code;
use super::json::Data;
use super::push::ClientInfo;
use crate::proto::presence::Roster;
use crate::proto::user::User;

/// The body of a reply, under its command's name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyBody<'a> {
    Error(ReplyError<'a>),
    Connect(ConnectResult<'a>),
    Subscribe(SubscribeResult<'a>),
    Unsubscribe(Nothing),
    Publish(Nothing),
    Ping(Nothing),
    History(HistoryResult<'a>),
    Presence(PresenceResult<'a>),
    PresenceStats(PresenceStats),
    Rpc(RpcResult<'a>),
    Refresh(RefreshResult<'a>),
    SubRefresh(Expiry),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ReplyError<'a> {
    pub code: u32,
    pub message: &'a str,
    #[serde(rename = "temporary", skip_serializing_if = "is_false")]
    pub is_temporary: bool,
}

/// `{}`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Nothing {}

#[derive(Debug, Serialize)]
pub struct ConnectResult<'a> {
    /// The connection's id.
    pub client: &'a str,
    pub version: &'a str,
    #[serde(flatten)]
    pub expiry: Expiry,
    /// The server-side subscriptions.
    #[serde(skip_serializing_if = "ServerSubscriptions::is_empty")]
    pub subs: ServerSubscriptions<'a>,
    /// Seconds between our pings.
    pub ping: u64,
    /// The client must answer pings.
    pub pong: bool,
}

/// A map from channel to result.
#[derive(Debug, Default)]
pub struct ServerSubscriptions<'a>(pub Vec<(&'a str, SubscribeResult<'a>)>);

impl ServerSubscriptions<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for ServerSubscriptions<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(channel, result)| (channel, result)))
    }
}

/// Whether a token limits the lifetime, and the remaining seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Expiry {
    #[serde(skip_serializing_if = "is_false")]
    pub expires: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub ttl: u64,
}

impl Expiry {
    pub fn after(ttl: Option<u64>) -> Expiry {
        Expiry { expires: ttl.is_some(), ttl: ttl.unwrap_or(0) }
    }
}

#[derive(Debug, Default, Serialize)]
pub struct SubscribeResult<'a> {
    #[serde(flatten)]
    pub expiry: Expiry,
    #[serde(skip_serializing_if = "is_false")]
    pub recoverable: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub positioned: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub epoch: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    pub offset: u64,
    #[serde(skip_serializing_if = "is_false")]
    pub was_recovering: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub recovered: bool,
    /// For the application's use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub publications: &'a [Publication<'a>],
}

#[derive(Clone, Debug, Serialize)]
pub struct Publication<'a> {
    pub data: Data<'a>,
    #[serde(skip_serializing_if = "is_zero")]
    pub offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<ClientInfo<'a>>,
}

#[derive(Debug, Serialize)]
pub struct HistoryResult<'a> {
    pub publications: &'a [Publication<'a>],
    pub epoch: &'a str,
    pub offset: u64,
}

#[derive(Debug, Serialize)]
pub struct PresenceResult<'a> {
    #[serde(serialize_with = "by_client")]
    pub presence: &'a Roster,
}

#[derive(Debug, Serialize)]
pub struct PresenceStats {
    pub num_clients: usize,
    pub num_users: usize,
}

fn by_client<S: serde::Serializer>(roster: &&Roster, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(roster.listed.len() + roster.away.len()))?;
    for present in roster.known() {
        let client = present.conn.to_string();
        let user = present.user.as_ref().map(User::name).unwrap_or_default();
        map.serialize_entry(&client, &ClientInfo { user, client: &client, conn_info: present.info() })?;
    }
    map.end()
}

#[derive(Debug, Serialize)]
pub struct RpcResult<'a> {
    pub data: Data<'a>,
}

#[derive(Debug, Serialize)]
pub struct RefreshResult<'a> {
    pub client: &'a str,
    pub version: &'a str,
    #[serde(flatten)]
    pub expiry: Expiry,
}

impl From<Code> for ReplyBody<'_> {
    fn from(code: Code) -> Self {
        ReplyBody::Error(ReplyError { code: code.number, message: code.words, is_temporary: code.is_temporary })
    }
}

/// Appends `{"id":…,…}`.
pub fn write_reply(out: &mut Vec<u8>, id: u32, answer: &ReplyBody<'_>) {
    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
    let brace = out.len();
    // Writing to a vector cannot fail, and every text and payload here is valid JSON.
    let _ = serde_json::to_writer(&mut *out, answer);
    out[brace] = b',';
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(answer: ReplyBody<'_>) -> String {
        let mut out = Vec::new();
        write_reply(&mut out, 7, &answer);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_reply_has_the_id_and_the_body_of_its_command() {
        assert_eq!(written(ReplyBody::Publish(Nothing {})), r#"{"id":7,"publish":{}}"#);
        assert_eq!(
            written(Code::PERMISSION_DENIED.into()),
            r#"{"id":7,"error":{"code":103,"message":"permission denied"}}"#
        );
        assert_eq!(
            written(Code::INTERNAL.into()),
            r#"{"id":7,"error":{"code":100,"message":"internal server error","temporary":true}}"#
        );
        assert_eq!(written(ReplyBody::Rpc(RpcResult { data: Data(b"[1]") })), r#"{"id":7,"rpc":{"data":[1]}}"#);
        assert_eq!(
            written(ReplyBody::SubRefresh(Expiry::after(Some(60)))),
            r#"{"id":7,"sub_refresh":{"expires":true,"ttl":60}}"#
        );
    }

    #[test]
    fn connecting_tells_the_rhythm_of_pings_and_what_was_subscribed() {
        let publications = [Publication { data: Data(b"hi"), offset: 3, info: None }];
        let news = SubscribeResult {
            recoverable: true,
            epoch: "000000a1",
            offset: 3,
            was_recovering: true,
            recovered: true,
            publications: &publications,
            ..SubscribeResult::default()
        };
        let connected = ConnectResult {
            client: "0001",
            version: "Tidegate",
            expiry: Expiry::after(None),
            subs: ServerSubscriptions(vec![("news", news), ("weather", SubscribeResult::default())]),
            ping: 25,
            pong: true,
        };
        assert_eq!(
            written(ReplyBody::Connect(connected)),
            "{\"id\":7,\"connect\":{\"client\":\"0001\",\"version\":\"Tidegate\",\"subs\":{\"news\":{\"recoverable\":true,\
             \"epoch\":\"000000a1\",\"offset\":3,\"was_recovering\":true,\"recovered\":true,\"publications\":[{\"data\":\"hi\",\
             \"offset\":3}]},\"weather\":{}},\"ping\":25,\"pong\":true}}"
        );
    }
}
