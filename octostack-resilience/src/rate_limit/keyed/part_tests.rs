use super::{Mode, Part, Refused, Rules, SAMPLE, Stance, Used};
use proptest::prelude::*;
use std::collections::HashMap;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

fn rules(limit: u32, burst: u32) -> Rules {
    Rules::new(Mode::Enforce, limit, Duration::from_nanos(SECOND), burst)
}

/// One call a second, and a burst of `burst`.
fn part(burst: u32, room: usize) -> Part {
    Part::new(rules(1, burst), room)
}

fn passing(part: &mut Part, key: u64, calls: u32, now: u64) -> usize {
    (0..calls).filter(|_| part.admit(key, 1, now).is_ok()).count()
}

/// The index leads to every entry and to nothing else.
fn check(part: &Part) {
    assert!(part.len() <= part.room, "{} keys in a room for {}", part.len(), part.room);
    assert_eq!(part.index.len(), part.entries.len());
    for (at, entry) in part.entries.iter().enumerate() {
        assert_eq!(part.index.get(&entry.hash), Some(&at));
    }
}

#[test]
fn each_key_has_its_own_limit() {
    let mut part = part(3, 10);
    assert_eq!(passing(&mut part, 1, 5, 0), 3);
    assert_eq!(passing(&mut part, 2, 2, 0), 2);
    let wait = Some(Duration::from_secs(1));
    assert_eq!(part.admit(1, 1, 0), Err(Refused { retry_after: wait }));
    assert_eq!(part.len(), 2);
    assert_eq!((part.totals().permitted, part.totals().rejected), (5, 3));
}

#[test]
fn keys_go_once_they_have_recovered() {
    let mut part = part(3, 1_000);
    for key in 0..100 {
        part.admit(key, 1, 0).unwrap();
    }
    assert_eq!(part.len(), 100);
    // Two steps of the hand for each new key: after one round of it the crowd is gone.
    for key in 1_000..1_100 {
        part.admit(key, 1, SECOND).unwrap();
        check(&part);
    }
    assert_eq!((part.len(), part.evicted()), (100, 0));
    part.sweep(2 * SECOND, usize::MAX);
    assert_eq!(part.len(), 0);
    part.shrink();
    check(&part);
}

#[test]
fn without_room_who_has_recovered_goes_first() {
    let mut part = part(9, 3);
    for (key, calls) in [(1, 5), (2, 1), (3, 7)] {
        passing(&mut part, key, calls, 0);
    }
    part.admit(4, 1, SECOND).unwrap();
    check(&part);
    assert!(!part.index.contains_key(&2));
    assert_eq!((part.len(), part.evicted()), (3, 0));
}

#[test]
fn then_who_has_used_least() {
    let mut part = part(9, 3);
    for (key, calls) in [(1, 5), (2, 2), (3, 7)] {
        passing(&mut part, key, calls, 0);
    }
    part.admit(4, 1, 0).unwrap();
    check(&part);
    assert!(!part.index.contains_key(&2));
    assert_eq!((part.len(), part.evicted()), (3, 1));
    assert_eq!(passing(&mut part, 3, 9, 0), 2, "the others are where they were");
}

#[test]
fn a_flood_of_new_keys_does_not_wash_away_who_is_at_the_limit() {
    let room = 10 * SAMPLE;
    let mut part = part(5, room);
    let noisy = 0..(SAMPLE as u64 / 2);
    for key in noisy.clone() {
        assert_eq!(passing(&mut part, key, 9, 0), 5);
    }
    for key in 1_000..10_000 {
        part.admit(key, 1, 0).unwrap();
        check(&part);
    }
    assert_eq!((part.len(), part.evicted()), (room, 9_000 + noisy.end - room as u64));
    for key in noisy {
        assert!(part.admit(key, 1, 0).is_err(), "{key} starts anew");
    }
}

