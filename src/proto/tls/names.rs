//! Names in a certificate that the library which verifies it does not read: the common name, and an e-mail address.
//!
//! ```text
//!  Certificate --> TBSCertificate --+--> subject ----------------------------> commonName         (RFC 5280 section 4.1.2.6)
//!                                   '--> extensions --> subjectAltName ------> rfc822Name         (section 4.2.1.6)
//! ```
//!
//! Bytes that are not DER (X.690 section 10) have no names. A name of another form than it should have is none.

use crate::limits::CERTIFIED_NAME_BYTES_MAX;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const IA5: u8 = 0x16;
/// `[0] version`, explicit.
const VERSION: u8 = 0xa0;
/// `[3] extensions`, explicit.
const EXTENSIONS: u8 = 0xa3;
/// `[1] rfc822Name`, implicit.
const EMAIL: u8 = 0x81;

/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// The names; `None` for each that the certificate lacks, or has in a form that nothing should be granted to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OtherNames<'a> {
    /// The only common name of the subject: of two, each reader could take another one for the name.
    pub common_name: Option<&'a str>,
    /// The first address, as it is written.
    pub email: Option<&'a str>,
}

impl<'a> OtherNames<'a> {
    /// Of a certificate whose chain was verified.
    pub(super) fn read(certificate: &'a [u8]) -> OtherNames<'a> {
        read(certificate).unwrap_or_default()
    }
}

fn read(certificate: &[u8]) -> Option<OtherNames<'_>> {
    let mut signed = Der(Der(certificate).only(SEQUENCE)?);
    let mut fields = Der(signed.expect(SEQUENCE)?);
    if fields.tag() == Some(VERSION) {
        fields.next()?;
    }
    // serialNumber, signature, issuer, validity
    for _ in 0..4 {
        fields.next()?;
    }
    let subject = fields.expect(SEQUENCE)?;
    // subjectPublicKeyInfo
    fields.expect(SEQUENCE)?;
    let mut email = None;
    while let Some((tag, content)) = fields.next() {
        if tag == EXTENSIONS {
            email = alt_names(content).and_then(first_email);
        }
    }
    Some(OtherNames { common_name: common_name(subject), email })
}

/// The common name in the content of a Name: sets of attributes.
fn common_name(subject: &[u8]) -> Option<&str> {
    let mut found = None;
    let mut sets = Der(subject);
    while let Some(set) = sets.expect(SET) {
        let mut attributes = Der(set);
        while let Some(attribute) = attributes.expect(SEQUENCE) {
            let mut parts = Der(attribute);
            if parts.expect(OBJECT_ID)? != COMMON_NAME {
                continue;
            }
            let (tag, value) = parts.next()?;
            if found.replace(text(tag, value)?).is_some() {
                return None;
            }
        }
        attributes.end()?;
    }
    sets.end()?;
    found
}

/// A directory string in one of the forms of today, short enough.
fn text(tag: u8, value: &[u8]) -> Option<&str> {
    let text = str::from_utf8(value).ok().filter(|_| matches!(tag, UTF8 | PRINTABLE | IA5))?;
    let fits = (1..=CERTIFIED_NAME_BYTES_MAX).contains(&text.len());
    let is_of_its_form = tag == UTF8 || text.is_ascii();
    (fits && is_of_its_form && !text.chars().any(char::is_control)).then_some(text)
}

/// The content of the extension with the names, which occurs once at most (RFC 5280 section 4.2).
fn alt_names(extensions: &[u8]) -> Option<&[u8]> {
    let mut extensions = Der(Der(extensions).only(SEQUENCE)?);
    let mut found = None;
    while let Some(extension) = extensions.expect(SEQUENCE) {
        let mut parts = Der(extension);
        if parts.expect(OBJECT_ID)? != SUBJECT_ALT_NAME {
            continue;
        }
        if parts.tag() == Some(BOOLEAN) {
            parts.next()?;
        }
        let names = Der(parts.expect(OCTETS)?).only(SEQUENCE)?;
        if found.replace(names).is_some() {
            return None;
        }
    }
    extensions.end()?;
    found
}

fn first_email(names: &[u8]) -> Option<&str> {
    let mut names = Der(names);
    while let Some((tag, name)) = names.next() {
        if tag == EMAIL {
            return text(IA5, name).filter(|address| is_address(address));
        }
    }
    None
}

/// A mailbox and a host, without a phrase, quotes or comments (RFC 5280 section 4.2.1.6).
fn is_address(address: &str) -> bool {
    let Some((mailbox, host)) = address.split_once('@') else { return false };
    let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
    let is_odd = |byte: u8| b"@\"()<>,;:\\[]".contains(&byte);
    is_plain(mailbox) && is_plain(host) && !mailbox.bytes().chain(host.bytes()).any(is_odd)
}

