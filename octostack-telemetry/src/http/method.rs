//! HTTP methods as label values: those of RFC 9110 and `PATCH`, anything else as `_OTHER`.
//!
//! A client may send any token as method. Copied into a label it is a series for each request.
use http::Method;

/// Names of the methods by [`index`]; the last stands for all others.
pub(crate) const NAMES: [&str; 10] =
    ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "_OTHER"];

/// Where a method stands in [`NAMES`].
#[inline]
pub(crate) fn index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::POST => 1,
        Method::PUT => 2,
        Method::DELETE => 3,
        Method::HEAD => 4,
        Method::OPTIONS => 5,
        Method::PATCH => 6,
        Method::CONNECT => 7,
        Method::TRACE => 8,
        _ => 9,
    }
}

/// The name of a method for labels, logs and spans.
///
/// ```
/// use http::Method;
/// use octostack_telemetry::http::method::name;
///
/// assert_eq!(name(&Method::GET), "GET");
/// assert_eq!(name(&"get".parse().unwrap()), "_OTHER"); // methods are case-sensitive
/// assert_eq!(name(&"A7F3".parse().unwrap()), "_OTHER");
/// ```
#[inline]
pub fn name(method: &Method) -> &'static str {
    NAMES[index(method)]
}

#[cfg(test)]
mod tests {
    use super::{NAMES, name};

    #[test]
    fn each_known_method_has_its_own_name() {
        for known in &NAMES[..NAMES.len() - 1] {
            assert_eq!(name(&known.parse().unwrap()), *known);
        }
    }
}
