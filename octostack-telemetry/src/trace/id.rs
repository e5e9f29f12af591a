use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

/// Which trace: 16 bytes, never all zero. Shown as 32 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(NonZeroU128);

/// Which span of a trace: 8 bytes, never all zero. Shown as 16 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(NonZeroU64);

impl TraceId {
    /// A new one. Not a secret: the generator is fast and can be predicted.
    #[inline]
    pub fn random() -> Self {
        // All bits are random, so that samplers may take any of them for chance.
        Self(NonZeroU128::new(fastrand::u128(..)).unwrap_or(NonZeroU128::MIN))
    }

    /// The id of this number, big-endian. `None` for zero, which means that there is no trace.
    pub const fn new(number: u128) -> Option<Self> {
        match NonZeroU128::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// As a number, big-endian.
    pub const fn to_u128(self) -> u128 {
        self.0.get()
    }
}

impl SpanId {
    /// A new one.
    #[inline]
    pub fn random() -> Self {
        Self(NonZeroU64::new(fastrand::u64(..)).unwrap_or(NonZeroU64::MIN))
    }

    /// The id of this number, big-endian. `None` for zero, which means that there is no span.
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// As a number, big-endian.
    pub const fn to_u64(self) -> u64 {
        self.0.get()
    }
}

/// Writes the digits of `bytes` to the start of `to`.
#[inline]
pub(super) fn write_hex(bytes: &[u8], to: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(to.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
}

/// Shows through the formatter's options, so that a width holds.
fn show<const N: usize>(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [0; N];
    write_hex(bytes, &mut text);
    f.pad(std::str::from_utf8(&text).unwrap_or_default())
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show::<32>(&self.to_u128().to_be_bytes(), f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show::<16>(&self.to_u64().to_be_bytes(), f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanId({self})")
    }
}
