//! The place in a trace that one process hands to the next: the header `traceparent`.
use super::id::write_hex;
use super::{SpanId, TraceId, TraceState};
use std::fmt;
use std::str::FromStr;

/// A place in a trace: which trace, which span of it, and whether it is recorded.
///
/// It is what travels in the headers `traceparent` and `tracestate` of the
/// [W3C standard](https://www.w3.org/TR/trace-context/). Cheap to clone.
///
/// ```
/// use octostack_telemetry::trace::TraceContext;
///
/// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let context: TraceContext = text.parse()?;
/// assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert!(context.is_sampled());
///
/// let child = context.child(); // of the same trace, with a span id of its own
/// assert_eq!(child.trace_id(), context.trace_id());
/// assert_ne!(child.span_id(), context.span_id());
/// assert_eq!(context.traceparent().as_str(), text);
/// # Ok::<(), octostack_telemetry::trace::TraceContextError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: TraceId,
    span_id: SpanId,
    flags: u8,
    state: TraceState,
}

const SAMPLED: u8 = 0b01;
/// The bits with a meaning: sampled, and that the id is random (level 2 of the standard).
const KNOWN: u8 = 0b11;

/// Length of a `traceparent` of version 00.
const LENGTH: usize = 55;

impl TraceContext {
    /// A place in the trace of these ids.
    pub const fn new(trace_id: TraceId, span_id: SpanId, sampled: bool) -> Self {
        let flags = if sampled { SAMPLED } else { 0 };
        Self { trace_id, span_id, flags, state: TraceState::NONE }
    }

    /// The beginning of a new trace.
    pub fn random(sampled: bool) -> Self {
        Self::new(TraceId::random(), SpanId::random(), sampled)
    }

    /// A new span of the same trace: what to hand on to whoever is called.
    pub fn child(&self) -> Self {
        Self { span_id: SpanId::random(), ..self.clone() }
    }

    /// Sets whether the trace is recorded.
    pub const fn with_sampled(mut self, sampled: bool) -> Self {
        self.flags = (self.flags & !SAMPLED) | if sampled { SAMPLED } else { 0 };
        self
    }

    /// Takes over what travels with the trace of `other` beside its ids.
    pub(super) fn with_flags_of(self, other: &Self) -> Self {
        Self { flags: other.flags, state: other.state.clone(), ..self }
    }

    /// Sets the flags of a `traceparent`; bits without a meaning are left out.
    #[cfg(feature = "otlp")]
    pub(super) const fn with_flags(mut self, flags: u8) -> Self {
        self.flags = flags & KNOWN;
        self
    }

    /// The flags of its `traceparent`.
    #[cfg(feature = "otlp")]
    pub(super) const fn flags(&self) -> u8 {
        self.flags
    }

    /// Sets what travels in `tracestate`.
    pub fn with_state(mut self, state: TraceState) -> Self {
        self.state = state;
        self
    }

    /// Which trace.
    pub const fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// Which span of it.
    pub const fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// Whether somebody has decided to record this trace.
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// What travels in `tracestate`.
    pub const fn state(&self) -> &TraceState {
        &self.state
    }

    /// The text of the header `traceparent`.
    pub fn traceparent(&self) -> Traceparent {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&self.trace_id.to_u128().to_be_bytes(), &mut text[3..35]);
        write_hex(&self.span_id.to_u64().to_be_bytes(), &mut text[36..52]);
        write_hex(&[self.flags], &mut text[53..]);
        Traceparent(text)
    }
}

/// Reads a `traceparent`; there is no state yet. Allocates nothing.
impl FromStr for TraceContext {
    type Err = TraceContextError;

    fn from_str(text: &str) -> Result<Self, TraceContextError> {
        use TraceContextError as Wrong;
        let text = text.as_bytes();
        if text.len() < LENGTH {
            return Err(Wrong::Length);
        }
        let version = hex(&text[..2]).ok_or(Wrong::Version)?;
        // What a later version adds stands behind another hyphen and is not for us.
        let whole = match version {
            0x00 => text.len() == LENGTH,
            0xff => return Err(Wrong::Version),
            _ => text.len() == LENGTH || text[LENGTH] == b'-',
        };
        if !whole {
            return Err(Wrong::Length);
        }
        if [text[2], text[35], text[52]] != [b'-'; 3] {
            return Err(Wrong::Separator);
        }
        let trace_id = hex(&text[3..35]).and_then(TraceId::new).ok_or(Wrong::TraceId)?;
        let span_id = hex(&text[36..52]).and_then(|id| u64::try_from(id).ok());
        let span_id = span_id.and_then(SpanId::new).ok_or(Wrong::SpanId)?;
        let flags = hex(&text[53..55]).and_then(|flags| u8::try_from(flags).ok());
        let flags = flags.ok_or(Wrong::Flags)? & KNOWN;
        Ok(Self { trace_id, span_id, flags, state: TraceState::default() })
    }
}

/// The number of these digits. None if there is anything but digits in lower case.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// The text of a `traceparent`, on the stack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Traceparent([u8; LENGTH]);

impl Traceparent {
    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default() // digits and hyphens
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Traceparent({self})")
    }
}

/// What is wrong with a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceContextError {
    /// It is not as long as its version has it.
    Length,
    /// Its version is `ff` or no number.
    Version,
    /// Its parts are not separated by hyphens.
    Separator,
    /// Its trace id is all zero or not of digits in lower case.
    TraceId,
    /// Its span id is all zero or not of digits in lower case.
    SpanId,
    /// Its flags are not of digits in lower case.
    Flags,
}

