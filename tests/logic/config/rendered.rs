//! What `tidegate config` writes, and the reference page.

use std::path::Path;

use tidegate::gateway::config::{self, Config, TABLE};

use crate::config::parse;

#[test]
fn accepts_the_annotated_defaults_and_reads_them_as_the_defaults() {
    let text = config::annotated();
    let config = parse(&text, &[]).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"));
    let defaults = Config::default();
    assert_eq!(config.limits, defaults.limits);
    assert_eq!(
        (config.shards, config.pin, config.driver, config.log),
        (defaults.shards, defaults.pin, defaults.driver, defaults.log)
    );
    assert_eq!((config.listeners.len(), config.routes.len()), (1, 1));
    assert!(config.bus.is_some() && config.admin.is_some());
}

#[test]
fn names_every_key_in_the_annotated_defaults() {
    let text = config::annotated();
    for row in TABLE {
        assert!(text.contains(row.name()), "{}", row.path);
        assert!(text.lines().all(|line| line.len() <= 120), "lines fit a terminal");
    }
}

#[test]
fn keeps_the_reference_page_as_the_table_renders_it() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let written = std::fs::read_to_string(page).unwrap();
    assert!(written == config::markdown(), "run `tidegate config --markdown > docs/configuration.md`");
}
