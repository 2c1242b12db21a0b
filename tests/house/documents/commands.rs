//! Command lines: their programs are known, with where they come from, and their files, verbs and flags exist.

use std::collections::HashMap;
use std::fs;
use std::process::Command as Process;

use super::markdown::{Page, pages, project};
use super::words::{Command, commands, lines};

/// Programs that are part of any Debian, or that belong to its administration.
const THERE: &[&str] = &[
    "cat",
    "mkdir",
    "conntrack",
    "cp",
    "curl",
    "echo",
    "grep",
    "install",
    "kill",
    "mpstat",
    "nstat",
    "perf",
    "ss",
    "sysctl",
    "systemctl",
    "systemd-analyze",
    "ulimit",
    "apt",
    "apt-get",
    "debootstrap",
    "dmesg",
    "ip",
];

/// Programs that somebody has to get first; a page with a block that wants one says this.
const TO_GET: &[(&str, &str)] = &[
    ("nats", "natscli"),
    (".venv/bin/python", "README.md"),
    (".venv/bin/pip", "python3-venv"),
    ("python3", "ython"),
    ("node", "README.md"),
    ("npm", "Node 18"),
    ("tidegate", "ocs/operations.md"),
    ("target/release/tidegate", "README.md"),
];

/// The commands of a page's blocks.
fn commands_of(page: &Page) -> Vec<Command> {
    lines(page).iter().flat_map(|(place, line)| commands(place, line)).collect()
}

/// Those within its text.
fn commands_within(page: &Page) -> Vec<Command> {
    let mut found = Vec::new();
    for (line, span) in page.spans() {
        let place = format!("{}:{line}", page.path);
        // A command has arguments; a name alone is a name.
        let first = span.split(' ').next().unwrap_or_default();
        if span.contains(' ') && (is_known(first) || is_of_the_project(first)) {
            found.extend(commands(&place, span));
        }
    }
    found
}

fn is_known(program: &str) -> bool {
    TO_GET.iter().any(|(name, _)| *name == program) || THERE.contains(&program) || is_of_the_project(program)
}

fn is_of_the_project(program: &str) -> bool {
    matches!(program, "cargo" | "make" | "tuning/tune") || program.starts_with("tests/")
}

/// Whether the page of a block says where its program comes from.
fn missing_source(command: &Command, page: &Page) -> Option<String> {
    let (program, words) = TO_GET.iter().find(|(name, _)| *name == command.program())?;
    let installs = program.ends_with("tidegate") && page.text.contains("cargo build --release");
    let is_said = page.text.contains(words) || installs;
    (!is_said).then(|| format!("the page does not say where {program} comes from (it should name {words})"))
}

/// What is wrong with a command, in words.
fn mistake(command: &Command, helps: &mut Helps) -> Option<String> {
    let program = command.program();
    let arguments = &command.words[1..];
    match program {
        "tidegate" | "target/release/tidegate" => helps.tidegate(arguments),
        "make" => {
            let file = fs::read_to_string(project("Makefile")).expect("the Makefile");
            let is_target = |name: &&String| name.contains('=') || file.contains(&format!("\n{name}: "));
            arguments.iter().find(|name| !is_target(name)).map(|name| format!("make has no {name}"))
        }
        "tuning/tune" => {
            let usage = fs::read_to_string(project("tuning/tune")).expect("the script");
            flags(arguments).find(|flag| !usage.contains(*flag)).map(|flag| format!("tuning/tune has no {flag}"))
        }
        "cargo" => cargo(arguments),
        _ if is_known(program) => None,
        _ => Some(format!(
            "{program} is no program that a page may take for granted; tests/house/documents/commands.rs lists them"
        )),
    }
    .or_else(|| missing_file(&command.words))
}

fn flags(arguments: &[String]) -> impl Iterator<Item = &str> {
    arguments.iter().filter(|word| word.starts_with("--")).map(|word| word.split('=').next().unwrap_or(word))
}

/// A file of the project that a command names and that is not there.
fn missing_file(words: &[String]) -> Option<String> {
    let folders = ["examples/", "docs/", "systemd/", "tuning/", "tests/", "benches/", "src/"];
    let is_ours = |word: &&String| folders.iter().any(|folder| word.starts_with(folder));
    // What is found by a fuzzer is nowhere before that.
    let is_made = |word: &str| word.contains(['*', '<', '…']) || word.starts_with("tests/fuzz/found/");
    let named = words.iter().filter(is_ours).find(|word| !project(word).exists() && !is_made(word));
    named.map(|word| format!("{word} does not exist"))
}

