//! The reasons for which a connection ends or a request is refused. Each is one row, from which the WebSocket code, the
//! HTTP status, the counter and the log line follow.

use log::Level;

/// The party at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// No fault: the ordinary end.
    None,
    Peer,
    Network,
    Gateway,
}

/// One row of the table.
pub struct CloseRow {
    pub reason: CloseReason,
    /// The counter's label and the word in logs; stable.
    pub name: &'static str,
    pub blame: Blame,
    /// RFC 6455 section 7.4.1.
    pub websocket_code: u16,
    /// RFC 9110 section 15; 0 where no answer can be given.
    pub http_status: u16,
    pub level: Level,
    /// For people, in answers and close frames; at most 123 bytes (RFC 6455 section 5.5).
    pub words: &'static str,
}

macro_rules! reasons {
    ($($reason:ident $name:literal $blame:ident $code:literal $status:literal $level:ident $words:literal;)*) => {
        /// The reason why a connection ends or a request is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum CloseReason { $($reason),* }

        /// In the order of the enum.
        pub const TABLE: &[CloseRow] = &[$(CloseRow {
            reason: CloseReason::$reason,
            name: $name,
            blame: Blame::$blame,
            websocket_code: $code,
            http_status: $status,
            level: Level::$level,
            words: $words,
        }),*];
    };
}

