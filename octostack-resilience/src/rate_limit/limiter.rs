//! The arrival time and the rules it is judged by: shared between threads, without a lock.
//!
//! ```text
//! word  = generation:4 | arrival:60      nanoseconds since the policy was built
//! rules = two slots; those of a generation are in slot `generation % 2`
//! ```
//!
//! Each change of the rules is a *generation*. A call is judged by the rules of the generation that
//! it finds in the word, and moves the word by a compare-and-swap that holds the generation too:
//! so an interval of old rules is never added to an arrival time of new ones. Without that, one
//! call that races the change from "5 an hour" to "1,000 a second" could block all others for 12
//! minutes.
//!
//! A change writes the other slot first and then moves the word, with the arrival time rescaled.
//! A slot is written again only a generation later; whoever reads it looks at the word again
//! afterwards and knows whether what it read belongs together.
//!
//! Generations repeat after 16 changes. A call would have to sleep through exactly 16 (or 32, ...)
//! of them, and wake up to the very same arrival time, to be taken for one of today.
use super::config::MAX_RECOVERY;
use super::gcra::{Refused, Rules, Stance};
use crate::counters::Totals;
use crate::padded::Padded;
use octostack_core::inspect::Mode;
use octostack_core::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

const ARRIVAL_BITS: u32 = 60;
const ARRIVAL: u64 = (1 << ARRIVAL_BITS) - 1;

/// The latest time that a word can be asked about: after 36 years, less the longest burst.
pub(super) const LATEST: u64 = ARRIVAL - MAX_RECOVERY.as_secs() * 1_000_000_000;

/// See the [module docs](self).
pub(super) struct Limiter {
    hot: Padded<Hot>,
    slots: [Slot; 2],
    rejected: AtomicU64,
    shadow_rejected: AtomicU64,
}

/// What every admitted call writes, on one cache line.
struct Hot {
    word: AtomicU64,
    permitted: AtomicU64,
}

struct Slot {
    interval: AtomicU64,
    /// `mode:8 | 0:24 | burst:32`
    rest: AtomicU64,
}

impl Slot {
    fn new(rules: Rules) -> Self {
        Self { interval: AtomicU64::new(rules.interval), rest: AtomicU64::new(pack_rest(rules)) }
    }

    // Acquire and release: who sees a value of a later generation sees the word of the one between.
    fn store(&self, rules: Rules) {
        self.interval.store(rules.interval, Release);
        self.rest.store(pack_rest(rules), Release);
    }

    #[inline]
    fn load(&self) -> Rules {
        let (interval, rest) = (self.interval.load(Acquire), self.rest.load(Acquire));
        Rules { mode: Mode::from_u8((rest >> 56) as u8), interval, burst: (rest & BURST) as u32 }
    }
}

impl Limiter {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            hot: Padded(Hot { word: AtomicU64::new(0), permitted: AtomicU64::new(0) }),
            slots: [Slot::new(rules), Slot::new(rules)],
            rejected: AtomicU64::new(0),
            shadow_rejected: AtomicU64::new(0),
        }
    }

    /// Decides one call and counts the decision. `now` is asked for once at most, and only if
    /// calls are judged.
    #[inline]
    pub(super) fn admit(&self, now: impl Fn() -> u64) -> Result<(), Refused> {
        let mut time = None;
        loop {
            let (word, rules) = self.read();
            match rules.stance() {
                Stance::Pass => return Ok(()),
                Stance::Refuse => return Err(self.refuse(Refused { retry_after: None })),
                Stance::Judge => {}
            }
            let now = *time.get_or_insert_with(&now);
            match rules.judge(arrival(word).saturating_sub(now)) {
                Ok(ahead) => {
                    if self.replace(word, pack(generation(word), now + ahead)) {
                        self.hot.permitted.fetch_add(1, Relaxed);
                        return Ok(());
                    }
                }
                Err(_) if rules.mode == Mode::Shadow => {
                    self.shadow_rejected.fetch_add(1, Relaxed);
                    self.hot.permitted.fetch_add(1, Relaxed);
                    return Ok(());
                }
                Err(wait) => return Err(self.refuse(Refused { retry_after: Some(wait) })),
            }
        }
    }

    #[inline]
    fn replace(&self, word: u64, next: u64) -> bool {
        let word = if cfg!(octostack_planted_bug) { self.hot.word.load(Relaxed) } else { word };
        self.hot.word.compare_exchange_weak(word, next, AcqRel, Relaxed).is_ok()
    }

    #[cold]
    fn refuse(&self, refused: Refused) -> Refused {
        self.rejected.fetch_add(1, Relaxed);
        refused
    }

    /// A word, and the rules of its generation.
    #[inline]
    fn read(&self) -> (u64, Rules) {
        let mut word = self.hot.word.load(Acquire);
        loop {
            let rules = self.slots[slot(generation(word))].load();
            let seen = self.hot.word.load(Acquire);
            if generation(seen) == generation(word) {
                return (seen, rules);
            }
            word = seen;
        }
    }

    /// Takes other rules and keeps what was used of the old ones. Changes do not race: the caller
    /// holds the lock of the settings.
    pub(super) fn apply(&self, rules: Rules, now: u64) {
        let (mut word, old) = self.read();
        let next = generation(word).wrapping_add(1) & GENERATIONS;
        self.slots[slot(next)].store(rules);
        loop {
            let ahead = old.carry(rules, arrival(word).saturating_sub(now));
            let moved = pack(next, now + ahead);
            match self.hot.word.compare_exchange(word, moved, AcqRel, Acquire) {
                Ok(_) => return,
                Err(seen) => word = seen,
            }
        }
    }

    /// The rules in force, and how many calls they would let pass at `now`.
    pub(super) fn available(&self, now: u64) -> (Rules, u32) {
        let (word, rules) = self.read();
        (rules, rules.available(arrival(word).saturating_sub(now)))
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            permitted: self.hot.permitted.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            shadow_rejected: self.shadow_rejected.load(Relaxed),
            outcomes: None,
        }
    }
}

const GENERATIONS: u64 = 0xf;
const BURST: u64 = 0xffff_ffff;

const fn pack(generation: u64, arrival: u64) -> u64 {
    generation << ARRIVAL_BITS | arrival
}

const fn generation(word: u64) -> u64 {
    word >> ARRIVAL_BITS
}

const fn arrival(word: u64) -> u64 {
    word & ARRIVAL
}

const fn slot(generation: u64) -> usize {
    (generation % 2) as usize
}

fn pack_rest(rules: Rules) -> u64 {
    (rules.mode as u64) << 56 | u64::from(rules.burst)
}

#[cfg(all(test, octostack_loom))]
#[path = "limiter_loom_tests.rs"]
mod loom_tests;
#[cfg(all(test, not(octostack_loom)))]
#[path = "limiter_tests.rs"]
mod tests;