/// `cargo bench --bench NAME -- OPTIONS` and the like.
fn cargo(arguments: &[String]) -> Option<String> {
    for pair in arguments.windows(2) {
        let sources: Vec<String> = match pair[0].as_str() {
            "--bench" => vec![format!("benches/{}/main.rs", pair[1])],
            "--example" => vec![format!("examples/{}.rs", pair[1]), format!("benches/{}/main.rs", pair[1])],
            "--test" => vec![format!("tests/{}.rs", pair[1]), format!("tests/{}/main.rs", pair[1])],
            _ => continue,
        };
        if !sources.iter().any(|path| project(path).exists()) {
            return Some(format!("cargo has no {} {}", pair[0], pair[1]));
        }
        let own = arguments.iter().skip_while(|word| *word != "--").skip(1).cloned().collect::<Vec<_>>();
        if pair[0] != "--test" {
            let text = sources_of(&["benches"]);
            // An option is a field of a structure: --without-peers is without_peers.
            let is_option = |flag: &&str| text.contains(&flag[2..].replace('-', "_")) || text.contains(flag);
            if let Some(flag) = flags(&own).find(|flag| !is_option(flag)) {
                return Some(format!("{} has no {flag}", pair[1]));
            }
        }
    }
    None
}

/// All sources in Rust below these folders.
pub fn sources_of(folders: &[&str]) -> String {
    fn read(folder: &std::path::Path, text: &mut String) {
        for entry in fs::read_dir(folder).expect("a folder of ours") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                read(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&fs::read_to_string(&path).expect("a source is text"));
            }
        }
    }
    let mut text = String::new();
    folders.iter().for_each(|folder| read(&project(folder), &mut text));
    text
}

/// The help of each verb, asked for once.
#[derive(Default)]
struct Helps(HashMap<String, String>);

impl Helps {
    fn of(&mut self, verb: &str) -> &str {
        self.0.entry(verb.to_owned()).or_insert_with(|| {
            let mut process = Process::new(env!("CARGO_BIN_EXE_tidegate"));
            let output = process.args(verb.split_whitespace()).arg("--help").output().expect("the binary runs");
            String::from_utf8(output.stdout).expect("help is text")
        })
    }

    fn tidegate(&mut self, arguments: &[String]) -> Option<String> {
        let verb = arguments.first().filter(|verb| !verb.starts_with('-')).map(String::as_str).unwrap_or_default();
        let is_verb =
            verb.is_empty() || self.of("").lines().any(|line| line.trim_start().starts_with(&format!("{verb} ")));
        if !is_verb {
            return Some(format!("tidegate has no {verb}"));
        }
        let help = self.of(verb);
        let has = |flag: &&str| help.split([' ', ',', '\n', '[', ']', '<']).any(|word| word == *flag);
        flags(arguments).find(|flag| !has(flag)).map(|flag| format!("tidegate {verb} has no {flag}"))
    }
}

#[test]
fn every_command_line_of_the_pages_names_what_exists_and_says_where_its_program_comes_from() {
    let mut helps = Helps::default();
    let mut mistakes = Vec::new();
    let mut count = 0;
    for page in pages() {
        let blocks = commands_of(&page);
        for command in blocks.iter().chain(&commands_within(&page)) {
            count += 1;
            if let Some(mistake) = mistake(command, &mut helps) {
                mistakes.push(format!("{}: {} ({})", command.place, mistake, command.words.join(" ")));
            }
        }
        let sources = blocks.iter().filter_map(|command| Some((command, missing_source(command, &page)?)));
        mistakes.extend(sources.map(|(command, words)| format!("{}: {words}", command.place)));
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    assert!(count > 60, "{count} commands have been found");
}

#[test]
fn mistakes_in_command_lines_are_found() {
    for line in [
        "tidegate serve --confg a.toml",
        "tidegate lounge",
        "frobnicate",
        "cargo bench --bench conections",
        "cargo bench --bench connections -- --with-peers-of-mine",
        "make coffee",
        "tuning/tune --chek",
        "cp systemd/tidegate.servce /etc",
    ] {
        let found = commands("page.md:1", line);
        assert!(mistake(&found[0], &mut Helps::default()).is_some(), "{line}");
    }
    let page = Page { path: "page.md".to_owned(), text: String::new() };
    assert!(missing_source(&commands("page.md:1", "nats pub a b")[0], &page).is_some());
}
