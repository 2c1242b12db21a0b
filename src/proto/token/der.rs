//! As much DER (X.690) as is needed to tell the kind of a public key. The library that verifies signatures checks the
//! key itself.

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// The content of the AlgorithmIdentifier, and the key, of a SubjectPublicKeyInfo (RFC 5280 section 4.1).
pub(super) fn public_key_info(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut info, rest) = take(der, SEQUENCE)?;
    let (algorithm, after) = take(info, SEQUENCE)?;
    info = after;
    let (bits, nothing) = take(info, BIT_STRING)?;
    let (unused, key) = bits.split_first()?;
    (*unused == 0 && rest.is_empty() && nothing.is_empty()).then_some((algorithm, key))
}

/// The length of the modulus of an RSAPublicKey (RFC 8017 appendix A.1.1).
pub(super) fn rsa_bits(der: &[u8]) -> Option<usize> {
    let (numbers, _) = take(der, SEQUENCE)?;
    let (modulus, _) = take(numbers, INTEGER)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let (first, others) = modulus[zeros..].split_first()?;
    Some(8 * (others.len() + 1) - first.leading_zeros() as usize)
}

/// An RSAPublicKey of these numbers, which are whole, unsigned and big-endian.
pub(super) fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let numbers = [modulus, exponent].map(|number| {
        let digits = &number[number.iter().take_while(|byte| **byte == 0).count()..];
        // A first bit that is set would be a sign.
        let sign: &[u8] = if digits.first().is_none_or(|first| *first >= 0x80) { &[0] } else { &[] };
        put(INTEGER, &[sign, digits].concat())
    });
    put(SEQUENCE, &numbers.concat())
}

fn put(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits = &length[length.iter().take_while(|digit| **digit == 0).count()..];
    let mut value = vec![tag];
    if content.len() < 0x80 {
        value.push(content.len() as u8);
    } else {
        value.push(0x80 | digits.len() as u8);
        value.extend_from_slice(digits);
    }
    value.extend_from_slice(content);
    value
}

/// The content of a value with this tag at the beginning of `der`, and the rest.
fn take(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (own, rest) = der.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let length = match first {
        0..=0x7f => usize::from(*first),
        // A longer value cannot be a key.
        0x81..=0x82 => {
            let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            rest = after;
            digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))
        }
        _ => return None,
    };
    if *own == tag { rest.split_at_checked(length) } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_length_of_a_modulus_leaves_its_zeros_out() {
        for (der, bits) in [
            (&[0x30, 4, 2, 2, 0, 0x80][..], Some(8)),
            (&[0x30, 4, 2, 2, 1, 0], Some(9)),
            (&[0x30, 3, 2, 1, 0], None),
            (&[0x30, 5, 2, 1, 1], None),
            (&[0x30, 0x83, 0, 0, 3, 2, 1, 1], None),
            (&[0x31, 3, 2, 1, 1], None),
            (&[], None),
        ] {
            assert_eq!(rsa_bits(der), bits, "{der:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(der in prop::collection::vec(prop::sample::select(
            vec![0x30, 2, 3, 0, 1, 4, 0x7f, 0x80, 0x81, 0x82, 0xff]), 0..40)) {
            let _ = (public_key_info(&der), rsa_bits(&der));
        }
    }
}
