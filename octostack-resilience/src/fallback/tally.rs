//! What the calls of a fallback share: which answers are replaced, and how calls and fallbacks ended.
use super::config::FallbackOn;
use crate::counters::Totals;
use crate::outcome::Outcome;
use crate::padded::Padded;
use octostack_core::inspect::Mode;
use octostack_core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What is in force for one call, as it was when the call began: whether to replace answers, and
/// which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules(u64);

const ACTS: u64 = 0b001;
const WATCHES: u64 = 0b010;
const ON: u64 = 2;

impl Rules {
    pub(super) fn new(mode: Mode, on: FallbackOn) -> Self {
        let mode = match mode {
            Mode::Enforce | Mode::ForcedOpen => ACTS,
            Mode::Shadow => WATCHES,
            Mode::Disabled | Mode::ForcedClosed => 0,
        };
        Self(mode | (on as u64) << ON)
    }

    pub(super) const fn acts(self) -> bool {
        self.0 & ACTS != 0
    }

    pub(super) const fn watches(self) -> bool {
        self.0 & WATCHES != 0
    }

    pub(super) const fn on(self) -> FallbackOn {
        match self.0 >> ON {
            0 => FallbackOn::Failure,
            1 => FallbackOn::Rejection,
            _ => FallbackOn::Error,
        }
    }
}

/// One load when a call begins and one increment when it ends; they depend on nothing else.
pub(super) struct Tally {
    rules: AtomicU64,
    ended: Padded<[AtomicU64; 5]>,
    answers: [AtomicU64; 5],
    watched: AtomicU64,
}

impl Tally {
    pub(super) fn new(rules: Rules) -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            rules: AtomicU64::new(rules.0),
            ended: Padded(zeros()),
            answers: zeros(),
            watched: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn rules(&self) -> Rules {
        Rules(self.rules.load(Relaxed))
    }

    pub(super) fn set_rules(&self, rules: Rules) {
        self.rules.store(rules.0, Relaxed);
    }

    /// How the guarded call ended.
    #[inline]
    pub(super) fn end(&self, outcome: Outcome) {
        self.ended[outcome as usize].fetch_add(1, Relaxed);
    }

    /// How the fallback of a call ended.
    pub(super) fn answered(&self, outcome: Outcome) {
        self.answers[outcome as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn watched(&self) {
        self.watched.fetch_add(1, Relaxed);
    }

    pub(super) fn answers(&self) -> [u64; 5] {
        std::array::from_fn(|i| self.answers[i].load(Relaxed))
    }

    pub(super) fn totals(&self) -> Totals {
        let outcomes = std::array::from_fn(|i| self.ended[i].load(Relaxed));
        Totals {
            permitted: outcomes.iter().sum(),
            rejected: 0,
            shadow_rejected: self.watched.load(Relaxed),
            outcomes: Some(outcomes),
        }
    }
}

#[cfg(all(test, not(octostack_loom)))]
mod tests {
    use super::{FallbackOn, Rules};
    use octostack_core::inspect::Mode;

    #[test]
    fn a_word_says_what_was_put_into_it() {
        for (mode, acts, watches) in [
            (Mode::Enforce, true, false),
            (Mode::Shadow, false, true),
            (Mode::Disabled, false, false),
        ] {
            for on in FallbackOn::ALL {
                let rules = Rules::new(mode, on);
                assert_eq!((rules.acts(), rules.watches(), rules.on()), (acts, watches, on));
            }
        }
    }
}
