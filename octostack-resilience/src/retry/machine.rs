//! Whether a call is attempted once more: shared by threads, with time and chance as arguments.
//!
//! Settings are copied into atomics that a failed attempt reads one by one: one that races a change
//! may see half of it, which is a wait from before under a limit from after. Both were asked for.
use super::budget::RetryBudget;
use super::config::RetryConfig;
use super::schedule::{Jitter, Schedule};
use crate::counters::Totals;
use crate::outcome::Outcome;
use crate::padded::Padded;
use octostack_core::Clock;
use octostack_core::inspect::Mode;
use octostack_core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What a policy counts; outcomes are those of whole calls.
#[derive(Debug, Default)]
struct Counts {
    outcomes: [AtomicU64; 5],
    repeats: AtomicU64,
    late: AtomicU64,
    exhausted: AtomicU64,
    shadow: AtomicU64,
}

pub(super) struct Machine {
    /// Jitter:8 above mode:8 | most attempts:32.
    rules: AtomicU64,
    base_nanos: AtomicU64,
    cap_nanos: AtomicU64,
    longest_hint_nanos: AtomicU64,
    counts: Padded<Counts>,
}

/// A failed attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    /// Its number, from 1.
    pub(super) attempt: u32,
    /// When the service wants to be asked again.
    pub(super) hint: Option<Duration>,
    /// How long the caller still waits, if that is known.
    pub(super) left: Option<Duration>,
}

impl Machine {
    pub(super) fn new(mode: Mode, settings: &RetryConfig) -> Self {
        let machine = Self {
            rules: AtomicU64::default(),
            base_nanos: AtomicU64::default(),
            cap_nanos: AtomicU64::default(),
            longest_hint_nanos: AtomicU64::default(),
            counts: Padded::default(),
        };
        machine.apply(mode, settings);
        machine
    }

    /// Takes new settings. Changes do not race: the caller holds the lock of the settings.
    pub(super) fn apply(&self, mode: Mode, settings: &RetryConfig) {
        let nanos = |wait: Duration| u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        self.base_nanos.store(nanos(settings.base_delay), Relaxed);
        self.cap_nanos.store(nanos(settings.max_delay), Relaxed);
        self.longest_hint_nanos.store(nanos(settings.max_retry_after), Relaxed);
        let jitter = u64::from(settings.jitter as u8) << 40;
        let rules = jitter | u64::from(mode as u8) << 32 | u64::from(settings.max_attempts);
        self.rules.store(rules, Relaxed);
    }

    /// How many attempts may follow the given one.
    #[inline]
    pub(super) fn attempts_after(&self, attempt: u32) -> u32 {
        let (mode, most) = self.rules();
        if mode == Mode::Disabled { 0 } else { most.saturating_sub(attempt) }
    }

    /// How long to wait before the next attempt; `None` to leave it at this one. `draw` says how
    /// long to wait on top of the hint, or `None` to give up.
    #[cold]
    pub(super) fn judge(
        &self,
        failed: Failed,
        budget: &RetryBudget,
        clock: &impl Clock,
        draw: impl FnOnce(Schedule) -> Option<Duration>,
    ) -> Option<Duration> {
        let hint = failed.hint.unwrap_or_default();
        let longest = Duration::from_nanos(self.longest_hint_nanos.load(Relaxed));
        // A service that wants a longer wait is not asked earlier: that would be rude. Nor is the
        // caller kept that long.
        if self.attempts_after(failed.attempt) == 0 || hint > longest {
            return None;
        }
        let schedule = self.schedule();
        // On top of the hint: all callers got the same one.
        let wait = hint.saturating_add(draw(schedule)?.min(schedule.cap));
        // An attempt that begins when nobody waits any more is wasted, and so is the wait for it.
        if failed.left.is_some_and(|left| wait >= left) {
            self.count_late();
            return None;
        }
        let shadow = self.rules().0 == Mode::Shadow;
        // Shadow mode spends nothing: the budget may be shared with policies that mean it.
        let allowed = if shadow { budget.available(clock) > 0 } else { budget.withdraw(clock) };
        let counter = match (allowed, shadow) {
            (false, _) => &self.counts.exhausted,
            (true, true) => &self.counts.shadow,
            (true, false) => &self.counts.repeats,
        };
        counter.fetch_add(1, Relaxed);
        (allowed && !shadow).then_some(wait)
    }

