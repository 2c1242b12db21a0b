//! One form of a path: what a route is matched with is what its upstream gets.
//!
//! ```text
//! //a/%62%2d%c3%a9  -->  /a/b-%C3%A9
//! ```
//!
//! Two readers of one path must not find two resources: a rule for `/admin/*` would not hold for `/%61dmin/x` or `//admin/x`.

use std::borrow::Cow;

use super::target::{hex_byte, is_unreserved, split_path};
use crate::proto::CloseReason;

/// The path with its unreserved signs unescaped, the digits of other escapes in upper case, and runs of slashes as one.
///
/// `Err` for a path that routers and upstreams read differently: dot segments, broken escapes, an escaped backslash or
/// control character, and, unless `may_escape_slashes`, an escaped slash.
pub fn canonical_path(path: &str, may_escape_slashes: bool) -> Result<Cow<'_, str>, CloseReason> {
    if is_plain(path) {
        return Ok(Cow::Borrowed(path));
    }
    split_path(path)?;
    let mut canonical = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let escaped = bytes.next().zip(bytes.next()).and_then(|(high, low)| hex_byte(high, low));
                match escaped.ok_or(CloseReason::MalformedRequest)? {
                    b'/' if !may_escape_slashes => return Err(CloseReason::MalformedRequest),
                    b'\\' | 0..0x20 | 0x7f => return Err(CloseReason::MalformedRequest),
                    byte if is_unreserved(byte) => canonical.push(byte.into()),
                    byte => {
                        let [high, low] = [byte >> 4, byte & 15].map(|digit| b"0123456789ABCDEF"[digit as usize]);
                        canonical.extend(['%', high.into(), low.into()]);
                    }
                }
            }
            b'/' if canonical.ends_with('/') => {}
            b'\\' => return Err(CloseReason::MalformedRequest),
            byte => canonical.push(byte.into()),
        }
    }
    Ok(Cow::Owned(canonical))
}

/// Whether it has one form and one reading: no escape, no backslash, and no segment that is empty, unless it is the last one, or
/// begins with a dot. Most paths are so.
fn is_plain(path: &str) -> bool {
    let mut before = 0;
    path.starts_with('/')
        && path.bytes().all(|byte| {
            let begins = std::mem::replace(&mut before, byte) == b'/';
            !(matches!(byte, b'%' | b'\\') || begins && matches!(byte, b'/' | b'.'))
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_has_one_form() {
        for (path, canonical) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("//", "/"),
            ("//a///b//", "/a/b/"),
            ("/%61%2D%2e%5F%7e", "/a-._~"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a%20b%3fc%25", "/a%20b%3Fc%25"),
            ("/a;b=c/@:!$&'()*+,", "/a;b=c/@:!$&'()*+,"),
            ("/...", "/..."),
        ] {
            assert_eq!(canonical_path(path, false).as_deref(), Ok(canonical), "{path}");
        }
    }

    #[test]
    fn refuses_paths_that_others_read_differently() {
        for path in [
            "*",
            "",
            "/.",
            "/a/../b",
            "/a/%2e%2E/b",
            "/%2e",
            "/%",
            "/%4",
            "/%zz",
            "/%ff",
            "/\\",
            "/a%5Cb",
            "/a%5cb",
            "/%00",
            "/a%0d%0ab",
            "/%1f",
            "/%7F",
            "/a%2Fb",
            "/a%2fb",
            "/a%2F..%2Fb",
        ] {
            assert_eq!(canonical_path(path, false), Err(CloseReason::MalformedRequest), "{path}");
        }
        assert_eq!(canonical_path("/a%2fb//c", true).as_deref(), Ok("/a%2Fb/c"));
        assert_eq!(canonical_path("/a%5cb", true), Err(CloseReason::MalformedRequest));
    }

    proptest! {
        #[test]
        fn the_form_of_a_form_is_itself_and_names_the_same_segments(
            pieces in prop::collection::vec(prop::sample::select(vec!["/", "a", ".", "%41", "%2f", "%c3%a9", "%7e", "%20", "%5c"]), 0..12),
            may_escape_slashes: bool,
        ) {
            let path = format!("/{}", pieces.concat());
            if let Ok(canonical) = canonical_path(&path, may_escape_slashes) {
                prop_assert_eq!(canonical_path(&canonical, may_escape_slashes).unwrap(), canonical.clone());
                let merged = |path: &str| {
                    let all: Vec<_> = split_path(path).unwrap().iter().map(|segment| segment.to_string()).collect();
                    let last = all.len() - 1;
                    let kept = all.iter().enumerate().filter(|(index, segment)| *index == last || !segment.is_empty());
                    kept.map(|(_, segment)| segment.clone()).collect::<Vec<_>>()
                };
                prop_assert_eq!(merged(&path), merged(&canonical));
            }
        }
    }
}
