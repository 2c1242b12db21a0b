//! A line as a shell takes it apart: commands, and their words without quotes.

use super::markdown::Page;

/// A command of a page.
pub struct Command {
    /// Where it stands: `page:line`.
    pub place: String,
    /// The program first.
    pub words: Vec<String>,
}

impl Command {
    pub fn program(&self) -> &str {
        &self.words[0]
    }
}

/// The commands of a line: what stands between `|`, `&&`, `;` and the line's comment. Settings of variables before a command and
/// `sudo` are not part of it.
pub fn commands(place: &str, line: &str) -> Vec<Command> {
    let mut commands = vec![Vec::new()];
    let mut rest = line.chars().peekable();
    let mut word: Option<String> = None;
    while let Some(next) = rest.next() {
        match next {
            '\'' | '"' => word.get_or_insert_default().extend(rest.by_ref().take_while(|end| *end != next)),
            ' ' | '|' | ';' | '&' => {
                commands.last_mut().expect("one at least").extend(word.take());
                if next != ' ' {
                    commands.push(Vec::new());
                }
                if rest.peek() == Some(&'#') {
                    break;
                }
            }
            _ => word.get_or_insert_default().push(next),
        }
    }
    commands.last_mut().expect("one at least").extend(word);
    let is_setting = |word: &String| {
        word.split_once('=').is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
    };
    let without = |words: Vec<String>| -> Vec<String> {
        words.into_iter().skip_while(|word| is_setting(word) || word == "sudo" || word == "exec").collect()
    };
    let command = |words: Vec<String>| Command { place: place.to_owned(), words: without(words) };
    commands.into_iter().map(command).filter(|command| !command.words.is_empty()).collect()
}

/// The lines of a page's shell blocks, each with its place; a line that ends with a backslash goes on.
pub fn lines(page: &Page) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for block in page.blocks().iter().filter(|block| block.language == "sh") {
        let mut line = String::new();
        for (index, part) in block.text.lines().enumerate() {
            line.push_str(part.strip_suffix('\\').unwrap_or(part));
            if !part.ends_with('\\') {
                lines.push((format!("{}:{}", page.path, block.line + index), std::mem::take(&mut line)));
            }
        }
    }
    lines.retain(|(_, line)| !line.trim().is_empty());
    lines
}

#[test]
fn takes_a_line_apart_as_a_shell_does() {
    let words =
        |line: &str| -> Vec<Vec<String>> { commands("here", line).into_iter().map(|command| command.words).collect() };
    assert_eq!(words("sudo A_B=1 curl -d '{\"a\": 1}' \"x\"y   # told"), [vec!["curl", "-d", "{\"a\": 1}", "xy"]]);
    assert_eq!(
        words("echo 'a | b' | tidegate pub c && make"),
        [vec!["echo", "a | b"], vec!["tidegate", "pub", "c"], vec!["make"]]
    );
    assert_eq!(words("curl 'a#b' a#b # c").len(), 1);
}
