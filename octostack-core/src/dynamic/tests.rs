use super::{Dynamic, Versioned};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[test]
fn a_reader_follows_and_a_clone_shares() {
    let value = Dynamic::new("a");
    let mut reader = value.reader();
    assert_eq!(*reader.get(), "a");
    assert_eq!(value.clone().store("b"), 2);
    assert_eq!(*reader.get(), "b");
    assert_eq!(reader.versioned().generation, 2);
    assert_eq!(value.load().value, "b");
}

#[test]
fn the_old_value_is_dropped_once_nobody_holds_it() {
    let first = Arc::new(());
    let value = Dynamic::new(first.clone());
    let mut reader = value.reader();
    value.store(Arc::new(()));
    assert_eq!(Arc::strong_count(&first), 2, "the reader has not looked yet");
    reader.get();
    assert_eq!(Arc::strong_count(&first), 1);
}

#[test]
fn the_drop_of_an_old_value_may_use_the_dynamic() {
    struct Curious(Option<Dynamic<Curious>>);
    impl Drop for Curious {
        fn drop(&mut self) {
            if let Some(value) = self.0.take() {
                value.store(Curious(None)); // would deadlock under the writer's lock
            }
        }
    }
    let value = Dynamic::new(Curious(None));
    value.store(Curious(Some(value.clone())));
    assert_eq!(value.store(Curious(None)), 3);
    assert_eq!(value.generation(), 4);
}

/// Loom looks at a lock in place of arc-swap; this is the real one, on real threads.
#[test]
fn threads_see_whole_living_values_in_order_whichever_way_they_read() {
    const STORES: u64 = 200_000;
    let living = Arc::new(AtomicUsize::new(0));
    let value = Dynamic::new(Witness::new(&living));
    // The newest generation that anybody has seen: who reads after that sees no older one.
    let newest = AtomicU64::new(1);
    let check = |seen: &Versioned<Witness>, at_least: u64| {
        seen.value.assert_alive();
        let generation = seen.generation;
        assert!(generation >= at_least, "went back from {at_least} to {generation}");
        newest.fetch_max(generation, Ordering::AcqRel);
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..STORES / 2 {
                    let stored = value.store(Witness::new(&living));
                    assert!(value.load().generation >= stored);
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let mut reader = value.reader();
                let mut at_least = 0;
                while at_least <= STORES {
                    at_least = newest.load(Ordering::Acquire);
                    check(reader.versioned(), at_least);
                    let loaded = value.load();
                    let (number, next) = (value.generation(), reader.versioned().generation);
                    assert!(number >= loaded.generation && next >= loaded.generation);
                    let number = value.generation();
                    assert!(value.load().generation >= number);
                    check(&loaded, at_least);
                    reader = reader.clone();
                }
            });
        }
    });
    assert_eq!(living.load(Ordering::Relaxed), 1, "all but the last are dropped");
    assert_eq!(value.generation(), STORES + 1);
    drop(value);
    assert_eq!(living.load(Ordering::Relaxed), 0);
}

/// Knows whether it was dropped, and how many of its kind are left.
struct Witness {
    living: Arc<AtomicUsize>,
    alive: [AtomicU64; 2],
}

impl Witness {
    const ALIVE: u64 = 0x0c70_57ac;

    fn new(living: &Arc<AtomicUsize>) -> Self {
        living.fetch_add(1, Ordering::Relaxed);
        let alive = [AtomicU64::new(Self::ALIVE), AtomicU64::new(Self::ALIVE)];
        Self { living: living.clone(), alive }
    }

    fn assert_alive(&self) {
        let alive = self.alive.each_ref().map(|word| word.load(Ordering::Relaxed));
        assert_eq!(alive, [Self::ALIVE; 2], "reads what is dropped");
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.assert_alive();
        self.alive.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.living.fetch_sub(1, Ordering::Relaxed);
    }
}
