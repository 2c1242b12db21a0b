//! The choice of the kernel driver.

use std::fmt;
use std::str::FromStr;

use super::uring;

/// The operator's choice (`--driver`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// io_uring if it is available, otherwise epoll.
    #[default]
    Auto,
    /// epoll, on every kernel.
    Epoll,
    /// io_uring; if it is not available, epoll.
    Uring,
}

/// The driver that the gateway uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverKind {
    /// epoll(7): readiness, turned into completions by the driver.
    Epoll,
    /// io_uring(7): submissions and completions in rings that are shared with the kernel.
    Uring,
}

/// The driver to use and, if io_uring was wanted and is not available, the reason in one sentence.
pub fn choose(choice: Choice) -> (DriverKind, Option<String>) {
    choose_by(choice, uring::probe)
}

fn choose_by(choice: Choice, probe: impl FnOnce() -> Result<(), String>) -> (DriverKind, Option<String>) {
    if choice == Choice::Epoll {
        return (DriverKind::Epoll, None);
    }
    match probe() {
        Ok(()) => (DriverKind::Uring, None),
        Err(why) => (DriverKind::Epoll, Some(why)),
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(word: &str) -> Result<Choice, String> {
        match word {
            "auto" => Ok(Choice::Auto),
            "epoll" => Ok(Choice::Epoll),
            "uring" => Ok(Choice::Uring),
            other => Err(format!("no driver is called {other:?}: auto, epoll or uring")),
        }
    }
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DriverKind::Epoll => "epoll",
            DriverKind::Uring => "uring",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_back_to_epoll_and_says_why() {
        let refused = || Err("it is raining".to_owned());
        for choice in [Choice::Auto, Choice::Uring] {
            assert_eq!(choose_by(choice, || Ok(())), (DriverKind::Uring, None));
            assert_eq!(choose_by(choice, refused), (DriverKind::Epoll, Some("it is raining".to_owned())));
        }
        assert_eq!(choose_by(Choice::Epoll, || unreachable!("epoll asks nobody")), (DriverKind::Epoll, None));
    }

    #[test]
    fn is_spelled_as_on_the_command_line() {
        assert_eq!("auto".parse(), Ok(Choice::Auto));
        assert_eq!("epoll".parse(), Ok(Choice::Epoll));
        assert_eq!("uring".parse(), Ok(Choice::Uring));
        assert!("select".parse::<Choice>().unwrap_err().contains("auto, epoll or uring"));
    }
}
