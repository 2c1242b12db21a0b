//! The trace that a request belongs to (W3C Trace Context, Level 1), for servers and workers.
//!
//! ```text
//! traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//!              version, trace, span (the parent of what the receiver does), flags
//! ```
//!
//! A trusted proxy's trace goes on, with a span of the gateway's own. A stranger could join any trace and have any number of
//! requests recorded, so its trace is replaced by a new one.

use super::head::Head;

/// The name of the field. In lower case, as the standard wishes for systems that compare it exactly.
pub const TRACE_FIELD: &str = "traceparent";
/// The vendors' additions to a trace, which mean nothing without that trace.
pub(super) const STATE_FIELD: &str = "tracestate";

/// The only flag of version 00: the parent may have recorded its part.
const SAMPLED: u8 = 1;

/// Where a request belongs in a trace. Neither id is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    flags: u8,
    /// The trace is that of a trusted proxy.
    pub is_continued: bool,
}

/// The id of the trace in the field's value.
const ID_AT: std::ops::Range<usize> = 3..35;

impl TraceContext {
    /// Of a request that is, or is not, that of a trusted proxy. `random`: for what is new.
    pub fn of(head: &Head<'_>, is_from_proxy: bool, random: [u64; 3]) -> TraceContext {
        let given = if is_from_proxy { head.single_header(TRACE_FIELD).ok().flatten().and_then(parse) } else { None };
        let [high, low, span] = random;
        let own = u128::from(high) << 64 | u128::from(low);
        // "It should be set to 0 as the default option when the trace is initiated by this component" (section 3.2.2.5.1), if
        // that records nothing.
        let (trace, flags) = given.unwrap_or((own.max(1), 0));
        TraceContext { trace, span: span.max(1), flags, is_continued: given.is_some() }
    }

    /// The value of the field.
    pub fn text(&self) -> TraceText {
        let mut bytes = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let [high, low] = [(self.trace >> 64) as u64, self.trace as u64];
        for (at, digits, value) in [(3, 16, high), (19, 16, low), (36, 16, self.span), (53, 2, self.flags.into())] {
            for (index, digit) in bytes[at..at + digits].iter_mut().enumerate() {
                *digit = b"0123456789abcdef"[(value >> (4 * (digits - 1 - index)) & 0xf) as usize];
            }
        }
        TraceText(bytes)
    }
}

/// The value of the field as text.
pub struct TraceText([u8; 55]);

impl TraceText {
    pub fn as_str(&self) -> &str {
        // Digits and dashes.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The id of the trace: 32 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.as_str()[ID_AT]
    }
}

/// Trace and flags of a field's value (section 3.2.2). A later version may have more behind them; a malformed value is none.
fn parse(value: &str) -> Option<(u128, u8)> {
    let mut parts = value.splitn(5, '-');
    let (version, trace) = (hex(parts.next()?, 2)?, hex(parts.next()?, 32)?);
    let (span, flags) = (hex(parts.next()?, 16)?, hex(parts.next()?, 2)?);
    let has_more = parts.next().is_some();
    let is_known = version == 0 && !has_more || (1..0xff).contains(&version);
    (is_known && trace != 0 && span != 0).then_some((trace, flags as u8 & SAMPLED))
}

/// A number of so many digits, which are in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != digits || !text.bytes().all(is_digit) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::super::next_head;
    use super::*;

    fn context(lines: &str, is_from_proxy: bool) -> TraceContext {
        let mut bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
        let head = next_head(&mut &mut bytes[..]).unwrap().unwrap();
        TraceContext::of(&head, is_from_proxy, [1, 2, 3])
    }

    const GIVEN: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    const NEW: &str = "00-00000000000000010000000000000002-0000000000000003-00";

    #[test]
    fn a_trusted_proxys_trace_goes_on_with_another_span_and_a_strangers_does_not() {
        let continued = context(GIVEN, true);
        assert_eq!(continued.text().as_str(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000003-01");
        assert_eq!((continued.text().id(), continued.is_continued), ("4bf92f3577b34da6a3ce929d0e0e4736", true));
        let replaced = context(GIVEN, false);
        assert_eq!((replaced.text().as_str(), replaced.is_continued), (NEW, false));
    }

    #[test]
    fn what_is_malformed_is_no_trace() {
        for value in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(context(&format!("traceparent: {value}\r\n"), true).text().as_str(), NEW, "{value}");
        }
        assert_eq!(context(&GIVEN.repeat(2), true).text().as_str(), NEW, "of two, neither is believed");
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = "traceparent: 42-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-more-of-it\r\n";
        assert_eq!(context(later, true).text().as_str(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000003-01");
    }
}
