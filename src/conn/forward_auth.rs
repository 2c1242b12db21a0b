//! Forward auth: a server, or a worker, decides which clients are let in, and names their users.
//!
//! ```text
//!  a request --GET path, the fields of `send`, X-Forwarded-..--> the server
//!      | '-----the same in JSON (`proto::authorize`)-----------> a worker: allow --> Proof, otherwise 401 or 403
//!      2xx            --> Proof: the user, the fields of `copy`
//!      401, 403, 3xx  --> RelayedAnswer: the client gets it
//!      anything else  --> nothing is known: 503, it fails closed
//! ```

use std::sync::Arc;
use std::time::Duration;

use super::outbox::Outbox;
use super::refused::Refused;
use crate::limits::RELAYED_BODY_BYTES_MAX;
use crate::proto::CloseReason;
use crate::proto::authorize::IdentityAnswer;
use crate::proto::http::{AnswerHead, Cors, Reply, ReplyTo};
use crate::proto::subject::Subject;
use crate::proto::token::Proof;
use crate::proto::upstream::UpstreamId;
use crate::proto::user::User;

/// The part of an `[[auth]]` that asks a server, or workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardAuth {
    pub by: ForwardBy,
    /// Fields of the client that it gets; no others pass.
    pub send: Vec<Box<str>>,
    /// Fields of its answer that the servers of proxied routes get, besides that of the user.
    pub copy: Vec<Box<str>>,
    /// The field of its answer that names the user.
    pub user: Box<str>,
    /// From the question to the end of the answer.
    pub timeout: Duration,
    /// How long a stream that it has let in may last, in seconds.
    pub ttl_s: u64,
}

/// Which of them is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardBy {
    Server {
        upstream: UpstreamId,
        /// Where it asks, with a query if there is one.
        path: Box<str>,
    },
    /// Workers: their subject.
    Workers(Subject),
}

/// A server's refusal, as the client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayedAnswer {
    status: u16,
    fields: Vec<(&'static str, Box<str>)>,
    body: Vec<u8>,
}

/// The server's answer to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardVerdict {
    Admitted(Arc<Proof>),
    Refused(Box<RelayedAnswer>),
    /// The answer says neither.
    Unclear,
}

/// Fields of a refusal that the client gets. `Content-Type` belongs to its body.
const RELAYED: [&str; 4] = ["WWW-Authenticate", "Location", "Set-Cookie", "Content-Type"];

impl ForwardAuth {
    /// The verdict of the answer with this head, at this second of Unix time.
    pub(super) fn judge(&self, head: &AnswerHead<'_>, unix_now: u64) -> ForwardVerdict {
        match head.status {
            200..=299 => self.proof(head, unix_now).map_or(ForwardVerdict::Unclear, ForwardVerdict::Admitted),
            401 | 403 | 301 | 302 | 303 | 307 | 308 => {
                let values = |name: &'static str| head.headers(name).map(move |value| (name, value.into()));
                let fields = RELAYED.into_iter().flat_map(values).collect();
                ForwardVerdict::Refused(Box::new(RelayedAnswer { status: head.status, fields, body: Vec::new() }))
            }
            _ => ForwardVerdict::Unclear,
        }
    }

