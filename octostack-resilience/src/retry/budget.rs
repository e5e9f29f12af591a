//! How many repeats are allowed: a share of the traffic, and a few a second.
//!
//! ```text
//! word = refilled at:40 | tokens:24     milliseconds since the start; thousandths of a repeat
//! ```
//!
//! Both halves change in one compare-and-swap, so two callers can never take the same token. Time
//! is only read to take one out: putting one in is what every call does, and at the cap even that
//! is a single load.
use crate::padded::Padded;
use crate::settings::{SettingsError, require, require_ratio};
use octostack_core::inspect::Problem;
use octostack_core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use octostack_core::{Clock, SystemClock};
use std::sync::Arc;
use std::time::Instant;

/// Thousandths of a repeat in one.
const WHOLE: u64 = 1_000;
const TOKEN_BITS: u32 = 24;
const TOKENS: u64 = (1 << TOKEN_BITS) - 1;
/// The largest time that fits: 34 years.
const LAST: u64 = (1 << (64 - TOKEN_BITS)) - 1;

/// What fills a budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rules {
    pub(super) ratio: f64,
    pub(super) floor: u32,
}

impl Rules {
    const MAX_FLOOR: u32 = 1_000;

    pub(super) fn check(problems: &mut Vec<Problem>, ratio: f64, floor: u32) {
        require_ratio(problems, ratio, true, "budget_ratio");
        require(problems, floor <= Self::MAX_FLOOR, "budget_floor", || {
            format!("{floor} is out of range: 0 to {}", Self::MAX_FLOOR)
        });
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`check` leaves 0..=1, so 0..=1000"
    )]
    fn pack(self) -> u64 {
        // A little is added against 0.3 * 1000 = 299.99…; the rest is rounded down, so that the
        // budget never gives more than it says.
        let deposit = (self.ratio * WHOLE as f64 + 1e-6) as u64;
        deposit << 32 | u64::from(self.floor)
    }
}

/// The number behind a [`RetryBudget`]: pure, with time in milliseconds as an argument.
#[derive(Debug)]
struct Bucket {
    word: Padded<AtomicU64>,
    /// Thousandths that a call puts in:32 | repeats a second:32.
    rules: AtomicU64,
}

impl Bucket {
    fn new(rules: Rules) -> Self {
        let rules = rules.pack();
        Self { word: Padded(AtomicU64::new(cap(rules))), rules: AtomicU64::new(rules) }
    }

    /// One call puts its share in. At the cap there is nothing to do.
    #[inline]
    fn deposit(&self) {
        let rules = self.rules.load(Relaxed);
        self.put_in(rules >> 32, cap(rules));
    }

    /// Puts one repeat back that was taken out and not made.
    #[cold]
    fn refund(&self) {
        self.put_in(WHOLE, cap(self.rules.load(Relaxed)));
    }

    #[inline]
    fn put_in(&self, amount: u64, cap: u64) {
        let mut word = self.word.load(Relaxed);
        while amount > 0 && word & TOKENS < cap {
            let tokens = (word & TOKENS) + amount;
            let next = word & !TOKENS | tokens.min(cap);
            match self.word.compare_exchange_weak(word, next, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(seen) => word = seen,
            }
        }
    }

    /// Takes one repeat out, if there is one.
    #[cold]
    fn withdraw(&self, now: u64) -> bool {
        // With new rules comes the word that was refilled under the old ones.
        let rules = self.rules.load(Acquire);
        let mut word = self.word.load(Relaxed);
        loop {
            let filled = refill(word, rules, now);
            if filled & TOKENS < WHOLE {
                return false;
            }
            if cfg!(octostack_planted_bug) {
                self.word.store(filled - WHOLE, Relaxed);
                return true;
            }
            match self.word.compare_exchange_weak(word, filled - WHOLE, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(seen) => word = seen,
            }
        }
    }

    fn tokens(&self, now: u64) -> u64 {
        let rules = self.rules.load(Acquire);
        refill(self.word.load(Relaxed), rules, now) & TOKENS
    }

    /// Takes other rules. The time until now was under the old ones, and is paid by them: a floor
    /// that grows must not give what it would have given had it been so since the last repeat.
    fn apply(&self, rules: Rules, now: u64) {
        let old = self.rules.load(Acquire);
        let mut word = self.word.load(Relaxed);
        while let Err(seen) =
            self.word.compare_exchange_weak(word, refill(word, old, now), Relaxed, Relaxed)
        {
            word = seen;
        }
        self.rules.store(rules.pack(), Release);
    }
}

/// Ten seconds of the floor, as Finagle's budget holds, and never less than ten repeats: enough to
/// get over a hiccup, too little to keep an outage going.
fn cap(rules: u64) -> u64 {
    10 * WHOLE * (rules & u64::from(u32::MAX)).max(1)
}