    #[inline]
    pub(super) fn settle(&self, outcome: Outcome) {
        self.counts.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn repeats(&self) -> u64 {
        self.counts.repeats.load(Relaxed)
    }

    pub(super) fn count_late(&self) {
        self.counts.late.fetch_add(1, Relaxed);
    }

    /// Failed attempts whose next one would have come too late.
    pub(super) fn late(&self) -> u64 {
        self.counts.late.load(Relaxed)
    }

    pub(super) fn exhausted(&self) -> u64 {
        self.counts.exhausted.load(Relaxed)
    }

    /// Decisions are about repeats: made, refused by the budget, withheld in shadow mode.
    pub(super) fn totals(&self) -> Totals {
        Totals {
            permitted: self.repeats(),
            rejected: self.exhausted(),
            shadow_rejected: self.counts.shadow.load(Relaxed),
            outcomes: Some(Outcome::ALL.map(|o| self.counts.outcomes[o as usize].load(Relaxed))),
        }
    }

    fn schedule(&self) -> Schedule {
        let [_, _, jitter, ..] = self.rules.load(Relaxed).to_be_bytes();
        Schedule {
            base: Duration::from_nanos(self.base_nanos.load(Relaxed)),
            cap: Duration::from_nanos(self.cap_nanos.load(Relaxed)),
            jitter: Jitter::from_u8(jitter),
        }
    }

    #[inline]
    fn rules(&self) -> (Mode, u32) {
        let rules = self.rules.load(Relaxed);
        let [.., mode, a, b, c, d] = rules.to_be_bytes();
        (Mode::from_u8(mode), u32::from_be_bytes([a, b, c, d]))
    }
}

#[cfg(all(test, not(octostack_loom)))]
mod tests {
    use super::{Failed, Jitter, Machine, Mode, RetryConfig, Schedule};
    use crate::retry::RetryBudget;
    use octostack_core::{Clock, SystemClock};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use std::time::Duration;

    fn settings() -> RetryConfig {
        RetryConfig::default()
    }

    fn first(hint: Option<u64>) -> Failed {
        Failed { attempt: 1, hint: hint.map(Duration::from_millis), left: None }
    }

    #[allow(clippy::unnecessary_wraps, reason = "the machine takes it so")]
    fn half(schedule: Schedule) -> Option<Duration> {
        Some(schedule.wait(1, Duration::ZERO, 0.5))
    }

    fn counts(machine: &Machine) -> [u64; 3] {
        let totals = machine.totals();
        [totals.permitted, totals.rejected, totals.shadow_rejected]
    }

    #[test]
    fn a_hint_comes_before_the_jitter_and_has_a_limit() {
        let machine = Machine::new(Mode::Enforce, &settings());
        let (budget, now) = (RetryBudget::new(0.1, 1).unwrap(), SystemClock.now());
        let judge = |hint| machine.judge(first(hint), &budget, &now, half);
        assert_eq!(judge(None), Some(Duration::from_millis(50)));
        assert_eq!(judge(Some(2_000)), Some(Duration::from_millis(2_050)));
        assert_eq!(judge(Some(5_000)), Some(Duration::from_millis(5_050)));
        assert_eq!(judge(Some(5_001)), None);
        assert_eq!(counts(&machine), [3, 0, 0], "giving up for the hint costs no budget");
        assert_eq!(budget.available(&now), 7);
    }

    #[test]
    fn what_would_come_too_late_is_given_up_and_costs_nothing() {
        let machine = Machine::new(Mode::Enforce, &settings());
        let (budget, now) = (RetryBudget::new(0.1, 1).unwrap(), SystemClock.now());
        let judge = |hint, left| {
            let failed = Failed { left: Some(Duration::from_millis(left)), ..first(hint) };
            machine.judge(failed, &budget, &now, half)
        };
        assert_eq!(judge(None, 51), Some(Duration::from_millis(50)));
        assert_eq!(judge(None, 50), None);
        assert_eq!(judge(None, 0), None);
        assert_eq!(judge(Some(1_000), 1_050), None, "the hint is part of the wait");
        assert_eq!((counts(&machine), machine.late()), ([1, 0, 0], 3));
        assert_eq!(budget.available(&now), 9);
    }

