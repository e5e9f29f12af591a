//! Trace context in the headers of HTTP and gRPC.
use super::{TraceContext, TraceState};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that says which trace and which span of it.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header of what others have added.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

impl TraceContext {
    /// The place in a trace that these headers hand over. None if there is no `traceparent`, more
    /// than one, or a malformed one; `tracestate` does not count then. A malformed `tracestate`
    /// is left out.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let context: Self = value.to_str().ok()?.parse().ok()?;
        if !headers.contains_key(TRACESTATE) {
            return Some(context);
        }
        let texts = headers.get_all(TRACESTATE).iter().map(HeaderValue::to_str);
        // One that is no text makes the list malformed.
        let state = TraceState::parse(texts.map(|text| text.unwrap_or("malformed")));
        Some(context.with_state(state))
    }

    /// Writes the headers that hand this place to whoever is called, in place of what is there.
    pub fn inject(&self, headers: &mut HeaderMap) {
        // Digits and hyphens, and printable characters, are values in every case.
        if let Ok(value) = HeaderValue::from_str(self.traceparent().as_str()) {
            headers.insert(TRACEPARENT, value);
        }
        match HeaderValue::from_str(self.state().as_str()) {
            Ok(value) if !self.state().is_empty() => headers.insert(TRACESTATE, value),
            _ => headers.remove(TRACESTATE),
        };
    }
}

/// Hands the current place in a trace to whoever is called with these headers. Does nothing
/// outside of spans.
///
/// For clients that are no Tower services; for those that are, there is
/// [`ClientTraceLayer`](super::ClientTraceLayer).
pub fn inject(headers: &mut HeaderMap) {
    if let Some(context) = TraceContext::current() {
        context.inject(headers);
    }
}

#[cfg(test)]
mod tests {
    use super::{TRACEPARENT, TRACESTATE};
    use crate::trace::TraceContext;
    use http::{HeaderMap, HeaderValue};

    const PARENT: &str = "00-12345678901234567890123456789012-1234567890123456-01";

    fn headers(all: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn read(all: &[(&'static str, &[u8])]) -> Option<(String, String)> {
        let context = TraceContext::from_headers(&headers(all))?;
        Some((context.traceparent().to_string(), context.state().to_string()))
    }

    #[test]
    fn one_parent_and_its_state() {
        let parent = ("traceparent", PARENT.as_bytes());
        let is = |state: &str| Some((PARENT.to_owned(), state.to_owned()));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[parent]), is(""));
        assert_eq!(read(&[parent, ("tracestate", b"a=1")]), is("a=1"));
        assert_eq!(read(&[parent, ("tracestate", b"a=1"), ("tracestate", b"b=2")]), is("a=1,b=2"));
        assert_eq!(read(&[parent, ("tracestate", b"a=1"), ("tracestate", b"\xff")]), is(""));
        assert_eq!(read(&[parent, parent]), None, "the same twice is two");
        assert_eq!(read(&[("tracestate", b"a=1")]), None);
        assert_eq!(read(&[("traceparent", b"00-x"), ("tracestate", b"a=1")]), None);
        assert_eq!(read(&[("traceparent", b"\xff")]), None);
    }

    #[test]
    fn writes_in_place_of_what_is_there() {
        let mut all =
            headers(&[("traceparent", b"x"), ("traceparent", b"y"), ("tracestate", b"z")]);
        let context: TraceContext = PARENT.parse().unwrap();
        context.inject(&mut all);
        assert_eq!(all.get_all(TRACEPARENT).iter().collect::<Vec<_>>(), [PARENT]);
        assert!(!all.contains_key(TRACESTATE));
        let state = crate::trace::TraceState::parse(["a=1", "b=2"]);
        context.with_state(state).inject(&mut all);
        assert_eq!(all[TRACESTATE], "a=1,b=2");
    }
}
