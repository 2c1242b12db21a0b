//! The claims of a token in their various spellings: a user may be a number, a time may have a fraction.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::refused::{Claim, TokenFault};
use crate::limits::TOKEN_SECONDS_MAX;

/// The claims with a meaning here; others are ignored. `null` counts as a missing claim.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Claims<'a> {
    #[serde(borrow)]
    sub: Option<&'a RawValue>,
    #[serde(borrow)]
    pub exp: Option<&'a RawValue>,
    #[serde(borrow)]
    pub nbf: Option<&'a RawValue>,
    pub info: Option<Box<RawValue>>,
    #[serde(borrow)]
    channels: Option<&'a RawValue>,
    #[serde(borrow)]
    channel: Option<&'a RawValue>,
    #[serde(borrow)]
    publish: Option<&'a RawValue>,
}

impl<'a> Claims<'a> {
    pub(super) fn read(json: &'a [u8]) -> Result<Claims<'a>, TokenFault> {
        // serde also accepts lists for structures.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(TokenFault::Claims);
        }
        serde_json::from_slice(json).map_err(|_| TokenFault::Claims)
    }

    /// The name of the user; `None` if the claim is missing or empty.
    pub(super) fn sub(&self) -> Result<Option<Cow<'a, str>>, TokenFault> {
        optional(self.sub, Claim::Sub)
    }

    /// The channel of a subscription token, in the same way.
    pub(super) fn channel(&self) -> Result<Option<Cow<'a, str>>, TokenFault> {
        optional(self.channel, Claim::Channel)
    }

    /// Whether a subscription token allows publishing, too.
    pub(super) fn may_publish(&self) -> Result<bool, TokenFault> {
        self.publish.map_or(Ok(false), |value| serde_json::from_str(value.get()).map_err(|_| TokenFault::NoSwitch))
    }

    /// Each channel of `channels`.
    pub(super) fn channels(&self) -> Result<Vec<Cow<'a, str>>, TokenFault> {
        let Some(list) = self.channels else { return Ok(Vec::new()) };
        let items: Vec<&RawValue> = serde_json::from_str(list.get()).map_err(|_| TokenFault::NoList)?;
        items.into_iter().map(|item| text(item).ok_or(TokenFault::NoText(Claim::Channels))).collect()
    }
}

fn optional(value: Option<&RawValue>, claim: Claim) -> Result<Option<Cow<'_, str>>, TokenFault> {
    let Some(value) = value else { return Ok(None) };
    let text = text(value).ok_or(TokenFault::NoText(claim))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// A text, or the digits of a whole number: many applications number their users, and some number their channels.
pub(super) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let json = value.get();
    match json.as_bytes().first()? {
        b'"' => serde_json::from_str(json).ok().map(Cow::Owned),
        b'-' | b'0'..=b'9' => whole(json),
        _ => None,
    }
}

/// The digits of a JSON number. A number with a fraction or an exponent is accepted up to the largest value at which
/// doubles represent every whole number (RFC 8259 section 6).
fn whole(number: &str) -> Option<Cow<'_, str>> {
    const WHOLE_MAX: f64 = 9_007_199_254_740_991.0;
    if number.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) && number != "-0" {
        return Some(Cow::Borrowed(number));
    }
    let value: f64 = number.parse().ok()?;
    let is_whole = value.fract() == 0.0 && value.abs() <= WHOLE_MAX;
    is_whole.then(|| Cow::Owned((value as i64).to_string()))
}

/// Seconds of Unix time: any JSON number (RFC 7519 section 2, NumericDate), or one in a string, which Go's libraries
/// also accept.
pub(super) fn date(value: &RawValue) -> Option<f64> {
    let json = value.get();
    let number: Cow<'_, str> = match json.as_bytes().first()? {
        b'"' => Cow::Owned(serde_json::from_str(json).ok()?),
        _ => Cow::Borrowed(json),
    };
    let is_number = number.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
    if is_number { number.parse().ok() } else { None }
}

/// Whole seconds from `now` to `end`, rounded up and bounded; `None` if `end` has passed.
pub(super) fn seconds_until(end: f64, now: u64) -> Option<u64> {
    let left = end - now as f64;
    (left > 0.0).then(|| (left.ceil() as u64).min(TOKEN_SECONDS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn a_number_is_its_digits() {
        for (json, expected) in [
            ("\"ann\"", Some("ann")),
            ("\"4\\u00e9\"", Some("4é")),
            ("\"\"", Some("")),
            ("42", Some("42")),
            ("-7", Some("-7")),
            ("0", Some("0")),
            ("-0", Some("0")),
            ("42.0", Some("42")),
            ("4.2e1", Some("42")),
            ("1e3", Some("1000")),
            ("12345678901234567890123", Some("12345678901234567890123")),
            ("1e300", None),
            ("1e999", None),
            ("4.2", None),
            ("1e-3", None),
            ("true", None),
            ("[\"ann\"]", None),
            ("{}", None),
        ] {
            assert_eq!(text(&raw(json)).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn a_date_is_any_number() {
        for (json, expected) in [
            ("1800000000", Some(1_800_000_000.0)),
            ("1800000000.5", Some(1_800_000_000.5)),
            ("1.8e9", Some(1_800_000_000.0)),
            ("18E+8", Some(1_800_000_000.0)),
            ("-1", Some(-1.0)),
            ("\"1800000000\"", Some(1_800_000_000.0)),
            ("1e999", Some(f64::INFINITY)),
            ("-1e999", Some(f64::NEG_INFINITY)),
            ("\"\"", None),
            ("\"inf\"", None),
            ("\"nan\"", None),
            ("\"2030-01-01\"", None),
            ("true", None),
            ("[1]", None),
        ] {
            assert_eq!(date(&raw(json)), expected, "{json}");
        }
    }

    #[test]
    fn seconds_are_rounded_up_and_bounded() {
        for (end, expected) in [
            (160.0, Some(60)),
            (160.5, Some(61)),
            (100.25, Some(1)),
            (100.0, None),
            (-1e300, None),
            (f64::NEG_INFINITY, None),
            (1e300, Some(TOKEN_SECONDS_MAX)),
            (f64::INFINITY, Some(TOKEN_SECONDS_MAX)),
        ] {
            assert_eq!(seconds_until(end, 100), expected, "{end}");
        }
    }

    #[test]
    fn claims_are_one_object() {
        for bad in ["", "[]", "1", "null", "{\"sub\":1,\"sub\":2}", "{\"sub\":", "[null,null,null,null,null,null]"] {
            assert_eq!(Claims::read(bad.as_bytes()).unwrap_err(), TokenFault::Claims, "{bad}");
        }
        let claims = Claims::read(b" {\"aud\":[1],\"iat\":\"x\",\"exp\":null,\"channels\":[\"a\",7]}").unwrap();
        assert!(claims.exp.is_none());
        assert_eq!(claims.channels().unwrap(), ["a", "7"]);
        for (bad, fault) in [("\"a\"", TokenFault::NoList), ("[[]]", TokenFault::NoText(Claim::Channels))] {
            let json = format!("{{\"channels\":{bad}}}");
            assert_eq!(Claims::read(json.as_bytes()).unwrap().channels().unwrap_err(), fault, "{bad}");
        }
    }
}