#[test]
fn a_change_keeps_what_was_used_and_the_keys_that_used_most() {
    let mut part = part(9, 20);
    for key in 1..=9_u32 {
        passing(&mut part, u64::from(key), key, 0);
    }
    part.apply(rules(1_000, 12), 20, 0);
    check(&part);
    assert_eq!(passing(&mut part, 5, 20, 0), 7, "5 of 9 were used, now 5 of 12 are");

    part.apply(rules(1_000, 12), 3, 0);
    check(&part);
    let mut left: Vec<_> = part.index.keys().copied().collect();
    left.sort_unstable();
    assert_eq!((left, part.evicted()), (vec![5, 8, 9], 6));

    part.apply(rules(0, 0), 3, 0);
    assert_eq!((part.len(), part.rules.stance()), (0, Stance::Pass), "no limit, no memory");
}

#[test]
fn a_smaller_burst_that_is_undone_gives_no_key_anything_back() {
    let mut part = part(9, 20);
    for key in 1..=9_u32 {
        passing(&mut part, u64::from(key), key, 0);
    }
    part.apply(rules(1, 2), 20, 0);
    assert_eq!((passing(&mut part, 1, 9, 0), passing(&mut part, 9, 9, 0)), (1, 0));
    part.apply(rules(1, 9), 20, 0);
    let left: Vec<_> = (1..=9).map(|key| passing(&mut part, key, 20, 0)).collect();
    assert_eq!(left, [7, 7, 6, 5, 4, 3, 2, 1, 0]);
}

#[test]
fn shadow_counts_and_rejects_nothing() {
    let rules = Rules { mode: Mode::Shadow, ..rules(1, 3) };
    let mut part = Part::new(rules, 10);
    assert_eq!(passing(&mut part, 1, 5, 0), 5);
    assert_eq!((part.totals().permitted, part.totals().shadow_rejected), (5, 2));
    part.apply(Rules { mode: Mode::ForcedOpen, ..rules }, 10, 0);
    assert_eq!(part.admit(2, 1, 0), Err(Refused { retry_after: None }));
    assert_eq!(part.totals().rejected, 1);
}

proptest! {
    #[test]
    fn decides_as_a_limit_for_each_key_while_there_is_room(
        burst in 1..5_u32,
        calls in prop::collection::vec((0..20_u64, 0..3_u32, 0..SECOND), 1..300),
        changes in prop::collection::vec((1..50_u32, 1..9_u32), 0..3),
    ) {
        let mut rules = rules(1, burst);
        let mut part = Part::new(rules, 20);
        let mut arrivals = HashMap::<u64, (u64, u64)>::new();
        let (mut now, mut changes) = (0, changes.into_iter());
        for (n, (key, weight, gap)) in calls.into_iter().enumerate() {
            now += gap;
            if n % 70 == 69 && let Some((limit, burst)) = changes.next() {
                let next = self::rules(limit, burst);
                for (arrival, cut) in arrivals.values_mut() {
                    let used = rules.carry(next, Used::at(*arrival, *cut, now));
                    (*arrival, *cut) = (now + used.ahead, used.cut);
                }
                rules = next;
                part.apply(rules, 20, now);
            }
            let (arrival, cut) = arrivals.entry(key).or_default();
            let used = Used::at(*arrival, *cut, now);
            *cut = used.cut;
            let expected = rules.judge(used.counted(), weight);
            if let Ok(ahead) = expected {
                *arrival = now + ahead + used.cut;
            }
            prop_assert_eq!(part.admit(key, weight, now).err(), expected.err());
            check(&part);
        }
        prop_assert_eq!(part.evicted(), 0);
    }

    #[test]
    fn never_holds_more_than_there_is_room_for(
        room in 1..40_usize,
        calls in prop::collection::vec((0..100_u64, 0..SECOND / 4), 1..300),
    ) {
        let mut part = part(3, room);
        let mut now = 0;
        for (key, gap) in calls {
            now += gap;
            let known = part.index.contains_key(&key);
            let passed = part.admit(key, 1, now).is_ok();
            prop_assert!(passed || known, "a new key has its burst");
            prop_assert!(part.index.contains_key(&key));
            check(&part);
        }
    }
}
