//! The gateway's own names, subjects below `tg.` and headers `Tg-…`, are spelled in proto::reserved alone.

use super::source::{SourceFile, files};

/// The only folder in which such texts stand.
const TABLE: &str = "proto/reserved/";

/// Texts that begin like one of these names; what a sentence says about them is not meant.
fn spelled(file: &SourceFile) -> Vec<String> {
    let is_own = |text: &str| text.starts_with("tg.") || text.starts_with("Tg-");
    let texts = file.texts.iter().filter(|(_, text)| is_own(text));
    texts.map(|(line, text)| format!("src/{}:{line}: {text:?}", file.path)).collect()
}

#[test]
fn names_of_the_gateway_are_spelled_in_their_table_alone() {
    let others = files().iter().filter(|file| !file.path.starts_with(TABLE));
    let spelled: Vec<String> = others.flat_map(spelled).collect();
    assert!(
        spelled.is_empty(),
        "src/{TABLE} has constants and makers for these names, so that each is spelled, and can be found, in one place:\n{}",
        spelled.join("\n")
    );
    assert!(
        files().iter().any(|file| file.path.starts_with(TABLE) && !self::spelled(file).is_empty()),
        "the table is read"
    );
}

#[test]
fn names_are_found_in_code_and_not_in_comments_or_sentences() {
    let text = "
        //! `tg.conn` and \"Tg-Conn\".
        /// \"tg.conn.\"
        fn make() {
            format!(\"tg.conn.{}\", 1);
            header(\"Tg-Conn\", b\"tg.user.\");
            say(\"names that begin with \\\"tg.\\\" are the gateway's own\");
        }
        #[cfg(test)]
        mod tests { const A: &str = \"tg.user.\"; }
    ";
    let found = spelled(&SourceFile::parse("hub/a.rs", text));
    let expected = ["src/hub/a.rs:5: \"tg.conn.{}\"", "src/hub/a.rs:6: \"Tg-Conn\"", "src/hub/a.rs:6: \"tg.user.\""];
    assert_eq!(found, expected);
}
