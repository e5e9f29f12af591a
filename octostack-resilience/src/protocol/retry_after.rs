use http::HeaderValue;
use std::time::{Duration, SystemTime};

/// Reads a `Retry-After` header (RFC 9110, section 10.2.3): seconds, or a date after `now`.
///
/// A date in the past asks for no wait; nonsense is no header.
pub(super) fn parse_retry_after(header: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = header.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More seconds than fit are as good as never; bounding it is the business of the retry.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::parse_retry_after;
    use http::HeaderValue;
    use std::time::{Duration, SystemTime};

    #[test]
    fn reads_seconds_and_dates_and_nothing_else() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let parse = |text: &str| parse_retry_after(&HeaderValue::from_str(text).unwrap(), now);
        assert_eq!(parse("120"), Some(Duration::from_secs(120)));
        assert_eq!(parse(" 0 "), Some(Duration::ZERO));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:40 GMT"), Some(Duration::from_secs(3)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:30 GMT"), Some(Duration::ZERO));
        assert_eq!(parse("99999999999999999999"), Some(Duration::from_secs(u32::MAX.into())));
        for nonsense in ["", "-1", "1.5", "soon"] {
            assert_eq!(parse(nonsense), None, "{nonsense:?}");
        }
    }
}
