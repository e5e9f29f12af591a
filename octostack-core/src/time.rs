//! Points in time as people and machines read them.
use std::time::SystemTime;

/// RFC 3339 in UTC with microseconds: `2026-11-21T07:15:20.000250Z`.
///
/// ```
/// # use octostack_core::time::rfc3339;
/// assert_eq!(rfc3339(std::time::SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00.000000Z");
/// ```
pub fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_micros(time).to_string()
}
