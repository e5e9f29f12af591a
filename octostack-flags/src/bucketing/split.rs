use std::fmt;

/// Weights of the parts that users are split into, checked once.
///
/// A weight is a share of the total: `[1, 1]` and `[50, 50]` pick the same users. A part of weight
/// 0 gets nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Where each part ends: the sum of the weights up to it. The last one is the total, over 0.
    ends: Box<[u32]>,
}

impl Split {
    /// A split into parts of the given weights.
    ///
    /// # Errors
    /// If all weights are 0, or their sum is over 2³¹ - 1, the most that all languages agree on.
    pub fn new(weights: impl IntoIterator<Item = u32>) -> Result<Self, SplitError> {
        let mut total = 0_u32;
        let mut ends = Vec::new();
        for weight in weights {
            let sum = total.checked_add(weight).filter(|sum| i32::try_from(*sum).is_ok());
            total = sum.ok_or(SplitError::TooLarge)?;
            ends.push(total);
        }
        if total == 0 {
            return Err(SplitError::NoWeight);
        }
        let ends = ends.into_boxed_slice();
        Ok(Self { ends })
    }

    /// The sum of the weights.
    pub fn total(&self) -> u32 {
        self.ends.last().copied().unwrap_or_default()
    }

    /// The part at `hash * total / 2³²`, which is below the total for every hash.
    pub(super) fn by_projection(&self, hash: u32) -> usize {
        let place = projected(hash, self.total());
        self.ends.partition_point(|end| u64::from(*end) <= place)
    }

    /// The part by the share of the hash; see [`by_share`].
    pub(super) fn by_share(&self, hash: u32) -> Option<usize> {
        by_share(hash, self.total(), self.ends.iter().copied())
    }
}

/// As [`Split::by_projection`], of parts that end at `ends`.
pub(super) fn by_projection(
    hash: u32,
    total: u32,
    mut ends: impl Iterator<Item = u32>,
) -> Option<usize> {
    let place = projected(hash, total);
    ends.position(|end| u64::from(end) > place)
}

fn projected(hash: u32, total: u32) -> u64 {
    (u64::from(hash) * u64::from(total)) >> 32
}

/// The part by the share of the signed hash's size in that of the largest one, in percent.
///
/// Kept to the letter, with its flaws: for the two or three largest hashes the share reaches 100,
/// which is in no part, and adding up percentages rounds.
pub(super) fn by_share(hash: u32, total: u32, ends: impl Iterator<Item = u32>) -> Option<usize> {
    let size = f64::from(hash.cast_signed()).abs();
    let place = size / f64::from(i32::MAX) * 100.0;
    let total = f64::from(total);
    let mut begin = 0;
    let mut percent = 0.0;
    for (part, end) in ends.enumerate() {
        percent += 100.0 * f64::from(end - begin) / total;
        if place < percent {
            return Some(part);
        }
        begin = end;
    }
    None
}

/// Why weights make no split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SplitError {
    /// There is no part, or all weigh 0.
    NoWeight,
    /// The weights add up to more than 2³¹ - 1.
    TooLarge,
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoWeight => "no part of the split has a weight over 0; give one a weight",
            Self::TooLarge => "the weights add up to more than 2147483647; scale them down",
        })
    }
}

impl std::error::Error for SplitError {}