reasons! {
    // reason             counter                  blame    ws    http  log    words
    Normal                "normal"                 None     1000  200   Debug  "done";
    PeerClosed            "peer_closed"            None     1000  0     Debug  "the peer closed the connection";
    PeerReset             "peer_reset"             Network  1006  0     Debug  "the connection broke";
    WriteFailed           "write_failed"           Network  1006  0     Debug  "the connection broke while sending";

    PeerVanished          "peer_vanished"          Network  1006  0     Debug  "the peer has vanished without a word";

    MalformedRequest      "malformed_request"      Peer     1002  400   Debug  "malformed request";
    BadFraming            "bad_framing"            Peer     1002  400   Debug  "ambiguous or malformed message framing";
    BodyTooLarge          "body_too_large"         Peer     1009  413   Debug  "the body is larger than this server takes";
    TargetTooLong         "target_too_long"        Peer     1002  414   Debug  "the request target is longer than this server takes";
    HeadTooLarge          "head_too_large"         Peer     1002  431   Debug  "the request head is larger than this server takes";
    ExpectationFailed     "expectation_failed"     Peer     1002  417   Debug  "only 100-continue can be expected";
    UnsupportedVersion    "unsupported_version"    Peer     1002  505   Debug  "only HTTP/1.0 and HTTP/1.1 are spoken here";
    TooSlow               "too_slow"               Peer     1002  408   Debug  "the request did not arrive in time";
    KeepAliveOver         "keep_alive_over"        None     1000  0     Debug  "no further request came";

    NotFound              "not_found"              Peer     1008  404   Debug  "no route matches this path";
    MethodNotAllowed      "method_not_allowed"     Peer     1008  405   Debug  "this route does not take this method";
    Unnameable            "unnameable"             Peer     1008  400   Debug  "a part of this path can name no channel: it is too long, reserved, or has control characters";
    OriginRefused         "origin_refused"         Peer     1008  403   Debug  "this origin is not allowed here";
    HostRefused           "host_refused"           Peer     1008  403   Debug  "ask for an IP address, for localhost, or for one of admin.hosts";
    Misdirected           "misdirected"            Peer     1008  421   Debug  "this listener does not answer for this host";
    NoCredentials         "no_credentials"         Peer     1008  401   Debug  "the request does not name its user where this route expects it";
    NoToken               "no_token"               Peer     1008  401   Debug  "this route wants a token";
    AmbiguousToken        "ambiguous_token"        Peer     1008  400   Debug  "the request has more than one token, or one that cannot be read";
    InsufficientScope     "insufficient_scope"     Peer     1008  403   Debug  "the token does not allow this";
    AuthUnavailable       "auth_unavailable"       Gateway  1013  503   Warn   "the proof of a client cannot be checked now; try again later";
    AuthRefused           "auth_refused"           Peer     1008  403   Debug  "the server that decides about clients has refused this one";
    AuthBusy              "auth_busy"              Gateway  1013  503   Warn   "too many requests wait for the check of their proof; try again later";
    Undecided             "undecided"              Gateway  1013  503   Warn   "the application has not decided whether this client may do that; try again later";
    NotPermitted          "not_permitted"          Peer     1008  403   Debug  "this client may not do that with this channel";
    BadUser               "bad_user"               Peer     1008  400   Debug  "the name of the user is empty, too long, or has control characters";
    TooManyConnections    "too_many_connections"   Gateway  1013  503   Warn   "too many connections; try again later";
    NotUpgradable         "not_upgradable"         Peer     1002  400   Debug  "this is not a valid WebSocket upgrade";
    UpgradeRequired       "upgrade_required"       Peer     1002  426   Debug  "this route is a WebSocket: ask with Upgrade: websocket and Sec-WebSocket-Version: 13";
    BadPublish            "bad_publish"            Peer     1008  400   Debug  "this message cannot be published";

    BadRevocation         "bad_revocation"         Peer     1008  400   Debug  "expected one of the texts user, jti and sid in JSON, and issued_before and until in seconds, if any";
    RevocationsFull       "revocations_full"       Gateway  1013  503   Warn   "too many revocations are known; try again later";
    UnknownRequest        "unknown_request"        Peer     1008  404   Debug  "no request has this id, or its result is not kept any more";
    KeyReused             "key_reused"             Peer     1008  422   Debug  "this Idempotency-Key came with another request";
    RequestsFull          "requests_full"          Gateway  1013  503   Warn   "too many requests wait for their results; try again later";
    RequestsShare         "requests_share"         Peer     1013  429   Info   "too many of your requests wait for their results; try again later";

    NoUpstream            "no_upstream"            Gateway  1013  503   Warn   "no server of this service can be reached; try again later";

    ConnectionLimit       "connection_limit"       Peer     1013  429   Debug  "as many connections are open as one client may have; try again later";
    HandshakeLimit        "handshake_limit"        Peer     1013  429   Debug  "too many connections came at once; try again later";
    RequestLimit          "request_limit"          Peer     1013  429   Debug  "too many requests; try again later";
    MessageLimit          "message_limit"          Peer     1008  0     Debug  "messages came faster than they may";

    WebSocketProtocol     "websocket_protocol"     Peer     1002  0     Debug  "protocol error";
    WebSocketUtf8         "websocket_utf8"         Peer     1007  0     Debug  "text that is not UTF-8";
    MessageTooBig         "message_too_big"        Peer     1009  0     Debug  "the message is larger than this server takes";
    MessageTooSlow        "message_too_slow"       Peer     1008  0     Debug  "a message began and did not end in time";
    PolicyViolation       "policy_violation"       Peer     1008  0     Debug  "this connection may not send here";
    NoPong                "no_pong"                Network  1001  0     Debug  "no sign of life";
    CloseTimeout          "close_timeout"          Peer     1006  0     Debug  "the closing handshake was not finished in time";
    SlowConsumer          "slow_consumer"          Peer     1013  503   Debug  "too slow for what it subscribed to; come back and resume";
    NoWorker              "no_worker"              Gateway  1013  503   Warn   "no worker serves this now; try again later";
    ClosedByWorker        "closed_by_worker"       None     1000  0     Debug  "closed by the application";
    SentBack              "sent_back"              Gateway  1001  0     Debug  "the application asks this client to connect again";
    Kicked                "kicked"                 Peer     3003  0     Debug  "the application does not let this client in any more";

    BadCommand            "bad_command"            Peer     1002  0     Debug  "not a command of the client protocol, or not its time";
    NotConnected          "not_connected"          Peer     1008  0     Debug  "no connect command in time";
    InvalidToken          "invalid_token"          Peer     1008  401   Debug  "the token is not taken";
    TokensRefused         "tokens_refused"         Peer     1008  0     Info   "too many tokens of this connection were refused";
    OtherUser             "other_user"             Peer     3003  0     Debug  "the token is another user's";
    TokenRevoked          "token_revoked"          Peer     3003  0     Debug  "the token is revoked";
    TokenExpired          "token_expired"          Peer     3000  0     Debug  "the token has expired and was not refreshed";
    TooManyChannels       "too_many_channels"      Peer     1008  0     Debug  "the token names more channels than a connection may have";

    ProxyHeader           "proxy_header"           Peer     1002  0     Warn   "no valid PROXY header came first, or not in time";
    TlsProtocol           "tls_protocol"           Peer     1002  0     Debug  "TLS failed";
    TlsForged             "tls_forged"             Peer     1002  0     Debug  "a TLS record is not authentic";
    TlsIncompatible       "tls_incompatible"       Peer     1002  0     Debug  "no version, algorithm or protocol of TLS in common";
    TlsUnknownName        "tls_unknown_name"       Peer     1002  0     Debug  "no certificate for the name that the client asks for";
    TlsAlert              "tls_alert"              Peer     1002  0     Debug  "the peer ended TLS with an alert";
    TlsFlood              "tls_flood"              Peer     1002  0     Debug  "too many TLS records without data";
    TlsKeysUsedUp         "tls_keys_used_up"       None     1001  0     Debug  "the keys of this TLS 1.2 connection are used up";
    TlsInternal           "tls_internal"           Gateway  1011  0     Warn   "TLS failed in the gateway";
    TlsTooSlow            "tls_too_slow"           Peer     1002  0     Debug  "the TLS handshake did not finish in time";
    HandshakeRefused      "handshake_refused"      Gateway  1013  0     Debug  "too many TLS handshakes wait; try again later";
    TlsTruncated          "tls_truncated"          Network  1006  0     Debug  "the connection ended without close_notify";

    BusProtocol           "bus_protocol"           Peer     1002  0     Warn   "the bus connection broke its protocol";
    BusAuthorization      "bus_authorization"      Peer     1008  0     Warn   "the bus connection was not authorized";
    BusTooSlow            "bus_too_slow"           Peer     1008  0     Warn   "the bus connection did not authenticate in time";
    BusStale              "bus_stale"              Network  1001  0     Warn   "the bus connection gave no sign of life";

    UpstreamRefused       "upstream_refused"       Gateway  1013  502   Warn   "the server behind this gateway cannot be reached; try again later";
    UpstreamConnectTimeout "upstream_connect_timeout" Gateway 1013 504  Warn   "the server behind this gateway could not be reached in time; try again later";
    UpstreamBusy          "upstream_busy"          Gateway  1013  503   Warn   "the servers behind this gateway are busy; try again later";
    UpstreamClosed        "upstream_closed"        Gateway  1013  502   Warn   "the server behind this gateway closed the connection without an answer";
    UpstreamTimeout       "upstream_timeout"       Gateway  1013  504   Warn   "the server behind this gateway did not answer in time";
    UpstreamGarbage       "upstream_garbage"       Gateway  1013  502   Warn   "the server behind this gateway answered with something else than HTTP";
    UpstreamBroke         "upstream_broke"         Gateway  1013  0     Warn   "the server behind this gateway broke off its answer";
    TunnelIdle            "tunnel_idle"            None     1001  0     Debug  "neither end has said anything for too long";
    LoopDetected          "loop_detected"          Gateway  1008  508   Warn   "the request has come through this gateway before";

    Drain                 "drain"                  Gateway  1001  503   Debug  "this server is going away; come back";
    ArrivingFull          "arriving_full"          Gateway 1013  503   Warn   "too much has arrived of what is not complete; try again later";
    WaitingFull           "waiting_full"           Gateway 1013  503   Warn   "too much waits for clients that do not keep up; come back and resume";
    Overload              "overload"               Gateway  1013  503   Warn   "overloaded; try again later";
}

impl CloseReason {
    pub fn row(self) -> &'static CloseRow {
        &TABLE[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether the peer has left, with a word or without.
    pub fn is_departure(self) -> bool {
        use CloseReason::*;
        matches!(self, PeerClosed | PeerReset | PeerVanished | WriteFailed)
    }
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.row().words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_stands_at_its_reason_and_fits_a_close_frame() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.reason as usize, index);
            assert!(row.words.len() <= 123, "{}", row.name);
            assert!(TABLE.iter().filter(|other| other.name == row.name).count() == 1);
        }
    }
}