    #[test]
    fn jitter_is_a_setting_like_others() {
        let machine = Machine::new(Mode::Enforce, &settings());
        for jitter in [Jitter::Equal, Jitter::Decorrelated, Jitter::Full] {
            machine.apply(Mode::Shadow, &RetryConfig { jitter, ..settings() });
            assert_eq!((machine.schedule().jitter, machine.rules()), (jitter, (Mode::Shadow, 3)));
        }
    }

    #[test]
    fn an_empty_budget_refuses() {
        let machine = Machine::new(Mode::Enforce, &settings());
        let (budget, now) = (RetryBudget::new(0.0, 0).unwrap(), SystemClock.now());
        let waits = (0..15).filter_map(|_| machine.judge(first(None), &budget, &now, half));
        assert_eq!(waits.count(), 10);
        assert_eq!(counts(&machine), [10, 5, 0]);
    }

    #[test]
    fn shadow_mode_counts_and_spends_nothing() {
        let machine = Machine::new(Mode::Shadow, &settings());
        let (budget, now) = (RetryBudget::new(0.1, 1).unwrap(), SystemClock.now());
        assert_eq!(machine.judge(first(None), &budget, &now, half), None);
        assert_eq!(counts(&machine), [0, 0, 1]);
        assert_eq!(budget.available(&now), 10);
        machine.apply(Mode::Disabled, &settings());
        assert_eq!(machine.judge(first(None), &budget, &now, half), None);
        assert_eq!(counts(&machine), [0, 0, 1]);
    }

    proptest! {
        #[test]
        fn a_call_that_always_fails_ends(
            max_attempts in 1_u32..=10, base in 1_u64..500, more in 0_u64..500,
            hints in proptest::collection::vec(proptest::option::of(0_u64..8_000), 10),
            chances in proptest::collection::vec(0.0..1.0, 10), budget in any::<u8>(),
        ) {
            let settings = RetryConfig {
                max_attempts,
                base_delay: Duration::from_millis(base),
                max_delay: Duration::from_millis(base + more),
                ..settings()
            };
            let machine = Machine::new(Mode::Enforce, &settings);
            let held = u32::from(budget % 12);
            let (budget, now) = (RetryBudget::new(0.0, 0).unwrap(), SystemClock.now());
            for _ in held..10 {
                prop_assert!(budget.withdraw(&now));
            }
            let mut attempt = 1;
            while let Some(wait) = {
                let hint = hints[attempt as usize - 1].map(Duration::from_millis);
                let chance = chances[attempt as usize - 1];
                let failed = Failed { attempt, hint, left: None };
                let draw = |s: Schedule| Some(s.wait(attempt, Duration::ZERO, chance));
                machine.judge(failed, &budget, &now, draw)
            } {
                let hint = Duration::from_millis(hints[attempt as usize - 1].unwrap_or(0));
                prop_assert!(wait >= hint && wait <= hint + settings.max_delay);
                prop_assert!(hint <= settings.max_retry_after);
                attempt += 1;
            }
            prop_assert!(attempt <= max_attempts);
            prop_assert!(attempt - 1 <= held);
            prop_assert_eq!(machine.repeats(), u64::from(attempt - 1));
        }
    }
}

#[cfg(all(test, octostack_loom))]
mod loom_tests {
    use super::{Failed, Machine, Mode, RetryConfig};
    use crate::retry::RetryBudget;
    use loom::{sync::Arc, thread};
    use octostack_core::{Clock, SystemClock};
    use std::time::Duration;

    #[test]
    fn a_wait_that_races_a_change_is_within_the_longer_of_both_limits() {
        crate::models::explore(|| {
            let second = Duration::from_secs(1);
            let settings = |longest: Duration| RetryConfig {
                base_delay: longest,
                max_delay: longest,
                ..RetryConfig::default()
            };
            let machine = Arc::new(Machine::new(Mode::Enforce, &settings(second)));
            let other = machine.clone();
            let changing = thread::spawn(move || other.apply(Mode::Enforce, &settings(2 * second)));
            let (budget, now) = (RetryBudget::new(1.0, 1).unwrap(), SystemClock.now());
            let failed = Failed { attempt: 1, hint: None, left: None };
            let wait = machine.judge(failed, &budget, &now, |s| Some(s.longest(1))).unwrap();
            assert!((second..=2 * second).contains(&wait), "{wait:?}");
            changing.join().unwrap();
            assert_eq!(machine.repeats(), 1);
        });
    }
}