/// The word as it is at `now`, with what the floor has added since. Time that goes back between two
/// threads adds nothing.
fn refill(word: u64, rules: u64, now: u64) -> u64 {
    let before = word >> TOKEN_BITS;
    let now = now.clamp(before, LAST);
    let floor = rules & u64::from(u32::MAX);
    // A floor of one a second is a thousandth a millisecond.
    let tokens = (word & TOKENS).saturating_add((now - before).saturating_mul(floor));
    now << TOKEN_BITS | tokens.min(cap(rules))
}

/// How many repeats are allowed, for one policy or for several that load the same service.
///
/// Each call adds `ratio` of a repeat, each second `floor` repeats; each repeat takes one out. It
/// holds at most ten seconds of the floor (at least ten repeats) and starts full. So in any time
/// there are at most `full + floor * seconds + ratio * calls` repeats, also when everything fails:
/// that bounds what retries can add to an overload.
///
/// Clones are cheap and share the budget.
///
/// ```
/// use octostack_core::SystemClock;
/// use octostack_resilience::{Retry, RetryBudget};
///
/// let budget = RetryBudget::new(0.1, 1)?;
/// let reads = Retry::builder("inventory.reads").budget(&budget).build()?;
/// let writes = Retry::builder("inventory.writes").budget(&budget).max_attempts(2).build()?;
/// # drop((reads, writes));
///
/// // Anything else that repeats work can take part.
/// budget.deposit();
/// assert!(budget.withdraw(&SystemClock));
/// assert_eq!(budget.available(&SystemClock), 9);
/// # Ok::<_, octostack_resilience::SettingsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RetryBudget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bucket: Bucket,
    epoch: Instant,
}

impl RetryBudget {
    /// A full budget of `ratio` repeats a call (0 to 1, counted in thousandths) and `floor` repeats
    /// a second (0 to 1,000).
    ///
    /// # Errors
    /// What is out of range.
    pub fn new(ratio: f64, floor: u32) -> Result<Self, SettingsError> {
        check(ratio, floor).map(Self::from_rules)
    }

    pub(super) fn from_rules(rules: Rules) -> Self {
        let shared = Shared { bucket: Bucket::new(rules), epoch: SystemClock.now() };
        Self { shared: Arc::new(shared) }
    }

    /// A call was made: adds its share.
    #[inline]
    pub fn deposit(&self) {
        self.shared.bucket.deposit();
    }

    /// Takes one repeat out. `false` if there is none: do not repeat.
    #[must_use = "without a `true` there is nothing to spend"]
    pub fn withdraw(&self, clock: &impl Clock) -> bool {
        self.shared.bucket.withdraw(self.millis(clock))
    }

    /// Puts one repeat back that was taken out and not made, as far as it still fits: the caller
    /// went away, or its time was up, before the work was repeated.
    pub fn refund(&self) {
        self.shared.bucket.refund();
    }

    /// How many repeats it holds.
    pub fn available(&self, clock: &impl Clock) -> u64 {
        self.shared.bucket.tokens(self.millis(clock)) / WHOLE
    }

    /// Changes what fills it from now on, and keeps what it holds, as far as that still fits.
    ///
    /// # Errors
    /// What is out of range; nothing has changed then.
    pub fn reconfigure(
        &self,
        ratio: f64,
        floor: u32,
        clock: &impl Clock,
    ) -> Result<(), SettingsError> {
        check(ratio, floor).map(|rules| self.apply(rules, clock))
    }

    pub(super) fn apply(&self, rules: Rules, clock: &impl Clock) {
        self.shared.bucket.apply(rules, self.millis(clock));
    }

    pub(super) fn rules(&self) -> Rules {
        let rules = self.shared.bucket.rules.load(Relaxed);
        let floor = u32::try_from(rules & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Rules { ratio: (rules >> 32) as f64 / WHOLE as f64, floor }
    }

    fn millis(&self, clock: &impl Clock) -> u64 {
        let since = clock.now().saturating_duration_since(self.shared.epoch);
        u64::try_from(since.as_millis()).unwrap_or(LAST)
    }
}

fn check(ratio: f64, floor: u32) -> Result<Rules, SettingsError> {
    let mut problems = Vec::new();
    Rules::check(&mut problems, ratio, floor);
    if problems.is_empty() {
        Ok(Rules { ratio, floor })
    } else {
        Err(SettingsError { policy: "retry budget".to_owned(), problems })
    }
}

#[cfg(all(test, octostack_loom))]
#[path = "budget_loom_tests.rs"]
mod loom_tests;
#[cfg(all(test, not(octostack_loom)))]
#[path = "budget_tests.rs"]
mod tests;
