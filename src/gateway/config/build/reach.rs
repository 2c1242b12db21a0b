//! Routes and rules that can never match, because an earlier one takes everything: the first match wins.

use super::super::error::Place;
use super::super::{Channel, Route, Target, form};
use super::{ConfigBuilder, Section};
use crate::conn::route::is_method_taken;

impl ConfigBuilder<'_> {
    /// An error if earlier routes take all requests of a route, or all reads of its results.
    pub(super) fn reach_of_route(&mut self, section: &Section<'_>, route: &Route, earlier: &[Route]) {
        let earlier: Vec<&Route> = earlier.iter().filter(|other| site_covers(other, route)).collect();
        let is_taken = |method: &String| earlier.iter().copied().find(|other| takes(other, &route.path, method));
        let taken: Vec<(&String, &Route)> =
            route.methods.iter().filter_map(|method| Some((method, is_taken(method)?))).collect();
        match taken.first() {
            Some((_, other)) if other.path == route.path && other.hosts == route.hosts => {
                let words = "is the path of an earlier route with the same method; expected another";
                self.conflict(section, "path", words);
            }
            Some((_, other)) if taken.len() == route.methods.len() => {
                let words = format!(
                    "is never reached: {:?} comes earlier and takes its requests; expected this one first",
                    other.path
                );
                self.conflict(section, "path", &words);
            }
            Some((method, other)) => {
                self.doubt(section, "path", &format!("does not get {method}: {:?} comes earlier", other.path));
            }
            None => {}
        }
        let below = format!("{}/{{}}", route.path.trim_end_matches('/'));
        if matches!(route.target, Target::Accept(_))
            && let Some(other) = earlier.iter().find(|other| takes(other, &below, "GET"))
        {
            let words = format!(
                "has its results below it, where {:?} takes the requests; expected this route first",
                other.path
            );
            self.conflict(section, "path", &words);
        }
    }

    /// An error if earlier rules match all channels of a rule.
    pub(super) fn reach_of_rule(&mut self, section: &Section<'_>, name: &str, earlier: &[Channel]) {
        match earlier.iter().find(|other| pattern_covers(&other.name, name)) {
            Some(other) if other.name == name => {
                self.conflict(section, "name", "is the name of an earlier [[channel]]; expected another");
            }
            Some(other) => {
                let words = format!(
                    "is never reached: {:?} comes earlier and matches all of it; expected this one first",
                    other.name
                );
                self.conflict(section, "name", &words);
            }
            None => {}
        }
    }

    /// Warnings about patterns that an earlier one in the list includes, and about texts that are listed twice.
    pub(super) fn repetitions(&mut self, section: &Section<'_>, name: &str, covers: fn(&str, &str) -> bool) {
        let texts = section.texts(name);
        for (at, text) in texts.iter().enumerate() {
            let other = (0..texts.len()).find(|other| {
                *other != at && covers(&texts[*other], text) && (*other < at || !covers(text, &texts[*other]))
            });
            if let Some(other) = other {
                self.doubt(section, name, &format!("has {text:?}, which {:?} beside it includes", texts[other]));
            }
        }
    }

    /// An error about braces: patterns have wildcards, only templates have parameters.
    pub(super) fn no_parameters(&mut self, section: &Section<'_>, name: &str) {
        for text in section.texts(name).iter().filter(|text| form::is_pattern(text)) {
            if let Some(better) = without_parameters(text) {
                let words = format!("{text:?} has braces, which no pattern reads as a parameter; expected {better:?}");
                self.about(section, name, &words);
            }
        }
    }

    /// An error about one text of a list, at the text's place.
    fn about(&mut self, section: &Section<'_>, name: &str, words: &str) {
        let place = section.value(name).map_or(&section.place, |value| &value.place);
        let subject = match (place, section.row(name)) {
            (Place::Variable(variable), _) => variable.clone(),
            (_, Some(row)) => row.spoken(),
            (_, None) => name.to_owned(),
        };
        self.errors.push(super::super::error::Error::new(place, format!("{subject} {words}")));
    }
}

