//! Which part of a split a user falls into.
//!
//! A rollout to 10 % must pick the same 10 % on every instance, after every restart and in every
//! language that reads the same flag file. So the choice is arithmetic on a hash of the user, not
//! chance, and the arithmetic is a contract: change it and users switch sides. flagd, whose flag
//! files we read, has changed it twice, and services move from one version to the next at
//! different times. That is why the version is an argument here, with no default:
//!
//! | version | hashes | places the hash |
//! |---|---|---|
//! | [`V1`](Bucketing::V1) | UTF-8 of the text | as a share of 100 in floating point; a few hashes in 2³² find no place |
//! | [`V2`](Bucketing::V2) | UTF-8 of the text | `hash * total >> 32` |
//! | [`V3`](Bucketing::V3) | deterministic CBOR of any value | `hash * total >> 32` |
//!
//! The hash is `MurmurHash3_x86_32` with seed 0 in all of them.
//!
//! Raising the weight of the first part of a split and lowering that of the last by as much only
//! moves users into the first part. Reordering parts or changing the total moves many.
//!
//! ```
//! use octostack_core::inspect::Value;
//! use octostack_flags::{Bucketing, Split, Unit};
//!
//! let split = Split::new([25, 25, 25, 25])?;
//!
//! // Without a key of its own a flag mixes its name in, so that flags do not all pick the same users.
//! let unit = Unit::Targeting { flag: "fractional-flag", key: "jack" };
//! assert_eq!(Bucketing::V1.part(unit, &split), Some(3));
//! assert_eq!(Bucketing::V2.part(unit, &split), Some(2));
//!
//! // A key computed by the flag's rule. Only V3 knows numbers.
//! let account = Value::Integer(4711);
//! assert_eq!(Bucketing::V2.part(Unit::Value(&account), &split), None);
//! assert!(Bucketing::V3.part(Unit::Value(&account), &split).is_some());
//! # Ok::<(), octostack_flags::bucketing::SplitError>(())
//! ```
//!
//! Nothing here allocates, except V3 for a unit that is a map: its keys have to be sorted.
mod cbor;
mod murmur;
mod split;
#[cfg(test)]
mod tests;

pub use split::{Split, SplitError};

use murmur::Murmur3;
use octostack_core::inspect::Value;
use std::fmt::{self, Write as _};
use std::str::FromStr;

/// A version of the bucketing arithmetic; see the [module docs](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum Bucketing {
    /// Floating point, in steps of about 100 / 2³¹.
    V1,
    /// Whole numbers, exact for any total.
    V2,
    /// As V2, on deterministic CBOR.
    V3,
}

/// What is hashed: whoever has the same unit falls into the same part.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Unit<'a> {
    /// The flag names no key of its own: its name and the targeting key of the request.
    Targeting {
        /// Key of the flag.
        flag: &'a str,
        /// Targeting key of the request, mostly a user id.
        key: &'a str,
    },
    /// Text that the flag's rule computed.
    Text(&'a str),
    /// A value that the flag's rule computed. Null and lists are no unit in any version; what is
    /// not text is one only in V3.
    Value(&'a Value),
}

impl Bucketing {
    /// The part of `split` that `unit` falls into, from 0.
    ///
    /// `None` if the unit is none in this version, and for the few hashes that V1 has no place
    /// for. The caller then serves the flag's default.
    pub fn part(self, unit: Unit<'_>, split: &Split) -> Option<usize> {
        self.part_of(self.hash(unit)?, split)
    }

    /// The hash of a unit, or `None` if the unit is none in this version.
    pub fn hash(self, unit: Unit<'_>) -> Option<u32> {
        let mut hash = Murmur3::new(0);
        match self {
            Self::V1 | Self::V2 => hash_text(unit, &mut hash)?,
            Self::V3 => hash_cbor(unit, &mut hash)?,
        }
        Some(hash.finish())
    }

    /// The part that `hash` falls into, of parts whose ends are computed as they are needed: the
    /// sums of the weights up to each, the last of which is `total`.
    pub(crate) fn place(
        self,
        hash: u32,
        total: u32,
        ends: impl Iterator<Item = u32>,
    ) -> Option<usize> {
        match self {
            Self::V1 => split::by_share(hash, total, ends),
            Self::V2 | Self::V3 => split::by_projection(hash, total, ends),
        }
    }

    /// The part of a split whose hash is known.
    pub(crate) fn part_of(self, hash: u32, split: &Split) -> Option<usize> {
        match self {
            Self::V1 => split.by_share(hash),
            Self::V2 | Self::V3 => Some(split.by_projection(hash)),
        }
    }

    /// As [`hash`](Self::hash) of a [`Unit::Text`] that is put together while it is hashed.
    pub(crate) fn hash_display(self, text: impl fmt::Display) -> u32 {
        let mut hash = Murmur3::new(0);
        if self == Self::V3 {
            let mut length = Length(0);
            let _ = write!(length, "{text}"); // neither of the two writers can fail
            cbor::head_of_text(length.0, &mut hash);
        }
        let _ = write!(hash, "{text}");
        hash.finish()
    }

    /// How it is written in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
        }
    }
}

/// Counts the bytes of what is written.
struct Length(usize);

impl fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

fn hash_text(unit: Unit<'_>, hash: &mut Murmur3) -> Option<()> {
    match unit {
        Unit::Targeting { flag, key } => {
            hash.write(flag.as_bytes());
            hash.write(key.as_bytes());
        }
        Unit::Text(text) => hash.write(text.as_bytes()),
        Unit::Value(value) => hash.write(value.as_str()?.as_bytes()),
    }
    Some(())
}

fn hash_cbor(unit: Unit<'_>, hash: &mut Murmur3) -> Option<()> {
    match unit {
        Unit::Targeting { flag, key } => {
            cbor::list_of(2, hash);
            cbor::text(flag, hash);
            cbor::text(key, hash);
        }
        Unit::Text(text) => cbor::text(text, hash),
        Unit::Value(Value::Null | Value::List(_)) => return None,
        Unit::Value(value) => cbor::value(value, hash)?,
    }
    Some(())
}

impl fmt::Display for Bucketing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Bucketing {
    type Err = UnknownBucketing;

    fn from_str(text: &str) -> Result<Self, UnknownBucketing> {
        let all = [Self::V1, Self::V2, Self::V3];
        let found = all.into_iter().find(|version| version.as_str() == text);
        found.ok_or_else(|| UnknownBucketing(text.to_owned()))
    }
}

/// A text that names no version of the arithmetic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownBucketing(String);

impl fmt::Display for UnknownBucketing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        write!(f, "`{text}` is no bucketing version; use `v1`, `v2` or `v3`")
    }
}

impl std::error::Error for UnknownBucketing {}
