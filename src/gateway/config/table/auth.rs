//! Keys of `[[auth]]` and `[access]`: what proves clients, and on which routes.

use super::super::form;
use super::{FILE, Fallback, Kind, Row};
use crate::limits;

pub(super) const ROWS: &[Row] = &[
    Row {
        path: "auth",
        kind: Kind::Tables,
        fallback: Fallback::Nothing(""),
        help: "Proof of a client's identity: the tokens that are taken, and the claims that are used, or a server that decides.",
        doc: "Routes name it (`route.auth`), or `access.auth` for all. Without a token that is valid, a request gets 401, whatever \
              the kind of its route; streams end to the second when their token does. See docs/login.md.",
    },
    Row {
        path: "auth[].name",
        kind: Kind::Text {
            expected: "a name of letters, digits, \"-\" and \"_\", not \"none\"",
            fits: form::is_auth_name,
        },
        fallback: Fallback::Required("\"app\""),
        help: "The name by which routes, metrics and the log know it.",
        doc: "",
    },
    Row {
        path: "auth[].jwt",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ hmac_secret = \"…\" }"),
        help: "Clients show a signed token (JWT, RFC 7519).",
        doc: "Exactly one of `keys`, `hmac_secret`, `hmac_secret_file`, `rsa_public_key`, `ecdsa_public_key` and \
              `ed25519_public_key` is set. The keys decide the algorithms, a token never does; `none` is not one. A token needs \
              `exp`, and has at most 8 KiB.",
    },
    Row {
        path: "auth[].jwt.issuer",
        kind: Kind::Text { expected: "a text such as \"https://id.example\"", fits: form::is_text },
        fallback: Fallback::Nothing("\"https://id.example\""),
        help: "The claim `iss` of a token must be exactly this.",
        doc: "",
    },
    Row {
        path: "auth[].jwt.audience",
        kind: Kind::Text { expected: "a text such as \"tidegate\"", fits: form::is_text },
        fallback: Fallback::Nothing("\"tidegate\""),
        help: "The claim `aud` of a token must be this, or a list with it.",
        doc: "Set it where the issuer signs tokens for other services too: their holders could use those here.",
    },
    Row {
        path: "auth[].jwt.keys",
        kind: Kind::Text { expected: "the path of a file with a key set (JWKS), or a URL", fits: form::is_file },
        fallback: Fallback::Nothing("\"jwks.json\""),
        help: "The file with the issuer's public keys, as a JSON Web Key Set (RFC 7517), or the URL where it publishes them.",
        doc: "A token names its key by `kid`. Keys that are not for signatures, or not of a known kind, are left out, and \
              `tidegate check` says so; shared secrets in it are never used. At most 128 keys in 256 KiB. A URL is `https`, or \
              `http` to this machine. It is fetched at the start, again when its `max-age` is over (within 5 minutes and a day), and \
              when a token names a key that is not known, once in 10 s at most; the request waits for that, 2 s at most. Redirects \
              are not followed. See docs/login.md.",
    },
    Row {
        path: "auth[].jwt.keys_ca",
        kind: FILE,
        fallback: Fallback::Nothing("\"ca.pem\""),
        help: "The file (PEM) with the authorities that the server of a key set is trusted by; without the key, the system's.",
        doc: "",
    },
    Row {
        path: "auth[].jwt.keys_stale_max_s",
        kind: Kind::Whole { min: 60, max: 30 * 24 * 3_600, unit: "seconds" },
        fallback: Fallback::Whole(limits::KEYS_STALE_MAX.as_secs()),
        help: "How old keys of a URL may be that are used while their server is away; after that, requests get 503.",
        doc: "",
    },
    Row {
        path: "auth[].jwt.hmac_secret",
        kind: Kind::Secret,
        fallback: Fallback::Nothing("\"…\""),
        help: "The secret of tokens signed with HS256, HS384 or HS512.",
        doc: "32 bytes or more (RFC 7518 section 3.2); `tidegate check` warns of a shorter one.",
    },
    Row {
        path: "auth[].jwt.hmac_secret_file",
        kind: FILE,
        fallback: Fallback::Nothing("\"token.secret\""),
        help: "A file with that secret, instead; white space around it does not count.",
        doc: "Other users must be able neither to read nor to change it.",
    },
    Row {
        path: "auth[].jwt.rsa_public_key",
        kind: FILE,
        fallback: Fallback::Nothing("\"token.pem\""),
        help: "The file (PEM) with the public key of tokens signed with RS256 to RS512 or PS256 to PS512.",
        doc: "One RSA key of 2048 to 8192 bits, or a certificate with one.",
    },
    Row {
        path: "auth[].jwt.ecdsa_public_key",
        kind: FILE,
        fallback: Fallback::Nothing("\"token.pem\""),
        help: "The file (PEM) with the public key of tokens signed with ES256, ES384 or ES512.",
        doc: "One key on the curve P-256, P-384 or P-521, which decides the algorithm, or a certificate with one.",
    },
    Row {
        path: "auth[].jwt.ed25519_public_key",
        kind: FILE,
        fallback: Fallback::Nothing("\"token.pem\""),
        help: "The file (PEM) with the public key of tokens signed with EdDSA.",
        doc: "",
    },
    Row {
        path: "auth[].jwt.algorithms",
        kind: Kind::Texts {
            expected: "an algorithm such as \"ES256\": HS, RS, PS or ES with 256, 384 or 512, or EdDSA",
            fits: form::is_algorithm,
        },
        fallback: Fallback::Nothing("[\"ES256\", \"RS256\"]"),
        help: "The algorithms that are allowed; without the key, all that the keys are for.",
        doc: "",
    },
    Row {
        path: "auth[].jwt.leeway_s",
        kind: Kind::Whole { min: 0, max: 600, unit: "seconds" },
        fallback: Fallback::Whole(limits::TOKEN_LEEWAY_S as u64),
        help: "How far the issuer's clock may be from this one: a token is taken so much before `nbf` and after `exp`.",
        doc: "",
    },
    Row {
        path: "auth[].token",
        kind: Kind::Texts {
            expected: "\"header\", \"cookie:NAME\", \"subprotocol\" or \"query:NAME\"",
            fits: form::is_carrier,
        },
        fallback: Fallback::Text("header"),
        help: "Where a request carries its token.",
        doc: "One, or a list, in the order in which the token is looked for. `header`: `Authorization: Bearer TOKEN`. `cookie:NAME`: \
              what a browser sends by itself. `subprotocol`: a page can set nothing else on a WebSocket; it offers \
              `[\"tidegate\", \"bearer.TOKEN\"]`, or the token in base64url behind `base64url.bearer.authorization.k8s.io.`. The \
              gateway answers with another offer than the token, so a page must offer one. `query:NAME` ends up in the logs \
              of others (RFC 9700 section 4.3.2). Neither workers nor servers get the parameter or the subprotocol. Two different tokens \
              in one request get 400.",
    },
    Row {
        path: "auth[].user",
        kind: Kind::Text { expected: "the name of a claim", fits: form::is_text },
        fallback: Fallback::Text("sub"),
        help: "The claim that names the user; workers then reach it as `tg.user.<user>`.",
        doc: "A text, or a whole number. In subjects, `.`, `*`, `>`, `%` and white space of the name are percent-encoded, so each \
              name has a subject of its own.",
    },
    Row {
        path: "auth[].channels",
        kind: Kind::Text { expected: "the name of a claim", fits: form::is_text },
        fallback: Fallback::Nothing("\"channels\""),
        help: "The claim that lists the channels that a client may hear, as patterns such as `room.*`.",
        doc: "A channel that the client chooses must match one of them: by the path of an event stream or a WebSocket, otherwise it \
              gets 403, or by the command `subscribe` of `centrifuge-json`, which then need not name `channels`; if it does, both \
              must allow the channel. A token without the claim allows none. Channels that the configuration names in full need no permission. \
              Without this key, a token says nothing about channels.",
    },
    Row {
        path: "auth[].publish",
        kind: Kind::Text { expected: "the name of a claim", fits: form::is_text },
        fallback: Fallback::Nothing("\"publish\""),
        help: "The claim that lists the channels that a client may publish to, in the same way.",
        doc: "For routes that let clients publish: a WebSocket whose path chooses another channel can only listen, and a `publish` of \
              `centrifuge-json` is answered with error 103. With `websocket.publish`, both must allow the channel. See docs/permissions.md.",
    },
    Row {
        path: "auth[].require",
        kind: Kind::Map {
            expected: "a table of claims and their values, such as { scope = \"push\" }",
            fits: form::is_claim,
        },
        fallback: Fallback::Nothing("{ scope = \"push\" }"),
        help: "Claims that a token must have: as a text, as a word of a text, or in a list; otherwise 403.",
        doc: "",
    },
    Row {
        path: "auth[].headers",
        kind: Kind::Map {
            expected: "a table of header fields and claims, such as { \"X-User\" = \"sub\" }, none that the gateway sets itself",
            fits: form::is_told,
        },
        fallback: Fallback::Nothing("{ \"X-User\" = \"sub\", \"X-Roles\" = \"roles\" }"),
        help: "Header fields by which servers of `proxy` are told claims.",
        doc: "A list becomes one text with commas. No value that a client sends under one of these names ever passes, on any route, \
              with or without this auth.",
    },
    Row {
        path: "auth[].forward",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ upstream = \"auth\", user = \"X-User\" }"),
        help: "Instead of `jwt`: a server, or a worker, decides about each request.",
        doc: "It gets a GET with the fields of `send` and `X-Forwarded-For`, `-Proto`, `-Host`, `-Method` and `-Uri`. 2xx lets the \
              request in, 401, 403 and redirects are passed on to the client (401 for a redirect where a WebSocket or an event stream is \
              wanted), and anything else is a 503: without an answer, no request is let in. See docs/login.md.",
    },
    Row {
        path: "auth[].forward.upstream",
        kind: Kind::Text {
            expected: "the name of an [[upstream]], or a URL such as \"http://127.0.0.1:3000\" or \"unix:/run/app.sock\"",
            fits: form::is_text,
        },
        fallback: Fallback::Nothing("\"auth\""),
        help: "The servers that decide: an `[[upstream]]`, or the URL of one server.",
        doc: "",
    },
    Row {
        path: "auth[].forward.service",
        kind: Kind::Text { expected: "the name of a service, one token", fits: form::is_service },
        fallback: Fallback::Nothing("\"login\""),
        help: "Instead of servers, the workers that decide: those that subscribe to `tg.authorize.` and this name.",
        doc: "They get the same in JSON, and answer in JSON. See docs/login.md.",
    },
    Row {
        path: "auth[].forward.path",
        kind: Kind::Text {
            expected: "a path that begins with \"/\", with a query if there is one",
            fits: form::is_request_path,
        },
        fallback: Fallback::Text("/"),
        help: "The path at which they are asked.",
        doc: "",
    },
    Row {
        path: "auth[].forward.send",
        kind: Kind::Texts {
            expected: "a header field such as \"Cookie\", none of the connection and none that the gateway sets itself",
            fits: form::is_sent,
        },
        fallback: Fallback::Nothing("[\"Cookie\", \"Authorization\"]"),
        help: "The header fields of a request that they get; others never pass. Without the key, `Cookie` and `Authorization`.",
        doc: "Of a list of auths, this one decides if a request has one of the fields, or if no other auth follows.",
    },
    Row {
        path: "auth[].forward.copy",
        kind: Kind::Texts {
            expected: "a header field such as \"X-Groups\", none that the gateway sets itself",
            fits: form::is_copied,
        },
        fallback: Fallback::Nothing("[\"X-User\", \"X-Groups\"]"),
        help: "Header fields of the answer that servers of `proxy` get.",
        doc: "No value that a client sends under one of these names, or under that of `user`, ever passes.",
    },
    Row {
        path: "auth[].forward.user",
        kind: Kind::Text {
            expected: "a header field such as \"X-User\", none that the gateway sets itself",
            fits: form::is_copied,
        },
        fallback: Fallback::Required("\"X-User\""),
        help: "The header field of the answer that names the user. An answer without it lets nobody in.",
        doc: "",
    },
    Row {
        path: "auth[].forward.timeout_ms",
        kind: Kind::Whole { min: 10, max: 5_000, unit: "milliseconds" },
        fallback: Fallback::Whole(limits::FORWARD_TIMEOUT.as_millis() as u64),
        help: "How long a request waits for the whole answer, a free server included.",
        doc: "",
    },
    Row {
        path: "auth[].forward.ttl_s",
        kind: Kind::Whole { min: 1, max: 30 * 24 * 3_600, unit: "seconds" },
        fallback: Fallback::Whole(limits::FORWARD_TTL.as_secs()),
        help: "How long a stream lasts that was let in; then its client comes again, and the servers are asked again.",
        doc: "",
    },
    Row {
        path: "auth[].certificate",
        kind: Kind::Table,
        fallback: Fallback::Nothing("{ user = \"san_uri\" }"),
        help: "Instead of `jwt`: the certificate that a client has shown names its user.",
        doc: "On listeners with `clients`. A client without a certificate gets 401, one whose certificate lacks the name 403. A stream ends \
              with the certificate.",
    },
    Row {
        path: "auth[].certificate.user",
        kind: Kind::Choice(&["san_uri", "san_dns", "san_email", "subject_cn"]),
        fallback: Fallback::Text("san_uri"),
        help: "The name in the certificate that is the user.",
        doc: "The first URI, DNS name or e-mail address of its subjectAltName, or the common name of its subject. `subject_cn` is for authorities that write no other name: it has no form of its own, so nothing but the authority \
              keeps a user's certificate from the name of a service. A certificate with two common names has none.",
    },
    Row {
        path: "auth[].certificate.header",
        kind: Kind::Text {
            expected: "a header field such as \"X-User\", none that the gateway sets itself",
            fits: form::is_copied,
        },
        fallback: Fallback::Nothing("\"X-User\""),
        help: "The header field by which servers of `proxy` are told the user.",
        doc: "No value that a client sends under this name ever passes.",
    },
    Row {
        path: "access",
        kind: Kind::Table,
        fallback: Fallback::Nothing(""),
        help: "What holds for every route that does not say otherwise.",
        doc: "",
    },
    Row {
        path: "access.auth",
        kind: AUTH_NAMES,
        fallback: Fallback::Nothing("\"app\""),
        help: "The auth of every route without `auth` of its own.",
        doc: "So no route is forgotten: one that is open to everybody says `auth = \"none\"`.",
    },
];

pub(super) const AUTH_NAMES: Kind =
    Kind::Texts { expected: "the name of an [[auth]], or \"none\"", fits: form::is_auth_choice };

/// Of `[[route]]`.
pub(super) const OF_ROUTES: &[Row] = &[Row {
    path: "route[].auth",
    kind: AUTH_NAMES,
    fallback: Fallback::Nothing("\"app\""),
    help: "What proves the clients of the route: an `[[auth]]`, several, or \"none\".",
    doc: "Of a list, the first for which a request has a token decides. Without the key, `access.auth` holds, if it is set. The token \
          names the user. A preflight that the gateway answers needs no token; a proxied route without `origins` wants one for \
          every request.",
}];
