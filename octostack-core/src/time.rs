//! Points in time as people and machines read them.
use std::time::{Duration, SystemTime};

/// The last second of the year 9999: no more years are written.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// RFC 3339 in UTC with microseconds: `2026-11-21T07:15:20.000250Z`. What is before 1970 or after
/// 9999 is written as the end of that time that is nearer.
///
/// ```
/// # use octostack_core::time::rfc3339;
/// assert_eq!(rfc3339(std::time::SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00.000000Z");
/// ```
pub fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    humantime::format_rfc3339_micros(SystemTime::UNIX_EPOCH + since.min(LAST)).to_string()
}
