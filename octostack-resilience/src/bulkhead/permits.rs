//! Places and the queue for them: shared between threads, without time.
//!
//! ```text
//! word  = permitted:28 | queued:18 | in_flight:18
//! rules = mode:8 | max_queue:24 | limit:32        limit 0: nobody passes without being judged
//! ```
//!
//! A free place is taken by one compare-and-swap, which counts the call too. It compares the lower
//! half as one number: as soon as somebody is queued it is above every limit, so that nobody
//! overtakes the queue. Whoever has to wait, and whoever leaves while others wait, takes the lock
//! of the queue; places are handed over under it, first come first served, and the waker is called
//! after it.
//!
//! While somebody is queued the places in use are at least as many as the limit. Both are in one
//! word, so this holds at every instant, and one place that comes back can go to one waiter only.
//! A limit that shrinks below the places in use needs no state of its own: nothing is handed over
//! until enough of them have come back.
use crate::counters::Totals;
use crate::padded::Padded;
use octostack_core::inspect::Mode;
use octostack_core::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use octostack_core::sync::{Mutex, lock};
use std::collections::VecDeque;
use std::mem;
use std::task::{Context, Poll, Waker};

const BITS: u32 = 18;
const ONE_PLACE: u64 = 1;
const ONE_QUEUED: u64 = 1 << BITS;
const ONE_PERMITTED: u64 = 1 << (2 * BITS);
/// Places in use and queued: what is compared with the limit.
const BUSY: u64 = ONE_PERMITTED - 1;
/// How many calls the word counts before that count starts again.
const TURN: u64 = 1 << (u64::BITS - 2 * BITS);

/// The most places, and the longest queue. Both together fit into one field of the word: when the
/// limit falls away, all who wait get a place at once.
pub(super) const MAX: u32 = 100_000;
const _: () = assert!(2 * MAX < 1 << BITS);

/// What the bulkhead does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has a place, which has to come back.
    Placed,
    /// It passes without a place.
    Passed,
    /// It waits under this number.
    Queued(u64),
    /// It is refused.
    Refused,
}

/// What is decided from the two words alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Place,
    Pass,
    PassInShadow,
    Queue,
    Refuse,
}

/// See the [module docs](self).
pub(super) struct Permits {
    word: Padded<AtomicU64>,
    rules: AtomicU64,
    /// How often the count of permitted calls started again.
    turns: AtomicU64,
    rejected: AtomicU64,
    shadow_rejected: AtomicU64,
    queue: Mutex<Queue>,
}

/// Who waits, in the order of coming; numbers only grow, so that the order is sorted.
struct Queue {
    waiting: VecDeque<(u64, Waker)>,
    next: u64,
    /// What was last reported as permitted, so that the count never goes back.
    reported: u64,
}

impl Permits {
    pub(super) fn new(mode: Mode, limit: u32, max_queue: u32) -> Self {
        Self {
            word: Padded(AtomicU64::new(0)),
            rules: AtomicU64::new(pack_rules(mode, limit, max_queue)),
            turns: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            shadow_rejected: AtomicU64::new(0),
            queue: Mutex::new(Queue { waiting: VecDeque::new(), next: 0, reported: 0 }),
        }
    }

    /// Asks for a place. A call that may not wait is refused where others would be queued.
    #[inline]
    pub(super) fn ask(&self, may_wait: bool) -> Answer {
        let limit = self.rules.load(Relaxed) & LIMIT;
        let mut word = self.word.load(Relaxed);
        while word & BUSY < limit {
            let next = word.wrapping_add(ONE_PLACE + ONE_PERMITTED);
            match self.word.compare_exchange_weak(word, next, Acquire, Relaxed) {
                Ok(_) => {
                    self.note_turn(next);
                    return Answer::Placed;
                }
                Err(now) => word = now,
            }
        }
        self.ask_slowly(may_wait)
    }

