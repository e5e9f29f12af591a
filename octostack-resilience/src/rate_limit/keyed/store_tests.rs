use super::{Counts, PARTS, Rules, Store, rooms};
use octostack_core::inspect::Mode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

fn store(burst: u32, max_keys: u32) -> Store {
    Store::new(Rules::new(Mode::Enforce, 1, Duration::from_secs(1), burst), max_keys)
}

#[test]
fn all_parts_together_have_room_for_the_keys_and_no_more() {
    for max_keys in [1, 2, 63, 64, 127, 128, 1_000, 2_048, 100_000] {
        let store = store(1, max_keys);
        let parts = store.parts.len();
        assert!((1..=PARTS).contains(&parts), "{max_keys}");
        let rooms: Vec<_> = rooms(max_keys as usize, parts).collect();
        assert_eq!(rooms.iter().sum::<usize>(), max_keys as usize);
        assert!(rooms.iter().all(|room| *room >= 1), "{max_keys}: {rooms:?}");

        for key in 0..3 * max_keys {
            store.admit(&key, 1, 0).unwrap();
        }
        let counts = store.counts(0);
        assert_eq!(counts.keys, max_keys as usize, "full, and not fuller");
        assert_eq!(counts.evicted, u64::from(2 * max_keys));
    }
}

#[test]
fn keys_are_spread_over_the_parts() {
    let store = store(1, 100_000);
    for key in 0..32_000_u64 {
        store.admit(&key, 1, 0).unwrap();
    }
    let lens: Vec<_> = store.parts.iter().map(|part| super::lock(part).len()).collect();
    // 1,000 each; seven standard deviations of chance.
    assert!(lens.iter().all(|len| (780..=1_220).contains(len)), "{lens:?}");
}

#[test]
fn whoever_asks_sees_no_key_that_has_recovered() {
    let store = store(2, 100_000);
    for key in 0..5_000 {
        store.admit(&key, 1, 0).unwrap();
    }
    for key in 0..10 {
        store.admit(&key, 1, 0).unwrap();
    }
    assert_eq!(store.counts(0).keys, 5_000);
    assert_eq!(store.counts(1_000_000_000).keys, 10);
    let expected = Counts { keys: 0, ..store.counts(2_000_000_000) };
    assert_eq!(store.counts(2_000_000_000), expected);
    assert_eq!((expected.totals.permitted, expected.evicted), (5_010, 0));
}

#[test]
fn threads_share_the_limit_of_a_key() {
    let store = store(100, 1_000);
    let permitted = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..4_000 {
                    let key = ["red", "green", "blue", "black"][n % 4];
                    permitted.fetch_add(u64::from(store.admit(key, 1, 0).is_ok()), Relaxed);
                }
            });
        }
    });
    assert_eq!(permitted.into_inner(), 400);
    let totals = store.counts(0).totals;
    assert_eq!((totals.permitted, totals.rejected), (400, 15_600));
}
