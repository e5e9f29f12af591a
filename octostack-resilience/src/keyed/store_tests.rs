use super::{KeyedRules, Store, Unit};
use octostack_core::{Clock, SystemClock};
use proptest::prelude::*;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A unit that is told whether it rests, and counts what it is told.
struct Sample {
    busy: AtomicBool,
    counted: AtomicU64,
    label: Option<Arc<str>>,
}

impl Unit for Sample {
    type Rules = ();
    type Sum = u64;

    fn make((): &(), label: Option<Arc<str>>, _: &impl Clock) -> Self {
        Self { busy: AtomicBool::new(false), counted: AtomicU64::new(0), label }
    }

    fn at_rest(&self) -> bool {
        !self.busy.load(Relaxed)
    }

    fn is_stale(&self, _: &impl Clock) -> bool {
        self.at_rest()
    }

    fn add_to(&self, sum: &mut u64) {
        *sum += self.counted.load(Relaxed);
    }

    fn merge(sum: &mut u64, other: u64) {
        *sum += other;
    }
}

const IDLE: Duration = Duration::from_secs(10);

fn rules(max_keys: u32) -> KeyedRules<Sample> {
    KeyedRules { each: (), max_keys, idle_for: IDLE }
}

fn use_once<K: Hash + Eq + Clone>(store: &Store<K, Sample>, key: &K, now: &Instant) -> Arc<Sample> {
    let unit = store.unit(key, now);
    unit.counted.fetch_add(1, Relaxed);
    unit
}

/// A key whose hash is that of all others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Alike(u32);

impl Hash for Alike {
    fn hash<H: Hasher>(&self, state: &mut H) {
        0_u8.hash(state);
    }
}

#[test]
fn keys_of_one_hash_share_no_unit() {
    let start = SystemClock.now();
    let store = Store::new(rules(8), None, &start);
    for round in 1..=3 {
        for key in 0..8 {
            let unit = use_once(&store, &Alike(key), &start);
            assert_eq!(unit.counted.load(Relaxed), round);
        }
    }
    let later = start + IDLE;
    use_once(&store, &Alike(3), &(start + Duration::from_secs(1)));
    assert_eq!(store.look(&later, |_| ()).keys, 1, "the others are gone from the middle");
    assert_eq!(store.look_at(&Alike(3), |unit| unit.counted.load(Relaxed)), Some(4));
    assert_eq!(store.look(&later, |_| ()).sum, 25);
}

#[test]
fn governor_171_keys_of_the_past_do_not_stay() {
    let start = SystemClock.now();
    let store = Store::new(rules(10_000), None, &start);
    for key in 0..5_000_u32 {
        use_once(&store, &key, &start);
    }
    let later = start + IDLE;
    for _ in 0..10_000 {
        use_once(&store, &0, &later);
    }
    let part = store.look(&start, |_| ()).keys;
    assert!(part < 5_000, "calls of one key sweep its part: {part}");
    let look = store.look(&later, |_| ());
    assert_eq!((look.keys, look.sum, look.evicted), (1, 15_000, 0));

    for key in 0..1_000_000_u32 {
        drop(store.unit(&key, &later));
    }
    assert!(store.look(&later, |_| ()).keys <= 10_000);
}

#[test]
fn so_many_keys_as_it_may_have_and_not_one_less() {
    let start = SystemClock.now();
    for max_keys in [1, 63, 200, 1_000, 10_000] {
        let store = Store::new(rules(max_keys), None, &start);
        let held: Vec<_> = (0..max_keys).map(|key| store.unit(&key, &start)).collect();
        let look = store.look(&start, |_| ());
        let seen = (look.keys, look.evicted, look.overflowed);
        assert_eq!(seen, (max_keys as usize, 0, 0), "of {max_keys}");
        drop(store.unit(&max_keys, &start));
        assert_eq!(store.look(&start, |_| ()).overflowed, 1, "all are in use");
        drop(held);
        drop(store.unit(&max_keys, &start));
        let look = store.look(&start, |_| ());
        assert_eq!((look.keys, look.evicted), (max_keys as usize, 1), "of {max_keys}");
    }
}

#[test]
fn fewer_keys_drop_what_rests_and_more_are_used_at_once() {
    let start = SystemClock.now();
    let store = Store::new(rules(8), None, &start);
    let held: Vec<_> = (0..6).map(|key| store.unit(&key, &start)).collect();
    drop((store.unit(&6, &start), store.unit(&7, &start)));
    store.apply(&rules(2), |_| {});
    assert_eq!(store.look(&start, |_| ()).keys, 6, "what is in use stays");
    assert!(store.unit(&8, &start).label.is_none());
    assert_eq!(store.look(&start, |_| ()).overflowed, 1);
    drop(held);
    drop(store.unit(&8, &start));
    drop(store.unit(&9, &start));
    drop(store.unit(&10, &start));
    store.apply(&rules(2), |_| {});
    assert_eq!(store.look(&start, |_| ()).keys, 2);
    store.apply(&rules(8), |_| {});
    (0..8).for_each(|key| drop(store.unit(&key, &start)));
    assert_eq!(store.look(&start, |_| ()).keys, 8);
}