/// Elements one after another.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Takes an element: its tag and its content. `None`: there is none, or it is not DER.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        // The tags of certificates have one byte.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // A certificate in a handshake is shorter than 2^24 bytes (RFC 8446 section 4.4.2).
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let len = digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit));
                let is_shortest = digits[0] != 0 && len >= 0x80;
                (is_shortest.then_some(len)?, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// Takes an element if it has this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.tag() == Some(tag) { self.next().map(|(_, content)| content) } else { None }
    }

    /// The content of the one element that there is.
    fn only(mut self, tag: u8) -> Option<&'a [u8]> {
        let content = self.expect(tag)?;
        self.end()?;
        Some(content)
    }

    /// Whether nothing follows.
    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(["pump.example".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Shop");
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn with(common_name: DnValue, email: &str) -> Vec<u8> {
        made(|params| {
            params.distinguished_name.push(DnType::CommonName, common_name);
            params.subject_alt_names.push(SanType::Rfc822Name(email.try_into().unwrap()));
        })
    }

    #[test]
    fn reads_both_names() {
        let printable = DnValue::PrintableString("pump 7".try_into().unwrap());
        let values = [(DnValue::Utf8String("Pümpe 7".to_owned()), "Pümpe 7"), (printable, "pump 7")];
        for (value, expected) in values {
            let certificate = with(value, "Ann@Shop.example");
            let expected = OtherNames { common_name: Some(expected), email: Some("Ann@Shop.example") };
            assert_eq!(OtherNames::read(&certificate), expected);
        }
        assert_eq!(OtherNames::read(&made(|_| {})), OtherNames::default());
    }

    #[test]
    fn a_name_in_a_form_that_can_be_misread_is_none() {
        for value in ["", "a\u{0}b", "a\r\nX-User: root", &"x".repeat(CERTIFIED_NAME_BYTES_MAX + 1)] {
            let certificate = with(DnValue::Utf8String(value.to_owned()), "ann@shop.example");
            assert_eq!(OtherNames::read(&certificate).common_name, None, "{value:?}");
        }
        let wide = DnValue::BmpString("ann".try_into().unwrap());
        assert_eq!(OtherNames::read(&with(wide, "a@b")).common_name, None, "two bytes a letter");
        for email in ["", "@", "ann", "ann@", "@shop", "a@b@c", "Ann <ann@shop>", "\"a b\"@shop", "ann@shop\n"] {
            let certificate = with(DnValue::Utf8String("a".to_owned()), email);
            assert_eq!(OtherNames::read(&certificate).email, None, "{email:?}");
        }
    }

    /// Two elements in a sequence, as they are in a certificate.
    fn sequence(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        [&[tag, u8::try_from(content.len()).unwrap()], &content[..]].concat()
    }

    #[test]
    fn of_two_common_names_none_counts() {
        let attribute = |name: &str| {
            sequence(SEQUENCE, &[&sequence(OBJECT_ID, &[COMMON_NAME]), &sequence(UTF8, &[name.as_bytes()])])
        };
        let set = |names: &[&str]| {
            let attributes: Vec<u8> = names.iter().flat_map(|name| attribute(name)).collect();
            sequence(SET, &[&attributes])
        };
        assert_eq!(common_name(&set(&["ann"])), Some("ann"));
        assert_eq!(common_name(&set(&["ann", "root"])), None);
        assert_eq!(common_name(&[set(&["ann"]), set(&["ann"])].concat()), None);
        assert_eq!(common_name(&[set(&["ann"]), vec![SET, 9]].concat()), None, "what follows is no DER");
    }

    #[test]
    fn lengths_are_the_shortest_and_end_within_the_bytes() {
        for bad in [
            &[0x30][..],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x81, 1, 0],
            &[0x30, 0x82, 0, 0x80],
            &[0x30, 2, 0],
            &[0x30, 0x84, 0, 0, 0, 1, 0],
            &[0x3f, 1, 0],
        ] {
            assert!(Der(bad).next().is_none(), "{bad:?}");
        }
        let long = [&[0x30, 0x81, 0x80][..], &[7; 0x80], &[1]].concat();
        let mut elements = Der(&long);
        assert_eq!(elements.next(), Some((SEQUENCE, &[7; 0x80][..])));
        assert_eq!(elements.0, [1]);
    }

    #[test]
    fn a_certificate_that_is_cut_off_has_no_names() {
        let certificate = with(DnValue::Utf8String("ann".to_owned()), "ann@shop.example");
        for end in 0..certificate.len() {
            assert_eq!(OtherNames::read(&certificate[..end]), OtherNames::default());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
            junk in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut certificate = with(DnValue::Utf8String("ann".to_owned()), "ann@shop.example");
            for (at, byte) in changes {
                let at = at.index(certificate.len());
                certificate[at] = byte;
            }
            for bytes in [&certificate[..], &junk] {
                let names = OtherNames::read(bytes);
                for name in [names.common_name, names.email].into_iter().flatten() {
                    prop_assert!(!name.is_empty() && name.len() <= CERTIFIED_NAME_BYTES_MAX);
                    prop_assert!(!name.chars().any(char::is_control));
                }
            }
        }
    }
}