/// Whether an earlier route is for all hosts and schemes that a route is for.
fn site_covers(earlier: &Route, route: &Route) -> bool {
    let has_scheme = earlier.scheme.is_none() || earlier.scheme == route.scheme;
    let has = |host: &String| earlier.hosts.iter().any(|own| host_covers(own, host));
    has_scheme && (earlier.hosts.is_empty() || !route.hosts.is_empty() && route.hosts.iter().all(has))
}

/// Whether `general` matches every host that `host` matches. `*.` stands for one label.
fn host_covers(general: &str, host: &str) -> bool {
    let is_below = |above: &str| host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(above));
    general.eq_ignore_ascii_case(host) || general.strip_prefix("*.").is_some_and(is_below)
}

/// Whether an earlier route takes requests of this method for every path that the template stands for.
fn takes(earlier: &Route, path: &str, method: &str) -> bool {
    let takes_itself = earlier.methods.iter().any(|own| is_method_taken(own, method));
    if takes_itself && path_covers(&earlier.path, path) {
        return true;
    }
    // Results of accepted requests are read below the route's path.
    let is_read = matches!(earlier.target, Target::Accept(_)) && matches!(method, "GET" | "HEAD");
    is_read && path.rsplit_once('/').is_some_and(|(above, last)| !last.is_empty() && path_covers(&earlier.path, above))
}

/// Whether `general` matches every path that `path` matches. A parameter stands for any segment that is not empty, a `*` at the
/// end for all that follow.
pub(super) fn path_covers(general: &str, path: &str) -> bool {
    let all = general.strip_suffix("/*");
    let mut segments = path.split('/');
    let takes =
        |wanted: &str, segment: &str| wanted == segment || wanted.starts_with('{') && !matches!(segment, "" | "*");
    let are_taken =
        all.unwrap_or(general).split('/').all(|wanted| segments.next().is_some_and(|segment| takes(wanted, segment)));
    are_taken && (all.is_some() || segments.next().is_none())
}

/// Whether `general` matches every channel that `pattern` matches.
pub(super) fn pattern_covers(general: &str, pattern: &str) -> bool {
    let mut tokens = pattern.split('.');
    for wanted in general.split('.') {
        match (wanted, tokens.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(token)) if token != ">" => {}
            (literal, Some(token)) if literal == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// `room.*` for `room.{room}`; `None` if there is no brace.
fn without_parameters(pattern: &str) -> Option<String> {
    let token = |token: &str| if token.contains(['{', '}']) { "*".to_owned() } else { token.to_owned() };
    pattern.contains(['{', '}']).then(|| pattern.split('.').map(token).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_includes_what_it_matches_all_of() {
        for (general, pattern) in [(">", "a"), (">", ">"), ("a.>", "a.*"), ("a.>", "a.b.>"), ("*", "a"), ("a.*", "a.b")]
        {
            assert!(pattern_covers(general, pattern), "{general} {pattern}");
        }
        for (general, pattern) in [("a.>", "a"), ("*", ">"), ("*", "a.b"), ("a.*", "a.>"), ("a.b", "a.*"), ("a", "a.b")]
        {
            assert!(!pattern_covers(general, pattern), "{general} {pattern}");
        }
    }

    #[test]
    fn a_path_includes_what_its_parameters_stand_for() {
        for (general, path) in [("/{a}", "/b"), ("/{a}", "/{b}"), ("/a/{b}", "/a/c"), ("/{a}/{b}", "/c/{d}")] {
            assert!(path_covers(general, path), "{general} {path}");
        }
        for (general, path) in [("/a", "/{b}"), ("/{a}", "/a/b"), ("/{a}", "/"), ("/a/{b}", "/a/"), ("/a/{b}", "/a")] {
            assert!(!path_covers(general, path), "{general} {path}");
        }
        for (general, path) in [("/*", "/"), ("/*", "/a/*"), ("/a/*", "/a"), ("/a/*", "/a/{b}"), ("/{a}/*", "/b/c/*")] {
            assert!(path_covers(general, path), "{general} {path}");
        }
        for (general, path) in
            [("/a/*", "/*"), ("/{a}", "/*"), ("/a/{b}", "/a/*"), ("/a/{b}/*", "/a/*"), ("/a", "/a/*")]
        {
            assert!(!path_covers(general, path), "{general} {path}");
        }
    }
}
