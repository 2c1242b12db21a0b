//! The rights of pages of other origins to an answer that is passed on (the Fetch standard, "CORS protocol").

use super::reply::Cors;

/// The side that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageAccess<'a> {
    /// The server: its fields go on as they came.
    Server,
    /// The route: fields of the server are replaced.
    Route {
        /// Of the page that has asked, if it is of another origin.
        cors: Option<Cors<'a>>,
        /// Another page would get another answer, which caches have to know.
        varies: bool,
    },
}

impl PageAccess<'_> {
    /// Whether a field of the server does not go on.
    pub(super) fn replaces(&self, name: &str) -> bool {
        // Preflights are answered by the gateway, and what a page may read besides is the server's to say.
        const REPLACED: [&str; 5] = ["Allow-Origin", "Allow-Credentials", "Allow-Methods", "Allow-Headers", "Max-Age"];
        const PREFIX: &str = "Access-Control-";
        if *self == PageAccess::Server {
            return false;
        }
        let Some((prefix, rest)) = name.split_at_checked(PREFIX.len()) else { return false };
        prefix.eq_ignore_ascii_case(PREFIX) && REPLACED.iter().any(|replaced| replaced.eq_ignore_ascii_case(rest))
    }

    /// Gives each of its own fields to `push`.
    pub(super) fn write(&self, mut push: impl FnMut(&str, &[u8])) {
        let PageAccess::Route { cors, varies } = *self else { return };
        if let Some(cors) = cors {
            push("Access-Control-Allow-Origin", cors.origin.as_bytes());
            if cors.credentials {
                push("Access-Control-Allow-Credentials", b"true");
            }
        }
        if varies {
            push("Vary", b"Origin");
        }
    }
}
