//! Where a subject leads, and what a worker commands with it.
//!
//! | subject | leads to |
//! |---|---|
//! | `tg.conn.<id>`, `tg.conn.<id>.<verb>`, `tg.conn.<id>.answer.<call>` | one connection |
//! | `tg.user.<user>`, `tg.user.<user>.<verb>` | the owner of `tg.user.<user>`: all connections of a user |
//! | `tg.service.<service>` | one worker of each queue group |
//! | `tg.event.<event>` | the owner of this subject: whoever listens; only the gateway itself publishes there |
//! | `tg.presence.<channel>` | the owner of the channel: who is there |
//! | `tg.request.<id>` | the shard that keeps the request: a worker's answer |
//! | anything else below `tg.` | nowhere |
//! | the rest | the channel's owner |

use crate::base::{Address, RequestId};
use crate::proto::reserved::subjects::{self, Family};
use crate::proto::subject::{Subject, tokens};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Conn(Address),
    Service,
    /// To the owner of the subject, from the gateway alone.
    Event,
    /// A request to the owner of this channel: who is there?
    Presence(Subject),
    /// The answer to a request.
    Request(RequestId),
    /// To the owner of this subject: the one published to, less a command.
    Owner(Subject),
    Nowhere,
}

/// What a worker tells the gateway to do with a connection: the last token of the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Subscribe it to the channel that the payload names.
    Subscribe,
    Unsubscribe,
    Close,
    /// Answer its call with this serial.
    Answer(u32),
}

/// The word after the connection or user is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoCommand;

impl Destination {
    pub(crate) fn of(subject: &Subject) -> Destination {
        if !subject.is_reserved() {
            return Destination::Owner(subject.clone());
        }
        let Some((family, rest)) = Family::of(subject.as_str()) else { return Destination::Nowhere };
        match family {
            Family::Conn => first(rest).parse().map_or(Destination::Nowhere, Destination::Conn),
            Family::Service => Destination::Service,
            Family::Request => rest.parse().map_or(Destination::Nowhere, Destination::Request),
            Family::User => match Command::of(subject) {
                Ok(_) => subjects::user(first(rest)).map_or(Destination::Nowhere, Destination::Owner),
                Err(NoCommand) => Destination::Nowhere,
            },
            Family::Event => Destination::Event,
            Family::Presence => Subject::new(rest).map_or(Destination::Nowhere, Destination::Presence),
        }
    }
}

impl Command {
    /// The command in a subject; `None` for a plain message.
    pub(crate) fn of(subject: &Subject) -> Result<Option<Command>, NoCommand> {
        let (is_conn, rest) = match Family::of(subject.as_str()) {
            Some((family @ (Family::Conn | Family::User), rest)) => (family == Family::Conn, rest),
            _ => return Ok(None),
        };
        let mut words = tokens(rest).skip(1);
        match (words.next(), words.next()) {
            (Some("answer"), Some(serial)) if is_conn && words.next().is_none() => {
                serial.parse().map(|serial| Some(Command::Answer(serial))).map_err(|_| NoCommand)
            }
            (None, _) => Ok(None),
            (Some("subscribe"), None) => Ok(Some(Command::Subscribe)),
            (Some("unsubscribe"), None) => Ok(Some(Command::Unsubscribe)),
            (Some("close"), None) => Ok(Some(Command::Close)),
            _ => Err(NoCommand),
        }
    }
}

/// The token of a connection or user, before what is commanded.
fn first(rest: &str) -> &str {
    tokens(rest).next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Place;

    fn subject(name: &str) -> Subject {
        Subject::new(name).unwrap()
    }

    #[test]
    fn every_subject_leads_somewhere() {
        let conn = Address::from_bits(0x0100_0001_0000_0002);
        let request = RequestId::new(Place(1), 2);
        let user = Destination::Owner(subject("tg.user.ann"));
        for (name, destination, command) in [
            (format!("tg.conn.{conn}"), Destination::Conn(conn), Ok(None)),
            (format!("tg.conn.{conn}.close"), Destination::Conn(conn), Ok(Some(Command::Close))),
            (format!("tg.conn.{conn}.dance"), Destination::Conn(conn), Err(NoCommand)),
            (format!("tg.conn.{conn}.answer.7"), Destination::Conn(conn), Ok(Some(Command::Answer(7)))),
            (format!("tg.conn.{conn}.answer.7.8"), Destination::Conn(conn), Err(NoCommand)),
            (format!("tg.conn.{conn}.answer.-7"), Destination::Conn(conn), Err(NoCommand)),
            ("tg.user.ann.answer.7".to_owned(), Destination::Nowhere, Err(NoCommand)),
            ("tg.user.ann.dance".to_owned(), Destination::Nowhere, Err(NoCommand)),
            ("tg.conn.12".to_owned(), Destination::Nowhere, Ok(None)),
            (format!("tg.request.{request}"), Destination::Request(request), Ok(None)),
            ("tg.request.12".to_owned(), Destination::Nowhere, Ok(None)),
            (format!("tg.request.{request}.progress"), Destination::Nowhere, Ok(None)),
            ("tg.presence.presence.a".to_owned(), Destination::Presence(subject("presence.a")), Ok(None)),
            ("tg.presence".to_owned(), Destination::Nowhere, Ok(None)),
            ("tg.user.ann".to_owned(), user.clone(), Ok(None)),
            ("tg.user.ann.subscribe".to_owned(), user, Ok(Some(Command::Subscribe))),
            ("tg.service.rides".to_owned(), Destination::Service, Ok(None)),
            ("tg.event.drain".to_owned(), Destination::Event, Ok(None)),
            ("tg.other".to_owned(), Destination::Nowhere, Ok(None)),
            ("room.1".to_owned(), Destination::Owner(subject("room.1")), Ok(None)),
        ] {
            let name = subject(&name);
            assert_eq!(Destination::of(&name), destination, "{name}");
            assert_eq!(Command::of(&name), command, "{name}");
        }
    }
}
