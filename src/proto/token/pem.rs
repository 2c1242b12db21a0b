//! PEM (RFC 7468): binary values as text, one after the other, each with a label.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The text between a BEGIN and an END line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PemSection {
    /// `PUBLIC KEY`.
    pub label: String,
    pub der: Vec<u8>,
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// All sections of a file; text outside of them is for people (RFC 7468 section 5.2). The error is one clause.
pub(super) fn sections(file: &[u8]) -> Result<Vec<PemSection>, String> {
    let Ok(text) = std::str::from_utf8(file) else { return Err("is no text".to_owned()) };
    let mut sections = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let (section, next) = section(after).ok_or("has PEM that is not whole")?;
        sections.push(section);
        rest = next;
    }
    Ok(sections)
}

/// The section at the beginning of `text`, and the rest.
fn section(text: &str) -> Option<(PemSection, &str)> {
    let (label, text) = text.split_once(DASHES)?;
    let (body, rest) = text.split_once(&format!("{END}{label}{DASHES}"))?;
    // Old private keys have headers about their encryption (RFC 1421); their label is enough to refuse them.
    let base64: String = body.split_whitespace().collect();
    let der = if base64.contains(':') { Vec::new() } else { STANDARD.decode(base64).ok()? };
    Some((PemSection { label: label.to_owned(), der }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(label: &str, der: &[u8]) -> PemSection {
        PemSection { label: label.to_owned(), der: der.to_vec() }
    }

    #[test]
    fn sections_have_labels_and_bytes() {
        for (text, expected) in [
            ("", vec![]),
            ("words of people", vec![]),
            ("-----BEGIN A-----\nAQID\n-----END A-----", vec![section("A", &[1, 2, 3])]),
            (
                "for people\r\n-----BEGIN A B-----\r\nAQ\r\n==\r\n-----END A B-----\r\n-----BEGIN C-----\n-----END C-----\n",
                vec![section("A B", &[1]), section("C", &[])],
            ),
            ("-----BEGIN K-----\nProc-Type: 4,ENCRYPTED\n\nAQID\n-----END K-----\n", vec![section("K", &[])]),
        ] {
            assert_eq!(sections(text.as_bytes()), Ok(expected), "{text:?}");
        }
        for bad in [
            "-----BEGIN ",
            "-----BEGIN A-----\nAQID",
            "-----BEGIN A-----\nAQI\n-----END A-----",
            "-----BEGIN A-----\n-----END B-----",
        ] {
            assert!(sections(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(sections(b"\xff\xfe-").is_err());
    }
}
