//! The tables of docs/workers.md are those of the gateway's names.

use std::fs;

use tidegate::proto::reserved::page;

use super::markdown::{Page, project};

const PAGE: &str = "docs/workers.md";
const BEGIN: &str = "<!-- The tables of names, written by `WRITE_PAGES=1 cargo test --test house tables`: -->\n";
const END: &str = "<!-- The end of the tables. -->\n";

/// With `WRITE_PAGES` in the environment the page is written, and not only compared.
#[test]
fn the_tables_of_the_gateways_names_are_up_to_date() {
    let page = Page::read(PAGE);
    let (before, rest) = page.text.split_once(BEGIN).expect("the tables begin");
    let (tables, after) = rest.split_once(END).expect("the tables end");
    let expected = format!("\n{}\n", page::markdown());
    if std::env::var_os("WRITE_PAGES").is_some() {
        fs::write(project(PAGE), [before, BEGIN, &expected, END, after].concat()).expect("the page can be written");
    } else {
        assert!(tables == expected, "run `WRITE_PAGES=1 cargo test --test house tables`, which writes {PAGE}");
    }
}
