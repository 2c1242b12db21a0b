//! Names in the text of the pages: keys of the configuration, their variables, metrics, files.

use std::fs;
use std::path::Path;

use tidegate::gateway::config::TABLE;

use super::commands::sources_of;
use super::markdown::{Page, pages, project};

/// A key without the brackets of lists: `route.path` for `route[].path`.
fn keys() -> Vec<String> {
    TABLE.iter().map(|row| row.path.replace("[]", "")).collect()
}

/// `limits.outbox_bytes_max`: a key of a table of the configuration.
fn missing_key(span: &str, keys: &[String]) -> Option<String> {
    let (table, rest) = span.split_once('.')?;
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let is_table = keys.iter().any(|key| key.split_once('.').is_some_and(|(first, _)| first == table));
    let is_key = is_table && rest.split('.').all(is_name) && !rest.ends_with("rs") && !rest.ends_with("toml");
    (is_key && !keys.iter().any(|key| key == span)).then(|| format!("there is no key {span}"))
}

/// Names of metrics, and of variables of the environment, wherever they stand.
fn words_with<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_';
    text.split(|char: char| !is_part(char)).filter(|word| word.starts_with(prefix)).collect()
}

/// A variable stands for a key, or configures the tests.
fn missing_variable(word: &str, keys: &[String], tests: &str) -> Option<String> {
    let name = word.strip_prefix("TIDEGATE_")?;
    // TIDEGATE_LISTENER_1_ADDRESS: the second of a list; N stands for its number.
    let is_number = |part: &&str| *part == "N" || part.parse::<u32>().is_ok();
    let name: Vec<&str> = name.split('_').filter(|part| !is_number(part)).collect();
    let name = name.join("_").to_lowercase();
    let is_there = keys.iter().any(|key| key.replace('.', "_") == name) || tests.contains(&format!("\"{word}\""));
    (!is_there && !name.is_empty()).then(|| format!("there is no variable {word}"))
}

/// A file that the text names with its folder: from the project's folder, from the page's own, or from one of the source's.
fn missing_file(span: &str, page: &Page) -> Option<String> {
    let has_ending = [".rs", ".md", ".mjs", ".py", ".sh", ".toml", ".service", ".socket", ".conf"].iter();
    let is_file = span.contains('/')
        && !span.starts_with(['/', '.', '~'])
        && !span.contains([' ', '*', '{', '<', ':', '=', '"'])
        && has_ending.into_iter().any(|ending| span.ends_with(ending));
    let is_there =
        || project(span).exists() || page.folder().join(span).exists() || is_below(&project("src"), Path::new(span));
    (is_file && !is_there()).then(|| format!("there is no file {span}"))
}

fn is_below(folder: &Path, file: &Path) -> bool {
    let entries = fs::read_dir(folder).expect("a folder of ours").map(|entry| entry.expect("an entry").path());
    let mut folders = entries.filter(|path| path.is_dir());
    folder.join(file).exists() || folders.any(|folder| is_below(&folder, file))
}

/// Targets of links within the project.
fn missing_links(page: &Page) -> Vec<String> {
    let folder = page.folder();
    let targets = page.text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let files = targets.map(|target| target.split('#').next().unwrap_or_default());
    files
        .filter(|file| !file.is_empty() && !file.contains("://") && !folder.join(file).exists())
        .map(|file| format!("{}: a link leads to {file}, which is not there", page.path))
        .collect()
}

/// Those of its own headings that a page links to.
fn missing_headings(page: &Page) -> Vec<String> {
    let anchor = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|char| char.is_alphanumeric() || [' ', '-', '_'].contains(char));
        kept.collect::<String>().replace(' ', "-")
    };
    let headings: Vec<String> = page.text.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
    let targets = page.text.split("](#").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets
        .filter(|target| !headings.iter().any(|heading| heading == target))
        .map(|target| format!("{}: no heading is #{target}", page.path))
        .collect()
}

#[test]
fn every_key_variable_metric_file_and_link_of_the_pages_exists() {
    let keys = keys();
    let (source, tests) = (sources_of(&["src"]), sources_of(&["tests", "benches"]));
    let mut mistakes = Vec::new();
    for page in pages() {
        let place = |line: usize, words: String| format!("{}:{line}: {words}", page.path);
        for (line, span) in page.spans() {
            mistakes
                .extend(missing_key(span, &keys).or_else(|| missing_file(span, &page)).map(|words| place(line, words)));
        }
        for (index, line) in page.text.lines().enumerate() {
            let variables = words_with(line, "TIDEGATE_").into_iter();
            let variables = variables.filter_map(|word| missing_variable(word, &keys, &tests));
            let metrics = words_with(line, "tidegate_").into_iter().filter(|word| {
                let name = &word["tidegate_".len()..];
                !source.contains(name.strip_suffix("_total").unwrap_or(name))
            });
            let metrics = metrics.map(|word| format!("there is no metric {word}"));
            mistakes.extend(variables.chain(metrics).map(|words| place(index + 1, words)));
        }
        mistakes.extend(missing_links(&page));
        mistakes.extend(missing_headings(&page));
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn names_that_do_not_exist_are_found() {
    let keys = keys();
    assert!(missing_key("limits.outbox_bytes_max", &keys).is_none());
    assert!(missing_key("limits.outbox_bytes", &keys).is_some());
    assert!(missing_variable("TIDEGATE_LISTENER_1_ADDRESS", &keys, "").is_none());
    assert!(missing_variable("TIDEGATE_LISTENER_1_ADRESS", &keys, "").is_some());
    let page = Page::read("README.md");
    assert!(missing_file("shard/mod.rs", &page).is_none() && missing_file("shard/mood.rs", &page).is_some());
}

/// Configurations of the pages are taken as they stand; where a page shows a part, a listener is added.
#[test]
fn every_configuration_of_the_pages_is_accepted() {
    let mut count = 0;
    for page in pages() {
        for block in page.blocks().iter().filter(|block| block.language == "toml") {
            let listener = "[[listener]]\naddress = \"127.0.0.1:8080\"\n";
            let text = match block.text.contains("[[listener]]") {
                true => block.text.to_owned(),
                false => format!("{listener}{}", block.text),
            };
            let config = tidegate::gateway::config::Config::parse(Path::new("tidegate.toml"), &text, []);
            if let Err(errors) = config {
                panic!("{}:{}: {:?}", page.path, block.line, errors.lines().collect::<Vec<_>>());
            }
            count += 1;
        }
    }
    assert!(count >= 6, "{count} configurations have been found");
    for entry in fs::read_dir(project("examples")).expect("the examples") {
        let file = entry.expect("an entry").path().join("tidegate.toml");
        assert!(!file.exists() || tidegate::gateway::config::Config::load(Some(&file), []).is_ok(), "{file:?}");
    }
}