    #[cold]
    fn ask_slowly(&self, may_wait: bool) -> Answer {
        // Refusing must stay cheap when everybody is refused: no lock.
        let (word, rules) = (self.word.load(Relaxed), self.rules.load(Relaxed));
        if let Some(answer) = self.conclude(judge(word, rules, may_wait)) {
            return answer;
        }
        // Under the lock the rules stand still and nobody else queues.
        let mut queue = lock(&self.queue);
        let rules = self.rules.load(Relaxed);
        let mut word = self.word.load(Relaxed);
        loop {
            let verdict = judge(word, rules, may_wait);
            let next = match verdict {
                Verdict::Place => word.wrapping_add(ONE_PLACE + ONE_PERMITTED),
                Verdict::Queue => word + ONE_QUEUED,
                Verdict::Pass | Verdict::PassInShadow | Verdict::Refuse => word,
            };
            if let Some(answer) = self.conclude(verdict) {
                return answer;
            }
            match self.word.compare_exchange(word, next, Acquire, Relaxed) {
                Ok(_) if verdict == Verdict::Queue => return Answer::Queued(queue.push()),
                Ok(_) => {
                    self.note_turn(next);
                    return Answer::Placed;
                }
                Err(now) => word = now,
            }
        }
    }

    /// Counts and answers what changes neither places nor queue.
    fn conclude(&self, verdict: Verdict) -> Option<Answer> {
        match verdict {
            Verdict::Place | Verdict::Queue => return None,
            Verdict::Refuse => {
                self.rejected.fetch_add(1, Relaxed);
                return Some(Answer::Refused);
            }
            Verdict::PassInShadow => {
                self.shadow_rejected.fetch_add(1, Relaxed);
            }
            Verdict::Pass => {}
        }
        let before = self.word.fetch_add(ONE_PERMITTED, Relaxed);
        self.note_turn(before.wrapping_add(ONE_PERMITTED));
        Some(Answer::Passed)
    }

