//! Rules of channels.

use crate::config::errors;

#[test]
fn tells_a_channel_that_is_no_pattern_or_stands_twice() {
    let expected = "expected a pattern such as \"room.*\" or \"driver.>\": nothing below \"tg\" or \"_INBOX\", `*` for one token, \
                    `>` for all that follow";
    for name in ["tg.>", "a..b", ">.a"] {
        assert_eq!(
            errors(&format!("[[channel]]\nname = {name:?}\n")),
            [format!("tidegate.toml:4: channel.name is {name:?}; {expected}")]
        );
    }
    assert_eq!(
        errors("[[channel]]\nname = \"a\"\n[[channel]]\nname = \"a\"\n"),
        ["tidegate.toml:6: channel.name \"a\" is the name of an earlier [[channel]]; expected another"]
    );
    assert_eq!(errors("[[channel]]\n"), [format!("tidegate.toml:3: [[channel]] has no name; {expected}")]);
}

#[test]
fn tells_an_age_that_is_no_time() {
    for age in ["5", "5 minutes", "0s", "400d"] {
        assert_eq!(
            errors(&format!("[[channel]]\nname = \"a\"\nhistory = {{ age = {age:?} }}\n")),
            [format!(
                "tidegate.toml:5: channel.history.age is {age:?}; expected a time such as \"30s\", \"5m\", \"12h\" or \"7d\"; a \
                 year at most"
            )]
        );
    }
}
