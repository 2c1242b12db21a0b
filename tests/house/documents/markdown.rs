//! The pages of the project, and the code in them.

use std::fs;
use std::path::{Path, PathBuf};

pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub struct Page {
    /// From the project's folder.
    pub path: String,
    pub text: String,
}

/// A block of code.
pub struct Block<'a> {
    pub language: &'a str,
    /// The number of its first line.
    pub line: usize,
    pub text: &'a str,
}

impl Page {
    pub fn read(path: &str) -> Page {
        let text = fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        Page { path: path.to_owned(), text }
    }

    pub fn folder(&self) -> PathBuf {
        project(&self.path).parent().expect("a file has a folder").to_path_buf()
    }

    pub fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks = Vec::new();
        let mut open: Option<(&str, usize, usize)> = None;
        let mut at = 0;
        for (index, line) in self.text.split_inclusive('\n').enumerate() {
            let next = at + line.len();
            if let Some(fence) = line.strip_prefix("```") {
                open = match open {
                    None => Some((fence.trim(), index + 2, next)),
                    Some((language, line, start)) => {
                        blocks.push(Block { language, line, text: &self.text[start..at] });
                        None
                    }
                };
            }
            at = next;
        }
        assert!(open.is_none(), "{}: a block of code is not closed", self.path);
        blocks
    }

    /// Code within the text, with its line: what stands between backticks, outside of blocks.
    pub fn spans(&self) -> Vec<(usize, &str)> {
        let mut is_block = false;
        let mut spans = Vec::new();
        for (index, line) in self.text.lines().enumerate() {
            if line.starts_with("```") {
                is_block = !is_block;
            } else if !is_block {
                spans.extend(line.split('`').skip(1).step_by(2).map(|span| (index + 1, span)));
            }
        }
        spans
    }
}

/// Every page that people read; the changelog tells of what there was.
pub fn pages() -> Vec<Page> {
    let mut paths = Vec::new();
    for folder in ["docs", "examples", "tests/fuzz"] {
        collect(&project(folder), &mut paths);
    }
    let root = fs::read_dir(project("")).expect("the project").map(|entry| entry.expect("an entry").path());
    paths.extend(root.filter(|path| is_page(path)));
    let path = |path: &PathBuf| path.strip_prefix(project("")).expect("a file of ours").to_string_lossy().into_owned();
    paths.iter().map(path).filter(|path| path != "CHANGELOG.md").map(|path| Page::read(&path)).collect()
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// The pages below a folder, without those of packages that were installed there.
fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("node_modules") && !path.ends_with("target") {
            collect(&path, paths);
        } else if is_page(&path) {
            paths.push(path);
        }
    }
}