    /// Gives a place back, to the one who waits longest if anybody does.
    #[inline]
    pub(super) fn leave(&self) {
        let mut word = self.word.load(Relaxed);
        while queued(word) == 0 || cfg!(octostack_planted_bug) {
            match self.word.compare_exchange_weak(word, word - ONE_PLACE, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        self.leave_slowly();
    }

    #[cold]
    fn leave_slowly(&self) {
        let mut queue = lock(&self.queue);
        self.word.fetch_sub(ONE_PLACE, Release);
        let waker = self.hand_over(&mut queue);
        drop(queue);
        // A waker is foreign code: never under the lock.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Gives one free place to the head of the queue. Only under the lock.
    fn hand_over(&self, queue: &mut Queue) -> Option<Waker> {
        let limit = handover_limit(self.rules.load(Relaxed));
        let mut word = self.word.load(Relaxed);
        while queued(word) > 0 && in_flight(word) < limit {
            let next = word.wrapping_sub(ONE_QUEUED).wrapping_add(ONE_PLACE + ONE_PERMITTED);
            match self.word.compare_exchange(word, next, AcqRel, Relaxed) {
                Ok(_) => {
                    self.note_turn(next);
                    // `queued` counts the entries, and both change under this lock only.
                    return queue.waiting.pop_front().map(|(_, waker)| waker);
                }
                Err(now) => word = now,
            }
        }
        None
    }

    /// Whether the place has come; if not, `cx` is woken when it does.
    pub(super) fn poll(&self, number: u64, cx: &Context<'_>) -> Poll<()> {
        // Cloned and dropped outside the lock: both are foreign code.
        let mut waker = cx.waker().clone();
        let mut queue = lock(&self.queue);
        let found = queue.find(number).map(|at| mem::swap(&mut queue.waiting[at].1, &mut waker));
        drop(queue);
        if found.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Stops waiting: it took too long, or the caller has gone. `true` if the place had come
    /// already: it is the caller's then. Else the call wanted a place and got none, so it counts as
    /// rejected, and every call is in one counter.
    pub(super) fn give_up(&self, number: u64) -> bool {
        let mut queue = lock(&self.queue);
        let gone = queue.find(number).and_then(|at| queue.waiting.remove(at));
        if gone.is_some() {
            self.word.fetch_sub(ONE_QUEUED, Relaxed);
            self.rejected.fetch_add(1, Relaxed);
        }
        drop(queue);
        gone.is_none()
    }

    /// Takes other rules, and hands over what became free by them.
    pub(super) fn apply(&self, mode: Mode, limit: u32, max_queue: u32) {
        let mut queue = lock(&self.queue);
        self.rules.store(pack_rules(mode, limit, max_queue), Relaxed);
        let woken: Vec<_> = std::iter::from_fn(|| self.hand_over(&mut queue)).collect();
        drop(queue);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Calls with a place, and calls that wait for one.
    pub(super) fn counts(&self) -> (u32, u32) {
        let word = self.word.load(Relaxed);
        (in_flight(word), queued(word))
    }

    pub(super) fn totals(&self) -> Totals {
        let mut queue = lock(&self.queue);
        let permitted = self.turns.load(Relaxed) * TURN + (self.word.load(Relaxed) >> (2 * BITS));
        // Between the swap that ends a turn and its note the sum would be a turn short.
        queue.reported = queue.reported.max(permitted);
        Totals {
            permitted: queue.reported,
            rejected: self.rejected.load(Relaxed),
            shadow_rejected: self.shadow_rejected.load(Relaxed),
            outcomes: None,
        }
    }

    /// Called with each word that counted one more call.
    #[inline]
    fn note_turn(&self, word: u64) {
        if word < ONE_PERMITTED {
            self.turns.fetch_add(1, Relaxed);
        }
    }
}

impl Queue {
    fn push(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting.push_back((number, Waker::noop().clone()));
        number
    }

    fn find(&self, number: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&number, |(number, _)| *number).ok()
    }
}

/// What happens to a call that finds `word` under `rules`.
const fn judge(word: u64, rules: u64, may_wait: bool) -> Verdict {
    match mode(rules) {
        Mode::Disabled | Mode::ForcedClosed => Verdict::Pass,
        Mode::Enforce | Mode::Shadow if word & BUSY < rules & LIMIT => Verdict::Place,
        Mode::Shadow => Verdict::PassInShadow,
        Mode::Enforce if may_wait && queued(word) < max_queue(rules) => Verdict::Queue,
        Mode::Enforce | Mode::ForcedOpen => Verdict::Refuse,
    }
}

/// Up to how many places those who wait already may have. When the mode lets everybody pass, they
/// must not be the only ones to stand.
const fn handover_limit(rules: u64) -> u32 {
    match mode(rules) {
        Mode::Enforce => (rules & LIMIT) as u32,
        // As many as the field of the word holds for certain.
        Mode::Shadow | Mode::Disabled | Mode::ForcedClosed => 2 * MAX,
        Mode::ForcedOpen => 0,
    }
}

const LIMIT: u64 = 0xffff_ffff;

const fn pack_rules(mode: Mode, limit: u32, max_queue: u32) -> u64 {
    let limit = match mode {
        Mode::Enforce | Mode::Shadow => limit,
        Mode::Disabled | Mode::ForcedOpen | Mode::ForcedClosed => 0,
    };
    (mode as u64) << 56 | (max_queue as u64) << 32 | limit as u64
}

const fn mode(rules: u64) -> Mode {
    Mode::from_u8((rules >> 56) as u8)
}

const fn max_queue(rules: u64) -> u32 {
    (rules >> 32 & 0xff_ffff) as u32
}

const fn in_flight(word: u64) -> u32 {
    (word & (ONE_QUEUED - 1)) as u32
}

const fn queued(word: u64) -> u32 {
    ((word & BUSY) >> BITS) as u32
}

#[cfg(all(test, octostack_loom))]
#[path = "permits_loom_tests.rs"]
mod loom_tests;
#[cfg(all(test, not(octostack_loom)))]
#[path = "permits_tests.rs"]
mod tests;
