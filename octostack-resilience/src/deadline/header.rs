//! How a deadline is written in a header of a request: as the time that is left.
//!
//! Never as a point in time: the clocks of two machines differ.
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

/// A header in which callers say for how long they wait.
///
/// | | value | example |
/// |---|---|---|
/// | [`grpc()`](Self::grpc) | `grpc-timeout`: at most 8 digits and a unit, `H M S m u n` | `250m` |
/// | [`millis(name)`](Self::millis) | whole milliseconds | `250` |
/// | [`seconds(name)`](Self::seconds) | seconds, with a fraction or without | `0.25` |
///
/// What cannot be read is as good as no header. Written values are rounded down, so that nobody
/// waits for longer than was said.
///
/// ```
/// use octostack_resilience::deadline::DeadlineHeader;
/// use http::{HeaderMap, HeaderName};
/// use std::time::Duration;
///
/// let header = DeadlineHeader::millis(HeaderName::from_static("x-request-timeout-ms"));
/// let mut headers = HeaderMap::new();
/// header.write(&mut headers, Duration::from_millis(250));
/// assert_eq!(headers["x-request-timeout-ms"], "250");
/// assert_eq!(header.read(&headers), Some(Duration::from_millis(250)));
///
/// headers.insert("grpc-timeout", "2S".parse()?);
/// assert_eq!(DeadlineHeader::grpc().read(&headers), Some(Duration::from_secs(2)));
/// # Ok::<_, http::header::InvalidHeaderValue>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadlineHeader {
    name: HeaderName,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Grpc,
    Millis,
    Seconds,
}

/// The units of `grpc-timeout` from the finest to the coarsest, in nanoseconds.
const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// At most so many digits (gRPC over HTTP/2, `TimeoutValue`).
const MOST: u128 = 99_999_999;

impl DeadlineHeader {
    /// `grpc-timeout`, as gRPC writes it.
    pub const fn grpc() -> Self {
        Self { name: HeaderName::from_static("grpc-timeout"), format: Format::Grpc }
    }

    /// Whole milliseconds, as Envoy's `x-envoy-expected-rq-timeout-ms`.
    pub const fn millis(name: HeaderName) -> Self {
        Self { name, format: Format::Millis }
    }

    /// Seconds, with a fraction or without.
    pub const fn seconds(name: HeaderName) -> Self {
        Self { name, format: Format::Seconds }
    }

    /// Its name.
    pub const fn name(&self) -> &HeaderName {
        &self.name
    }

    /// For how long the sender waits, if it says so. Of several the first counts.
    pub fn read(&self, headers: &HeaderMap) -> Option<Duration> {
        let text = headers.get(&self.name)?.to_str().ok()?.trim();
        match self.format {
            Format::Grpc => {
                let (&unit, digits) = text.as_bytes().split_last()?;
                let (_, nanos) = UNITS.iter().find(|(letter, _)| *letter == unit)?;
                let number = whole(std::str::from_utf8(digits).ok()?, 8)?;
                Some(Duration::from_nanos(nanos.saturating_mul(number)))
            }
            Format::Millis => Some(Duration::from_millis(whole(text, 18)?)),
            Format::Seconds => {
                let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
                let nanos = whole(&format!("{:0<9.9}", whole_text(fraction)?), 9)?;
                Some(Duration::new(whole(seconds, 18)?, u32::try_from(nanos).ok()?))
            }
        }
    }

    /// Says that the sender waits for `left`, in place of what was said before.
    pub fn write(&self, headers: &mut HeaderMap, left: Duration) {
        let text = match self.format {
            Format::Grpc => grpc_timeout(left),
            Format::Millis => left.as_millis().min(u128::from(u64::MAX)).to_string(),
            Format::Seconds => format!("{}.{:09}", left.as_secs(), left.subsec_nanos()),
        };
        // Digits and a letter are a value.
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(self.name.clone(), value);
        }
    }
}

/// The finest unit in which it fits into the digits, as gRPC's own libraries do it.
fn grpc_timeout(left: Duration) -> String {
    let nanos = left.as_nanos();
    let fits = UNITS.iter().find(|(_, unit)| nanos / u128::from(*unit) <= MOST);
    let (letter, unit) = fits.unwrap_or(&UNITS[5]);
    let number = (nanos / u128::from(*unit)).min(MOST);
    format!("{number}{}", char::from(*letter))
}

/// Digits and nothing else: no sign, no space.
fn whole_text(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then_some(text)
}

fn whole(text: &str, most: usize) -> Option<u64> {
    whole_text(text).filter(|text| text.len() <= most)?.parse().ok()
}

#[cfg(all(test, not(octostack_loom)))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
    use super::DeadlineHeader;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;
    use std::time::Duration;

    fn all() -> [DeadlineHeader; 3] {
        let name = || HeaderName::from_static("x-timeout");
        [DeadlineHeader::grpc(), DeadlineHeader::millis(name()), DeadlineHeader::seconds(name())]
    }

    fn read(header: &DeadlineHeader, text: &str) -> Option<Duration> {
        let value = HeaderValue::from_str(text).unwrap();
        header.read(&HeaderMap::from_iter([(header.name().clone(), value)]))
    }

    #[test]
    fn reads_what_others_write_and_no_nonsense() {
        let [grpc, millis, seconds] = all();
        let nanos = |header, text| read(header, text).map(|wait| wait.as_nanos());
        assert_eq!(nanos(&grpc, "1n"), Some(1));
        assert_eq!(nanos(&grpc, "20u"), Some(20_000));
        assert_eq!(nanos(&grpc, "99999999m"), Some(99_999_999_000_000));
        assert_eq!(nanos(&grpc, "3S"), Some(3_000_000_000));
        assert_eq!(nanos(&grpc, "1M"), Some(60_000_000_000));
        assert_eq!(read(&grpc, "99999999H"), Some(Duration::from_nanos(u64::MAX)), "long enough");
        for nonsense in ["", "S", "1", "123456789S", "-1S", "+1S", "1.5S", "1 S", "1s", "1µ", "é"]
        {
            assert_eq!(read(&grpc, nonsense), None, "{nonsense:?}");
        }
        assert_eq!(read(&millis, " 250 "), Some(Duration::from_millis(250)));
        for nonsense in ["", "1.5", "-1", "250ms", "9999999999999999999"] {
            assert_eq!(read(&millis, nonsense), None, "{nonsense:?}");
        }
        assert_eq!(read(&seconds, "2"), Some(Duration::from_secs(2)));
        assert_eq!(read(&seconds, "0.25"), Some(Duration::from_millis(250)));
        assert_eq!(read(&seconds, "1.0000000019"), Some(Duration::new(1, 1)));
        for nonsense in ["", ".5", "1.", "1.-5", "1e3", "inf", "NaN", "1.5.5"] {
            assert_eq!(read(&seconds, nonsense), None, "{nonsense:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_never_longer(nanos in any::<u64>(), shift in 0..64_u32) {
            let left = Duration::from_nanos(nanos >> shift);
            for header in all() {
                let mut headers = HeaderMap::new();
                header.write(&mut headers, left);
                let seen = header.read(&headers).unwrap();
                prop_assert!(seen <= left, "{seen:?} of {left:?}");
                // gRPC has eight digits, of which six at least are used: what is too long for them in
                // milliseconds has six in seconds. Milliseconds are whole.
                let lost = left.saturating_sub(seen);
                prop_assert!(lost <= (left / 100_000).max(Duration::from_millis(1)), "{lost:?}");
            }
        }
    }
}
