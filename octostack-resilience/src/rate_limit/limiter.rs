//! The arrival time and the rules it is judged by: shared between threads, without a lock.
//!
//! ```text
//! word  = generation:4 | arrival:60      nanoseconds since the policy was built
//! rules = two slots; those of a generation are in slot `generation % 2`
//! cut   = generation:4 | cut:60          beside the rules; how much of the arrival is cut off
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
//! What a smaller burst has cut off recovers after what counts. A call that finds that all that
//! counts has recovered first takes the time since then off the cut, by a swap of its own, and then
//! looks again; the cut holds its generation, so it is not taken off that of other rules. A call
//! that passes between the two steps, judged by an older time, can make the arrival time later by
//! what lies between the two times, and never earlier. Without a cut, which is nearly always, there
//! is one load more and no step.
//!
//! Generations repeat after 16 changes. A call would have to sleep through exactly 16 (or 32, ...)
//! of them, and wake up to the very same arrival time, to be taken for one of today.
use super::gcra::{MOST_USED, Refused, Rules, Stance, Used};
use crate::counters::Totals;
use crate::padded::Padded;
use octostack_core::inspect::Mode;
use octostack_core::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

const ARRIVAL_BITS: u32 = 60;
const ARRIVAL: u64 = (1 << ARRIVAL_BITS) - 1;

/// The latest time that a word can be asked about: 36 years, less the most that is ever used.
pub(super) const LATEST: u64 = ARRIVAL - MOST_USED;

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
    /// `generation:4 | cut:60`
    cut: AtomicU64,
}

/// A word, and what belongs to its generation.
struct Read {
    word: u64,
    rules: Rules,
    cut: u64,
}

impl Slot {
    fn new(rules: Rules) -> Self {
        Self {
            interval: AtomicU64::new(rules.interval),
            rest: AtomicU64::new(pack_rest(rules)),
            cut: AtomicU64::new(0),
        }
    }

    // Acquire and release: who sees a value of a later generation sees the word of the one between.
    fn store(&self, rules: Rules, cut: u64) {
        self.interval.store(rules.interval, Release);
        self.rest.store(pack_rest(rules), Release);
        self.cut.store(cut, Release);
    }

    #[inline]
    fn load(&self) -> (Rules, u64) {
        let (interval, rest) = (self.interval.load(Acquire), self.rest.load(Acquire));
        let (mode, burst) = (Mode::from_u8((rest >> 56) as u8), (rest & BURST) as u32);
        (Rules { mode, interval, burst }, arrival(self.cut.load(Acquire)))
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

    /// Decides a call that counts as `weight` calls, and counts the decision. `now` is asked for
    /// once at most, and only if calls are judged.
    #[inline]
    pub(super) fn admit(&self, weight: u32, now: impl Fn() -> u64) -> Result<(), Refused> {
        let mut time = None;
        loop {
            let Read { word, rules, cut } = self.read();
            match rules.stance() {
                Stance::Pass => return Ok(()),
                Stance::Refuse => return Err(self.refuse(Refused { retry_after: None })),
                Stance::Judge => {}
            }
            let now = *time.get_or_insert_with(&now);
            let used = Used::at(arrival(word), cut, now);
            if used.cut < cut {
                self.recover(word, cut, used.cut);
                continue;
            }
            match rules.judge(used.counted(), weight) {
                Ok(ahead) => {
                    if self.replace(word, pack(generation(word), now + ahead + cut)) {
                        self.hot.permitted.fetch_add(1, Relaxed);
                        return Ok(());
                    }
                }
                Err(_) if rules.mode == Mode::Shadow => {
                    self.shadow_rejected.fetch_add(1, Relaxed);
                    self.hot.permitted.fetch_add(1, Relaxed);
                    return Ok(());
                }
                Err(refused) => return Err(self.refuse(refused)),
            }
        }
    }

    #[inline]
    fn replace(&self, word: u64, next: u64) -> bool {
        let word = if cfg!(octostack_planted_bug) { self.hot.word.load(Relaxed) } else { word };
        self.hot.word.compare_exchange_weak(word, next, AcqRel, Relaxed).is_ok()
    }

    /// Takes off the cut what has recovered of it.
    #[cold]
    fn recover(&self, word: u64, cut: u64, left: u64) {
        let generation = generation(word);
        let [cut, left] = [cut, left].map(|time| pack(generation, time));
        // Whoever was faster has left as much or less; the caller looks again in either case.
        let _ = self.slots[slot(generation)].cut.compare_exchange(cut, left, AcqRel, Relaxed);
    }

    #[cold]
    fn refuse(&self, refused: Refused) -> Refused {
        self.rejected.fetch_add(1, Relaxed);
        refused
    }

    #[inline]
    fn read(&self) -> Read {
        let mut word = self.hot.word.load(Acquire);
        loop {
            let (rules, cut) = self.slots[slot(generation(word))].load();
            let seen = self.hot.word.load(Acquire);
            // A cut belongs to the arrival time beside which it was read: who admits meanwhile may
            // have taken it off.
            if generation(seen) == generation(word) && (cut == 0 || seen == word) {
                return Read { word: seen, rules, cut };
            }
            word = seen;
        }
    }

    /// Takes other rules and keeps what was used of the old ones. Changes do not race: the caller
    /// holds the lock of the settings.
    pub(super) fn apply(&self, rules: Rules, now: u64) {
        loop {
            let Read { word, rules: old, cut } = self.read();
            let next = generation(word).wrapping_add(1) & GENERATIONS;
            let used = old.carry(rules, Used::at(arrival(word), cut, now));
            self.slots[slot(next)].store(rules, pack(next, used.cut));
            let moved = pack(next, now + used.ahead);
            if self.hot.word.compare_exchange(word, moved, AcqRel, Relaxed).is_ok() {
                return;
            }
        }
    }

    /// The rules in force, and how many calls they would let pass at `now`.
    pub(super) fn available(&self, now: u64) -> (Rules, u32) {
        let Read { word, rules, cut } = self.read();
        (rules, rules.available(Used::at(arrival(word), cut, now).counted()))
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