    /// The verdict of a worker's answer, at this second of Unix time.
    pub fn judge_worker(&self, answer: &[u8], unix_now: u64) -> ForwardVerdict {
        match IdentityAnswer::read(answer) {
            None => ForwardVerdict::Unclear,
            Some(IdentityAnswer::Refused(status)) => {
                ForwardVerdict::Refused(Box::new(RelayedAnswer { status, fields: Vec::new(), body: Vec::new() }))
            }
            Some(IdentityAnswer::Admitted { user, ttl_s, fields }) => {
                let name = user.name();
                let value = |own: &str| match own.eq_ignore_ascii_case(&self.user) {
                    true => Some(&*name),
                    false => fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(own)).map(|(_, value)| &**value),
                };
                // A text that is no field's value would end the head of a request.
                let value = |own: &str| {
                    value(own).filter(|text| !text.chars().any(char::is_control)).map(|text| (own.into(), text.into()))
                };
                let told = self.told().filter_map(value).collect();
                let ttl_s = ttl_s.unwrap_or(self.ttl_s).min(self.ttl_s);
                let until_s = unix_now.saturating_add(ttl_s);
                let proof = Proof { issued_s: Some(unix_now), told, ..Proof::of(user.clone(), until_s) };
                ForwardVerdict::Admitted(Arc::new(proof))
            }
        }
    }

    /// Fields of its answer that servers of routes get, each once.
    pub(super) fn told(&self) -> impl Iterator<Item = &str> {
        let has_user = self.copy.iter().any(|name| name.eq_ignore_ascii_case(&self.user));
        self.copy.iter().chain((!has_user).then_some(&self.user)).map(|name| &**name)
    }

    /// `None`: the answer names no user, or two.
    fn proof(&self, head: &AnswerHead<'_>, unix_now: u64) -> Option<Arc<Proof>> {
        let user = User::new(head.single_header(&self.user).ok()??).ok()?;
        let value = |name: &str| {
            let values: Vec<&str> = head.headers(name).collect();
            (!values.is_empty()).then(|| (name.into(), values.join(",").into()))
        };
        Some(Arc::new(Proof {
            issued_s: Some(unix_now),
            told: self.told().filter_map(value).collect(),
            ..Proof::of(user, unix_now.saturating_add(self.ttl_s))
        }))
    }
}

impl ForwardVerdict {
    /// A piece of the answer's body. Only that of a refusal counts.
    pub(super) fn hear(&mut self, piece: &[u8]) {
        let ForwardVerdict::Refused(relayed) = self else { return };
        if relayed.body.len() + piece.len() > RELAYED_BODY_BYTES_MAX {
            *self = ForwardVerdict::Unclear;
        } else {
            relayed.body.extend_from_slice(piece);
        }
    }

    /// Bytes of memory for what is kept of it.
    pub(super) fn bytes(&self) -> usize {
        match self {
            ForwardVerdict::Refused(relayed) => relayed.body.capacity(),
            ForwardVerdict::Admitted(_) | ForwardVerdict::Unclear => 0,
        }
    }
}

