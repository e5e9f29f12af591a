//! Every interleaving of a few readers and writers.
use super::{Dynamic, Reader};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Arc, RwLock};
use loom::thread;

/// What a reader sees now: whole, and not older than `last`.
fn next(reader: &mut Reader<u64>, last: u64) -> u64 {
    let seen = reader.versioned();
    assert!(seen.generation >= last, "went back from {last} to {}", seen.generation);
    assert_eq!(seen.value, seen.generation, "a mix of two generations");
    seen.generation
}

#[test]
fn a_reader_never_goes_back_and_sees_the_last_store_in_the_end() {
    loom::model(|| {
        let value = Dynamic::new(1_u64);
        let mut reader = value.reader();
        let writer = value.clone();
        let writing = thread::spawn(move || {
            writer.store(2);
            writer.store(3);
        });
        let mut last = 0;
        for _ in 0..3 {
            last = next(&mut reader, last);
        }
        writing.join().unwrap();
        assert_eq!(*reader.get(), 3);
    });
}

#[test]
fn neither_do_two_readers_nor_a_clone_that_is_made_on_the_way() {
    loom::model(|| {
        let value = Dynamic::new(1_u64);
        let (mut one, mut other) = (value.reader(), value.reader());
        let writing = thread::spawn(move || value.store(2));
        let reading = thread::spawn(move || {
            let last = next(&mut other, 0);
            next(&mut other, last)
        });
        let last = next(&mut one, 0);
        let mut copy = one.clone();
        assert!(next(&mut copy, last) <= 2);
        next(&mut one, last);
        writing.join().unwrap();
        reading.join().unwrap();
        assert_eq!((*one.get(), *copy.get()), (2, 2));
    });
}

#[test]
fn planted_who_sees_the_new_number_finds_the_new_value() {
    loom::model(|| {
        let value = Dynamic::new(1_u64);
        let writer = value.clone();
        let writing = thread::spawn(move || writer.store(2));
        let number = value.generation();
        assert!(value.load().generation >= number);
        writing.join().unwrap();
    });
}

#[test]
fn planted_after_a_load_neither_number_nor_reader_is_older() {
    loom::model(|| {
        let value = Dynamic::new(1_u64);
        value.store(2);
        let mut reader = value.reader();
        let writer = value.clone();
        let writing = thread::spawn(move || writer.store(3));
        let loaded = value.load().generation;
        assert!(value.generation() >= loaded);
        next(&mut reader, loaded);
        writing.join().unwrap();
    });
}

#[test]
fn planted_what_one_reader_saw_another_finds() {
    loom::model(|| {
        let value = Dynamic::new(1_u64);
        let mut early = value.reader();
        value.store(2);
        let mut late = value.reader();
        let told = Arc::new(AtomicU64::new(0));
        let tells = told.clone();
        let writing = thread::spawn(move || value.store(3));
        let reading = thread::spawn(move || {
            tells.store(next(&mut early, 1), Ordering::Release);
        });
        let told = told.load(Ordering::Acquire);
        next(&mut late, told);
        writing.join().unwrap();
        reading.join().unwrap();
    });
}

#[test]
fn planted_a_reader_after_a_load_after_a_reader_never_goes_back() {
    loom::model(|| {
        let value = Dynamic::new(1_u64);
        let mut reader = value.reader();
        let writer = value.clone();
        let writing = thread::spawn(move || {
            writer.store(2);
            writer.store(3)
        });
        let last = next(&mut reader, 0);
        let loaded = value.load();
        assert!(loaded.generation >= last);
        next(&mut reader, loaded.generation);
        writing.join().unwrap();
    });
}

#[test]
fn two_writers_take_turns() {
    loom::model(|| {
        let value = Dynamic::new(1_u64);
        let other = value.clone();
        let writing = thread::spawn(move || other.store(10));
        let mine = value.store(20);
        let theirs = writing.join().unwrap();
        assert_eq!(mine + theirs, 2 + 3, "each generation is given once");
        let last = value.load();
        assert_eq!(last.generation, 3);
        assert_eq!(value.generation(), 3);
        assert_eq!(last.value, if mine == 3 { 20 } else { 10 });
    });
}

#[test]
fn a_value_lives_as_long_as_somebody_reads_it_and_no_longer() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let counted = |living: &Arc<AtomicUsize>| {
        living.fetch_add(1, Ordering::Relaxed);
        Counted(living.clone())
    };
    loom::model(move || {
        let living = Arc::new(AtomicUsize::new(0));
        let value = Dynamic::new(counted(&living));
        let mut reader = value.reader();
        let (writer, next) = (value.clone(), counted(&living));
        let writing = thread::spawn(move || writer.store(next));
        let held = value.load();
        assert!(held.0.load(Ordering::Relaxed) >= 1);
        reader.get();
        writing.join().unwrap();
        drop(held);
        reader.get();
        assert_eq!(living.load(Ordering::Relaxed), 1, "only the current one");
        drop((value, reader));
        assert_eq!(living.load(Ordering::Relaxed), 0);
    });
}

/// arc-swap has atomics of its own that loom cannot see, so this is its strategy, step by step,
/// with numbers for pointers: what it frees, nobody may be counting himself into.
struct Strategy {
    pointer: AtomicUsize,
    /// How many refer to each value; 0 is freed.
    counts: [AtomicUsize; 2],
    lock: RwLock<()>,
}

impl Strategy {
    fn load(&self) -> usize {
        let _reading = self.lock.read().unwrap();
        let at = self.pointer.load(Ordering::Acquire);
        let before = self.counts[at].fetch_add(1, Ordering::Relaxed);
        assert!(before > 0, "a reader holds what is freed");
        at
    }

    /// Puts value 1 in the place of value 0.
    fn replace(&self) {
        let old = self.pointer.swap(1, Ordering::SeqCst);
        if !cfg!(octostack_planted_bug) {
            drop(self.lock.write().unwrap()); // waits until who saw the old one has counted
        }
        self.release(old);
    }

    fn release(&self, at: usize) {
        self.counts[at].fetch_sub(1, Ordering::AcqRel);
    }
}

#[test]
fn planted_the_strategy_frees_nothing_that_a_reader_takes() {
    loom::model(|| {
        let strategy = Arc::new(Strategy {
            pointer: AtomicUsize::new(0),
            counts: [AtomicUsize::new(1), AtomicUsize::new(1)],
            lock: RwLock::new(()),
        });
        let readers = [strategy.clone(), strategy.clone()].map(|strategy| {
            thread::spawn(move || {
                let at = strategy.load();
                strategy.release(at);
            })
        });
        strategy.replace();
        assert_eq!(strategy.load(), 1);
        for reader in readers {
            reader.join().unwrap();
        }
        assert_eq!(strategy.counts[0].load(Ordering::Relaxed), 0, "freed in the end");
    });
}