#[test]
fn what_was_used_least_recently_goes_first() {
    let start = SystemClock.now();
    let store = Store::new(rules(8), None, &start);
    let at = |millis| start + Duration::from_millis(millis);
    (0..8_u32).for_each(|key| drop(store.unit(&key, &at(u64::from(key)))));
    drop(store.unit(&0, &at(8)));
    let held = store.unit(&1, &start);
    drop(store.unit(&8, &at(9)));
    let gone: Vec<_> = (0..9).filter(|key| store.look_at(key, |_| ()).is_none()).collect();
    assert_eq!(gone, [2], "0 was used again, 1 is in use");
    assert_eq!(store.look(&start, |_| ()).evicted, 1);
    drop(held);
}

#[test]
fn a_key_is_shown_in_the_words_that_it_was_given() {
    let start = SystemClock.now();
    let show: super::ShowKey<u32> = Arc::new(|key| format!("no. {key}"));
    let store = Store::new(rules(8), Some(show), &start);
    assert_eq!(store.unit(&7, &start).label.as_deref(), Some("no. 7"));
}

#[derive(Clone, Debug)]
enum Step {
    /// Uses a key and keeps the unit if told to.
    Use {
        key: u8,
        hold: bool,
    },
    /// Gives back what is held of a key.
    Release(u8),
    Busy {
        key: u8,
        busy: bool,
    },
    Wait(u64),
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..20_u8, any::<bool>()).prop_map(|(key, hold)| Step::Use { key, hold }),
        3 => (0..20_u8).prop_map(Step::Release),
        2 => (0..20_u8, any::<bool>()).prop_map(|(key, busy)| Step::Busy { key, busy }),
        1 => (0..6_u64).prop_map(Step::Wait),
        1 => Just(Step::Look),
    ]
}

/// What is known of a key that has a unit.
#[derive(Default)]
struct Known {
    used: u64,
    busy: bool,
    held: Vec<Arc<Sample>>,
    touched: u64,
}

impl Known {
    fn rests(&self) -> bool {
        !self.busy && self.held.is_empty()
    }
}

const CAP: u32 = 6;

proptest! {
    /// The oracle is a map that is told what must be there, and learns what may have gone.
    #[test]
    fn the_store_keeps_what_is_in_use_and_no_more_than_it_may(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let start = SystemClock.now();
        let store: Store<u8, Sample> = Store::new(rules(CAP), None, &start);
        let mut known: HashMap<u8, Known> = HashMap::new();
        let (mut seconds, mut calls, mut shared) = (0, 0, 0);
        for step in steps {
            let now = start + Duration::from_secs(seconds);
            match step {
                Step::Use { key, hold } => {
                    let was_present = store.look_at(&key, |_| ()).is_some();
                    let unit = use_once(&store, &key, &now);
                    calls += 1;
                    // What went to make room rested.
                    let gone: Vec<_> = known
                        .keys()
                        .copied()
                        .filter(|other| store.look_at(other, |_| ()).is_none())
                        .collect();
                    for other in gone {
                        prop_assert!(known[&other].rests(), "{} was in use", other);
                        known.remove(&other);
                    }
                    if store.look_at(&key, |_| ()).is_none() {
                        shared += 1;
                        prop_assert!(known.len() >= CAP as usize && !was_present);
                        prop_assert!(known.values().all(|known| !known.rests()), "one rested");
                        continue;
                    }
                    let known = known.entry(key).or_default();
                    known.used += 1;
                    known.touched = seconds;
                    prop_assert_eq!(unit.counted.load(Relaxed), known.used, "isolation");
                    if hold {
                        known.held.push(unit);
                    }
                }
                Step::Release(key) => {
                    if let Some(known) = known.get_mut(&key) {
                        known.held.pop();
                    }
                }
                Step::Busy { key, busy } => {
                    if store.look_at(&key, |unit| unit.busy.store(busy, Relaxed)).is_some() {
                        known.entry(key).or_default().busy = busy;
                    }
                }
                Step::Wait(more) => seconds += more,
                Step::Look => {
                    let look = store.look(&now, |_| ());
                    known.retain(|_, k| !k.rests() || k.touched + IDLE.as_secs() > seconds);
                    prop_assert_eq!(look.keys, known.len(), "only idle ones go");
                    prop_assert_eq!((look.sum, look.overflowed), (calls, shared));
                }
            }
            let keys = (0..20).filter(|key| store.look_at(key, |_| ()).is_some()).count();
            prop_assert!(keys <= CAP as usize);
        }
    }
}