impl RelayedAnswer {
    /// Writes the refusal. `is_stream`: the client wants a WebSocket or an event stream, and would take a redirect for a fault of
    /// the network.
    pub(super) fn write(&self, is_stream: bool, to: ReplyTo, cors: Option<Cors<'_>>, outbox: &mut Outbox) -> Refused {
        let is_redirect = matches!(self.status, 300..=399);
        outbox.write(|out| {
            if is_redirect && is_stream {
                let reply = Reply::start(out, 401, to).cors(cors).header("Cache-Control", "no-store");
                // RFC 9110 section 15.5.2: a 401 says how to be let in.
                reply.header("WWW-Authenticate", "Bearer").body(b"");
                return;
            }
            let mut reply = Reply::start(out, self.status, to);
            for (name, value) in &self.fields {
                reply = reply.header(name, value);
            }
            reply.cors(cors).header("Cache-Control", "no-store").body(&self.body);
        });
        Refused { reason: CloseReason::AuthRefused, remark: None, excess: None, is_last: !to.keep_alive }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::next_answer;

    fn auth() -> ForwardAuth {
        ForwardAuth {
            by: ForwardBy::Server { upstream: UpstreamId(0), path: "/verify".into() },
            send: vec!["Cookie".into()],
            copy: vec!["X-User".into(), "X-Groups".into()],
            user: "X-User".into(),
            timeout: Duration::from_secs(1),
            ttl_s: 900,
        }
    }

    fn judged(head: &str) -> ForwardVerdict {
        let mut bytes = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n").into_bytes();
        let mut input = &mut bytes[..];
        auth().judge(&next_answer(&mut input, false).unwrap().unwrap(), 1_000)
    }

    #[test]
    fn a_good_answer_names_the_user_and_what_servers_are_told() {
        let ForwardVerdict::Admitted(proof) =
            judged("204 No Content\r\nx-user: ann@example.org\r\nX-Groups: a\r\nX-Groups: b\r\nX-Other: c")
        else {
            panic!("it is let in")
        };
        assert_eq!((proof.user.token(), proof.until_s, proof.issued_s), ("ann@example%2Eorg", 1_900, Some(1_000)));
        let told: Vec<(&str, &str)> = proof.told.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(told, [("X-User", "ann@example.org"), ("X-Groups", "a,b")]);
        assert!(proof.channels.is_none());
    }

    #[test]
    fn a_worker_says_the_same_in_json() {
        let judged = |text: &str| auth().judge_worker(text.as_bytes(), 1_000);
        let text =
            r#"{"allow":true,"user":"a.b","ttl_s":60,"fields":{"x-groups":"a,b","X-Other":"c","X-User":"root"}}"#;
        let ForwardVerdict::Admitted(proof) = judged(text) else { panic!("it is let in") };
        let told: Vec<(&str, &str)> = proof.told.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(
            (proof.user.token(), proof.until_s, told),
            ("a%2Eb", 1_060, vec![("X-User", "a.b"), ("X-Groups", "a,b")])
        );
        for (text, until_s) in
            [(r#"{"allow":true,"user":"ann"}"#, 1_900), (r#"{"allow":true,"user":"ann","ttl_s":9999}"#, 1_900)]
        {
            let ForwardVerdict::Admitted(proof) = judged(text) else { panic!("it is let in") };
            assert_eq!(proof.until_s, until_s, "{text}");
        }
        let ForwardVerdict::Admitted(proof) =
            judged(r#"{"allow":true,"user":"ann","fields":{"X-Groups":"a\r\nX: y"}}"#)
        else {
            panic!("it is let in")
        };
        assert_eq!(proof.told.len(), 1, "no field is made of a text with a line end");
        for (text, status) in [(r#"{"allow":false}"#, 403), (r#"{"allow":false,"status":401}"#, 401)] {
            let ForwardVerdict::Refused(relayed) = judged(text) else { panic!("it is refused") };
            assert_eq!(relayed.status, status);
        }
        assert_eq!((judged("{}"), judged("no")), (ForwardVerdict::Unclear, ForwardVerdict::Unclear));
    }

    #[test]
    fn an_answer_that_is_neither_yes_nor_no_is_unclear() {
        for head in [
            "200 OK",
            "200 OK\r\nX-User: ",
            "200 OK\r\nX-User: a\r\nX-User: b",
            "304 Not Modified\r\nX-User: a",
            "300 Multiple Choices",
            "400 Bad",
            "404 Not Found",
            "429 Too Many",
            "500 No",
            "503 Away\r\nX-User: a",
            "600 What",
        ] {
            assert_eq!(judged(head), ForwardVerdict::Unclear, "{head}");
        }
    }

    #[test]
    fn a_refusal_is_relayed_with_few_fields_and_a_bounded_body() {
        let answer = "302 Found\r\nLocation: /login\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Secret: c\r\nContent-Type: text/plain";
        let mut verdict = judged(answer);
        verdict.hear(b"log ");
        verdict.hear(b"in");
        let ForwardVerdict::Refused(relayed) = &verdict else { panic!("it is refused") };
        let written = |is_stream| {
            let (mut outbox, to) = (Outbox::default(), ReplyTo { is_head: false, minor_version: 1, keep_alive: true });
            let refused = relayed.write(is_stream, to, None, &mut outbox);
            assert_eq!((refused.reason, refused.is_last), (CloseReason::AuthRefused, false));
            let bytes: Vec<u8> = outbox.take().unwrap().slices().flatten().copied().collect();
            String::from_utf8(bytes).unwrap()
        };
        let said = written(false);
        assert!(
            said.starts_with("HTTP/1.1 302 Found\r\nLocation: /login\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"),
            "{said}"
        );
        assert!(said.ends_with("\r\nContent-Length: 6\r\n\r\nlog in") && !said.contains("Secret"), "{said}");
        let said = written(true);
        assert!(
            said.starts_with("HTTP/1.1 401 ") && !said.contains("Location") && said.ends_with("\r\n\r\n"),
            "{said}"
        );
        verdict.hear(&[b'x'; RELAYED_BODY_BYTES_MAX]);
        assert_eq!((verdict.bytes(), &verdict), (0, &ForwardVerdict::Unclear), "too long to be kept");
    }
}
