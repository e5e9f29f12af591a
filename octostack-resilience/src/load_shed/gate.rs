//! What the calls of a load shed share: what to do with those that come too early, and how many did.
use crate::counters::Totals;
use crate::padded::Padded;
use octostack_core::inspect::Mode;
use octostack_core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What is in force, in one word: a mode, and above it the nanoseconds of the hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules(u64);

const MODE: u64 = 0b11;
const ENFORCE: u64 = 0;
const SHADOW: u64 = 1;
const PASS: u64 = 2;
const REFUSE: u64 = 3;

impl Rules {
    pub(super) fn new(mode: Mode, retry_after: Duration) -> Self {
        let mode = match mode {
            Mode::Enforce => ENFORCE,
            Mode::Shadow => SHADOW,
            Mode::Disabled | Mode::ForcedClosed => PASS,
            Mode::ForcedOpen => REFUSE,
        };
        // The settings allow an hour; 62 bits hold a century.
        let nanos = u64::try_from(retry_after.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX >> 2);
        Self(nanos << 2 | mode)
    }

    fn retry_after(self) -> Option<Duration> {
        let nanos = self.0 >> 2;
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }
}

/// A call is refused; the caller may be told when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) retry_after: Option<Duration>,
}

/// One load and one increment a call; they depend on nothing else.
pub(super) struct Gate {
    rules: AtomicU64,
    permitted: Padded<AtomicU64>,
    rejected: Padded<AtomicU64>,
    shadow_rejected: AtomicU64,
}

impl Gate {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules: AtomicU64::new(rules.0),
            permitted: Padded(AtomicU64::new(0)),
            rejected: Padded(AtomicU64::new(0)),
            shadow_rejected: AtomicU64::new(0),
        }
    }

    pub(super) fn set_rules(&self, rules: Rules) {
        self.rules.store(rules.0, Relaxed);
    }

    /// Decides a call that comes while the service is, or is not, ready.
    #[inline]
    pub(super) fn admit(&self, ready: bool) -> Result<(), Refused> {
        let rules = Rules(self.rules.load(Relaxed));
        match (rules.0 & MODE, ready) {
            (ENFORCE, false) | (REFUSE, _) => {
                self.rejected.fetch_add(1, Relaxed);
                return Err(Refused { retry_after: rules.retry_after() });
            }
            (SHADOW, false) => {
                self.shadow_rejected.fetch_add(1, Relaxed);
            }
            _ => {}
        }
        self.permitted.fetch_add(1, Relaxed);
        Ok(())
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            permitted: self.permitted.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            shadow_rejected: self.shadow_rejected.load(Relaxed),
            outcomes: None,
        }
    }
}

#[cfg(all(test, not(octostack_loom)))]
mod tests {
    use super::{Gate, Refused, Rules};
    use octostack_core::inspect::Mode;
    use std::time::Duration;

    const HINT: Duration = Duration::from_millis(1_500);

    #[test]
    fn what_each_mode_does_and_counts() {
        let refused = Err(Refused { retry_after: Some(HINT) });
        for (mode, ready, busy, counts) in [
            (Mode::Enforce, Ok(()), refused, (1, 1, 0)),
            (Mode::Shadow, Ok(()), Ok(()), (2, 0, 1)),
            (Mode::Disabled, Ok(()), Ok(()), (2, 0, 0)),
            (Mode::ForcedOpen, refused, refused, (0, 2, 0)),
        ] {
            let gate = Gate::new(Rules::new(mode, HINT));
            assert_eq!((gate.admit(true), gate.admit(false)), (ready, busy), "{mode}");
            let totals = gate.totals();
            let seen = (totals.permitted, totals.rejected, totals.shadow_rejected);
            assert_eq!(seen, counts, "{mode}");
        }
    }

    #[test]
    fn a_hint_survives_the_word_and_none_is_none() {
        let hint = |wait| {
            let gate = Gate::new(Rules::new(Mode::Enforce, wait));
            gate.admit(false).unwrap_err().retry_after
        };
        for wait in [Duration::from_millis(1), super::super::config::LONGEST] {
            assert_eq!(hint(wait), Some(wait));
        }
        assert_eq!(hint(Duration::ZERO), None);
        assert!(hint(Duration::MAX) > Some(Duration::from_secs(100 * 365 * 86_400)));
    }
}
