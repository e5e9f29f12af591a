//! How long to wait before the next attempt: pure, with chance as an argument.
use crate::settings::Field;
use octostack_core::inspect::Value;
use std::time::Duration;

/// How chance spreads the waits of a [`Retry`](super::Retry) policy.
///
/// What fails together must not come back together, least of all when everybody waits for the
/// longest time: so chance takes away from a wait and never adds to the longest one. The names are
/// those of AWS's *Exponential Backoff And Jitter*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "lowercase"),
    schemars(inline)
)]
#[repr(u8)]
pub enum Jitter {
    /// `full`: anything from nothing to a bound that doubles. Spreads best, at the least load.
    #[default]
    Full,
    /// `equal`: the upper half of the same range, so that there always is a pause.
    Equal,
    /// `decorrelated`: from `base_delay` to three times the wait before, at most `max_delay`. Waits
    /// grow by chance, so that callers that began together soon have nothing in common. Where
    /// `base_delay` is more than half of that range, it is from the half.
    Decorrelated,
}

impl Jitter {
    const ALL: [Self; 3] = [Self::Full, Self::Equal, Self::Decorrelated];

    /// Its name in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Equal => "equal",
            Self::Decorrelated => "decorrelated",
        }
    }

    pub(super) fn from_u8(number: u8) -> Self {
        Self::ALL.into_iter().find(|jitter| *jitter as u8 == number).unwrap_or_default()
    }
}

impl Field for Jitter {
    fn to_value(&self) -> Value {
        self.as_str().into()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|jitter| value.as_str() == Some(jitter.as_str()));
        found.ok_or_else(|| format!("expected full, equal or decorrelated, found {value}"))
    }
}

/// The waits of one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) base: Duration,
    pub(super) cap: Duration,
    pub(super) jitter: Jitter,
}

impl Schedule {
    /// The shortest and the longest wait after so many failed attempts, of which the last but one
    /// was followed by a wait of `before`.
    pub(super) fn range(self, failed: u32, before: Duration) -> (Duration, Duration) {
        match self.jitter {
            Jitter::Full => (Duration::ZERO, self.doubled(failed)),
            Jitter::Equal => {
                let longest = self.doubled(failed);
                (longest / 2, longest)
            }
            Jitter::Decorrelated => {
                let before = if failed > 1 { before.max(self.base) } else { self.base };
                let longest = before.saturating_mul(3).min(self.cap);
                // Cutting the result at the cap instead, as is often done, would make most waits
                // there equal; and with a base at the cap all of them.
                (self.base.min(longest / 2), longest)
            }
        }
    }

    /// A wait within the range, for a `chance` in `0..1`.
    pub(super) fn wait(self, failed: u32, before: Duration, chance: f64) -> Duration {
        let (shortest, longest) = self.range(failed, before);
        let spread = longest.saturating_sub(shortest);
        (shortest + spread.mul_f64(chance.clamp(0.0, 1.0))).min(longest)
    }

    /// The longest wait that can follow so many failed attempts, however chance has fallen.
    pub(super) fn longest(self, failed: u32) -> Duration {
        match self.jitter {
            Jitter::Full | Jitter::Equal => self.doubled(failed),
            Jitter::Decorrelated => {
                let tripled = 3_u32.saturating_pow(failed);
                self.base.saturating_mul(tripled).min(self.cap)
            }
        }
    }

    /// Doubling from the base up to the cap.
    fn doubled(self, failed: u32) -> Duration {
        let doublings = failed.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }
}

#[cfg(all(test, not(octostack_loom)))]
#[path = "schedule_tests.rs"]
mod tests;
