//! What the worker that sends a message to clients wants to hear of them.

use super::{Command, Destination};
use crate::proto::event::Message;
use crate::proto::reserved::headers::ACK_HEADER;
use crate::proto::reserved::subjects::Family;
use crate::proto::subject::Subject;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expects {
    Nothing,
    /// One client's answer, on the reply subject.
    Answer,
    /// That a client has it: an outcome on the reply subject, if there is one.
    Acknowledgement,
    /// The outcome of a command, which the gateway says on the reply subject.
    Outcome,
}

impl Expects {
    /// Only messages to connections and users are answered or acknowledged by clients; elsewhere the header means nothing. A reply subject
    /// on which the gateway alone speaks asks nothing: a client must not be able to publish there, and that no client is there is no
    /// result of a request.
    pub(crate) fn of(message: &Message) -> Expects {
        // Asked of every message, and most have neither.
        if message.headers.is_none() && message.reply.is_none() {
            return Expects::Nothing;
        }
        let is_for_clients = matches!(Family::of(message.subject.as_str()), Some((Family::Conn | Family::User, _)));
        if !is_for_clients {
            return Expects::Nothing;
        }
        match Command::of(&message.subject) {
            Ok(None) => {}
            Ok(Some(_)) if requester(message).is_some() => return Expects::Outcome,
            _ => return Expects::Nothing,
        }
        if message.header(ACK_HEADER).is_some() {
            return Expects::Acknowledgement;
        }
        match &message.reply {
            Some(reply) if !matches!(Destination::of(reply), Destination::Event | Destination::Request(_)) => {
                Expects::Answer
            }
            _ => Expects::Nothing,
        }
    }
}

/// The reply subject on which the gateway says what became of a message, if workers may publish there: a message must not have the
/// gateway say what it alone may say.
pub(crate) fn requester(message: &Message) -> Option<&Subject> {
    let reply = message.reply.as_ref().filter(|reply| Subject::check(reply.as_str()).is_ok());
    reply.filter(|reply| !matches!(Destination::of(reply), Destination::Event | Destination::Request(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_question_is_told_from_what_is() {
        for (subject, reply, is) in [
            ("tg.user.ann", Some("_INBOX.1"), true),
            ("tg.user.ann", None, false),
            ("tg.user.ann.close", Some("_INBOX.1"), false),
            ("tg.conn.0000000000000001", Some("tg.service.x"), true),
            ("tg.conn.0000000000000001", Some("tg.event.drain"), false),
            ("tg.service.x", Some("_INBOX.1"), false),
            ("room.1", Some("_INBOX.1"), false),
        ] {
            let [subject, reply] = [Some(subject), reply].map(|name| name.map(|name| Subject::new(name).unwrap()));
            let message = Message { subject: subject.unwrap(), reply, headers: None, payload: Box::default() };
            assert_eq!(Expects::of(&message) == Expects::Answer, is, "{message:?}");
        }
    }

    #[test]
    fn what_is_to_be_acknowledged_is_told_from_what_is_not() {
        for (subject, header, is) in [
            ("tg.user.ann", "Tg-Ack: 5", true),
            ("tg.conn.0000000000000001", "tg-ack: nonsense", true),
            ("tg.user.ann", "Tg-Other: 5", false),
            ("tg.user.ann.close", "Tg-Ack: 5", false),
            ("tg.service.x", "Tg-Ack: 5", false),
            ("room.1", "Tg-Ack: 5", false),
        ] {
            let headers = format!("NATS/1.0\r\n{header}\r\n\r\n").into_bytes().into();
            let subject = Subject::new(subject).unwrap();
            let message = Message { subject, reply: None, headers: Some(headers), payload: Box::default() };
            assert_eq!(Expects::of(&message) == Expects::Acknowledgement, is, "{message:?}");
        }
    }
    #[test]
    fn a_command_expects_an_outcome_where_workers_may_publish() {
        for (subject, reply, is) in [
            ("tg.user.ann.close", Some("_INBOX.1"), true),
            ("tg.conn.0000000000000001.subscribe", Some("_INBOX.1"), true),
            ("tg.conn.0000000000000001.subscribe", None, false),
            ("tg.conn.0000000000000001.subscribe", Some("tg.event.drain"), false),
            ("tg.conn.0000000000000001.dance", Some("_INBOX.1"), false),
            ("tg.conn.0000000000000001", Some("_INBOX.1"), false),
            ("room.1.close", Some("_INBOX.1"), false),
        ] {
            let [subject, reply] = [Some(subject), reply].map(|name| name.map(|name| Subject::new(name).unwrap()));
            let headers = Some(Box::from(&b"NATS/1.0\r\n\r\n"[..]));
            let message = Message { subject: subject.unwrap(), reply, headers, payload: Box::default() };
            assert_eq!(Expects::of(&message) == Expects::Outcome, is, "{message:?}");
        }
    }
}