impl fmt::Display for TraceContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Length => "it is not of 55 characters",
            Self::Version => "its version is not 00 to fe",
            Self::Separator => "its parts are not separated by hyphens",
            Self::TraceId => "its trace id is all zero or not 32 digits of 0-9 and a-f",
            Self::SpanId => "its span id is all zero or not 16 digits of 0-9 and a-f",
            Self::Flags => "its flags are not 2 digits of 0-9 and a-f",
        };
        write!(f, "no traceparent such as `00-{{trace id}}-{{span id}}-01`: {what}")
    }
}

impl std::error::Error for TraceContextError {}

#[cfg(test)]
mod tests {
    use super::{SpanId, TraceContext, TraceContextError as Wrong, TraceId};
    use proptest::prelude::*;

    const TRACE: &str = "12345678901234567890123456789012";
    const SPAN: &str = "1234567890123456";

    fn parse(text: &str) -> Result<TraceContext, Wrong> {
        text.parse()
    }

    #[test]
    fn reads_what_the_standard_allows() {
        for (text, sampled) in [
            (format!("00-{TRACE}-{SPAN}-00"), false),
            (format!("00-{TRACE}-{SPAN}-01"), true),
            (format!("00-{TRACE}-{SPAN}-ff"), true),
            (format!("00-{TRACE}-{SPAN}-fe"), false),
            (format!("cc-{TRACE}-{SPAN}-01"), true),
            (format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like"), true),
            (format!("fe-{TRACE}-{SPAN}-01-"), true),
        ] {
            let context = parse(&text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
            assert_eq!(context.trace_id().to_string(), TRACE, "{text}");
            assert_eq!(context.span_id().to_string(), SPAN, "{text}");
            assert_eq!(context.is_sampled(), sampled, "{text}");
        }
        let later = parse(&format!("cc-{TRACE}-{SPAN}-fd")).unwrap();
        assert_eq!(later.traceparent().as_str(), format!("00-{TRACE}-{SPAN}-01"), "in our version");
        let random = parse(&format!("00-{TRACE}-{SPAN}-03")).unwrap();
        assert_eq!(random.traceparent().as_str(), format!("00-{TRACE}-{SPAN}-03"));
    }

    #[test]
    fn refuses_what_the_standard_forbids() {
        for (text, wrong) in [
            (String::new(), Wrong::Length),
            ("00".into(), Wrong::Length),
            (format!("00-{TRACE}-{SPAN}"), Wrong::Length),
            (format!("00-{TRACE}-{SPAN}-1"), Wrong::Length),
            (format!("00-{TRACE}-{SPAN}-01."), Wrong::Length),
            (format!("00-{TRACE}-{SPAN}-01-more"), Wrong::Length),
            (format!("cc-{TRACE}-{SPAN}-01.more"), Wrong::Length),
            (format!("ff-{TRACE}-{SPAN}-01"), Wrong::Version),
            (format!(".0-{TRACE}-{SPAN}-01"), Wrong::Version),
            (format!("0A-{TRACE}-{SPAN}-01"), Wrong::Version),
            (format!("00_{TRACE}-{SPAN}-01"), Wrong::Separator),
            (format!("00-{TRACE}.{SPAN}-01"), Wrong::Separator),
            (format!("00-{TRACE}-{SPAN}_01"), Wrong::Separator),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), Wrong::TraceId),
            (format!("00-.{}-{SPAN}-01", &TRACE[1..]), Wrong::TraceId),
            (format!("00-{}-{SPAN}-01", TRACE.replace('1', "A")), Wrong::TraceId),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), Wrong::SpanId),
            (format!("00-{TRACE}-{}-01", SPAN.replace('1', "F")), Wrong::SpanId),
            (format!("00-{TRACE}-{SPAN}-.0"), Wrong::Flags),
            (format!("00-{TRACE}-{SPAN}-0A"), Wrong::Flags),
        ] {
            assert_eq!(parse(&text), Err(wrong), "{text}");
        }
    }

    #[test]
    fn a_child_keeps_all_but_the_span() {
        let context = TraceContext::random(true).with_state(super::TraceState::parse(["a=1"]));
        let child = context.child();
        assert_eq!(TraceContext { span_id: context.span_id, ..child.clone() }, context);
        assert_ne!(child, context);
        assert!(!child.clone().with_sampled(false).is_sampled());
        assert_eq!(child.clone().with_sampled(false).with_sampled(true), child);
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(trace in 1_u128.., span in 1_u64.., sampled: bool) {
            let ids = (TraceId::new(trace).unwrap(), SpanId::new(span).unwrap());
            let context = TraceContext::new(ids.0, ids.1, sampled);
            prop_assert_eq!(parse(context.traceparent().as_str()), Ok(context));
        }

        #[test]
        fn no_text_panics(text in any::<String>(), like in "[0-9a-fA-F-]{50,60}") {
            let _ = parse(&text);
            let _ = parse(&like);
        }

        #[test]
        fn a_change_of_one_byte_is_refused_or_another_context(at in 0_usize..55, byte in b' '..=b'~') {
            let context = TraceContext::random(true);
            let mut text = context.traceparent().as_str().to_owned().into_bytes();
            prop_assume!(text[at] != byte && at != 53 && at != 54 && at > 1);
            text[at] = byte;
            prop_assert_ne!(parse(std::str::from_utf8(&text).unwrap()), Ok(context));
        }
    }
}
