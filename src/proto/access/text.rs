//! Texts of clients within a line of a log: nothing in them ends the line, their quotes, or moves a terminal's cursor.

/// As a text of JSON (RFC 8259 section 7), in quotes. Control characters, those of C1 too, are escaped; bytes that are no UTF-8
/// become U+FFFD.
pub(super) fn push_json(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    // Without an early end, so that many bytes are looked at in one step. Most texts are plain.
    if text.iter().fold(true, |is_plain, byte| is_plain & is_plain_in_json(*byte)) {
        out.extend_from_slice(text);
        out.push(b'"');
        return;
    }
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some((at, special)) = rest.char_indices().find(|(_, sign)| is_special(*sign)) {
            out.extend_from_slice(&rest.as_bytes()[..at]);
            match special {
                '"' | '\\' => out.extend([b'\\', special as u8]),
                control => {
                    let code = u32::from(control);
                    out.extend_from_slice(b"\\u");
                    out.extend([12, 8, 4, 0].map(|shift| hex_digit(code >> shift)));
                }
            }
            rest = &rest[at + special.len_utf8()..];
        }
        out.extend_from_slice(rest.as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

/// Within quotes, as Apache and nginx write it: `\xHH` for each byte that is not printable ASCII, for quotes and backslashes.
pub(super) fn push_quoted(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match byte {
            b'"' | b'\\' => push_hex(out, *byte),
            b' '..=b'~' => out.push(*byte),
            _ => push_hex(out, *byte),
        }
    }
}

/// Between blanks: the same, and a blank is escaped, too. `-` for an empty text.
pub(super) fn push_word(out: &mut Vec<u8>, text: &[u8]) {
    if text.is_empty() {
        out.push(b'-');
    }
    for part in text.split_inclusive(|byte| *byte == b' ') {
        match part.strip_suffix(b" ") {
            Some(before) => {
                push_quoted(out, before);
                push_hex(out, b' ');
            }
            None => push_quoted(out, part),
        }
    }
}

fn is_plain_in_json(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')
}

fn is_special(sign: char) -> bool {
    sign.is_control() || matches!(sign, '"' | '\\')
}

fn push_hex(out: &mut Vec<u8>, byte: u8) {
    out.extend([b'\\', b'x', hex_digit(u32::from(byte) >> 4), hex_digit(byte.into())]);
}

/// The digit for the lowest four bits.
fn hex_digit(bits: u32) -> u8 {
    b"0123456789abcdef"[(bits & 0xf) as usize]
}
